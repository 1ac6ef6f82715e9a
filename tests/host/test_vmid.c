/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The VMID allocator against what a VMID is for: no CPU's TLB may hold, under the VMID that the CPU is about to use, an entry of another
 * VM, and no two VMs may run under one VMID. The model keeps a TLB per CPU that forgets only when the allocator asks for it.
 */
// sources: hyp/mem/vmid.c tests/host/port/port_host.c
// libs: -lpthread
#include "hyp/mem/vmid.h"
#include "mm/port.h"
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define VMS 40u
#define VMID_MAX 65536u
#define NOBODY 0xffu

static struct vmid vms[VMS];
static uint8_t tlb[PORT_CPUS_MAX][VMID_MAX]; /* whose entries the CPU holds under a VMID */
static uint8_t running[PORT_CPUS_MAX];       /* VM, or NOBODY */
static uint16_t running_as[PORT_CPUS_MAX];
static uint64_t rng, flushes;

static unsigned any(unsigned below) {
  rng ^= rng << 13;
  rng ^= rng >> 7;
  rng ^= rng << 17;
  return (unsigned)(rng >> 20) % below;
}

static void start(unsigned bits, unsigned cpus) {
  memset(vms, 0, sizeof(vms));
  memset(tlb, NOBODY, sizeof(tlb));
  memset(running, NOBODY, sizeof(running));
  rng = 88172645463325252ull;
  flushes = 0;
  vmid_init(bits, cpus);
}

static void check_running(unsigned cpus) {
  for (unsigned a = 0; a < cpus; a++) {
    if (running[a] == NOBODY)
      continue;
    assert_int_equal(vmid_value(&vms[running[a]]), running_as[a]); /* what VTTBR_EL2 holds is still that VM's */
    for (unsigned b = 0; b < a; b++)
      if (running[b] != NOBODY)
        assert_int_equal(running[a] == running[b], running_as[a] == running_as[b]);
  }
}

static void activate(unsigned cpu, unsigned vm, unsigned bits) {
  bool flush = vmid_activate(&vms[vm], cpu);
  uint16_t vmid = vmid_value(&vms[vm]);
  if (flush) {
    memset(tlb[cpu], NOBODY, sizeof(tlb[cpu]));
    flushes++;
  }
  assert_true(vmid != 0 && vmid < 1u << bits);
  assert_true(tlb[cpu][vmid] == NOBODY || tlb[cpu][vmid] == vm);
  tlb[cpu][vmid] = (uint8_t)vm;
  running[cpu] = (uint8_t)vm;
  running_as[cpu] = vmid;
}

/* A running guest fills its TLB again and again, also after others have rolled over. */
static void run_on(unsigned cpus) {
  for (unsigned cpu = 0; cpu < cpus; cpu++)
    if (running[cpu] != NOBODY) {
      assert_true(tlb[cpu][running_as[cpu]] == running[cpu] || tlb[cpu][running_as[cpu]] == NOBODY);
      tlb[cpu][running_as[cpu]] = running[cpu];
    }
}

static void random_life(unsigned bits, unsigned cpus, unsigned vm_count, unsigned steps) {
  start(bits, cpus);
  for (unsigned i = 0; i < steps; i++) {
    unsigned cpu = any(cpus), vm = any(vm_count), what = any(20);
    if (what == 0) {
      vmid_deactivate(cpu);
      running[cpu] = NOBODY;
    } else if (what == 1) {
      bool runs = false;
      for (unsigned c = 0; c < cpus; c++)
        runs |= running[c] == vm;
      if (!runs) { /* the VM is destroyed and another takes its place; its entries stay in the TLBs */
        vms[vm].tag = 0;
        for (unsigned c = 0; c < cpus; c++)
          for (unsigned v = 0; v < 1u << bits; v++)
            if (tlb[c][v] == vm)
              tlb[c][v] = NOBODY - 1;
      }
    } else {
      activate(cpu, vm, bits);
    }
    check_running(cpus);
    run_on(cpus);
  }
}

static void test_few_bits(void **state) {
  (void)state;
  random_life(2, 2, 6, 20000);
  random_life(3, 4, 12, 20000);
  random_life(3, 6, 30, 20000);
  random_life(4, 1, 40, 20000);
  random_life(4, 8, 40, 20000);
  assert_true(flushes > 1000);
}

static void test_eight_bits(void **state) {
  (void)state;
  random_life(8, 4, 40, 20000);
  assert_true(vmid_generation() > 2); /* the lives of VMs outnumber 255 */
}

static void test_sixteen_bits_use_all(void **state) {
  struct vmid v;
  (void)state;
  start(16, 2);
  for (unsigned i = 1; i < VMID_MAX; i++) {
    v.tag = 0;
    assert_false(vmid_activate(&v, 0));
    assert_int_equal(vmid_value(&v), i);
  }
  assert_int_equal(vmid_generation(), 1);
  v.tag = 0;
  assert_true(vmid_activate(&v, 0)); /* one more than there are */
  assert_int_equal(vmid_generation(), 2);
  assert_true(vmid_value(&v) != 0);
}

static void test_stays_while_current(void **state) {
  struct vmid a = {0}, b = {0};
  (void)state;
  start(8, 2);
  assert_false(vmid_activate(&a, 0));
  uint16_t was = vmid_value(&a);
  for (unsigned i = 0; i < 1000; i++) {
    assert_false(vmid_activate(i & 1 ? &a : &b, i % 3 == 0));
    assert_int_equal(vmid_value(&a), was);
  }
}

static void test_every_cpu_flushes_once(void **state) {
  struct vmid a = {0}, other;
  (void)state;
  start(3, 3);
  assert_false(vmid_activate(&a, 2));
  while (vmid_generation() == 1) {
    other.tag = 0;
    (void)vmid_activate(&other, 0);
  }
  assert_false(vmid_activate(&other, 0)); /* the one that rolled over was told then */
  assert_true(vmid_activate(&other, 1));
  uint16_t was = vmid_value(&a);
  assert_true(vmid_activate(&a, 2)); /* ran all the while: keeps its VMID, but clears what others left */
  assert_int_equal(vmid_value(&a), was);
  assert_false(vmid_activate(&a, 2));
  vmid_deactivate(1);
  assert_false(vmid_activate(&a, 1));
}

static void test_idle_cpu_flushes_too(void **state) {
  struct vmid other;
  (void)state;
  start(2, 2);
  vmid_deactivate(1);
  while (vmid_generation() == 1) {
    other.tag = 0;
    (void)vmid_activate(&other, 0);
  }
  vmid_deactivate(1); /* must not cover up that a flush is due */
  assert_true(vmid_activate(&other, 1));
}

static void test_too_few_vmids(void **state) {
  (void)state;
  if (PORT_EXPECT_CHECK()) {
    vmid_init(2, 3);
    port_expect_none();
    fail();
  }
}

/* ---- CPUs at the same time ---- */

#define THREADS 4u
#define ROUNDS 30000u

static uint32_t now_running[THREADS]; /* vm << 16 | vmid; 0: none */

static void *cpu_main(void *arg) {
  unsigned cpu = *(unsigned *)arg;
  uint64_t seed = 0x12345678u * (cpu + 1);
  port_host_cpu = cpu;
  for (unsigned i = 0; i < ROUNDS; i++) {
    seed = seed * 6364136223846793005ull + 1442695040888963407ull;
    unsigned vm = (unsigned)(seed >> 33) % 12;
    __atomic_store_n(&now_running[cpu], 0, __ATOMIC_SEQ_CST);
    (void)vmid_activate(&vms[vm], cpu);
    uint16_t vmid = vmid_value(&vms[vm]);
    __atomic_store_n(&now_running[cpu], (vm + 1) << 16 | vmid, __ATOMIC_SEQ_CST);
    for (unsigned other = 0; other < THREADS; other++) {
      uint32_t seen = __atomic_load_n(&now_running[other], __ATOMIC_SEQ_CST);
      if (seen != 0 && (uint16_t)seen == vmid && seen >> 16 != vm + 1)
        port_host_die("two VMs run under one VMID");
    }
    if (seed >> 60 == 0) {
      __atomic_store_n(&now_running[cpu], 0, __ATOMIC_SEQ_CST);
      vmid_deactivate(cpu);
    }
  }
  return NULL;
}

static void test_threads(void **state) {
  pthread_t threads[THREADS];
  static unsigned ids[THREADS] = {0, 1, 2, 3};
  (void)state;
  start(3, THREADS);
  for (unsigned i = 0; i < THREADS; i++)
    assert_int_equal(pthread_create(&threads[i], NULL, cpu_main, &ids[i]), 0);
  for (unsigned i = 0; i < THREADS; i++)
    pthread_join(threads[i], NULL);
  assert_true(vmid_generation() > 100);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_few_bits),
      cmocka_unit_test(test_eight_bits),
      cmocka_unit_test(test_sixteen_bits_use_all),
      cmocka_unit_test(test_stays_while_current),
      cmocka_unit_test(test_every_cpu_flushes_once),
      cmocka_unit_test(test_idle_cpu_flushes_too),
      cmocka_unit_test(test_too_few_vmids),
      cmocka_unit_test(test_threads),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
