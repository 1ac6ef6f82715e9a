/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The virtual GIC against the model of a GIC: random guests and devices do random things, vCPUs move between CPUs, and after every step
 * each vCPU must be signalled exactly what the architecture says, and every register read the same. The CPU interface is played by
 * fakehw/vgic_fake.c from the list registers alone, with 1 to 16 of them.
 */
// sources: hyp/dev/vgic.c hyp/dev/vgic_lr.c hyp/dev/vgic_fill.c hyp/dev/vgic_pending.c hyp/dev/vgic_bank.c hyp/dev/vgic_dist.c hyp/dev/vgic_redist.c
// sources: hyp/dev/vgic_sgi.c hyp/dev/vgic_timer.c
// sources: tests/host/fakehw/vgic_fake.c tests/host/fakehw/hyp_fake.c tests/host/gic_model.c tests/host/vgic_world.c
// cflags: -include tests/host/fakehw/vgic_fake.h
#include "vgic_world.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define GICD_ICENABLER2 (GICD_ICENABLER + 4)

static unsigned pick(unsigned below) {
  return (unsigned)rand() % below;
}

static bool chance(unsigned percent) {
  return pick(100) < percent;
}

/* ---- random steps ---- */

static void random_line(void) {
  unsigned intid = chance(50) ? 32 + pick(6) : 16 + pick(8);
  world_set_line(pick(world.vm.vcpu_count), intid, chance(50));
}

/* A register of the SPI bank's first word, or of somebody's private bank. */
static void random_bits_write(void) {
  static const unsigned groups[] = {GICD_ISENABLER, GICD_ISENABLER, GICD_ICENABLER, GICD_ISPENDR,
                                    GICD_ICPENDR,   GICD_ICACTIVER, GICD_ICACTIVER, GICD_ISACTIVER};
  unsigned vcpu = pick(world.vm.vcpu_count), group = groups[pick(ARRAY_SIZE(groups))];
  bool spi = chance(50);
  uint32_t value = BIT(pick(8)) | BIT(pick(32)) | (chance(20) ? 0xff0000 | BIT(27) : 0);
  bool active = group == GICD_ICACTIVER || group == GICD_ISACTIVER;
  if (active && world_is_running_something(vcpu, spi))
    return; /* a guest that changes it behind its handler's back would EOI what is not active: UNPREDICTABLE order */
  world_write_bits(vcpu, spi, group, value);
}

static void random_setup_write(void) {
  unsigned vcpu = pick(world.vm.vcpu_count), index = pick(8);
  switch (pick(4)) {
  case 0:
    world_write_priority(vcpu, chance(50), index, (uint8_t)rand());
    break;
  case 1:
    world_write_config(index, chance(50));
    break;
  case 2:
    world_write_route(index, pick(world.vm.vcpu_count + 1));
    break;
  default:
    world_enable_group(chance(90));
  }
}

static void random_sgi(void) {
  uint64_t value = (uint64_t)pick(16) << 24 | pick(16) | (chance(20) ? ICC_SGI1R_IRM : 0);
  if (chance(5))
    value |= BIT(16 + pick(8)) | BIT(44);
  int vcpu = world_any_loaded();
  if (vcpu >= 0)
    world_send_sgi((unsigned)vcpu, value);
}

static void random_guest(void) {
  int vcpu = world_any_loaded();
  if (vcpu < 0)
    return;
  switch (pick(9)) {
  case 8:
    world_mask((unsigned)vcpu, chance(50));
    break;
  case 0:
    world_set_pmr((unsigned)vcpu, chance(80) ? 0xf8 : (uint8_t)(rand() & 0xf8), chance(90));
    break;
  case 1:
  case 2:
  case 3:
    world_end((unsigned)vcpu);
    break;
  default:
    world_acknowledge((unsigned)vcpu);
  }
}

static void random_switch(void) {
  unsigned cpu = pick(WORLD_CPUS);
  world_unload(cpu);
  if (chance(80))
    world_load(cpu, pick(world.vm.vcpu_count));
}

static void random_timer(void) {
  world_set_timer(pick(world.vm.vcpu_count), chance(60));
}

static void random_step(void) {
  unsigned what = pick(100);
  if (what < 15)
    random_line();
  else if (what < 30)
    random_bits_write();
  else if (what < 36)
    random_setup_write();
  else if (what < 48)
    random_sgi();
  else if (what < 85)
    random_guest();
  else if (what < 92)
    random_switch();
  else
    random_timer();
}

static void boot(void) {
  world_enable_group(true);
  for (unsigned c = 0; c < world.vm.vcpu_count; c++) {
    world_load(0, c);
    world_set_pmr(c, 0xf8, true);
    world_unload(0);
    for (unsigned i = 0; i < 32; i++)
      world_write_priority(c, false, i, (uint8_t)(8 * pick(16) + 0x40));
    world_write_bits(c, false, GICD_ISENABLER, (uint32_t)rand() | 0x0800ffff);
  }
  for (unsigned i = 0; i < 8; i++)
    world_write_priority(0, true, i, (uint8_t)(8 * pick(16) + 0x40));
  world_write_bits(0, true, GICD_ISENABLER, 0xff);
}

static void random_run(unsigned seed, unsigned lrs, unsigned steps, bool eoimode1) {
  srand(seed);
  world_reset(3, lrs, eoimode1);
  boot();
  for (unsigned i = 0; i < steps; i++) {
    random_step();
    world_settle();
    world_compare(seed, i);
  }
}

static void test_random(void **state) {
  static const unsigned lrs[] = {1, 2, 4, 4, 16};
  (void)state;
  for (unsigned seed = 1; seed <= 40; seed++)
    random_run(seed, lrs[seed % ARRAY_SIZE(lrs)], 1500, seed & 1);
}

/* ---- single properties ---- */

static uint32_t read_dist(uint64_t offset) {
  return (uint32_t)vgicd_read(world.vm.vcpus[0], offset, 4);
}

static void test_identity(void **state) {
  (void)state;
  world_reset(3, 4, false);
  world_load(0, 0);
  uint32_t typer = read_dist(GICD_TYPER);
  assert_int_equal(typer & 0x1f, 2);                /* 96 INTIDs */
  assert_int_equal(typer >> 5 & 7, 2);              /* three CPUs */
  assert_int_equal(typer & (BIT(17) | BIT(16)), 0); /* no LPIs, no message-based SPIs */
  assert_int_equal(read_dist(GICD_PIDR2), 0x3b);
  assert_int_equal(read_dist(GICD_CTLR), GICD_CTLR_DS | GICD_CTLR_ARE_NS);
  struct vcpu *v = world.vm.vcpus[0];
  for (unsigned i = 0; i < 3; i++) {
    uint64_t want = (uint64_t)i << 32 | i << 8 | (i == 2 ? 0x10 : 0);
    assert_int_equal(vgicr_read(v, i * GICR_STRIDE + GICR_TYPER, 8), want);
    assert_int_equal(vgicr_read(v, i * GICR_STRIDE + GICR_TYPER + 4, 4), i);
    assert_int_equal(vgicr_read(v, i * GICR_STRIDE + GICR_PIDR2, 4), 0x3b);
  }
  assert_int_equal(vgicr_read(v, 3 * GICR_STRIDE + GICR_TYPER, 8), 0);
}

static void test_wake_handshake(void **state) {
  (void)state;
  world_reset(1, 4, false);
  struct vcpu *v = world.vm.vcpus[0];
  assert_int_equal(vgicr_read(v, GICR_WAKER, 4), 6);
  vgicr_write(v, GICR_WAKER, 4, 0);
  assert_int_equal(vgicr_read(v, GICR_WAKER, 4), 0);
  vgicr_write(v, GICR_WAKER, 4, 2);
  assert_int_equal(vgicr_read(v, GICR_WAKER, 4), 6);
}

static void test_narrow_access(void **state) {
  (void)state;
  world_reset(1, 4, false);
  struct vcpu *v = world.vm.vcpus[0];
  vgicd_write(v, GICD_IPRIORITYR + 33, 1, 0xff);
  assert_int_equal(read_dist(GICD_IPRIORITYR + 32), 0xf800);
  vgicd_write(v, GICD_IPRIORITYR + 34, 2, 0x1020);
  assert_int_equal(read_dist(GICD_IPRIORITYR + 32), 0x1020f800);
  assert_int_equal(vgicd_read(v, GICD_IPRIORITYR + 35, 1), 0x10);
  vgicd_write(v, GICD_ISENABLER + 5, 1, 0x80);
  assert_int_equal(read_dist(GICD_ISENABLER + 4), 0x8000);
  vgicd_write(v, GICD_IROUTER + 8 * 40 + 4, 4, 0xffffffff);
  vgicd_write(v, GICD_IROUTER + 8 * 40, 4, 0xffffffff);
  assert_int_equal(vgicd_read(v, GICD_IROUTER + 8 * 40, 8), 0xff00ffffff);
  vgicd_write(v, GICD_IROUTER + 8 * 40, 8, 0);
  assert_int_equal(vgicd_read(v, GICD_IROUTER + 8 * 40, 4), 0);
}

/* The private registers of the distributor, and all beyond the last SPI, are RAZ/WI under affinity routing. */
static void test_raz_wi(void **state) {
  static const uint64_t offsets[] = {
      GICD_ISENABLER,
      GICD_ISENABLER + 12,
      GICD_ISPENDR,
      GICD_IPRIORITYR,
      GICD_IPRIORITYR + 96,
      GICD_ITARGETSR + 32,
      GICD_ICFGR,
      GICD_ICFGR + 24,
      GICD_IGRPMODR + 4,
      GICD_NSACR,
      GICD_SGIR,
      GICD_SETSPI_NSR,
      GICD_IROUTER + 8 * 31,
      GICD_IROUTER + 8 * 96,
      GICD_TYPER2,
      GICD_STATUSR,
      0x5000,
      0xfffc,
  };
  (void)state;
  world_reset(2, 4, false);
  for (unsigned i = 0; i < ARRAY_SIZE(offsets); i++) {
    vgicd_write(world.vm.vcpus[0], offsets[i], 4, 0xffffffff);
    assert_int_equal(read_dist(offsets[i]), 0);
  }
  assert_int_equal(read_dist(GICD_IGROUPR + 4), 0xffffffff);
  world_compare(0, 0);
}

/* Any offset and any size, from a guest that means no good: no report from the sanitizers is the test. */
static void test_wild_access(void **state) {
  (void)state;
  srand(7);
  world_reset(3, 4, false);
  world_load(0, 0);
  struct vcpu *v = world.vm.vcpus[0];
  for (unsigned i = 0; i < 300000; i++) {
    unsigned bytes = 1u << pick(4);
    uint64_t at = (chance(70) ? pick(0x1100) : chance(50) ? 0x6000 + pick(0x400) : pick(0x10000)) & ~(uint64_t)(bytes - 1);
    uint64_t region = pick(4) * GICR_STRIDE + (chance(80) ? GICR_SGI_BASE : 0), value = (uint64_t)rand() << 32 | (uint32_t)rand();
    if (chance(50))
      vgicd_write(v, at, bytes, value);
    else
      vgicd_read(v, at, bytes);
    if (chance(50))
      vgicr_write(v, region + at, bytes, value);
    else
      vgicr_read(v, region + at, bytes);
    vgic_send_sgi(v, value);
    if (chance(10))
      vgic_flush(v);
  }
}

/* A timer interrupt that was acknowledged when its vCPU lost the CPU is ended on another CPU, and fires again there. */
static void test_timer_moves(void **state) {
  (void)state;
  world_reset(2, 4, false);
  boot();
  world_write_bits(0, false, GICD_ISENABLER, BIT(27));
  world_load(0, 0);
  world_set_timer(0, true);
  world_settle();
  assert_true(fake_cpus[0].timer_active);
  while (world.model.cpu[0].priv[27].active == false) {
    assert_true(world_acknowledge(0));
    world_settle();
  }
  world_unload(0);
  assert_false(fake_cpus[0].timer_active);
  world_load(1, 0);
  assert_true(fake_cpus[1].timer_active);
  world_end(0);
  assert_false(fake_cpus[1].timer_active);
  world_settle();
  assert_true(fake_cpus[1].timer_active); /* it still asks */
  world_compare(0, 0);
}

/*
 * Nothing but the guest's own look at the CPU interface comes between the fall of the timer and the acknowledge: outside a handler, in one,
 * and after the end of one. (The random run asks vgic_has_pending() after each step, which looks at the timer, too.)
 */
static void test_timer_falls_unseen(void **state) {
  (void)state;
  for (unsigned in_handler = 0; in_handler < 3; in_handler++) {
    world_reset(1, 4, false);
    boot();
    world_write_bits(0, false, GICD_ISENABLER, BIT(27));
    world_write_priority(0, false, 27, 0x40);
    world_write_priority(0, false, 5, 0x80);
    world_load(0, 0);
    world_send_sgi(0, (uint64_t)5 << 24 | 1);
    world_settle();
    assert_true(world_acknowledge(0));
    if (in_handler == 0)
      world_end(0);
    world_set_timer(0, true);
    world_settle();
    assert_int_equal(fake_highest_pending(&fake_cpus[0]), 0x40);
    if (in_handler == 2)
      world_end(0);
    world_set_timer(0, false);
    assert_false(world_acknowledge(0));
    world_compare(0, in_handler);
    world_set_timer(0, true);
    world_settle();
    assert_true(world_acknowledge(0)); /* and it comes again when it asks again */
  }
}

/* A vCPU that starts anew has nothing pending, and SPIs in its list registers are not lost. */
static void test_reset(void **state) {
  (void)state;
  world_reset(2, 4, false);
  boot();
  world_load(0, 0);
  world_send_sgi(0, (uint64_t)3 << 24 | 1);
  world_write_config(2, true);
  world_set_line(0, 34, true);
  world_settle();
  world_unload(0);
  struct vcpu *v = world.vm.vcpus[0];
  vgic_vcpu_reset(v);
  assert_int_equal(vgicr_read(v, GICR_ISPENDR0, 4), 0);
  assert_int_equal(vgicr_read(v, GICR_ISENABLER0, 4), 0);
  assert_true(read_dist(GICD_ISPENDR + 4) & BIT(2));
  assert_false(vgic_has_pending(v));
}

/* The quick way: list register written in the sender's own exit, nobody told, again and again. */
static void test_sgi_to_self_is_direct(void **state) {
  (void)state;
  world_reset(2, 4, false);
  boot();
  world_load(0, 0);
  world_settle();
  for (unsigned i = 0; i < 100; i++) {
    vgic_send_sgi(world.vm.vcpus[0], (uint64_t)1 << 24 | 1);
    assert_int_equal(world.vm.vcpus[0]->requests, 0);
    model_set_line(&world.model, 0, 1, true);
    assert_true(world_acknowledge(0));
    world_end(0);
  }
}

static void send_self(unsigned sgi) {
  world_send_sgi(0, (uint64_t)sgi << 24 | 1);
  world_settle();
  world_compare(0, 0);
}

static void set_priorities(unsigned sgi_a, unsigned a, unsigned sgi_b, unsigned b, unsigned sgi_c, unsigned c) {
  world_write_priority(0, false, sgi_a, (uint8_t)a);
  world_write_priority(0, false, sgi_b, (uint8_t)b);
  world_write_priority(0, false, sgi_c, (uint8_t)c);
}

/* Disabled in its own handler, then sent again: it waits. */
static void test_disabled_in_handler(void **state) {
  (void)state;
  world_reset(1, 4, false);
  boot();
  world_load(0, 0);
  world_settle();
  send_self(5);
  assert_true(world_acknowledge(0));
  world_write_bits(0, false, GICD_ICENABLER, BIT(5));
  world_settle();
  world_end(0);
  send_self(5);
  assert_false(world_acknowledge(0));
  world_write_bits(0, false, GICD_ISENABLER, BIT(5));
  world_settle();
  assert_true(world_acknowledge(0));
}

/*
 * Two list registers:  1 active | 2 pending    3, less urgent than 2, stays behind. When 1 has ended it is sent again, least urgent of all: it must
 * not get its list register back before 3, or nothing would tell that 3 is next after 2.
 */
static void test_crowded(void **state) {
  (void)state;
  world_reset(1, 2, false);
  boot();
  set_priorities(1, 0x90, 2, 0x50, 3, 0x60);
  world_load(0, 0);
  world_settle();
  send_self(1);
  assert_true(world_acknowledge(0));
  send_self(2);
  send_self(3);
  world_end(0);
  send_self(1);
  for (unsigned i = 0; i < 3; i++) {
    assert_true(world_acknowledge(0));
    world_settle();
    world_compare(0, 1 + i);
    world_end(0);
    world_settle();
  }
}

/* An SPI that still asks is rerouted while its handler runs: when that ends, the other vCPU gets it at once. */
static void test_rerouted_in_handler(void **state) {
  (void)state;
  world_reset(2, 4, false);
  boot();
  world_load(0, 0);
  world_load(1, 1);
  world_settle();
  world_set_line(0, 35, true);
  world_settle();
  assert_true(world_acknowledge(0));
  world_settle();
  world_write_route(3, 1);
  world_settle();
  world_compare(0, 0);
  world_end(0);
  world_settle();
  world_compare(0, 1);
  assert_true(world_acknowledge(1));
}

/*
 * Powered down in a handler, everything masked: the interface forgets the mask and the handler, the redistributor keeps what is enabled and
 * pending. What could not be signalled wakes all the same, unless it is disabled.
 */
static void test_power_down(void **state) {
  (void)state;
  struct vcpu *v = &world.vcpus[0];
  world_reset(1, 4, false);
  boot();
  set_priorities(1, 0x50, 2, 0x90, 3, 0xa0);
  world_load(0, 0);
  world_settle();
  send_self(1);
  assert_true(world_acknowledge(0));
  assert_false(vgic_has_wakeup(v)); /* active is not pending */
  world_write_bits(0, false, GICD_ICENABLER, BIT(3));
  send_self(3);
  world_settle();
  assert_false(vgic_has_wakeup(v));
  send_self(2);
  world_settle();
  assert_false(vgic_has_pending(v)); /* the handler comes first */
  assert_true(vgic_has_wakeup(v));
  world_unload(0);
  vgic_power_down(v);
  assert_int_equal(v->vgic.vmcr, 0);
  for (unsigned i = 0; i < VGIC_APRS_MAX; i++)
    assert_int_equal(v->vgic.ap0r[i] | v->vgic.ap1r[i], 0);
  world_load(0, 0);
  assert_int_equal(fake_cpus[0].vmcr, 0);
  assert_int_equal(fake_cpus[0].ap1r[0], 0);
  assert_false(vgic_has_pending(v));
  assert_true(vgic_has_wakeup(v));
  fake_cpus[0].vmcr = ICH_VMCR_VENG1 | GENMASK(31, 24);
  assert_int_equal(fake_acknowledge(&fake_cpus[0]), 2);
  assert_false(vgic_has_wakeup(v));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_random),
      cmocka_unit_test(test_identity),
      cmocka_unit_test(test_wake_handshake),
      cmocka_unit_test(test_narrow_access),
      cmocka_unit_test(test_raz_wi),
      cmocka_unit_test(test_wild_access),
      cmocka_unit_test(test_timer_moves),
      cmocka_unit_test(test_timer_falls_unseen),
      cmocka_unit_test(test_reset),
      cmocka_unit_test(test_sgi_to_self_is_direct),
      cmocka_unit_test(test_disabled_in_handler),
      cmocka_unit_test(test_crowded),
      cmocka_unit_test(test_rerouted_in_handler),
      cmocka_unit_test(test_power_down),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
