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
#include "hyp/ctl/trace.h"
#include "hyp/mem/stage2.h"

static uint64_t empty_root[512] ALIGNED(4096); /* in .bss: all entries invalid */

static void write_vttbr(uint64_t value) {
  sysreg_write(vttbr_el2, value);
  trace(TRACE_GROUP_PT, TRACE_VTTBR, (uint16_t)(value >> 48), value, 0, 0, 0, 0);
}

uint64_t vttbr_value(const struct stage2 *s2) {
  return (uint64_t)vmid_value(&s2->vmid) << 48 | pfn_pa(s2->pt.root_pfn).v;
}

void vttbr_load(struct stage2 *s2, unsigned vcpu_id) {
  unsigned cpu = this_cpu()->id;
  uint8_t mark = (uint8_t)(vcpu_id + 1);
  if (vmid_activate(&s2->vmid, cpu))
    tlb_flush_all_vmids();
  sysreg_write(vtcr_el2, s2->vtcr);
  write_vttbr(vttbr_value(s2));
  isb();
  if (s2->ran_here[cpu] != mark) {
    if (s2->ran_here[cpu] != 0)
      tlb_flush_local();
    s2->ran_here[cpu] = mark;
  }
}

void vttbr_park(void) {
  write_vttbr((uint64_t)empty_root);
  isb();
  vmid_deactivate(this_cpu()->id);
}

void vttbr_enter(struct vttbr_guard *guard, const struct stage2 *s2) {
  guard->vttbr = sysreg_read(vttbr_el2);
  guard->switched = guard->vttbr >> 48 != vmid_value(&s2->vmid);
  if (!guard->switched)
    return;
  guard->tcr_el1 = sysreg_read(tcr_el1);
  guard->sctlr_el1 = sysreg_read(sctlr_el1);
  sysreg_write(tcr_el1, guard->tcr_el1 | TCR_EPD0 | TCR_EPD1);
  isb();
  sysreg_write(sctlr_el1, guard->sctlr_el1 | SCTLR_M); /* off, stage 1 would be flat and stage 2 walked all the same */
  isb();
  write_vttbr(vttbr_value(s2));
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
