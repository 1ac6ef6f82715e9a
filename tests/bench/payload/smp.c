/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Two CPUs: interrupts between them, CPU_ON, and two vCPUs that share one physical CPU.
 *
 * CPU 1 is brought up afresh for each measurement and switched off after it. It answers only through struct ipi_box and struct share, which
 * live in one cache line each; the caller reads them when CPU 1 is off, or has counted up.
 */
#include "bench.h"

#define IPI_ROUNDS 4096u
#define PING_ROUNDS 1024u
#define CPU_ON_ROUNDS 256u
#define WARM_UP 16u
#define SHARE_MS 200u
#define GAP_US 20u /* away for longer than this: another vCPU ran */

static struct ipi_box box ALIGNED(64);
static struct share shares[2] ALIGNED(64);
static uint64_t second_stack[512] ALIGNED(16);
static struct payload_cpu_start second ALIGNED(64);
static uint64_t random_state = 1;

/* 0..63, from the high bits of Knuth's MMIX generator. */
static uint64_t random_nops(void) {
  random_state = random_state * 6364136223846793005ull + 1442695040888963407ull;
  return random_state >> 58;
}

void second_start(void (*run)(uint64_t), uint64_t argument) {
  second = (struct payload_cpu_start){(uint64_t)&second_stack[512], run, argument};
  box = (struct ipi_box){0};
  dsb(ish);
  if (payload_cpu_on(1, (uint64_t)payload_secondary, (uint64_t)&second) != 0) {
    put_str("bench: CPU_ON refused\n");
    payload_off();
  }
}

void second_wait_off(void) {
  while (payload_affinity_info(1) != 1)
    cpu_relax();
}

static void stop_second(void) {
  __atomic_store_n(&box.stop, 1, __ATOMIC_RELEASE);
  dsb(ish);
  sysreg_write_enc(ICC_SGI1R_EL1, gic_sgi1r(BENCH_SGI, 1));
  isb();
  second_wait_off();
}

static void note_ready(void) {
  __atomic_store_n(&box.received_at, 1, __ATOMIC_RELEASE);
}

static void wait_ready(void) {
  while (!__atomic_load_n(&box.received_at, __ATOMIC_ACQUIRE))
    cpu_relax();
}

static void receive(uint64_t unused) {
  (void)unused;
  gic_init_cpu(1, 27);
  note_ready();
  loop_ipi_receive(&box);
}

static uint64_t one_way(unsigned rounds) {
  uint64_t ticks = 0;
  for (unsigned i = 0; i < rounds; i++) {
    loop_nops(random_nops());
    uint64_t sent_at = loop_ipi_send(gic_sgi1r(BENCH_SGI, 1), &box);
    ticks += box.received_at - sent_at;
  }
  return ticks;
}

void bench_ipi(void) {
  second_start(receive, 0);
  wait_ready();
  (void)one_way(WARM_UP);
  bench_report("ipi-one-way", one_way(IPI_ROUNDS), IPI_ROUNDS);
  stop_second();
}

static void answer(uint64_t unused) {
  (void)unused;
  gic_init_cpu(1, 27);
  note_ready();
  loop_pong(gic_sgi1r(BENCH_SGI, 0), &box);
}

void bench_one_cpu(void) {
  second_start(answer, 0);
  wait_ready();
  loop_ping(WARM_UP, gic_sgi1r(BENCH_SGI, 1));
  uint64_t start = payload_ticks();
  loop_ping(PING_ROUNDS, gic_sgi1r(BENCH_SGI, 1));
  bench_report("ipi-round-trip-one-cpu", payload_ticks() - start, PING_ROUNDS);
  stop_second();
}

/* One CPU_ON; false if it was refused. */
static bool cpu_on_once(uint64_t *to_return, uint64_t *to_first) {
  uint64_t ticks[2];
  loop_nops(random_nops());
  loop_cpu_on(1, (uint64_t)bench_cpu_on_entry, (uint64_t)&box, ticks);
  if (ticks[1] == ~(uint64_t)0)
    return false;
  second_wait_off();
  *to_return += ticks[1] - ticks[0];
  *to_first += box.received_at - ticks[0];
  return true;
}

void bench_cpu_on(void) {
  uint64_t to_return = 0, to_first = 0;
  bool on = true;
  for (unsigned i = 0; i < WARM_UP + CPU_ON_ROUNDS && on; i++) {
    if (i == WARM_UP)
      to_return = to_first = 0;
    on = cpu_on_once(&to_return, &to_first);
  }
  if (!on) {
    put_str("bench: CPU_ON refused\n");
    return;
  }
  bench_report("cpu-on-return", to_return, CPU_ON_ROUNDS);
  bench_report("cpu-on-first-instruction", to_first, CPU_ON_ROUNDS);
}

struct window {
  uint64_t from, until, gap;
};

static struct window window;

static void share(uint64_t index) {
  loop_share(window.from, window.until, window.gap, &shares[index]);
}

/* What is left of the window when both vCPUs' own instructions are taken away, over the times one took the CPU from the other. */
void bench_switch(void) {
  uint64_t ns = bench_ns_per_tick(), now = payload_ticks();
  window.from = now + 1000000 / ns;
  window.until = window.from + SHARE_MS * 1000000ull / ns;
  window.gap = GAP_US * 1000 / ns;
  second_start(share, 1);
  share(0);
  second_wait_off();
  uint64_t own = SHARE_ROUND * (shares[0].rounds + shares[1].rounds);
  uint64_t gaps = shares[0].gaps + shares[1].gaps;
  put_str("bench-note: vcpu-switch switches ");
  put_dec(gaps);
  put_char('\n');
  if (gaps && own < SHARE_MS * 1000000ull)
    bench_report_count("vcpu-switch", SHARE_MS * 1000000ull - own, gaps);
}
