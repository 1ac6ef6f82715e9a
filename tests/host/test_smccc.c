/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * SMCCC: every function id of every owner, by both conventions, is answered by whom the calling convention names or by NOT_SUPPORTED;
 * nothing else in the caller's registers changes. Expectations are written from DEN 0028 and include/abi/hypercall.h's comments, as
 * numbers.
 */
// sources: hyp/dev/smccc.c
// cflags: -include tests/host/fakehw/ctl_fake.h
#include "abi/hypercall.h"
#include "core/bits.h"
#include "hyp/core/vcpu.h"
#include "hyp/core/vm.h"
#include "hyp/ctl/ctl.h"
#include "hyp/ctl/trace.h"
#include "hyp/dev/dev.h"
#include "hyp/dev/ffa.h"
#include "hyp/dev/psci.h"
#include "mm/frame.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define NOT_SUPPORTED (-1)
#define INVALID_PARAMETER (-3)
#define FFA_ANSWER 0x5566778811223344
#define PSCI_ANSWER 0x1122334455667788

static struct vm vm;
static struct vcpu vcpu;
static struct cpu cpu;
static uint32_t psci_fid;
static unsigned psci_calls, ffa_calls, events;
static uint64_t traced[4];
uint64_t trace_mask;

struct cpu *this_cpu(void) {
  return &cpu;
}

int64_t psci_call(struct vcpu *v, uint32_t fid) {
  assert_ptr_equal(v, &vcpu);
  psci_fid = fid;
  psci_calls++;
  return PSCI_ANSWER;
}

int64_t ffa_call(struct vcpu *v, uint32_t fid) {
  assert_ptr_equal(v, &vcpu);
  assert_true((fid & 0xffff) >= 0x60 && (fid & 0xffff) <= 0xef); /* DEN0077A */
  ffa_calls++;
  return FFA_ANSWER;
}

void ctl_vm_event(struct vm *of, const char *what) {
  assert_ptr_equal(of, &vm);
  assert_string_equal(what, "verdict");
  events++;
}

void trace_write(enum trace_type type, uint16_t vmid, uint64_t a0, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4) {
  (void)vmid, (void)a4;
  assert_int_equal(type, TRACE_GUEST);
  memcpy(traced, (uint64_t[4]){a0, a1, a2, a3}, sizeof(traced));
}

void ledger_read_owner(owner_t owner, struct ledger *out) {
  assert_int_equal(owner, vm.id);
  memset(out, 0, sizeof(*out));
  for (unsigned s = 0; s < FRAME_STATES; s++)
    out->frames[s] = 1ull << 8 * (s % 8);
}

static void world_reset(void) {
  memset(&vm, 0, sizeof(vm));
  memset(&vcpu, 0, sizeof(vcpu));
  vm.id = 3;
  vcpu.vm = &vm;
  vcpu.cpu = &cpu;
  psci_calls = events = 0;
  trace_mask = 0;
}

/* Call with every register set, and see that none above x`last` changed. */
static uint64_t call(uint64_t x0, uint64_t x1, uint64_t x2, unsigned last) {
  for (unsigned i = 0; i < 31; i++)
    vcpu.x[i] = 0xabcd0000 + i;
  vcpu.x[0] = x0;
  vcpu.x[1] = x1;
  vcpu.x[2] = x2;
  dev_smccc(&vcpu);
  for (unsigned i = last + 1; i < 31; i++)
    assert_int_equal(vcpu.x[i], i == 1 ? x1 : i == 2 ? x2 : 0xabcd0000 + i);
  return vcpu.x[0];
}

static void test_version(void **state) {
  (void)state;
  world_reset();
  assert_int_equal(call(0x80000000, 0, 0, 0), 0x10002);
  assert_int_equal(call(0xffffffff80000000, 0, 0, 0), 0x10002); /* the id is W0 */
  assert_int_equal(call(0x80000001, 0x80000000, 0, 0), 0);
  assert_int_equal(call(0x80000001, 0x80000001, 0, 0), 0);
  assert_int_equal(call(0x80000001, 0xdead0000u * 0x100000000ull + 0x80000001, 0, 0), 0);
  assert_int_equal((int64_t)call(0x80000001, 0x80008000, 0, 0), NOT_SUPPORTED); /* ARCH_WORKAROUND_1 */
}

/* The UUID's sixteen bytes, in order, are those of W0..W3, each little-endian (DEN 0028, 6.2). */
static void test_uid(void **state) {
  static const uint8_t uuid[16] = {0x5c, 0x1c, 0xe5, 0xe1, 0xba, 0x5e, 0x4d, 0x0c, 0x8f, 0x6a, 0x51, 0xd1, 0xce, 0x00, 0x00, 0x01};
  (void)state;
  world_reset();
  (void)call(0x8600ff01, 1, 2, 3);
  for (unsigned i = 0; i < 16; i++)
    assert_int_equal(vcpu.x[i / 4] >> 8 * (i % 4) & 0xff, uuid[i]);
  for (unsigned i = 0; i < 4; i++)
    assert_int_equal(vcpu.x[i] >> 32, 0);
  assert_int_equal(call(0x8600ff03, 9, 9, 1), 1); /* revision 1.0 */
  assert_int_equal(vcpu.x[1], 0);
  assert_int_equal(call(0x8600ff00, 0, 0, 0), 6);
}

static bool is_known(uint32_t fid) {
  static const uint32_t known[] = {0x80000000, 0x80000001, 0x8600ff00, 0x8600ff01, 0x8600ff03, 0xc6000001, 0xc6000002, 0xc6000003};
  for (unsigned i = 0; i < ARRAY_SIZE(known); i++)
    if (known[i] == fid)
      return true;
  return false;
}

/*
 * Owner 4 is FF-A's from 0x60 to 0xef (fast calls), PSCI's for every other function; everybody else's unknown functions, fast or yielding,
 * are not supported.
 */
static void sweep(uint32_t base) {
  for (uint32_t owner = 0; owner < 64; owner++)
    for (uint32_t function = 0; function < 0x10000; function += function < 0x100 || function >= 0xff00 ? 1 : 0x3c1) {
      uint32_t fid = base | owner << 24 | function;
      unsigned before = psci_calls, ffa_before = ffa_calls;
      if (is_known(fid))
        continue;
      uint64_t answer = call(fid, 0, 0, 0);
      bool ffa = owner == 4 && function >= 0x60 && function <= 0xef && base >> 31, psci = owner == 4 && !ffa;
      assert_int_equal(psci_calls - before, psci);
      assert_int_equal(ffa_calls - ffa_before, ffa);
      if (psci)
        assert_int_equal(psci_fid, fid);
      assert_int_equal(answer, ffa ? (uint64_t)FFA_ANSWER : psci ? (uint64_t)PSCI_ANSWER : (uint64_t)(int64_t)NOT_SUPPORTED);
    }
}

static void test_every_id(void **state) {
  (void)state;
  world_reset();
  sweep(0x80000000);
  sweep(0xc0000000);
  sweep(0x00000000);
  sweep(0x40000000);
}

static void test_verdict(void **state) {
  (void)state;
  world_reset();
  assert_int_equal(call(SLUICE_HVC_VERDICT, 0, 77, 0), 0);
  assert_int_equal(vm.verdict, VERDICT_PASSED);
  assert_int_equal(vm.verdict_value, 77);
  assert_int_equal(call(SLUICE_HVC_VERDICT, 1ull << 40, 5, 0), 0);
  assert_int_equal(vm.verdict, VERDICT_FAILED);
  assert_int_equal(vm.verdict_value, 5);
  assert_int_equal(events, 2);
}

static void test_trace(void **state) {
  (void)state;
  world_reset();
  trace_mask = BIT(TRACE_GROUP_GUEST);
  assert_int_equal(call(SLUICE_HVC_TRACE, 11, 22, 0), 0);
  assert_int_equal(traced[0], 11);
  assert_int_equal(traced[1], 22);
  assert_int_equal(traced[2], 0xabcd0003);
  assert_int_equal(traced[3], 0xabcd0004);
}

static void test_stat(void **state) {
  (void)state;
  world_reset();
  vcpu.exits = 1001;
  vcpu.s1_faults = 1002;
  cpu.masked_max = 1003;
  vm.s2.faults_2m = 1004;
  assert_int_equal(call(SLUICE_HVC_STAT, 1, 0, 0), 1004);
  assert_int_equal(call(SLUICE_HVC_STAT, 2, 0, 0), 1001);
  assert_int_equal(call(SLUICE_HVC_STAT, 3, 0, 0), 1002);
  assert_int_equal(call(SLUICE_HVC_STAT, 4, 0, 0), 1003);
  uint64_t frames = 0;
  static const enum frame_state owned[] = {FRAME_OWNED, FRAME_SHARED, FRAME_LENT};
  for (unsigned i = 0; i < ARRAY_SIZE(owned); i++)
    frames += 1ull << 8 * (owned[i] % 8);
  assert_int_equal(call(SLUICE_HVC_STAT, 5, 0, 0), frames);
  assert_int_equal((int64_t)call(SLUICE_HVC_STAT, 6, 0, 0), INVALID_PARAMETER);
  assert_int_equal((int64_t)call(SLUICE_HVC_STAT, 1ull << 32, 0, 0), INVALID_PARAMETER);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_version), cmocka_unit_test(test_uid),   cmocka_unit_test(test_every_id),
      cmocka_unit_test(test_verdict), cmocka_unit_test(test_trace), cmocka_unit_test(test_stat),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
