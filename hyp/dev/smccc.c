/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * SMC Calling Convention 1.2 (Arm DEN 0028E): who answers which function id, and Sluice's own calls (include/abi/hypercall.h).
 *
 * HVC and SMC reach the same services. The id is W0; registers that a call does not return in are preserved. An id that nobody knows
 * returns NOT_SUPPORTED, sign-extended. Nothing a guest passes is trusted. No lock.
 */
#include "arch/smccc.h"
#include "abi/hypercall.h"
#include "hyp/core/cpu.h"
#include "hyp/core/vcpu.h"
#include "hyp/core/vm.h"
#include "hyp/ctl/ctl.h"
#include "hyp/ctl/trace.h"
#include "hyp/dev/dev.h"
#include "hyp/dev/ffa.h"
#include "hyp/dev/psci.h"
#include "mm/frame.h"

#define REVISION_MAJOR 1
#define REVISION_MINOR 0
#define VENDOR_CALLS 6 /* CALL_COUNT, CALL_UID, REVISION and our three */

static int64_t arch_features(uint32_t fid) {
  return fid == SMCCC_VERSION || fid == SMCCC_ARCH_FEATURES ? SMCCC_RET_SUCCESS : SMCCC_RET_NOT_SUPPORTED;
}

static int64_t call_uid(struct vcpu *v) {
  v->x[1] = SLUICE_UID_1;
  v->x[2] = SLUICE_UID_2;
  v->x[3] = SLUICE_UID_3;
  return SLUICE_UID_0;
}

static int64_t revision(struct vcpu *v) {
  v->x[1] = REVISION_MINOR;
  return REVISION_MAJOR;
}

static int64_t guest_trace(const struct vcpu *v) {
  trace(TRACE_GROUP_GUEST, TRACE_GUEST, vmid_value(&v->vm->s2.vmid), v->x[1], v->x[2], v->x[3], v->x[4], 0);
  return SMCCC_RET_SUCCESS;
}

static int64_t verdict(struct vcpu *v) {
  v->vm->verdict_value = v->x[2];
  v->vm->verdict = v->x[1] == 0 ? VERDICT_PASSED : VERDICT_FAILED;
  ctl_vm_event(v->vm, "verdict");
  return SMCCC_RET_SUCCESS;
}

static uint64_t owned_frames(const struct vm *vm) {
  struct ledger ledger;
  ledger_read_owner(vm->id, &ledger);
  return ledger.frames[FRAME_OWNED] + ledger.frames[FRAME_SHARED] + ledger.frames[FRAME_LENT];
}

static int64_t stat(const struct vcpu *v) {
  switch (v->x[1]) {
  case SLUICE_STAT_S2_FAULTS:
    return (int64_t)stage2_faults(&v->vm->s2);
  case SLUICE_STAT_S2_FAULTS_2M:
    return (int64_t)v->vm->s2.faults_2m;
  case SLUICE_STAT_EXITS:
    return (int64_t)v->exits;
  case SLUICE_STAT_S1_FAULTS:
    return (int64_t)v->s1_faults;
  case SLUICE_STAT_MASKED_MAX:
    return (int64_t)this_cpu()->masked_max;
  case SLUICE_STAT_FRAMES:
    return (int64_t)owned_frames(v->vm);
  }
  return SMCCC_RET_INVALID_PARAMETER;
}

static int64_t vendor_call(struct vcpu *v, uint32_t fid) {
  switch (fid) {
  case SLUICE_HVC_TRACE:
    return guest_trace(v);
  case SLUICE_HVC_VERDICT:
    return verdict(v);
  case SLUICE_HVC_STAT:
    return stat(v);
  case SMCCC_VENDOR_HYP_CALL_UID:
    return call_uid(v);
  case SMCCC_VENDOR_HYP_REVISION:
    return revision(v);
  case SMCCC_VENDOR_HYP_CALL_COUNT:
    return VENDOR_CALLS;
  }
  return SMCCC_RET_NOT_SUPPORTED;
}

static int64_t call(struct vcpu *v, uint32_t fid) {
  switch (fid >> SMCCC_OWNER_SHIFT & 0x3f) {
  case SMCCC_OWNER_STANDARD:
    return ffa_is_call(fid) ? ffa_call(v, fid) : psci_call(v, fid);
  case SMCCC_OWNER_HYP_VENDOR:
    return vendor_call(v, fid);
  case SMCCC_OWNER_ARCH:
    return fid == SMCCC_ARCH_FEATURES ? arch_features((uint32_t)v->x[1]) : SMCCC_RET_NOT_SUPPORTED;
  }
  return SMCCC_RET_NOT_SUPPORTED;
}

static NOINLINE void other_call(struct vcpu *v, uint32_t fid) {
  v->x[0] = (uint64_t)call(v, fid);
}

void dev_smccc(struct vcpu *v) {
  uint32_t fid = (uint32_t)v->x[0];
  if (fid == SMCCC_VERSION)
    v->x[0] = SMCCC_VERSION_1_2;
  else
    other_call(v, fid);
}
