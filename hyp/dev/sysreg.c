/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * System registers that trap. The two that guests use often come first, each recognised by one masked compare of the syndrome: ID registers
 * (HCR_EL2.TID3), answered from a table, and ICC_SGI1R_EL1. Then the physical timer; then what a guest that has read the ID registers may
 * still touch and that is RAZ/WI here: debug registers (MDCR_EL2), ACTLR_EL1. All else is not offered: UNDEFINED, and reported.
 *
 * ISS of a trapped MRS or MSR (Arm ARM D17.2.37):   op0 [21:20]  op2 [19:17]  op1 [16:14]  CRn [13:10]  Rt [9:5]  CRm [4:1]  read [0]
 */
#include "arch/sysreg.h"
#include "arch/esr.h"
#include "core/atomic.h"
#include "hyp/core/vcpu.h"
#include "hyp/core/vm.h"
#include "hyp/ctl/ctl.h"
#include "hyp/dev/dev.h"
#include "hyp/dev/idreg.h"

#define ISS(op0_, op1_, crn_, crm_, op2_, read_)                                                                                           \
  ((uint64_t)(op0_) << 20 | (uint64_t)(op2_) << 17 | (uint64_t)(op1_) << 14 | (uint64_t)(crn_) << 10 | (uint64_t)(crm_) << 1 | (read_))

#define ISS_REGISTER ISS(3, 7, 15, 15, 7, 1)
#define ISS_ID_SPACE ISS(3, 7, 15, 8, 0, 1) /* op0, op1, CRn, upper half of CRm, direction */

#define ID_ACTLR SYSREG_ID(3, 0, 1, 0, 1)
#define ID_REVIDR SYSREG_ID(3, 0, 0, 0, 6)
#define ID_AIDR SYSREG_ID(3, 1, 0, 0, 7)
#define ID_ICC_DIR SYSREG_ID(3, 0, 12, 11, 1)
#define ID_ICC_ASGI1R SYSREG_ID(3, 0, 12, 11, 6)
#define ID_ICC_SGI0R SYSREG_ID(3, 0, 12, 11, 7)
#define ID_OSLSR SYSREG_ID(2, 0, 1, 1, 4)

static uint64_t idreg_values[IDREG_COUNT];

/* The registers of the allow-list; assemblers know the newest ones only by encoding. */
static void idreg_init(void) {
#define KEEP(crm_, op2_)                                                                                                                   \
  idreg_values[IDREG_INDEX(crm_, op2_)] = idreg_filter(IDREG_INDEX(crm_, op2_), sysreg_read(S3_0_C0_C##crm_##_##op2_))
  KEEP(4, 0);
  KEEP(4, 1);
  KEEP(5, 0);
  KEEP(6, 0);
  KEEP(6, 1);
  KEEP(6, 2);
  KEEP(7, 0);
  KEEP(7, 1);
  KEEP(7, 2);
#undef KEEP
}

/* Debug registers: op0 = 2, op1 = 0; the debug communication channel: op1 = 3, CRn = 0. Trace registers (op1 = 1) are not offered. */
static bool is_debug(uint32_t id) {
  return (id & SYSREG_ID(3, 7, 0, 0, 0)) == SYSREG_ID(2, 0, 0, 0, 0) || (id & SYSREG_ID(3, 7, 15, 0, 0)) == SYSREG_ID(2, 3, 0, 0, 0);
}

/* OSLSR_EL1.OSLM = 0b10: an OS lock that is implemented, and never locked. */
static uint64_t read_debug(uint32_t id) {
  return id == ID_OSLSR ? 8 : 0;
}

static bool read_other(struct vcpu *v, uint32_t id, unsigned rt) {
  if (is_debug(id))
    vcpu_set_reg(v, rt, read_debug(id));
  else if (id == ID_ACTLR || id == ID_REVIDR || id == ID_AIDR)
    vcpu_set_reg(v, rt, 0);
  else
    return false;
  return true;
}

/* ICC_ASGI1R_EL1 and ICC_SGI0R_EL1 are for groups that are not there. */
static bool write_other(struct vcpu *v, uint32_t id, unsigned rt) {
  if (id == ID_ICC_DIR)
    vgic_deactivate(v, (unsigned)vcpu_reg(v, rt) & 0xffffff);
  else if (!is_debug(id) && id != ID_ACTLR && id != ID_ICC_ASGI1R && id != ID_ICC_SGI0R)
    return false;
  return true;
}

static NOINLINE bool other(struct vcpu *v, uint64_t esr) {
  uint32_t id = esr_sysreg_id(esr);
  bool is_read = esr_sysreg_is_read(esr);
  unsigned rt = esr_sysreg_rt(esr);
  if (vtimer_sysreg(v, id, is_read, rt))
    return true;
  if (is_read ? read_other(v, id, rt) : write_other(v, id, rt))
    return true;
  report_guest_trap(v, "undefined system register", esr, 0, 0);
  return false;
}

/* A register that reads as zero, or the first that any guest reads. Filling the table twice, on two CPUs, does no harm. */
static NOINLINE bool zero_or_first(struct vcpu *v, unsigned index, unsigned rt) {
  static bool filled;
  if (!atomic_load_acquire(&filled)) { /* by two CPUs at once, perhaps: both write the same */
    idreg_init();
    atomic_store_release(&filled, true);
  }
  vcpu_set_reg(v, rt, idreg_values[index]);
  return true;
}

static inline unsigned id_index(uint64_t esr) {
  return IDREG_INDEX((unsigned)bits_get(esr, 3, 1), (unsigned)bits_get(esr, 19, 17));
}

static inline void skip(void) {
  sysreg_write(elr_el2, sysreg_read(elr_el2) + 4);
}

static NOINLINE void send_sgi(struct vcpu *v, uint64_t esr) {
  skip();
  vgic_send_sgi(v, vcpu_reg(v, esr_sysreg_rt(esr)));
}

static NOINLINE void rare(struct vcpu *v, uint64_t esr) {
  bool is_id = (esr & ISS_ID_SPACE) == ISS(3, 0, 0, 0, 0, 1);
  enum vgic_icc icc = vgic_icc_access(v, esr_sysreg_id(esr), esr_sysreg_is_read(esr), esr_sysreg_rt(esr));
  if (icc == VGIC_ICC_AGAIN)
    return;
  if (icc == VGIC_ICC_DONE || (is_id ? zero_or_first(v, id_index(esr), esr_sysreg_rt(esr)) : other(v, esr)))
    skip();
  else
    inject_undefined(v);
}

void dev_sysreg(struct vcpu *v, uint64_t esr) {
  if ((esr & ISS_ID_SPACE) == ISS(3, 0, 0, 0, 0, 1)) {
    uint64_t value = idreg_values[id_index(esr)];
    if (likely(value != 0)) {
      vcpu_set_reg(v, esr_sysreg_rt(esr), value);
      skip();
      return;
    }
  } else if ((esr & ISS_REGISTER) == ISS(3, 0, 12, 11, 5, 0)) {
    send_sgi(v, esr);
    return;
  }
  rare(v, esr);
}
