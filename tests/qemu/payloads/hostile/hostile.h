/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HOSTILE_HOSTILE_H
#define HOSTILE_HOSTILE_H

/* The hostile guest: what its stages share. */

#include "core/compiler.h"
#include "tests/qemu/payloads/common/payload.h"

#define HIGH 0xffffff8000000000ull /* the identity map again, through TTBR1: where this program runs */

/* --- guard.S */
struct guard {
  uint64_t active;
  uint64_t traps;      /* exceptions that guarded() took */
  uint64_t interrupts; /* taken on this CPU */
  uint64_t saved[29];
};
_Static_assert(sizeof(struct guard) == 256, "guard.S: GUARD_SHIFT");
extern struct guard guards[8];
uint64_t guarded(uint64_t function, uint64_t a, uint64_t b, uint64_t c);
void run_high(void (*function)(uint64_t), uint64_t argument);
uint64_t guard_recover_address(void);

/* --- ops.S */
extern char ops[], ops_loads_end[], ops_atomics[], ops_atomics_end[], ops_end[], odds[], odds_end[];
#define OP_BYTES 16u
#define ODD_BYTES 8u
void wild_call(uint64_t instruction, const uint64_t arguments[18]);
void op_sp(uint64_t sp);
void op_eret(uint64_t spsr, uint64_t elr);

static inline unsigned op_count(void) {
  return (unsigned)((uint64_t)ops_end - (uint64_t)ops) / OP_BYTES;
}

/* Operations below this number write nothing. */
static inline unsigned op_loads(void) {
  return (unsigned)((uint64_t)ops_loads_end - (uint64_t)ops) / OP_BYTES;
}

/* --- main.c */
struct machine {
  uint64_t ram_end;
  uint64_t scratch; /* upper half of RAM, 2 MiB aligned: may be written and mapped at will */
  uint64_t scratch_bytes;
  uint64_t managed, managed_bytes; /* a range of managed memory; 0: none */
  bool sluice;                     /* under our hypervisor; else on the bare machine, whose real devices some stages spare */
};
extern struct machine machine;
uint64_t random64(void);
uint64_t random_below(uint64_t bound);
uint64_t wild_value(void);   /* random, or one of the values that break things */
uint64_t wild_address(void); /* not our own image: devices, holes, beyond RAM, scratch */
void say_count(const char *what, uint64_t n);
/* Where operation `op` stands; on the bare machine a plain load instead of an atomic, which QEMU 7.2 does not survive on a device. */
uint64_t op_code(unsigned op);

static inline uint64_t do_op(unsigned op, uint64_t address, uint64_t value) {
  return guarded(op_code(op), address, value, 0);
}

extern uint16_t hostile_victim, hostile_accomplice; /* VM ids; 0: there is none */

/* --- smp.c */
/* CPU 1 runs `run` from the upper half, and turns itself off. False: there is no CPU 1. */
bool smp_start_high(void (*run)(uint64_t));
void smp_wait_off(void);

/* --- code.c: instructions made at run time, in the first page of scratch */
#define CODE_SLOTS 512u
/* Put `instruction` and a RET into slot `slot`; code_address() may be called after code_sync(). */
void code_put(unsigned slot, uint32_t instruction);
void code_sync(void);
uint64_t code_address(unsigned slot);

/* --- irq.c */
void irq_reset(void); /* GIC and timers of this CPU as after boot, whatever was written to them */
void irq_drain(void); /* unmask for a moment */

/* --- stages */
void stage_hypercalls(void);
void stage_suspend(void);
void stage_sysreg_reads(void);
void stage_sysreg_writes(void);
void stage_system_operations(void);
void stage_mmio(void);
void stage_outside_ram(void);
void stage_fetches(void);
void stage_all_ram(void);
void stage_page_tables(void);
void stage_table_bases(void);
void stage_odd_instructions(void);
void stage_alignment(void);
void stage_exception_returns(void);
void stage_vectors(void);
void stage_debug(void);
void stage_gic(void);
void stage_timers(void);
void stage_uart(void);
void stage_virtio(void);
void stage_balloon(void);
void stage_balloon_silence(void);
void stage_ffa(void);
void stage_ffa_end(void);
void stage_managed(void);
void stage_waits(void);
void stage_ipi_storm(void);
void stage_cpu_on(void);
void stage_endless_faults(void);

#endif
