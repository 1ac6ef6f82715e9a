/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef PAYLOADS_COMMON_PAYLOAD_H
#define PAYLOADS_COMMON_PAYLOAD_H

/* What the bare EL1 programs under tests/ share: console, device tree, GIC, PSCI, counter. All of it runs with or without a hypervisor. */

#include "arch/barrier.h"
#include "arch/sysreg.h"
#include "core/types.h"

/* QEMU virt's map, which is a guest's map too. */
#define PAYLOAD_GICD ((volatile void *)0x08000000)
#define PAYLOAD_GICR ((volatile void *)0x080a0000)
#define PAYLOAD_UART ((volatile void *)0x09000000)
#define PAYLOAD_RAM_BASE 0x40000000ull

/* --- start.S */
struct payload_cpu_start {
  uint64_t sp;
  void (*run)(uint64_t argument);
  uint64_t argument;
};
void payload_main(const void *dtb);
void payload_secondary(void); /* an address for CPU_ON; context: struct payload_cpu_start */
void payload_mmu_on(void);    /* asm only: clobbers x1 */
_Noreturn void payload_off(void);
_Noreturn void payload_cpu_off(void);
extern uint64_t payload_table[512]; /* level 1 of the identity map */
extern char payload_vectors[];      /* the program's own, 2 KiB aligned, or those of vectors.S */

/* --- uart.c: not locked; one CPU prints at a time */
void put_char(char c);
void put_str(const char *s);
void put_dec(uint64_t value);
void put_hex(uint64_t value);
void put_tenths(uint64_t tenths); /* 123 as "12.3" */
bool line_came(void);             /* has the end of a line been typed? What was typed is forgotten */

/* --- fail.c, vectors.S */
extern const char payload_complaint[]; /* the program's own: what its last line begins with when it fails */
_Noreturn void payload_fail(const char *what, uint64_t value);
void payload_exception(void); /* asm only: the end of an exception that nobody expects */

/* --- fdt.c */
struct payload_fdt {
  const char *bootargs;                 /* "" if there are none */
  uint64_t ram_bytes;                   /* of the first memory node; 0 if there is none */
  uint64_t managed_base, managed_bytes; /* of the first range of managed memory; 0 if there is none */
};
struct payload_fdt payload_fdt_read(const void *dtb);
/* `word` stands in `text`, whole, between separators (start, end, blank, '=' or ','). */
bool payload_has_word(const char *text, const char *word);
/* The decimal number after `word=` in `text`. */
uint64_t payload_number(const char *text, const char *word, uint64_t otherwise);

/* --- gic.c */
void gic_init_distributor(void);
/* This CPU's redistributor (CPU number `cpu`) and interface: all SGIs and PPI `ppi` on, PMR open. PSTATE.I is left alone. */
void gic_init_cpu(unsigned cpu, unsigned ppi);
uint64_t gic_sgi1r(unsigned intid, unsigned cpu);

/* --- psci.c */
int64_t payload_cpu_on(uint64_t mpidr, uint64_t entry, uint64_t context);
int64_t payload_affinity_info(uint64_t mpidr);
/* Tell the hypervisor, if it is ours, how it went (0: passed). Elsewhere nothing happens. */
void payload_verdict(uint64_t status, uint64_t value);
bool payload_under_sluice(void);

/* The virtual count, not earlier than everything before it (ISB: Arm ARM D11.2.1). */
static inline uint64_t payload_ticks(void) {
  isb();
  return sysreg_read(cntvct_el0);
}

#endif
