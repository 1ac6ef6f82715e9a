/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * VTTBR_EL2 and VTCR_EL2: the CPU's view of one VM's stage 2. Interrupts are masked throughout, so nobody on this CPU sees the moments
 * between. See tlb.c for why EL1 walks are off while a foreign VMID is in the register.
 */
#include "hyp/arch/vttbr.h"
#include "arch/barrier.h"
#include "arch/sysreg.h"
#include "hyp/arch/tlb.h"
#include "hyp/core/cpu.h"
#include "hyp/core/vm.h"
#include "hyp/ctl/trace.h"
#include "hyp/mem/stage2.h"
#include "hyp/mem/view.h"

static uint64_t empty_root[512] ALIGNED(4096); /* in .bss: all entries invalid */

static void write_vttbr(uint64_t value) {
  sysreg_write(vttbr_el2, value);
  trace(TRACE_GROUP_PT, TRACE_VTTBR, (uint16_t)(value >> 48), value, 0, 0, 0, 0);
}

static uint64_t value_of(const struct pt *pt, const struct vmid *vmid) {
  return (uint64_t)vmid_value(vmid) << 48 | pfn_pa(pt->root_pfn).v;
}

static void use(const struct stage2 *s2, const struct pt *pt, struct vmid *vmid) {
  uint64_t before = vmid->tag;
  if (vmid_activate(vmid, this_cpu()->id))
    tlb_flush_all_vmids();
  if (vmid->tag != before)
    dsb(ish); /* the new VMID is seen before the first walk under it: pairs with the DSB in tlb_flush_ipa() */
  uint64_t value = value_of(pt, vmid);
  if (value == sysreg_read(vttbr_el2))
    return; /* another vCPU of the VM that is here already */
  sysreg_write(vtcr_el2, s2->vtcr);
  write_vttbr(value);
  isb();
}

/* Entries that another vCPU of the VM left here are not for `v`: stage 1 may differ, under the same ASID and VMID. */
static inline void own_tlb(struct stage2 *s2, const struct vcpu *v) {
  uint8_t *ran = &s2->ran_here[v->cpu->id];
  if (*ran == v->id + 1)
    return;
  bool flush = *ran != 0;
  *ran = (uint8_t)(v->id + 1);
  if (flush)
    tlb_flush_local();
}

void vttbr_share(struct vcpu *v) {
  own_tlb(&v->vm->s2, v);
}

void vttbr_load(struct vcpu *v) {
  struct stage2 *s2 = &v->vm->s2;
  if (unlikely(v->views != NULL)) { /* views are this vCPU's alone */
    use(s2, &view_active(v)->pt, &view_active(v)->vmid);
    return;
  }
  use(s2, &s2->pt, &s2->vmid);
  own_tlb(s2, v);
}

void vttbr_park(void) {
  write_vttbr((uint64_t)empty_root);
  isb();
  vmid_deactivate(this_cpu()->id);
}

void vttbr_enter(struct vttbr_guard *guard, const struct pt *pt, const struct vmid *vmid) {
  guard->vttbr = sysreg_read(vttbr_el2);
  guard->switched = guard->vttbr >> 48 != vmid_value(vmid);
  if (!guard->switched)
    return;
  guard->tcr_el1 = sysreg_read(tcr_el1);
  guard->sctlr_el1 = sysreg_read(sctlr_el1);
  sysreg_write(tcr_el1, guard->tcr_el1 | TCR_EPD0 | TCR_EPD1);
  isb();
  sysreg_write(sctlr_el1, guard->sctlr_el1 | SCTLR_M); /* off, stage 1 would be flat and stage 2 walked all the same */
  isb();
  write_vttbr(value_of(pt, vmid));
  isb();
}

void vttbr_leave(const struct vttbr_guard *guard) {
  if (!guard->switched)
    return;
  write_vttbr(guard->vttbr);
  isb();
  sysreg_write(sctlr_el1, guard->sctlr_el1);
  isb();
  sysreg_write(tcr_el1, guard->tcr_el1);
  isb();
}
