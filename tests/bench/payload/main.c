/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The bench payload: a bare EL1 guest that measures what one operation costs, in instructions, and prints `bench: <row> <n>`.
 *
 * Runs under QEMU's `-icount shift=0,sleep=off`, where an instruction takes one nanosecond of virtual time: the virtual count
 * at 62.5 MHz steps every 16 instructions, and many rounds make the mean exact. What is counted are path lengths, not cycles:
 * a TLB or cache miss costs nothing there. The words after `mode=` in the boot arguments choose what is measured; `mode=boot` measures
 * nothing and only comes up. The same image runs without a hypervisor and gives the "bare" column.
 */
#include "bench.h"

uint64_t bench_ns_per_tick(void) {
  return 1000000000u / sysreg_read(cntfrq_el0);
}

void bench_report_count(const char *row, uint64_t count, uint64_t rounds) {
  put_str("bench: ");
  put_str(row);
  put_char(' ');
  put_tenths((count * 10 + rounds / 2) / rounds);
  put_char('\n');
}

void bench_report(const char *row, uint64_t ticks, uint64_t rounds) {
  bench_report_count(row, ticks * bench_ns_per_tick(), rounds);
}

const char payload_complaint[] = "bench: FAIL: ";

/* Sleep long enough for every other VM of the scenario to be entered. */
static void wait_for_others(void) {
  uint64_t deadline = payload_ticks() + 2000000 / bench_ns_per_tick();
  sysreg_write(cntv_cval_el0, deadline);
  sysreg_write(cntv_ctl_el0, 1);
  isb();
  while (payload_ticks() < deadline)
    wfi();
  sysreg_write(cntv_ctl_el0, 0);
}

static void run(const char *mode, uint64_t ram_bytes) {
  if (payload_has_word(mode, "boot"))
    wait_for_others();
  if (payload_has_word(mode, "exits"))
    bench_exits();
  if (payload_has_word(mode, "faults4k"))
    bench_faults("fault-4k", ram_bytes, SZ_4K);
  if (payload_has_word(mode, "faults2m"))
    bench_faults("fault-2m", ram_bytes, SZ_2M);
  if (payload_has_word(mode, "faults4kpool"))
    bench_faults("fault-4k-pool", ram_bytes, SZ_4K);
  if (payload_has_word(mode, "faults2mpool"))
    bench_faults("fault-2m-pool", ram_bytes, SZ_2M);
  if (payload_has_word(mode, "cpuon"))
    bench_cpu_on();
  if (payload_has_word(mode, "ipi"))
    bench_ipi();
  if (payload_has_word(mode, "ipi1cpu"))
    bench_one_cpu();
  if (payload_has_word(mode, "switch"))
    bench_switch();
}

void payload_main(const void *dtb) {
  struct payload_fdt fdt = payload_fdt_read(dtb);
  gic_init_distributor();
  gic_init_cpu(0, 27);
  run(fdt.bootargs, fdt.ram_bytes);
  put_str("bench: done\n");
  payload_verdict(0, 0);
}
