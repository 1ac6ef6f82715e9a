/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The probes. Accesses go through probe_read(), whose faults the exception table catches; what the fault said is in fault_fixed_esr. The
 * second one is made only under Sluice, which promises zeroed memory: elsewhere an untouched frame may hold anything.
 */
#include "guest/kernel/probe.h"

#include "arch/esr.h"
#include "core/bits.h"
#include "guest/arch/machine.h"
#include "guest/arch/mmu.h"
#include "guest/drivers/psci.h"
#include "guest/kernel/console.h"
#include "guest/kernel/fault.h"
#include "guest/kernel/panic.h"
#include "guest/vm/gfp.h"
#include "mm/page_alloc.h"

/* guest/arch/switch.S: false if the read of *p faulted. */
bool probe_read(const volatile void *p);

#define BEYOND_RAM SZ_1G /* nothing is that far behind the end of RAM */

static void report(const char *what, uint64_t addr, bool as_expected) {
  char text[96];
  esr_describe(fault_fixed_esr, text, sizeof text);
  if (!as_expected)
    panic("probe: %s at %lx: %s", what, addr, text);
  kprintf("probe: %s at %lx: %s, as it must be\n", what, addr, text);
}

static void probe_unbacked(void) {
  pa_t hole = pa(align_up(pfn_pa(machine.ram[machine.ram_count - 1].end).v, SZ_1G) + BEYOND_RAM);
  if (mmu_map_device(hole, PAGE_SIZE) != ERR_OK)
    panic("probe: no memory");
  bool read = probe_read(linear_va(hole));
  report("unbacked ipa", hole.v, !read && esr_fsc(fault_fixed_esr) == ESR_FSC_EXTERNAL);
  mmu_unmap_device(hole, PAGE_SIZE);
}

/* In the middle of a big block: the allocator writes no frame it does not hand out. */
static void probe_untouched_table(void) {
  pfn_t block;
  if (page_alloc(MAX_ORDER, GFP_KERNEL | ALLOC_RETURN_CORE, &block) != ERR_OK)
    panic("probe: no memory");
  pfn_t table = pfn_add(block, 1u << (MAX_ORDER - 1));
  bool read = probe_read(mmu_hang_table(table));
  bool served = !read && esr_fsc_type(fault_fixed_esr) == ESR_FSC_TRANSLATION && esr_fsc_level(fault_fixed_esr) == 2;
  report("walk of a table nobody touched", pfn_pa(table).v, served);
  mmu_drop_table();
  page_free(block, MAX_ORDER);
}

void probe_run(void) {
  probe_unbacked();
  if (sluice_present())
    probe_untouched_table();
}
