/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One CPU: a hypercall, emulated registers, an SGI sent to oneself, the virtual timer, first touches of memory.
 *
 * Each loop runs a few rounds unmeasured first, so that what is counted is the warm path. Nothing here needs more than one CPU
 * or any memory but the image's own, except the touches: those walk over RAM far above the image, each page once.
 */
#include "arch/gicv3.h"
#include "arch/pl011.h"
#include "arch/smccc.h"
#include "bench.h"

#define ROUNDS 4096u
#define WARM_UP 64u
#define TIMER_ROUNDS 1024u
#define TIMER_DELTA_TICKS 2000u

/* One statement, measured warm. */
#define MEASURE(row_, rounds_, call_)                                                                                                      \
  do {                                                                                                                                     \
    uint64_t rounds = WARM_UP, start__;                                                                                                    \
    call_;                                                                                                                                 \
    rounds = (rounds_);                                                                                                                    \
    start__ = payload_ticks();                                                                                                             \
    call_;                                                                                                                                 \
    bench_report(row_, payload_ticks() - start__, rounds);                                                                                 \
  } while (0)

static void timer(const char *row, bool in_wfi) {
  (void)loop_vtimer(WARM_UP, TIMER_DELTA_TICKS, in_wfi);
  bench_report(row, loop_vtimer(TIMER_ROUNDS, TIMER_DELTA_TICKS, in_wfi), TIMER_ROUNDS);
}

void bench_exits(void) {
  MEASURE("hvc-smccc-version", ROUNDS, loop_hvc(rounds, SMCCC_VERSION));
  MEASURE("hvc-psci-version", ROUNDS, loop_hvc(rounds, PSCI_VERSION));
  MEASURE("gicd-typer-read", ROUNDS, loop_read32(rounds, (volatile char *)PAYLOAD_GICD + GICD_TYPER));
  MEASURE("gicr-isenabler0-write", ROUNDS, loop_write32(rounds, (volatile char *)PAYLOAD_GICR + GICR_ISENABLER0, 1));
  MEASURE("id-register-read", ROUNDS, loop_read_id(rounds));
  MEASURE("uart-fr-read", ROUNDS, loop_read32(rounds, (volatile char *)PAYLOAD_UART + PL011_FR));
  MEASURE("sgi-self", ROUNDS, loop_sgi_self(rounds, gic_sgi1r(BENCH_SGI, 0)));
  timer("vtimer-spin", false);
  timer("vtimer-wfi", true);
}

/* From 64 MiB up to the end of RAM, at most 64 MiB of 4 KiB pages; the first 8 touches (tables) are not counted. */
void bench_faults(const char *row, uint64_t ram_bytes, uint64_t stride) {
  uint64_t from = PAYLOAD_RAM_BASE + 64 * SZ_1M;
  uint64_t bytes = ram_bytes > 64 * SZ_1M ? ram_bytes - 64 * SZ_1M : 0;
  uint64_t pages = (stride == SZ_4K ? min_u64(bytes, 64 * SZ_1M) : bytes) / stride;
  struct touch_result touch;
  if (pages < 16) {
    put_str("bench: too little memory for the fault rows\n");
    return;
  }
  loop_touch(8, from, stride, &touch);
  uint64_t start = payload_ticks();
  loop_touch(pages - 8, from + 8 * stride, stride, &touch);
  bench_report(row, payload_ticks() - start, pages - 8);
  put_str("bench-note: ");
  put_str(row);
  put_str(" shortest ");
  put_dec(touch.shortest * bench_ns_per_tick());
  put_str(" longest ");
  put_dec(touch.longest * bench_ns_per_tick());
  put_char('\n');
}
