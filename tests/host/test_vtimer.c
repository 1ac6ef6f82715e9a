/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The guest's timers against a model of one: a compare value, a control register and the count decide the line, nothing else. Random writes
 * by the guest, moves of time and switches of the vCPU; after each the line that the GIC was told of, every register, and the deadline that
 * EL2 keeps must be the model's. The model computes in 128 bits, so that no sum of it wraps.
 */
// sources: hyp/dev/vtimer.c tests/host/fakehw/vgic_fake.c tests/host/fakehw/hyp_fake.c
// cflags: -include tests/host/fakehw/timer_fake.h
#include "arch/esr.h"
#include "hyp/core/sched.h"
#include "hyp/core/vcpu.h"
#include "hyp/core/vm.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define RT 3u
#define STEPS 300000u
#define PPI_V 27u
#define PPI_P 30u
#define ID_PCT SYSREG_ID(3, 3, 14, 0, 1)
#define ID_P_TVAL SYSREG_ID(3, 3, 14, 2, 0)
#define ID_P_CTL SYSREG_ID(3, 3, 14, 2, 1)
#define ID_P_CVAL SYSREG_ID(3, 3, 14, 2, 2)

struct model_timer {
  uint64_t cval;
  bool enable, imask;
};

static struct model_timer phys, virt;
static uint64_t now, offset;

static struct vm vm;
static struct vcpu vcpu;
static bool loaded;
static uint64_t cntv_ctl, cntv_cval; /* hardware's */
static bool line_p, line_v;          /* what the GIC was told */
static unsigned injected, ended, updates;
static unsigned long long step_number;

/* ---- the model ---- */

static bool is_met(const struct model_timer *t) {
  return (__int128)now - offset >= (__int128)t->cval;
}

static bool asks(const struct model_timer *t) {
  return t->enable && !t->imask && is_met(t);
}

/* ISTATUS, IMASK, ENABLE; while the timer is off ISTATUS reads as zero here. */
static uint64_t ctl_of(const struct model_timer *t) {
  return (t->enable ? 1u : 0u) | (t->imask ? 2u : 0u) | (t->enable && is_met(t) ? 4u : 0u);
}

/* ---- what vtimer.c calls ---- */

uint64_t fake_sysreg(const char *name) {
  if (strcmp(name, "cntpct_el0") == 0)
    return now;
  assert_string_equal(name, "cntv_ctl_el0");
  assert_true(loaded);
  return (cntv_ctl & 3) | ((cntv_ctl & 1) && (__int128)now - offset >= (__int128)cntv_cval ? 4 : 0);
}

void fake_sysreg_write(const char *name, uint64_t value) {
  assert_string_equal(name, "ICC_DIR_EL1");
  assert_int_equal(value, PPI_V);
  ended++;
}

void vgic_set_ppi(struct vcpu *v, unsigned intid, bool level) {
  assert_ptr_equal(v, &vcpu);
  assert_true(intid == PPI_V || intid == PPI_P);
  *(intid == PPI_V ? &line_v : &line_p) = level;
}

void vgic_inject_timer(struct vcpu *v) {
  assert_ptr_equal(v, &vcpu);
  injected++;
}

void sched_update_timer(struct cpu *c) {
  assert_ptr_equal(c, vcpu.cpu);
  updates++;
}

/* ---- the world ---- */

static void world_reset(uint64_t at) {
  now = at;
  offset = at;
  memset(&vcpu, 0, sizeof(vcpu));
  phys = virt = (struct model_timer){0};
  cntv_ctl = cntv_cval = 0;
  vcpu.vm = &vm;
  vm.counter_offset = offset;
  fake_reset(4);
  vtimer_reset(&vcpu);
  vcpu.vgic.loaded_on = vgic_hw_cpu();
  loaded = true;
  line_p = line_v = false;
}

static unsigned pick(unsigned below) {
  return (unsigned)rand() % below;
}

static void write_register(uint32_t id, uint64_t value) {
  unsigned before = updates;
  vcpu.x[RT] = value;
  assert_true(vtimer_sysreg(&vcpu, id, false, RT));
  assert_int_equal(updates, before + 1); /* the alarm may have to come forward */
}

static uint64_t read_register(uint32_t id) {
  vcpu.x[RT] = 0x5555555555555555;
  assert_true(vtimer_sysreg(&vcpu, id, true, RT));
  return vcpu.x[RT];
}

static uint64_t pick_cval(void) {
  uint64_t count = now - offset;
  switch (pick(6)) {
  case 0:
    return ~(uint64_t)0 - pick(3);
  case 1:
    return (uint64_t)0 - offset + pick(3) - 1; /* where the physical count would wrap */
  case 2:
    return count;
  default:
    return count + pick(2000) - pick(1000);
  }
}

static void write_cntp(void) {
  uint64_t value = pick(8) | (uint64_t)pick(2) << 40;
  int32_t tval = (int32_t)(pick(4) ? pick(3000) - 1000u : (unsigned)rand() << 1);
  switch (pick(3)) {
  case 0:
    write_register(ID_P_CTL, value);
    phys.enable = value & 1;
    phys.imask = value & 2;
    break;
  case 1:
    phys.cval = pick_cval();
    write_register(ID_P_CVAL, phys.cval);
    break;
  default:
    write_register(ID_P_TVAL, (uint32_t)tval | (uint64_t)pick(2) << 33);
    phys.cval = now - offset + (uint64_t)(int64_t)tval;
  }
}

/* Not trapped: hardware's own registers. */
static void write_cntv(void) {
  virt.enable = pick(4) != 0;
  virt.imask = pick(4) == 0;
  virt.cval = pick_cval();
  cntv_ctl = (virt.enable ? 1u : 0u) | (virt.imask ? 2u : 0u);
  cntv_cval = virt.cval;
}

/* el1_save() and vtimer_save(), el1_load() and vtimer_load(). */
static void switch_vcpu(void) {
  if (loaded) {
    vcpu.el1.cntv_ctl_el0 = fake_sysreg("cntv_ctl_el0");
    vcpu.el1.cntv_cval_el0 = cntv_cval;
    cntv_ctl = 0;
    vcpu.vgic.loaded_on = NULL;
    vtimer_save(&vcpu);
    line_v = false;
  } else {
    cntv_ctl = vcpu.el1.cntv_ctl_el0;
    cntv_cval = vcpu.el1.cntv_cval_el0;
    vcpu.vgic.loaded_on = vgic_hw_cpu();
    vtimer_load(&vcpu.vtimer);
  }
  loaded = !loaded;
}

/* The physical PPI is on its way; the timer may have been stopped since. */
static void physical_interrupt(void) {
  unsigned i = injected, e = ended;
  vtimer_irq(&vcpu);
  assert_int_equal(injected - i, asks(&virt) ? 1 : 0);
  assert_int_equal(ended - e, asks(&virt) ? 0 : 1);
}

/* As alarm.c does. */
static void alarm_fires(void) {
  if (vtimer_next(&vcpu.vtimer) <= now)
    vtimer_expire(&vcpu, now);
}

static void step(void) {
  switch (pick(8)) {
  case 0:
  case 1:
    if (loaded)
      write_cntp();
    break;
  case 2:
    if (loaded)
      write_cntv();
    break;
  case 3:
    switch_vcpu();
    break;
  case 4:
    if (loaded)
      physical_interrupt();
    break;
  default:
    now += pick(400);
  }
  alarm_fires();
}

/* The moment at which `t` will ask: it must be no later than EL2 looks, and EL2 must not look for nothing. */
static void check_deadline(uint64_t deadline, const struct model_timer *t, bool told) {
  __int128 at = (__int128)t->cval + offset;
  bool will = t->enable && !t->imask && !told && at < ~(uint64_t)0;
  uint64_t want = will ? (uint64_t)at : VTIMER_NEVER;
  if (deadline != want)
    fail_msg("step %llu: deadline %llx, not %llx", step_number, (unsigned long long)deadline, (unsigned long long)want);
}

static void compare(void) {
  if (line_p != asks(&phys))
    fail_msg("step %llu: CNTP's line is %d", step_number, line_p);
  if (vtimer_cntv_asserted(&vcpu) != asks(&virt))
    fail_msg("step %llu: CNTV asked about: %d", step_number, !asks(&virt));
  if (!loaded && line_v != asks(&virt))
    fail_msg("step %llu: CNTV's line is %d while its vCPU waits", step_number, line_v);
  check_deadline(vcpu.vtimer.cntp_deadline, &phys, line_p);
  check_deadline(vcpu.vtimer.cntv_deadline, &virt, loaded || line_v);
  assert_int_equal(read_register(ID_PCT), now - offset);
  assert_int_equal(read_register(ID_P_CTL), ctl_of(&phys));
  assert_int_equal(read_register(ID_P_CVAL), phys.cval);
  assert_int_equal(read_register(ID_P_TVAL), (uint32_t)(phys.cval - (now - offset)));
}

static void random_run(unsigned seed, uint64_t start) {
  srand(seed);
  world_reset(start);
  for (step_number = 0; step_number < STEPS; step_number++) {
    step();
    compare();
  }
}

static void test_random(void **state) {
  (void)state;
  random_run(1, 0);
  random_run(2, 123456789);
  random_run(3, (uint64_t)1 << 56);
}

/* Registers that are not the physical timer's are not taken; the count cannot be written. */
static void test_foreign(void **state) {
  static const uint32_t foreign[] = {SYSREG_ID(3, 3, 14, 3, 1), SYSREG_ID(3, 3, 14, 0, 0), SYSREG_ID(3, 3, 14, 2, 3),
                                     SYSREG_ID(3, 0, 14, 1, 0)};
  (void)state;
  world_reset(5);
  for (unsigned i = 0; i < ARRAY_SIZE(foreign); i++)
    for (unsigned read = 0; read < 2; read++)
      assert_false(vtimer_sysreg(&vcpu, foreign[i], read, RT));
  assert_false(vtimer_sysreg(&vcpu, ID_PCT, false, RT));
}

/* Reset: both are off, whatever they were. */
static void test_reset(void **state) {
  (void)state;
  world_reset(5);
  write_register(ID_P_CVAL, 100);
  write_register(ID_P_CTL, 1);
  vcpu.el1.cntv_ctl_el0 = 1;
  vtimer_reset(&vcpu);
  assert_int_equal(vtimer_next(&vcpu.vtimer), VTIMER_NEVER);
  assert_int_equal(vcpu.el1.cntv_ctl_el0, 0);
  assert_int_equal(read_register(ID_P_CTL), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_random), cmocka_unit_test(test_foreign), cmocka_unit_test(test_reset)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
