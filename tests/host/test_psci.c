/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * PSCI against a model of the state machine that it describes: three CPUs make random calls, right and wrong, interrupts come and go, and
 * after every call the answer, and after every start where the CPU begins and what it finds in its registers, must be the model's. Under
 * test are the calls and the life of a vCPU (hyp/core/vcpu.c); the scheduler is played here: what a vCPU was asked for is carried out when
 * its exit ends.
 */
// sources: hyp/dev/psci.c hyp/core/vcpu.c tests/host/fakehw/hyp_fake.c tests/host/fakehw/vcpu_fake.c
// cflags: -include tests/host/fakehw/vgic_fake.h
#include "arch/smccc.h"
#include "core/bits.h"
#include "fakehw/vcpu_fake.h"
#include "hyp/core/sched.h"
#include "hyp/core/vm.h"
#include "hyp/dev/psci.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define CPUS 3u
#define RAM_BASE 0x40000000ull
#define RAM_BYTES 0x400000ull
#define ENTRY_BAD 0x09000000ull
#define STEPS 200000u

/* ---- the model ---- */

enum power {
  POWER_OFF,
  POWER_ON,
  POWER_STANDBY,
  POWER_DOWN /* suspended; starts anew */
};

static struct {
  enum power power;
  uint64_t entry, context; /* of its next start */
  bool interrupt;          /* one is pending for it */
  uint64_t cval;           /* its virtual timer's */
} model[CPUS];

/* ---- the world ---- */

static struct cpu cpu;
static struct vm vm;
static struct vcpu vcpus[CPUS];
static unsigned offs, resets;
static unsigned long long seed_step;

bool sched_start_vcpu(struct vcpu *v) {
  assert_int_equal(v->state, VCPU_OFF);
  v->state = VCPU_READY;
  return true;
}

void vm_system_off(struct vm *of) {
  assert_ptr_equal(of, &vm);
  offs++;
}

void vm_system_reset(struct vm *of) {
  assert_ptr_equal(of, &vm);
  resets++;
}

/* As load.c does. */
static void load(struct vcpu *v) {
  if (v->reset_pending)
    vcpu_reset(v);
  v->state = VCPU_RUNNING;
}

/* As the end of an exit does (sched.c). */
static void end_exit(unsigned id) {
  struct vcpu *v = &vcpus[id];
  uint32_t req = v->requests;
  v->requests = 0;
  if (req & VCPU_REQ_OFF) {
    vcpu_wipe(v);
    v->state = VCPU_OFF;
  } else if ((req & (VCPU_REQ_BLOCK | VCPU_REQ_SUSPEND)) && !model[id].interrupt) {
    v->state = VCPU_BLOCKED;
    if (req & VCPU_REQ_SUSPEND)
      v->resume = v->reset_pending = true;
  }
}

static void world_reset(void) {
  memset(model, 0, sizeof(model));
  memset(vcpus, 0, sizeof(vcpus));
  memset(&vm, 0, sizeof(vm));
  offs = resets = 0;
  vm.vcpu_count = CPUS;
  vm.s2.ram_base = ipa(RAM_BASE);
  vm.s2.ram_bytes = RAM_BYTES;
  for (unsigned i = 0; i < CPUS; i++) {
    vm.vcpus[i] = &vcpus[i];
    vcpus[i].vm = &vm;
    vcpus[i].id = i;
    vcpus[i].cpu = &cpu;
  }
  assert_int_equal(vcpu_power_on(&vcpus[0], ipa(RAM_BASE), 0x1234), ERR_OK);
  load(&vcpus[0]);
  model[0].power = POWER_ON;
}

static int64_t call(unsigned id, uint32_t fid, uint64_t x1, uint64_t x2, uint64_t x3) {
  struct vcpu *v = &vcpus[id];
  v->x[0] = fid;
  v->x[1] = x1;
  v->x[2] = x2;
  v->x[3] = x3;
  v->x[0] = (uint64_t)psci_call(v, fid);
  int64_t answer = (int64_t)v->x[0];
  end_exit(id);
  return answer;
}

static void expect(int64_t got, int64_t want, const char *what) {
  if (got != want)
    fail_msg("step %llu: %s: %lld, not %lld", seed_step, what, (long long)got, (long long)want);
}

/* ---- what a CPU may do, each with what the model says of it ---- */

static unsigned pick(unsigned below) {
  return (unsigned)rand() % below;
}

static uint64_t pick_entry(void) {
  static const uint64_t entries[] = {RAM_BASE,     RAM_BASE + 0x1000, RAM_BASE + RAM_BYTES - 4, RAM_BASE + RAM_BYTES, RAM_BASE - 4,
                                     RAM_BASE + 2, ENTRY_BAD,         0xffffffff40000000ull,    RAM_BASE + 0x2000};
  return entries[pick(ARRAY_SIZE(entries))];
}

static bool is_good_entry(uint64_t entry) {
  return entry >= RAM_BASE && entry < RAM_BASE + RAM_BYTES && entry % 4 == 0;
}

static uint64_t low(uint64_t value) {
  return value & 0xffffffff;
}

static void do_cpu_on(unsigned id) {
  bool wide = pick(2);
  uint64_t mpidr = pick(20) ? pick(CPUS + 1) : (uint64_t)rand() << 31, entry = pick_entry(),
           context = (uint64_t)rand() << 32 | (uint32_t)rand();
  int64_t got = call(id, wide ? PSCI_CPU_ON_64 : PSCI_CPU_ON_32, mpidr, entry, context);
  if (!wide) {
    mpidr = low(mpidr);
    entry = low(entry);
    context = low(context);
  }
  if (mpidr >= CPUS) {
    expect(got, PSCI_INVALID_PARAMETERS, "CPU_ON of nobody");
  } else if (!is_good_entry(entry)) {
    expect(got, PSCI_INVALID_ADDRESS, "CPU_ON into nothing");
  } else if (model[mpidr].power != POWER_OFF) {
    expect(got, PSCI_ALREADY_ON, "CPU_ON twice");
  } else {
    expect(got, PSCI_SUCCESS, "CPU_ON");
    model[mpidr].power = POWER_ON;
    model[mpidr].entry = entry;
    model[mpidr].context = context;
    model[mpidr].cval = 0; /* its timer is off */
  }
}

static void do_cpu_off(unsigned id) {
  (void)call(id, PSCI_CPU_OFF, rand(), rand(), rand());
  expect(vcpus[id].state, VCPU_OFF, "state after CPU_OFF");
  model[id].power = POWER_OFF;
}

static uint64_t pick_state(void) {
  uint64_t state = (uint64_t)pick(2) << 16 | (pick(2) ? (uint64_t)rand() & 0xffff : 0);
  if (!pick(4))
    state |= 1ull << pick(32); /* perhaps a reserved bit, or a level that is not there */
  return state | (pick(2) ? (uint64_t)rand() << 32 : 0);
}

static void do_suspend(unsigned id) {
  bool wide = pick(2);
  uint64_t state = pick_state(), entry = pick_entry(), context = (uint64_t)rand() << 32 | (uint32_t)rand();
  vcpus[id].el1.cntv_cval_el0 = model[id].cval = (uint64_t)rand();
  int64_t got = call(id, wide ? PSCI_CPU_SUSPEND_64 : PSCI_CPU_SUSPEND_32, state, entry, context);
  if (!wide) {
    entry = low(entry);
    context = low(context);
  }
  if (low(state) >> 17 != 0) {
    expect(got, PSCI_INVALID_PARAMETERS, "CPU_SUSPEND, state");
    return;
  }
  bool down = state >> 16 & 1;
  if (down && !is_good_entry(entry)) {
    expect(got, PSCI_INVALID_ADDRESS, "CPU_SUSPEND into nothing");
    return;
  }
  expect(got, PSCI_SUCCESS, "CPU_SUSPEND");
  if (model[id].interrupt)
    return; /* woken before it began */
  model[id].power = down ? POWER_DOWN : POWER_STANDBY;
  if (down) {
    model[id].entry = entry;
    model[id].context = context;
  }
}

static void do_affinity_info(unsigned id) {
  uint64_t target = pick(CPUS + 1), level = (pick(4) ? 0 : 1 + pick(3)) | (uint64_t)pick(2) << 40;
  int64_t got = call(id, pick(2) ? PSCI_AFFINITY_INFO_64 : PSCI_AFFINITY_INFO_32, target, level, 0);
  if (target >= CPUS || low(level) != 0)
    expect(got, PSCI_INVALID_PARAMETERS, "AFFINITY_INFO of nobody");
  else
    expect(got, model[target].power == POWER_OFF ? 1 : 0, "AFFINITY_INFO");
}

static void do_any_call(unsigned id) {
  switch (pick(8)) {
  case 0:
    do_cpu_off(id);
    break;
  case 1:
  case 2:
    do_suspend(id);
    break;
  case 3:
    do_affinity_info(id);
    break;
  case 4:
    vcpus[id].x[9] = vcpus[id].el1.sp_el1 = 0xdead; /* it works */
    break;
  default:
    do_cpu_on(id);
  }
}

/* Where and as what does a CPU begin? (PSCI, a core's initial state) */
static void check_start(const struct vcpu *v) {
  const struct el1_state *s = &v->el1;
  expect((int64_t)s->elr_el2, (int64_t)model[v->id].entry, "entry");
  expect((int64_t)v->x[0], (int64_t)model[v->id].context, "x0");
  expect((int64_t)s->spsr_el2, 0x3c5, "PSTATE: EL1h, DAIF masked");
  expect((int64_t)(s->sctlr_el1 & 0x1005), 0, "MMU and caches");
  expect((int64_t)(v->x[9] | s->sp_el1), 0, "registers of its earlier life");
  expect((int64_t)s->cntv_cval_el0, (int64_t)model[v->id].cval, "virtual timer");
}

static void wake(unsigned id) {
  struct vcpu *v = &vcpus[id];
  bool starts = v->state == VCPU_READY || (v->state == VCPU_BLOCKED && model[id].power == POWER_DOWN);
  unsigned wipes = fake_gic_resets, interfaces = fake_gic_power_downs;
  load(v);
  if (starts)
    check_start(v);
  if (model[id].power == POWER_DOWN) {
    expect(fake_gic_resets, wipes, "interrupts lost in a power-down");
    expect(fake_gic_power_downs, interfaces + 1, "CPU interface at reset");
  }
  model[id].power = POWER_ON;
  end_exit(id);
}

/* It was loaded for something that is no interrupt: its VM was paused, or its VMID changed. Powered down it stays so; a standby may end. */
static void disturb(unsigned id) {
  load(&vcpus[id]);
  if (model[id].power == POWER_STANDBY)
    model[id].power = POWER_ON;
  end_exit(id);
}

static void step(void) {
  unsigned id = pick(CPUS);
  struct vcpu *v = &vcpus[id];
  model[id].interrupt = pick(3) == 0;
  if (v->state == VCPU_RUNNING)
    do_any_call(id);
  else if (v->state == VCPU_READY || (v->state == VCPU_BLOCKED && model[id].interrupt))
    wake(id);
  else if (v->state == VCPU_BLOCKED && pick(2))
    disturb(id);
}

static void compare(void) {
  unsigned off = 0;
  for (unsigned i = 0; i < CPUS; i++) {
    bool waits = model[i].power == POWER_STANDBY || model[i].power == POWER_DOWN;
    expect(vcpus[i].state == VCPU_OFF, model[i].power == POWER_OFF, "off");
    expect(vcpus[i].state == VCPU_BLOCKED, waits, "waits");
    off += model[i].power == POWER_OFF;
  }
  if (off == CPUS)
    world_reset();
}

static void test_random(void **state) {
  (void)state;
  srand(22);
  world_reset();
  for (seed_step = 0; seed_step < STEPS; seed_step++) {
    step();
    compare();
  }
}

/* CPU_ON while CPU_OFF is on its way: AFFINITY_INFO says on, and so does CPU_ON. */
static void test_on_its_way_off(void **state) {
  (void)state;
  world_reset();
  assert_int_equal(call(0, PSCI_CPU_ON_64, 1, RAM_BASE, 7), PSCI_SUCCESS);
  load(&vcpus[1]);
  (void)psci_call(&vcpus[1], PSCI_CPU_OFF);
  assert_int_equal(call(0, PSCI_AFFINITY_INFO_64, 1, 0, 0), 0);
  assert_int_equal(call(0, PSCI_CPU_ON_64, 1, RAM_BASE, 7), PSCI_ALREADY_ON);
  end_exit(1);
  cpu.current = &vcpus[1]; /* its registers are not saved yet */
  assert_int_equal(call(0, PSCI_CPU_ON_64, 1, RAM_BASE, 7), PSCI_ALREADY_ON);
  cpu.current = NULL;
  assert_int_equal(call(0, PSCI_AFFINITY_INFO_64, 1, 0, 0), 1);
  assert_int_equal(call(0, PSCI_CPU_ON_64, 1, RAM_BASE, 7), PSCI_SUCCESS);
}

/* A VM that is reset while a vCPU sleeps powered down: that one's next start is a CPU_ON's, with nothing left of its life. */
static void test_reset_while_suspended(void **state) {
  (void)state;
  world_reset();
  assert_int_equal(call(0, PSCI_CPU_SUSPEND_64, 0x10000, RAM_BASE, 7), PSCI_SUCCESS);
  vcpus[0].el1.cntv_cval_el0 = 99;
  vcpus[0].state = VCPU_OFF; /* as sched_stop_vcpu() does with one that is loaded nowhere */
  vcpus[0].powered = false;
  unsigned wipes = fake_gic_resets;
  assert_int_equal(vcpu_power_on(&vcpus[0], ipa(RAM_BASE + 8), 5), ERR_OK);
  load(&vcpus[0]);
  assert_int_equal(fake_gic_resets, wipes + 1);
  assert_int_equal(vcpus[0].el1.cntv_cval_el0, 0);
  assert_int_equal(vcpus[0].x[0], 5);
}

static void test_identity(void **state) {
  (void)state;
  world_reset();
  assert_int_equal(call(0, PSCI_VERSION, 0, 0, 0), 0x10001);
  assert_int_equal(call(0, PSCI_MIGRATE_INFO_TYPE, 0, 0, 0), 2);
  (void)call(0, PSCI_SYSTEM_OFF, 0, 0, 0);
  (void)call(0, PSCI_SYSTEM_RESET, 0, 0, 0);
  assert_int_equal(offs, 1);
  assert_int_equal(resets, 1);
}

/* FEATURES knows what there is, and whatever it does not know is NOT_SUPPORTED when called. */
static void test_features(void **state) {
  static const uint32_t known[] = {0x84000000, 0x84000001, 0xc4000001, 0x84000002, 0x84000003, 0xc4000003,
                                   0x84000004, 0xc4000004, 0x84000006, 0x84000008, 0x84000009, 0x8400000a};
  (void)state;
  world_reset();
  assert_int_equal(call(0, PSCI_FEATURES, 0x80000000, 0, 0), 0); /* SMCCC_VERSION: how a guest discovers SMCCC 1.1 */
  for (uint32_t fid = 0; fid < 0x40; fid++)
    for (uint32_t wide = 0; wide < 2; wide++) {
      uint32_t id = 0x84000000 + fid + (wide << 30);
      bool there = false;
      for (unsigned i = 0; i < ARRAY_SIZE(known); i++)
        there |= known[i] == id;
      assert_int_equal(call(0, PSCI_FEATURES, id, 0, 0), there ? 0 : PSCI_NOT_SUPPORTED);
      if (!there)
        assert_int_equal(call(0, id, 0, 0, 0), PSCI_NOT_SUPPORTED);
    }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_random),   cmocka_unit_test(test_on_its_way_off), cmocka_unit_test(test_reset_while_suspended),
      cmocka_unit_test(test_identity), cmocka_unit_test(test_features),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
