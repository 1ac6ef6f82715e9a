/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef GUEST_VM_HOME_H
#define GUEST_VM_HOME_H

/*
 * All that the VM layer must know about the machine beyond mm/port.h. Each home (the guest kernel, host tests) has a "vm_home_impl.h" on
 * its include path that defines, inline, everything below. `ctx` names an address space: the ASID is mm_context_asid(ctx) and must be read
 * AFTER the first DSB of the flush, because a rollover on another CPU may give the space a new one meanwhile (Linux: "arm64: mm: Fix TLBI
 * vs ASID rollover"). The VM layer does not call these for a space that never ran.
 *
 *   void vm_home_tlb_flush(const struct mm_context *ctx, uint64_t start, uint64_t size, bool tables)
 *        Every CPU forgets what it knows of [start, start + size) of that space: DSB ISHST; TLBI VALE1IS per page, VAE1IS if
 *        `tables` (table descriptors went too), or range operations, or ASIDE1IS when that is cheaper; DSB ISH; ISB.
 *   void vm_home_tlb_flush_mm(const struct mm_context *ctx)
 *        The same for the whole space: TLBI ASIDE1IS.
 *   void vm_home_tlb_flush_local_page(const struct mm_context *ctx, uint64_t addr)
 *        This CPU alone forgets one last-level entry: DSB NSHST; TLBI VALE1; DSB NSH; ISB. For an entry that became more permissive.
 *   void vm_home_tlb_flush_local_all(void)
 *        This CPU alone forgets all of EL1&0: TLBI VMALLE1; DSB NSH; ISB. For an ASID rollover.
 *   bool vm_home_trylock(struct port_lock *)
 *        port_lock_acquire() if that needs no waiting; false: somebody, maybe this CPU, has it.
 *   void vm_home_sync_icache(pfn_t frame)
 *        What the data side wrote to the frame becomes visible to instruction fetch on every CPU (Arm ARM B2.4.4): DC CVAU over the
 *        frame unless CTR_EL0.IDC, DSB ISH, IC IALLUIS or IVAU unless CTR_EL0.DIC, DSB ISH.
 */

#include "guest/vm/asid.h"
#include "guest/vm/mm_types.h"

#include "vm_home_impl.h"

#endif
