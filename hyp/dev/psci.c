/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * PSCI 1.1 for guests (Arm DEN 0022E): power of vCPUs and of the VM. Calls with 32-bit ids take the low halves of their argument registers.
 *
 * CPU_SUSPEND: a standby waits for an interrupt and goes on after the call; a power-down loses the registers and starts at the entry point
 * when a wake-up event comes (vgic_has_wakeup), unless there is one already: then the call returns SUCCESS, as its description lets it.
 * Power states are those of level 0, the vCPU's own, with any StateID. No affinity levels above 0, no trusted OS to migrate. No state of
 * its own: a vCPU's is in struct vcpu, and the core changes it.
 */
#include "hyp/dev/psci.h"
#include "arch/smccc.h"
#include "arch/sysreg.h"
#include "hyp/core/vcpu.h"
#include "hyp/core/vm.h"

#define PSCI_1_1 0x10001
#define POWER_STATE_ID GENMASK(15, 0) /* the original format, as FEATURES says; the rest is reserved, */
#define POWER_STATE_POWERDOWN BIT(16) /* or the power level [25:24], which is 0 */
#define MIGRATE_NOT_NEEDED 2
#define AFFINITY_ON 0
#define AFFINITY_OFF 1

static uint64_t argument(const struct vcpu *v, uint32_t fid, unsigned n) {
  return (fid & SMCCC_64) ? v->x[n] : (uint32_t)v->x[n];
}

/* Affinities are 0.0.0.id, so that the id is all that may be set. */
static inline struct vcpu *target(struct vcpu *v, uint64_t mpidr) {
  return mpidr < v->vm->vcpu_count ? v->vm->vcpus[mpidr] : NULL;
}

/* An address that is known not to be executable by the caller is refused (CPU_SUSPEND and CPU_ON, entry_point_address). */
static inline bool is_entry(const struct vcpu *v, ipa_t entry) {
  return stage2_is_ram(&v->vm->s2, entry) && !(entry.v & 3);
}

static inline int64_t cpu_on(struct vcpu *v, uint32_t fid) {
  struct vcpu *t = target(v, argument(v, fid, 1));
  ipa_t entry = ipa(argument(v, fid, 2));
  if (t == NULL)
    return PSCI_INVALID_PARAMETERS;
  if (!is_entry(v, entry))
    return PSCI_INVALID_ADDRESS;
  switch (vcpu_power_on(t, entry, argument(v, fid, 3))) {
  case ERR_OK:
    return PSCI_SUCCESS;
  case ERR_EXIST: /* on */
  case ERR_BUSY:  /* on its way off: AFFINITY_INFO still says on */
    return PSCI_ALREADY_ON;
  default:
    return PSCI_INTERNAL_FAILURE;
  }
}

static int64_t cpu_suspend(struct vcpu *v, uint32_t fid) {
  uint32_t state = (uint32_t)v->x[1]; /* 32 bits in both conventions */
  ipa_t entry = ipa(argument(v, fid, 2));
  if (state & ~(POWER_STATE_ID | POWER_STATE_POWERDOWN))
    return PSCI_INVALID_PARAMETERS;
  if (!(state & POWER_STATE_POWERDOWN)) {
    vcpu_block(v);
    return PSCI_SUCCESS;
  }
  if (!is_entry(v, entry))
    return PSCI_INVALID_ADDRESS;
  vcpu_suspend(v, entry, argument(v, fid, 3));
  return PSCI_SUCCESS; /* seen only where an interrupt came before */
}

static int64_t affinity_info(struct vcpu *v, uint32_t fid) {
  struct vcpu *t = target(v, argument(v, fid, 1));
  if (t == NULL || (uint32_t)v->x[2] != 0) /* the lowest level: 32 bits in both conventions */
    return PSCI_INVALID_PARAMETERS;
  return !atomic_load_acquire(&t->powered) && atomic_load_acquire(&t->state) == VCPU_OFF ? AFFINITY_OFF : AFFINITY_ON;
}

static int64_t features(uint32_t fid) {
  switch (fid) {
  case PSCI_VERSION:
  case PSCI_CPU_SUSPEND_32:
  case PSCI_CPU_SUSPEND_64:
  case PSCI_CPU_OFF:
  case PSCI_CPU_ON_32:
  case PSCI_CPU_ON_64:
  case PSCI_AFFINITY_INFO_32:
  case PSCI_AFFINITY_INFO_64:
  case PSCI_MIGRATE_INFO_TYPE:
  case PSCI_SYSTEM_OFF:
  case PSCI_SYSTEM_RESET:
  case PSCI_FEATURES:
  case SMCCC_VERSION:
    return PSCI_SUCCESS;
  }
  return PSCI_NOT_SUPPORTED;
}

static NOINLINE int64_t other_call(struct vcpu *v, uint32_t fid) {
  switch (fid) {
  case PSCI_VERSION:
    return PSCI_1_1;
  case PSCI_CPU_ON_32:
    return cpu_on(v, fid);
  case PSCI_CPU_OFF:
    vcpu_power_off(v);
    return PSCI_DENIED; /* not seen: the vCPU is off when this exit ends */
  case PSCI_CPU_SUSPEND_32:
  case PSCI_CPU_SUSPEND_64:
    return cpu_suspend(v, fid);
  case PSCI_AFFINITY_INFO_32:
  case PSCI_AFFINITY_INFO_64:
    return affinity_info(v, fid);
  case PSCI_MIGRATE_INFO_TYPE:
    return MIGRATE_NOT_NEEDED;
  case PSCI_SYSTEM_OFF:
    vm_system_off(v->vm);
    return PSCI_INTERNAL_FAILURE; /* not seen, as above */
  case PSCI_SYSTEM_RESET:
    vm_system_reset(v->vm);
    return PSCI_INTERNAL_FAILURE;
  case PSCI_FEATURES:
    return features((uint32_t)v->x[1]);
  }
  return PSCI_NOT_SUPPORTED;
}

int64_t psci_call(struct vcpu *v, uint32_t fid) {
  return fid == PSCI_CPU_ON_64 ? cpu_on(v, fid) : other_call(v, fid);
}
