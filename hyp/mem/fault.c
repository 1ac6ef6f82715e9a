/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Stage-2 faults. RAM that is not backed yet is populated; anything that is neither RAM nor a device becomes the synchronous external abort
 * that the bus would have answered with. A fault on the guest's own stage-1 walk (S1PTW) is a fault on the table's address: served the
 * same, reflected as an abort on the walk.
 *
 * HPFAR_EL2 holds the IPA for translation and access-flag faults and for walks; for a permission fault it may not (Arm ARM D17.2.63), so
 * there the address is translated again, and if that fails the instruction is simply run again: the guest has changed its tables meanwhile.
 */
#include "hyp/mem/fault.h"
#include "arch/barrier.h"
#include "arch/esr.h"
#include "arch/sysreg.h"
#include "core/check.h"
#include "core/compiler.h"
#include "hyp/arch/translate.h"
#include "hyp/core/vm.h"
#include "hyp/ctl/ctl.h"
#include "hyp/ctl/trace.h"
#include "hyp/dev/dev.h"
#include "hyp/dev/insn.h"
#include "hyp/mem/exhaust.h"
#include "hyp/mem/managed.h"
#include "hyp/mem/stage2.h"
#include "hyp/mem/view.h"

static uint64_t hpfar_ipa(void) {
  return (sysreg_read(hpfar_el2) & GENMASK(43, 4)) << 8;
}

static ALWAYS_INLINE void note(struct vcpu *v, uint64_t ipa_value, uint64_t esr, enum trace_fault_result result) {
  trace(TRACE_GROUP_FAULT, TRACE_S2_FAULT, vmid_value(&v->vm->s2.vmid), ipa_value, esr, sysreg_read(far_el2), vcpu_pc(), result);
}

/* Stage 1 of the guest's present regime for `address`. False if it does not translate. */
static bool translate_stage1(uint64_t address, uint64_t *out) {
  bool from_el0 = (vcpu_pstate() & PSR_M_MASK) == PSR_EL0t;
  return from_el0 ? translate_el0_read(address, out) : translate_el1_read(address, out);
}

/* The IPA that faulted; false if it cannot be had and the instruction should just run again. */
static bool fault_ipa(uint64_t esr, uint64_t *at) {
  uint64_t far = sysreg_read(far_el2);
  if (esr_fsc_type(esr) == ESR_FSC_PERMISSION && !(esr & ESR_S1PTW))
    return translate_stage1(far, at);
  *at = hpfar_ipa() | (esr & ESR_S1PTW ? 0 : far & ~PAGE_MASK);
  return true;
}

static void external_abort(struct vcpu *v, uint64_t esr, bool instruction, uint64_t at) {
  unsigned fsc = esr & ESR_S1PTW ? ESR_FSC_EXTERNAL_WALK | esr_fsc_level(esr) : ESR_FSC_EXTERNAL;
  note(v, at, esr, TRACE_FAULT_REFLECTED);
  report_guest_trap(v, instruction ? "fetch from where nothing is" : "access to where nothing is", esr, sysreg_read(far_el2), at);
  inject_abort(v, instruction, sysreg_read(far_el2), fsc);
}

/* RAM that is mapped: its access flag, or the guest raced with a change and may try again. */
static void touch_mapped(struct vcpu *v, uint64_t esr, uint64_t at) {
  struct stage2 *s2 = &v->vm->s2;
  note(v, at, esr, TRACE_FAULT_SPURIOUS);
  if (esr_fsc_type(esr) != ESR_FSC_ACCESS_FLAG)
    return;
  spin_lock(&s2->lock);
  err_t err = pt_mark_accessed(&s2->pt, at, (esr & ESR_WnR) != 0);
  spin_unlock(&s2->lock);
  (void)err; /* ERR_NOENT: unmapped meanwhile; the access is repeated and faults as what it then is */
}

static NOINLINE void note_mapped(struct vcpu *v, uint64_t esr, uint64_t at) {
  struct pt_leaf leaf;
  struct stage2 *s2 = &v->vm->s2;
  spin_lock(&s2->lock);
  bool block = pt_lookup(&s2->pt, at, &leaf) == ERR_OK && leaf.level == 2;
  spin_unlock(&s2->lock);
  note(v, at, esr, block ? TRACE_FAULT_MAPPED_2M : TRACE_FAULT_MAPPED_4K);
}

static NOINLINE void serve_rare(struct vcpu *v, uint64_t esr, uint64_t at) {
  if (v->views == NULL)
    touch_mapped(v, esr, at);
  else if (view_fault(v, esr, ipa(at)) != ERR_OK)
    external_abort(v, esr, esr_ec(esr) == ESR_EC_IABT_LOWER, at);
}

/*
 * RAM that was populated and somebody listens, or could not be populated. ESR_EL2 and the address registers still hold this fault, since
 * EL2 takes no exception of its own: read again here, they need not be kept over the usual path.
 */
static NOINLINE void populated_rare(struct vcpu *v, err_t err) {
  uint64_t at, esr = sysreg_read(esr_el2);
  CHECK(fault_ipa(esr, &at)); /* a translation fault: HPFAR_EL2 has it */
  if (err == ERR_PERM) {      /* it has handed that memory over */
    external_abort(v, esr, esr_ec(esr) == ESR_EC_IABT_LOWER, at);
    return;
  }
  if (err == ERR_OK) {
    note_mapped(v, esr, at);
    return;
  }
  note(v, at, esr, TRACE_FAULT_NOMEM);
  exhaust_wait(v, at, err);
}

/* A fault on RAM: after this the access can be tried again. */
static NOINLINE void serve_ram(struct vcpu *v, uint64_t esr, uint64_t at) {
  if (unlikely(v->views != NULL || esr_fsc_type(esr) != ESR_FSC_TRANSLATION)) {
    serve_rare(v, esr, at);
    return;
  }
  v->s2_faults++;
  err_t err = stage2_populate_ram(&v->vm->s2, at);
  if (unlikely(err != ERR_OK || trace_on(TRACE_GROUP_FAULT)))
    populated_rare(v, err);
}

/* A load of less than its register, sign-extended. */
static NOINLINE uint64_t extend_signed(uint64_t value, uint64_t esr) {
  value = (uint64_t)bits_sext(value, 8 * esr_access_bytes(esr));
  return esr & ESR_SF ? value : (uint32_t)value;
}

static void next_instruction(struct vcpu *v, uint64_t esr, uint64_t at) {
  note(v, at, esr, TRACE_FAULT_MMIO);
  sysreg_write(elr_el2, sysreg_read(elr_el2) + 4); /* a valid syndrome in AArch64 is of a 4-byte instruction */
}

static NOINLINE void device_read(struct vcpu *v, uint64_t esr, uint64_t at) {
  struct mmio_result r = dev_mmio_read(v, at, esr_access_bytes(esr));
  if (unlikely(!r.claimed)) {
    external_abort(v, esr, false, at);
    return;
  }
  if (unlikely(esr & ESR_SSE))
    r.value = extend_signed(r.value, esr);
  vcpu_set_reg(v, esr_srt(esr), r.value);
  next_instruction(v, esr, at);
}

static NOINLINE void device_write(struct vcpu *v, uint64_t esr, uint64_t at) {
  if (unlikely(!dev_mmio_write(v, at, esr_access_bytes(esr), vcpu_reg(v, esr_srt(esr)))))
    external_abort(v, esr, false, at);
  else
    next_instruction(v, esr, at);
}

/* No syndrome (ISV = 0): the instruction itself must say what it does. */
static NOINLINE void device_access_decoded(struct vcpu *v, uint64_t esr, uint64_t at) {
  uint64_t pc_ipa;
  uint32_t instruction;
  if (!translate_el1_read(vcpu_pc(), &pc_ipa)) /* EL1 may read what EL0 may only execute */
    return;                                    /* its own code is unmapped by now: run again, and let the fetch fault */
  if (stage2_read(&v->vm->s2, &instruction, ipa(pc_ipa), sizeof(instruction)) != ERR_OK || !insn_emulate(v, instruction, ipa(at)))
    external_abort(v, esr, false, at);
}

static NOINLINE void device_rare(struct vcpu *v, uint64_t esr, uint64_t at) {
  if (esr & ESR_S1PTW)
    external_abort(v, esr, false, at);
  else if (esr & ESR_CM)
    vcpu_skip_instruction(); /* cache maintenance by VA has nothing to do where nothing is cached */
  else
    device_access_decoded(v, esr, at);
}

/*
 * A write, or what needs the right to write? Whatever is denied by permission does, since reads are allowed wherever there is a leaf: so
 * also what hardware does to a table on a walk (Linux: kvm_is_write_fault), and DC IVAC. Otherwise walks read, and cache maintenance, which
 * is reported as a write, is none.
 */
static bool is_write(uint64_t esr) {
  return esr_fsc_type(esr) == ESR_FSC_PERMISSION || ((esr & ESR_WnR) && !(esr & (ESR_CM | ESR_S1PTW)));
}

/* Above RAM: managed memory, or nothing. Tables of its own may lie there too, but no code. */
static NOINLINE void above_ram(struct vcpu *v, uint64_t esr, uint64_t at) {
  bool instruction = esr_ec(esr) == ESR_EC_IABT_LOWER;
  if (!stage2_is_managed(&v->vm->s2, ipa(at)) || (instruction && !(esr & ESR_S1PTW))) {
    external_abort(v, esr, instruction, at);
    return;
  }
  note(v, at, esr, TRACE_FAULT_MANAGED);
  managed_fault(v, ipa(at), !instruction && is_write(esr));
}

static bool is_stage2_fault(uint64_t esr) {
  return esr_fsc(esr) < ESR_FSC_EXTERNAL;
}

/* Everything but a plain translation fault of an access of the guest's own. */
static NOINLINE void data_abort_rare(struct vcpu *v, uint64_t esr) {
  uint64_t at;
  if (!is_stage2_fault(esr)) /* a real external or alignment abort that was routed here */
    inject_abort(v, false, sysreg_read(far_el2), esr_fsc(esr));
  else if (!fault_ipa(esr, &at))
    return;
  else if (stage2_is_ram(&v->vm->s2, ipa(at)))
    serve_ram(v, esr, at);
  else if (at >= VM_RAM_BASE)
    above_ram(v, esr, at);
  else
    device_rare(v, esr, at);
}

void fault_data_abort(struct vcpu *v, uint64_t esr) {
  if (unlikely((esr & (ESR_S1PTW | 0x3c)) != ESR_FSC_TRANSLATION)) {
    data_abort_rare(v, esr);
    return;
  }
  uint64_t at = hpfar_ipa() | (sysreg_read(far_el2) & ~PAGE_MASK);
  if (stage2_is_ram(&v->vm->s2, ipa(at)))
    serve_ram(v, esr, at);
  else if (unlikely(at >= VM_RAM_BASE))
    above_ram(v, esr, at);
  else if (unlikely(!(esr & ESR_ISV)))
    device_rare(v, esr, at);
  else if (esr & ESR_WnR)
    device_write(v, esr, at);
  else
    device_read(v, esr, at);
}

void fault_instruction_abort(struct vcpu *v, uint64_t esr) {
  uint64_t at;
  if (unlikely(!is_stage2_fault(esr))) {
    inject_abort(v, true, sysreg_read(far_el2), esr_fsc(esr));
    return;
  }
  if (v->views && esr_fsc_type(esr) == ESR_FSC_PERMISSION && !(esr & ESR_S1PTW)) {
    view_fetch_denied(v); /* needs no IPA, and what EL0 may execute it need not be able to read, so AT might not give one */
    return;
  }
  if (!fault_ipa(esr, &at))
    return;
  if (likely(stage2_is_ram(&v->vm->s2, ipa(at))))
    serve_ram(v, esr, at);
  else
    above_ram(v, esr, at);
}
