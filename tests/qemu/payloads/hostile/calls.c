/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Hypercalls: every owner, both conventions, fast and yielding, HVC and SMC, with wild arguments and immediates.
 *
 * Left out are the few that would end or stop the caller (CPU_OFF, SYSTEM_OFF, SYSTEM_RESET and their kin), CPU_ON, which has its
 * own stage, and our own verdict. CPU_SUSPEND is called only with a timer running.
 */
#include "abi/hypercall.h"
#include "arch/smccc.h"
#include "hostile.h"

#define HVC(immediate_) (0xd4000002u | (uint32_t)(immediate_) << 5)
#define SMC(immediate_) (0xd4000003u | (uint32_t)(immediate_) << 5)
#define FUNCTIONS 40u

/* PSCI: 1, 2, 3, 8, 9, 0xb, 0xc, 0xe, 0x12 suspend, switch on or off, or reset. */
static bool is_spared(uint32_t fid) {
  uint32_t number = fid & 0xffff, owner = fid >> SMCCC_OWNER_SHIFT & 0x3f;
  if (owner == SMCCC_OWNER_STANDARD)
    return number <= 0x1f && (0x45b0eu >> number & 1);
  return fid == SLUICE_HVC_VERDICT;
}

static uint32_t function_number(unsigned i) {
  if (i < 32)
    return i;
  if (i < 36)
    return 0xff00 + i - 32;
  return (uint32_t)random64() & 0xffff;
}

static void call(unsigned slot, uint64_t fid) {
  static uint64_t arguments[18];
  for (unsigned i = 1; i < ARRAY_SIZE(arguments); i++)
    arguments[i] = wild_value();
  arguments[0] = fid;
  (void)guarded((uint64_t)wild_call, code_address(slot), (uint64_t)arguments, 0);
}

static void call_owner(uint32_t owner) {
  for (uint32_t convention = 0; convention < 4; convention++)
    for (unsigned i = 0; i < FUNCTIONS; i++) {
      uint32_t fid = convention << 30 | owner << SMCCC_OWNER_SHIFT | function_number(i);
      if (is_spared(fid))
        continue;
      call(0, fid);
      call(1, fid);
      call(0, fid | random64() << 32);
    }
}

void stage_hypercalls(void) {
  code_put(0, HVC(0));
  code_put(1, SMC(0));
  for (unsigned slot = 2; slot < 64; slot++)
    code_put(slot, (slot & 1 ? SMC(0) : HVC(0)) | (uint32_t)(1 + random_below(0xffff)) << 5);
  code_sync();
  for (uint32_t owner = 0; owner < 64; owner++)
    call_owner(owner);
  for (unsigned slot = 2; slot < 64; slot++)
    call(slot, random64() & 1 ? SMCCC_VERSION : random64());
}

/* CPU_SUSPEND with wild states and entries. A power-down state may come back at the entry, which is here. */
void stage_suspend(void) {
  code_put(0, HVC(0));
  code_sync();
  for (unsigned i = 0; i < 32; i++) {
    static uint64_t arguments[18];
    arguments[0] = i & 1 ? PSCI_CPU_SUSPEND_32 : PSCI_CPU_SUSPEND_64;
    arguments[1] = (i & 2 ? random64() : 0) & ~BIT(16); /* standby: bit 16 would be a power-down */
    arguments[2] = wild_value();
    arguments[3] = wild_value();
    sysreg_write(cntv_cval_el0, payload_ticks() + 100);
    sysreg_write(cntv_ctl_el0, 1);
    (void)guarded((uint64_t)wild_call, code_address(0), (uint64_t)arguments, 0);
  }
}
