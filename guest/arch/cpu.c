/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the CPU is and can do: features read once on the boot CPU, and the per-CPU registers that decide what EL0 may do. Features that
 * the ID registers do not show are not used, so a hypervisor that hides them is obeyed.
 */
#include "guest/arch/cpu.h"

#include "arch/barrier.h"
#include "arch/sysreg.h"
#include "guest/arch/fp.h"
#include "mm/port.h"

void copy_page(void *to, const void *from);

struct cpu cpus[CPUS_MAX];
unsigned cpu_count = 1;
struct cpu_features cpu_features;
uint64_t cpu_zva_bytes;

#define CTR_IDC BIT(28)
#define CTR_DIC BIT(29)
#define DCZID_DZP BIT(4)
#define CNTKCTL_EL0VCTEN BIT(1)
#define HWCAP_FP BIT(0)
#define HWCAP_ASIMD BIT(1)

static void probe_caches(void) {
  uint64_t ctr = sysreg_read(ctr_el0), dczid = sysreg_read(dczid_el0);
  cpu_features.idc = ctr & CTR_IDC;
  cpu_features.dic = ctr & CTR_DIC;
  cpu_features.iline = 4u << bits_get(ctr, 3, 0);
  cpu_features.dline = 4u << bits_get(ctr, 19, 16);
  uint64_t zva = (uint64_t)4 << bits_get(dczid, 3, 0);
  if (!(dczid & DCZID_DZP))
    cpu_zva_bytes = zva;
}

void cpu_probe(void) {
  uint64_t pfr0 = sysreg_read(id_aa64pfr0_el1);
  uint64_t mmfr0 = sysreg_read(id_aa64mmfr0_el1), mmfr1 = sysreg_read(id_aa64mmfr1_el1);
  probe_caches();
  cpu_features.asid_bits = bits_get(mmfr0, 7, 4) == 2 ? 16 : 8;
  cpu_features.pan = bits_get(mmfr1, 23, 20) != 0;
  if (bits_get(pfr0, 19, 16) != 0xf)
    cpu_features.hwcap |= HWCAP_FP;
  if (bits_get(pfr0, 23, 20) != 0xf)
    cpu_features.hwcap |= HWCAP_ASIMD;
}

void cpu_setup_el0(void) {
  sysreg_write(cntkctl_el1, CNTKCTL_EL0VCTEN);
  sysreg_write(tpidrro_el0, 0);
  sysreg_write(mdscr_el1, 0);
  fp_trap_enable();
  if (cpu_features.pan) {
    sysreg_write(sctlr_el1, sysreg_read(sctlr_el1) & ~SCTLR_EL1_SPAN);
    __asm__ volatile(".inst 0xd500419f" ::: "memory"); /* msr pan, #1 */
  }
  isb();
}

void cache_clean_poc(const void *p, uint64_t bytes) {
  uint64_t line = cpu_features.dline;
  for (uint64_t a = align_down((uint64_t)p, line); a < (uint64_t)p + bytes; a += line)
    __asm__ volatile("dc cvac, %0" ::"r"(a) : "memory");
  dsb(sy);
}

/* DC ZVA of another block than the usual, or prohibited: by hand. `bytes` is a multiple of 4 KiB. */
void port_zero_slow(void *to, uint64_t bytes) {
  if (cpu_zva_bytes != 0) {
    for (char *p = to, *end = p + bytes; p < end; p += cpu_zva_bytes)
      __asm__ volatile("dc zva, %0" ::"r"(p) : "memory");
    return;
  }
  for (char *p = to, *end = p + bytes; p < end; p += 16)
    __asm__ volatile("stp xzr, xzr, [%0]" ::"r"(p) : "memory");
}

void port_copy_frame(pfn_t to, pfn_t from) {
  copy_page(port_frame_ptr(to), port_frame_ptr(from));
}
