/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The virtual CPU interface, written from IHI 0069 chapter 6 and the register descriptions of ICH_*; shares nothing with the code under
 * test but names of bits.
 */
#include "fakehw/vgic_fake.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct fake_cpu fake_cpus[FAKE_CPUS];
unsigned fake_current;
unsigned fake_lrs = 4;

static void require(bool ok, const char *what) {
  if (!ok) {
    fprintf(stderr, "GIC hardware: %s\n", what);
    abort();
  }
}

static struct fake_cpu *self(void) {
  return &fake_cpus[fake_current];
}

static unsigned state(uint64_t lr) {
  return (unsigned)(lr >> 62);
}

static unsigned intid_of(uint64_t lr) {
  return (unsigned)lr;
}

static unsigned priority_of(uint64_t lr) {
  return (unsigned)(lr >> 48 & 0xff);
}

struct cpu *vgic_hw_cpu(void) {
  return (struct cpu *)(void *)self();
}

uint64_t vgic_hw_read_lr(unsigned n) {
  require(n < fake_lrs, "read of a list register that is not there");
  return self()->lr[n];
}

static void check_lr(const struct fake_cpu *c, unsigned n, uint64_t lr) {
  if (state(lr) == 0)
    return;
  require(lr & ICH_LR_GROUP1, "Group 0 interrupt");
  require((priority_of(lr) & 7) == 0, "priority with unimplemented bits");
  for (unsigned i = 0; i < fake_lrs; i++)
    require(i == n || state(c->lr[i]) == 0 || intid_of(c->lr[i]) != intid_of(lr), "one INTID in two list registers");
  if (!(lr & ICH_LR_HW))
    return;
  require(state(lr) != 3, "linked list register pending and active");
  require((lr >> 32 & 0x3ff) == 27 && intid_of(lr) == 27, "link to a physical interrupt that is not the timer's");
  require(c->timer_active, "linked, but the physical interrupt is not active");
}

void vgic_hw_write_lr(unsigned n, uint64_t value) {
  require(n < fake_lrs, "write of a list register that is not there");
  check_lr(self(), n, value);
  self()->lr[n] = value;
}

uint32_t vgic_hw_read_elrsr(void) {
  uint32_t empty = 0;
  for (unsigned n = 0; n < fake_lrs; n++)
    if (state(self()->lr[n]) == 0 && ((self()->lr[n] & ICH_LR_HW) || !(self()->lr[n] & ICH_LR_EOI)))
      empty |= (uint32_t)BIT(n);
  return empty;
}

/* ListRegs, PREbits and PRIbits: five bits each. */
uint64_t vgic_hw_read_vtr(void) {
  return (uint64_t)4 << 29 | (uint64_t)4 << 26 | (fake_lrs - 1);
}

uint64_t vgic_hw_read_hcr(void) {
  return self()->hcr;
}

void vgic_hw_write_hcr(uint64_t value) {
  self()->hcr = value;
}

uint64_t vgic_hw_read_vmcr(void) {
  return self()->vmcr;
}

void vgic_hw_write_vmcr(uint64_t value) {
  self()->vmcr = value;
}

void vgic_hw_read_apr(unsigned count, uint64_t ap0r[4], uint64_t ap1r[4]) {
  require(count == 1, "active-priority registers that are not there");
  ap0r[0] = self()->ap0r[0];
  ap1r[0] = self()->ap1r[0];
}

void vgic_hw_write_apr(unsigned count, const uint64_t ap0r[4], const uint64_t ap1r[4]) {
  require(count == 1, "active-priority registers that are not there");
  self()->ap0r[0] = ap0r[0];
  self()->ap1r[0] = ap1r[0];
}

bool vgic_hw_is_running(unsigned count) {
  require(count == 1, "active-priority registers that are not there");
  return self()->ap1r[0] != 0;
}

bool vgic_hw_irq_masked(void) {
  return self()->irq_masked;
}

void vgic_hw_set_active(unsigned pintid, bool active) {
  require(pintid == 27, "active state of a foreign physical interrupt");
  self()->timer_active = active;
}

void vgic_hw_setup(void) {
}

void fake_reset(unsigned lrs) {
  memset(fake_cpus, 0xa5, sizeof(fake_cpus));
  for (unsigned i = 0; i < FAKE_CPUS; i++)
    fake_cpus[i].timer_active = fake_cpus[i].irq_masked = false;
  fake_lrs = lrs;
}

/* The least active priority level, 32 when idle. */
static unsigned running_level(const struct fake_cpu *c) {
  for (unsigned level = 0; level < 32; level++)
    if ((c->ap0r[0] | c->ap1r[0]) >> level & 1)
      return level;
  return 32;
}

static int highest_pending(const struct fake_cpu *c) {
  int best = -1;
  for (unsigned n = 0; n < fake_lrs; n++)
    if (state(c->lr[n]) == 1 && (best < 0 || priority_of(c->lr[n]) < priority_of(c->lr[best])))
      best = (int)n;
  return best;
}

static int signalled_lr(const struct fake_cpu *c) {
  int n = highest_pending(c);
  if (!(c->hcr & ICH_HCR_EN) || !(c->vmcr & ICH_VMCR_VENG1) || n < 0)
    return -1;
  unsigned priority = priority_of(c->lr[n]);
  return priority < (c->vmcr >> 24 & 0xff) && priority / 8 < running_level(c) ? n : -1;
}

unsigned fake_highest_pending(const struct fake_cpu *c) {
  int n = highest_pending(c);
  return n < 0 ? 0x100 : priority_of(c->lr[n]);
}

unsigned fake_signalled(const struct fake_cpu *c) {
  int n = signalled_lr(c);
  return n < 0 ? 0x100 : priority_of(c->lr[n]);
}

unsigned fake_acknowledge(struct fake_cpu *c) {
  int n = signalled_lr(c);
  if (n < 0)
    return 1023;
  c->ap1r[0] |= BIT(priority_of(c->lr[n]) / 8);
  c->lr[n] = (c->lr[n] & ~ICH_LR_PENDING) | ICH_LR_ACTIVE;
  return intid_of(c->lr[n]);
}

static void deactivate(struct fake_cpu *c, unsigned intid) {
  for (unsigned n = 0; n < fake_lrs; n++) {
    if (!(state(c->lr[n]) & 2) || intid_of(c->lr[n]) != intid)
      continue;
    c->lr[n] &= ~ICH_LR_ACTIVE;
    if (c->lr[n] & ICH_LR_HW)
      c->timer_active = false;
    return;
  }
  require((c->hcr >> 27) < 31, "EOIcount overflows");
  c->hcr += BIT(27);
}

void fake_eoi(struct fake_cpu *c, unsigned intid) {
  require(running_level(c) < 32, "EOI while idle");
  c->ap1r[0] &= c->ap1r[0] - 1;
  if (!(c->vmcr & ICH_VMCR_VEOIM))
    deactivate(c, intid);
}

bool fake_dir(struct fake_cpu *c, unsigned intid) {
  if (c->hcr & BIT(14))
    return false;
  deactivate(c, intid);
  return true;
}

bool fake_maintenance(const struct fake_cpu *c) {
  bool eoi = false, pending = false;
  unsigned valid = 0;
  for (unsigned n = 0; n < fake_lrs; n++) {
    eoi |= state(c->lr[n]) == 0 && !(c->lr[n] & ICH_LR_HW) && (c->lr[n] & ICH_LR_EOI);
    pending |= state(c->lr[n]) == 1;
    valid += state(c->lr[n]) != 0;
  }
  bool counted = (c->hcr & ICH_HCR_LRENPIE) && c->hcr >> 27;
  return (c->hcr & ICH_HCR_EN) && (eoi || counted || ((c->hcr & ICH_HCR_NPIE) && !pending) || ((c->hcr & ICH_HCR_UIE) && valid < 2));
}
