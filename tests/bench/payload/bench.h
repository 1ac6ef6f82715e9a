/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BENCH_PAYLOAD_BENCH_H
#define BENCH_PAYLOAD_BENCH_H

/* The bench payload's parts: measuring loops (loops.S, smp.S) and the modes built from them. */

#include "core/compiler.h"
#include "tests/qemu/payloads/common/payload.h"

#define BENCH_SGI 1u /* INTID of every SGI sent here */

/* --- loops.S */
void loop_hvc(uint64_t rounds, uint64_t fid);
void loop_read32(uint64_t rounds, volatile void *address);
void loop_write32(uint64_t rounds, volatile void *address, uint32_t value);
void loop_read_id(uint64_t rounds);
struct touch_result {
  uint64_t shortest, longest; /* ticks */
};
void loop_touch(uint64_t pages, uint64_t address, uint64_t stride, struct touch_result *result);
void loop_sgi_self(uint64_t rounds, uint64_t sgi1r);
uint64_t loop_vtimer(uint64_t rounds, uint64_t delta_ticks, bool in_wfi);

/* --- smp.S */
struct ipi_box {
  uint64_t received_at;
  uint64_t count;
  uint64_t stop;
};
struct share {
  uint64_t rounds; /* of SHARE_ROUND instructions */
  uint64_t gaps;
};
#define SHARE_ROUND 8u
void loop_nops(uint64_t n);
uint64_t loop_ipi_send(uint64_t sgi1r, struct ipi_box *box);
void loop_ipi_receive(struct ipi_box *box);
void loop_ping(uint64_t rounds, uint64_t sgi1r);
void loop_pong(uint64_t sgi1r, struct ipi_box *box);
void loop_cpu_on(uint64_t mpidr, uint64_t entry, uint64_t context, uint64_t ticks[2]);
void bench_cpu_on_entry(void);
void loop_share(uint64_t from, uint64_t until, uint64_t gap_ticks, struct share *result);

/* --- main.c */
/* `bench: <row> <n>`: `ticks` over `rounds`, as instructions (1 ns each under icount) with one decimal. */
void bench_report(const char *row, uint64_t ticks, uint64_t rounds);
void bench_report_count(const char *row, uint64_t count, uint64_t rounds);
uint64_t bench_ns_per_tick(void);

/* --- modes */
void bench_exits(void);
void bench_faults(const char *row, uint64_t ram_bytes, uint64_t stride);
void bench_ipi(void);
void bench_cpu_on(void);
void bench_one_cpu(void);
void bench_switch(void);

/* --- second.c: CPU 1 */
void second_start(void (*run)(uint64_t), uint64_t argument);
void second_wait_off(void);

#endif
