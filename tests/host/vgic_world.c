/* SPDX-License-Identifier: BSD-2-Clause */
#include "vgic_world.h"
#include "arch/esr.h"
#include "arch/sysreg.h"
#include "hyp/dev/vtimer.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define TIMER 27u
#define RT 5u /* of emulated accesses */

struct world world;

bool vtimer_cntv_asserted(struct vcpu *v) {
  return world.timer[v->id];
}

static int cpu_of(unsigned vcpu) {
  for (int c = 0; c < WORLD_CPUS; c++)
    if (world.loaded[c] == (int)vcpu)
      return c;
  return -1;
}

int world_any_loaded(void) {
  int c = rand() % WORLD_CPUS;
  return world.loaded[c] >= 0 ? world.loaded[c] : world.loaded[(c + 1) % WORLD_CPUS];
}

/* The vCPU that makes a register access, its CPU made the current one; the one asked about if nobody runs. */
static struct vcpu *accessor(unsigned otherwise) {
  int vcpu = world_any_loaded();
  fake_current = vcpu < 0 ? 0 : (unsigned)cpu_of((unsigned)vcpu);
  return &world.vcpus[vcpu < 0 ? (int)otherwise : vcpu];
}

static void enter(unsigned vcpu) {
  assert_true(cpu_of(vcpu) >= 0);
  fake_current = (unsigned)cpu_of(vcpu);
}

void world_reset(unsigned vcpus, unsigned lrs, bool eoimode1) {
  memset(&world, 0, sizeof(world));
  world.eoimode1 = eoimode1;
  world.vm.id = 1;
  world.vm.vcpu_count = vcpus;
  model_reset(&world.model, vcpus);
  fake_reset(lrs);
  for (fake_current = 0; fake_current < WORLD_CPUS; fake_current++) {
    vgic_cpu_setup();
    world.loaded[fake_current] = -1;
  }
  fake_current = 0;
  assert_int_equal(vgic_init(&world.vm), ERR_OK);
  for (unsigned i = 0; i < vcpus; i++) {
    world.vm.vcpus[i] = &world.vcpus[i];
    world.vcpus[i].id = i;
    world.vcpus[i].vm = &world.vm;
    world.vcpus[i].state = VCPU_RUNNING;
    world.vcpus[i].el1.cntv_ctl_el0 = CNT_CTL_ENABLE;
    vgic_vcpu_reset(&world.vcpus[i]);
  }
}

void world_load(unsigned cpu, unsigned vcpu) {
  if (world.loaded[cpu] >= 0 || cpu_of(vcpu) >= 0)
    return;
  fake_current = cpu;
  world.loaded[cpu] = (int)vcpu;
  world.timer_told[vcpu] = false;
  fake_cpus[cpu].irq_masked = !world.open[vcpu];
  world.vcpus[vcpu].requests = 0; /* as the scheduler does: the load looks at everything */
  vgic_load(&world.vcpus[vcpu]);
}

void world_unload(unsigned cpu) {
  if (world.loaded[cpu] < 0)
    return;
  fake_current = cpu;
  vgic_save(&world.vcpus[world.loaded[cpu]]);
  world.loaded[cpu] = -1;
  assert_false(fake_cpus[cpu].timer_active);                 /* the next vCPU needs it */
  assert_int_equal(vgic_hw_read_elrsr(), BIT(fake_lrs) - 1); /* nothing of it is left for the next */
}

bool world_is_running_something(unsigned vcpu, bool spi) {
  unsigned from = spi ? 0 : vcpu, to = spi ? world.vm.vcpu_count : vcpu + 1;
  for (unsigned c = from; c < to; c++)
    if (world.depth[c] != 0 || world.dropped_count[c] != 0)
      return true;
  return false;
}

void world_set_line(unsigned vcpu, unsigned intid, bool level) {
  fake_current = (unsigned)rand() % WORLD_CPUS;
  model_set_line(&world.model, vcpu, intid, level);
  if (intid < 32)
    vgic_set_ppi(&world.vcpus[vcpu], intid, level);
  else
    vgic_set_spi(&world.vm, intid, level);
}

/* A guest turns its timer off at any time that it runs: what it can take it has taken by then (world_settle). */
void world_set_timer(unsigned vcpu, bool asks) {
  if (!asks && cpu_of(vcpu) < 0)
    return;
  world.timer[vcpu] = asks;
  model_set_line(&world.model, vcpu, TIMER, asks);
}

static void model_write_bit(struct model_irq *irq, unsigned group) {
  switch (group) {
  case GICD_ISENABLER:
    irq->enabled = true;
    break;
  case GICD_ICENABLER:
    irq->enabled = false;
    break;
  case GICD_ISPENDR:
    irq->latch = true;
    break;
  case GICD_ICPENDR:
    irq->latch = false;
    break;
  case GICD_ICACTIVER:
    irq->active = false;
    break;
  case GICD_ISACTIVER:
    irq->active = true;
    break;
  }
}

void world_write_bits(unsigned vcpu, bool spi, unsigned group, uint32_t value) {
  struct vcpu *v = accessor(vcpu);
  for (unsigned i = 0; i < 32; i++)
    if (value & BIT(i))
      model_write_bit(model_irq(&world.model, vcpu, i + (spi ? 32 : 0)), group);
  if (spi)
    vgicd_write(v, group + 4, 4, value);
  else
    vgicr_write(v, vcpu * GICR_STRIDE + GICR_SGI_BASE + group, 4, value);
}

void world_write_priority(unsigned vcpu, bool spi, unsigned index, uint8_t priority) {
  struct vcpu *v = accessor(vcpu);
  model_irq(&world.model, vcpu, index + (spi ? 32 : 0))->priority = priority & 0xf8;
  if (spi)
    vgicd_write(v, GICD_IPRIORITYR + 32 + index, 1, priority);
  else
    vgicr_write(v, vcpu * GICR_STRIDE + GICR_IPRIORITYR + index, 1, priority);
}

void world_write_config(unsigned spi, bool edge) {
  struct vcpu *v = accessor(0);
  uint32_t value = 0;
  world.model.spi[spi].edge = edge;
  for (unsigned i = 0; i < 16; i++)
    value |= world.model.spi[i].edge ? (uint32_t)(2u << 2 * i) : 0;
  vgicd_write(v, GICD_ICFGR + 8, 4, value);
}

void world_write_route(unsigned spi, uint64_t affinity) {
  struct vcpu *v = accessor(0);
  world.model.route[spi] = affinity;
  vgicd_write(v, GICD_IROUTER + 8 * (32 + spi), 8, affinity);
}

void world_enable_group(bool enabled) {
  struct vcpu *v = accessor(0);
  world.model.enabled = enabled;
  vgicd_write(v, GICD_CTLR, 4, enabled ? 2 : 0);
}

void world_send_sgi(unsigned vcpu, uint64_t sgi1r) {
  bool elsewhere = (sgi1r & 0x00fff0ff00ff0000) != 0, all = (sgi1r & ICC_SGI1R_IRM) != 0;
  for (unsigned c = 0; c < world.vm.vcpu_count; c++)
    if (all ? c != vcpu : !elsewhere && (sgi1r & BIT(c)))
      model_set_line(&world.model, c, sgi1r >> 24 & 15, true);
  enter(vcpu);
  vgic_send_sgi(&world.vcpus[vcpu], sgi1r);
}

/* The guest reads or writes a register of the CPU interface, now on its CPU. True if that trapped and was emulated. */
static bool is_emulated(unsigned vcpu, uint32_t id, bool is_read) {
  struct fake_cpu *c = &fake_cpus[fake_current];
  enum vgic_icc answer = vgic_icc_access(&world.vcpus[vcpu], id, is_read, RT);
  bool traps = c->hcr & ICH_HCR_TALL1;
  if (answer == VGIC_ICC_AGAIN)
    assert_false(traps);
  return answer == VGIC_ICC_DONE;
}

static unsigned read_iar(unsigned vcpu) {
  struct fake_cpu *c = &fake_cpus[fake_current];
  if ((c->hcr & ICH_HCR_TALL1) && is_emulated(vcpu, SYSREG_ID(3, 0, 12, 12, 0), true))
    return (unsigned)world.vcpus[vcpu].x[RT];
  return fake_acknowledge(c);
}

static void write_eoir(unsigned vcpu, unsigned intid) {
  struct fake_cpu *c = &fake_cpus[fake_current];
  world.vcpus[vcpu].x[RT] = intid;
  if (!(c->hcr & ICH_HCR_TALL1) || !is_emulated(vcpu, SYSREG_ID(3, 0, 12, 12, 1), false))
    fake_eoi(c, intid);
}

static void write_igrpen(unsigned vcpu, bool enabled) {
  struct fake_cpu *c = &fake_cpus[fake_current];
  world.vcpus[vcpu].x[RT] = enabled;
  if ((c->hcr & ICH_HCR_TALL1) && is_emulated(vcpu, SYSREG_ID(3, 0, 12, 12, 7), false))
    assert_int_equal((c->vmcr & ICH_VMCR_VENG1) != 0, enabled);
}

void world_mask(unsigned vcpu, bool masked) {
  enter(vcpu);
  world.open[vcpu] = !masked;
  fake_cpus[fake_current].irq_masked = masked;
}

void world_set_pmr(unsigned vcpu, uint8_t pmr, bool group_enabled) {
  enter(vcpu);
  write_igrpen(vcpu, group_enabled);
  world.model.cpu[vcpu].pmr = pmr;
  world.model.cpu[vcpu].group_enabled = group_enabled;
  fake_cpus[fake_current].vmcr =
      (uint64_t)pmr << 24 | (group_enabled ? ICH_VMCR_VENG1 : 0) | (world.eoimode1 ? ICH_VMCR_VEOIM : 0) | (uint64_t)3 << 18;
}

/* False if nothing is signalled. */
bool world_acknowledge(unsigned vcpu) {
  enter(vcpu);
  unsigned intid = read_iar(vcpu);
  if (intid == 1023)
    return false;
  if (!model_may_acknowledge(&world.model, vcpu, intid))
    fail_msg("vCPU %u was given INTID %u, which it must not have now", vcpu, intid);
  model_acknowledge(&world.model, vcpu, intid);
  world.handling[vcpu][world.depth[vcpu]++] = intid;
  return true;
}

static void deactivate(unsigned vcpu, unsigned intid) {
  model_deactivate(&world.model, vcpu, intid);
  if (!fake_dir(&fake_cpus[fake_current], intid))
    vgic_deactivate(&world.vcpus[vcpu], intid);
}

/* Handlers end innermost first; with EOImode = 1, deactivation follows at any time in any order. */
void world_end(unsigned vcpu) {
  enter(vcpu);
  if (world.dropped_count[vcpu] != 0 && (world.depth[vcpu] == 0 || rand() % 2)) {
    unsigned i = (unsigned)rand() % world.dropped_count[vcpu], intid = world.dropped[vcpu][i];
    world.dropped[vcpu][i] = world.dropped[vcpu][--world.dropped_count[vcpu]];
    deactivate(vcpu, intid);
    return;
  }
  if (world.depth[vcpu] == 0)
    return;
  unsigned intid = world.handling[vcpu][--world.depth[vcpu]];
  write_eoir(vcpu, intid);
  model_drop(&world.model, vcpu);
  if (world.eoimode1)
    world.dropped[vcpu][world.dropped_count[vcpu]++] = intid;
  else
    model_deactivate(&world.model, vcpu, intid);
}

/* One thing that EL2 has to do for a loaded vCPU; false if there is none. */
static bool settle_loaded(unsigned cpu) {
  struct vcpu *v = &world.vcpus[world.loaded[cpu]];
  fake_current = cpu;
  if (v->requests & VCPU_REQ_VGIC) {
    v->requests = 0;
    vgic_flush(v);
  } else if (fake_maintenance(&fake_cpus[cpu])) {
    vgic_maintenance(v);
  } else if (world.timer[v->id] && !fake_cpus[cpu].timer_active) {
    fake_cpus[cpu].timer_active = true;
    vgic_inject_timer(v);
  } else if (world.open[v->id] && fake_signalled(&fake_cpus[cpu]) < 0x100) {
    world_mask(v->id, true);
    (void)world_acknowledge(v->id);
  } else {
    return false;
  }
  return true;
}

static void expire(unsigned vcpu) {
  if (cpu_of(vcpu) >= 0 || !world.timer[vcpu] || world.timer_told[vcpu])
    return;
  world.timer_told[vcpu] = true;
  vgic_set_ppi(&world.vcpus[vcpu], TIMER, true);
}

void world_settle(void) {
  bool more = true;
  for (unsigned c = 0; c < world.vm.vcpu_count; c++)
    expire(c);
  for (unsigned rounds = 0; more; rounds++) {
    more = false;
    for (unsigned cpu = 0; cpu < WORLD_CPUS; cpu++)
      more |= world.loaded[cpu] >= 0 && settle_loaded(cpu);
    if (rounds > 20)
      fail_msg("EL2 is never done");
  }
}

static uint32_t model_bits(unsigned vcpu, unsigned base, unsigned group) {
  uint32_t bits = 0;
  for (unsigned i = 0; i < 32; i++) {
    const struct model_irq *irq = model_irq(&world.model, vcpu, base + i);
    bool set = group == GICD_ISENABLER ? irq->enabled : group == GICD_ISPENDR ? model_pending(irq) : irq->active;
    bits |= set ? (uint32_t)BIT(i) : 0;
  }
  return bits;
}

static void compare_bits(unsigned vcpu, bool spi, unsigned group, unsigned seed, unsigned step) {
  uint32_t want = model_bits(vcpu, spi ? 32 : 0, group), got = 0;
  struct vcpu *v = accessor(vcpu);
  unsigned from = fake_current;
  for (unsigned look = 0; look < 2; look++) { /* the first look at another CPU's list registers may be stale, the second not */
    fake_current = from;
    got = (uint32_t)(spi ? vgicd_read(v, group + 4, 4) : vgicr_read(v, vcpu * GICR_STRIDE + GICR_SGI_BASE + group, 4));
    world_settle();
  }
  if (group == GICD_ISACTIVER)
    got &= want | ~model_bits(vcpu, spi ? 32 : 0, GICD_ISPENDR); /* pending on another CPU: may be told as active */
  if (got != want)
    fail_msg("seed %u step %u: vCPU %u %s %#x reads %#x, not %#x", seed, step, vcpu, spi ? "SPI" : "private", group, got, want);
}

/* A guest looks at ICC_HPPIR1_EL1 while that traps. */
static void compare_hppir(unsigned vcpu, unsigned seed, unsigned step) {
  if (!(fake_cpus[fake_current].hcr & ICH_HCR_TALL1) || !is_emulated(vcpu, SYSREG_ID(3, 0, 12, 12, 2), true))
    return;
  const struct model_cpu *m = &world.model.cpu[vcpu];
  unsigned got = (unsigned)world.vcpus[vcpu].x[RT], want = m->group_enabled ? model_highest_pending(&world.model, vcpu) : 0x100;
  if ((got == 1023) != (want == 0x100) || (got != 1023 && model_irq(&world.model, vcpu, got)->priority != want))
    fail_msg("seed %u step %u: vCPU %u reads HPPIR %u, not one of priority %#x", seed, step, vcpu, got, want);
}

void world_compare(unsigned seed, unsigned step) {
  for (unsigned c = 0; c < world.vm.vcpu_count; c++) {
    unsigned want = model_signalled(&world.model, c);
    int cpu = cpu_of(c);
    fake_current = cpu >= 0 ? (unsigned)cpu : 0;
    if (step % 2 && cpu >= 0)
      compare_hppir(c, seed, step);
    if (vgic_has_pending(&world.vcpus[c]) != (want < 0x100))
      fail_msg("seed %u step %u: vCPU %u, signalled %#x: has_pending is wrong", seed, step, c, want);
    if (cpu >= 0 && fake_highest_pending(&fake_cpus[cpu]) != model_highest_pending(&world.model, c))
      fail_msg("seed %u step %u: vCPU %u has priority %#x in its list registers, not %#x", seed, step, c,
               fake_highest_pending(&fake_cpus[cpu]), model_highest_pending(&world.model, c));
    if (cpu >= 0 && fake_signalled(&fake_cpus[cpu]) != want)
      fail_msg("seed %u step %u: vCPU %u is signalled priority %#x, not %#x", seed, step, c, fake_signalled(&fake_cpus[cpu]), want);
  }
  unsigned vcpu = step % world.vm.vcpu_count; // NOLINT(clang-analyzer-core.DivideZero): a VM has a vCPU
  compare_bits(vcpu, false, GICD_ISENABLER, seed, step);
  compare_bits(vcpu, false, GICD_ISPENDR, seed, step);
  compare_bits(vcpu, false, GICD_ISACTIVER, seed, step);
  compare_bits(vcpu, true, GICD_ISENABLER, seed, step);
  compare_bits(vcpu, true, GICD_ISPENDR, seed, step);
  compare_bits(vcpu, true, GICD_ISACTIVER, seed, step);
}
