/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The victim: a guest beside a hostile one. Fills memory with a pattern, then once in 2 ms checks all of it, its FP registers and its
 * system registers, rewrites a part, and notes how late it was woken. Any difference is a failed verdict.
 *
 * `rounds=` in the boot arguments says how long (default 100), `gives=` to which VM it shares and lends a page. Memory that is checked: 4
 * MiB in 4 KiB steps spread over RAM, so that blocks and pages are both under it. The pattern of a word depends on its address and on the
 * round it was written in.
 */
#include "abi/ffa.h"
#include "arch/gicv3.h"
#include "arch/mmio.h"
#include "arch/smccc.h"
#include "core/compiler.h"
#include "tests/qemu/payloads/common/payload.h"
#include "tests/qemu/payloads/victim/victim.h"

#define PAGES 1024u
#define WORDS_PER_PAGE 64u
#define PERIOD_MS 2u
#define LATE_LIMIT_MS 2000u /* a loaded host counts, too, when QEMU runs without icount */
#define SAY_EVERY 50u

static uint64_t first_page, page_stride;
static uint16_t written_in[PAGES];
static uint64_t rounds = 100;

/* Exceptions count, too: it takes no interrupts (it polls in WFI), so each is one that somebody else caused. */
const char payload_complaint[] = "victim: DISTURBED: ";

static uint64_t pattern(uint64_t address, uint64_t round) {
  uint64_t x = address ^ round << 48 ^ 0x9e3779b97f4a7c15ull;
  x ^= x >> 29;
  return x * 0xbf58476d1ce4e5b9ull;
}

static volatile uint64_t *page_at(unsigned page) {
  return (volatile uint64_t *)(first_page + page * page_stride);
}

static void fill(unsigned page, uint64_t round) {
  volatile uint64_t *words = page_at(page);
  for (unsigned i = 0; i < WORDS_PER_PAGE; i++)
    words[i] = pattern((uint64_t)&words[i], round);
  written_in[page] = (uint16_t)round;
}

static void check(unsigned page) {
  volatile uint64_t *words = page_at(page);
  for (unsigned i = 0; i < WORDS_PER_PAGE; i++) {
    uint64_t expected = pattern((uint64_t)&words[i], written_in[page]);
    if (words[i] != expected)
      payload_fail("memory at", (uint64_t)&words[i]);
  }
}

/* C here is built without FP/SIMD; only these instructions use it. */
#define FP_ALLOWED ".arch_extension fp\n\t.arch_extension simd\n\t"

static void set_registers(uint64_t seed) {
  sysreg_write(tpidr_el0, seed);
  sysreg_write(tpidrro_el0, ~seed);
  sysreg_write(contextidr_el1, seed & 0xffffffff);
  __asm__ volatile(FP_ALLOWED "fmov d0, %0\n\tfmov d17, %1\n\tins v31.d[1], %0" ::"r"(seed), "r"(~seed));
}

static void check_registers(uint64_t seed) {
  uint64_t d0, d17, v31;
  __asm__ volatile(FP_ALLOWED "fmov %0, d0\n\tfmov %1, d17\n\tumov %2, v31.d[1]" : "=r"(d0), "=r"(d17), "=r"(v31));
  if (d0 != seed || d17 != ~seed || v31 != seed)
    payload_fail("FP registers in round with seed", seed);
  if (sysreg_read(tpidr_el0) != seed || sysreg_read(tpidrro_el0) != ~seed || sysreg_read(contextidr_el1) != (seed & 0xffffffff))
    payload_fail("system registers in round with seed", seed);
}

/* The timer's interrupt, pending since the deadline: acknowledged before its line falls, and deactivated. PSTATE.I stays set. */
static void take_timer_interrupt(void) {
  uint64_t intid = sysreg_read_enc(ICC_IAR1_EL1) & 0xffffff;
  sysreg_write(cntv_ctl_el0, 0);
  isb();
  if (intid < GIC_INTID_SPECIAL)
    sysreg_write_enc(ICC_EOIR1_EL1, intid);
}

/* Sleep until `deadline`. Returns how late, in ticks. */
static uint64_t sleep_until(uint64_t deadline) {
  sysreg_write(cntv_cval_el0, deadline);
  sysreg_write(cntv_ctl_el0, 1);
  isb();
  while (payload_ticks() < deadline)
    wfi();
  uint64_t late = payload_ticks() - deadline;
  take_timer_interrupt();
  return late;
}

static void require(bool ok, const char *what, uint64_t value) {
  if (!ok)
    payload_fail(what, value);
}

/* Asked for, never acknowledged, turned off: nothing may be left of it (a level), neither to read nor, once that was read, to end a WFI. */
static void check_timer_is_level(void) {
  uint64_t hz = sysreg_read(cntfrq_el0), deadline, wakes = 0;
  for (unsigned way = 0; way < 3; way++) {
    sysreg_write(cntv_cval_el0, payload_ticks());
    sysreg_write(cntv_ctl_el0, 1);
    isb();
    for (deadline = payload_ticks() + hz / 10000; payload_ticks() < deadline;)
      cpu_relax();
    require((sysreg_read_enc(ICC_HPPIR1_EL1) & 0xffffff) == PPI_CNTV, "timer not pending in way", way);
    if (way == 1)
      sysreg_write(cntv_cval_el0, payload_ticks() + 1000 * hz);
    else
      sysreg_write(cntv_ctl_el0, way == 0 ? 0 : CNT_CTL_ENABLE | CNT_CTL_IMASK);
    isb();
    if (way != 0)
      require((sysreg_read_enc(ICC_HPPIR1_EL1) & 0xffffff) == GIC_INTID_SPURIOUS, "timer still pending in way", way);
    require((sysreg_read_enc(ICC_IAR1_EL1) & 0xffffff) == GIC_INTID_SPURIOUS, "spurious timer interrupt in way", way);
  }
  sysreg_write(cntv_ctl_el0, 0);
  deadline = payload_ticks() + hz / 1000;
  mmio_write32(PAYLOAD_GICR, GICR_ISENABLER0, 1u << PPI_CNTP);
  sysreg_write(cntp_cval_el0, deadline);
  sysreg_write(cntp_ctl_el0, 1);
  isb();
  for (; payload_ticks() < deadline; wakes++)
    wfi();
  sysreg_write(cntp_ctl_el0, 0);
  mmio_write32(PAYLOAD_GICR, GICR_ICENABLER0, 1u << PPI_CNTP);
  require(wakes < 10, "WFI ended early, times", wakes);
  put_str("victim: the timer is a level\n");
}

/*
 * An interrupt made active by software while it is pending in a list register: it reads active, and is not given out till that has ended.
 */
static void check_activation(void) {
  const uint32_t sgi = 1u << 5;
  sysreg_write_enc(ICC_SGI1R_EL1, gic_sgi1r(5, 0));
  isb();
  mmio_write32(PAYLOAD_GICR, GICR_ISACTIVER0, sgi);
  require((mmio_read32(PAYLOAD_GICR, GICR_ISACTIVER0) & sgi) != 0, "ISACTIVER of a pending SGI not kept", 5);
  require((mmio_read32(PAYLOAD_GICR, GICR_ISPENDR0) & sgi) != 0, "ISACTIVER has taken the pending state", 5);
  require((sysreg_read_enc(ICC_IAR1_EL1) & 0xffffff) == GIC_INTID_SPURIOUS, "an active SGI was given out", 5);
  mmio_write32(PAYLOAD_GICR, GICR_ICACTIVER0, sgi);
  uint64_t intid = sysreg_read_enc(ICC_IAR1_EL1) & 0xffffff;
  require(intid == 5, "the SGI was lost; read", intid);
  sysreg_write_enc(ICC_EOIR1_EL1, intid);
  isb();
}

static uint64_t resume_stack[2048] ALIGNED(16);
#define LONGEST_SUSPEND_MS 1024u
static uint64_t suspended_until;
static void check_and_work(void);

/* The CPU interface was reset with the CPU; the interrupt that ended the power-down is still there. */
static void resumed(uint64_t argument) {
  require(argument == 0x5105, "resumed with", argument);
  require(payload_ticks() >= suspended_until, "resumed before the timer", suspended_until);
  gic_init_cpu(0, PPI_CNTV);
  require((sysreg_read_enc(ICC_HPPIR1_EL1) & 0xffffff) == PPI_CNTV, "resumed by", sysreg_read_enc(ICC_HPPIR1_EL1));
  take_timer_interrupt();
  put_str("victim: resumed from a power-down\n");
  check_and_work();
  payload_off();
}

static void arm_timer(uint64_t ticks) {
  suspended_until = payload_ticks() + ticks;
  sysreg_write(cntv_cval_el0, suspended_until);
  sysreg_write(cntv_ctl_el0, 1);
  isb();
}

/* CPU_SUSPEND: bad arguments; then a real power-down, which ends at payload_secondary when the timer fires. */
static void check_suspend(void) {
  static struct payload_cpu_start start ALIGNED(64);
  const uint64_t power_down = 0x10000, entry = (uint64_t)payload_secondary;
  int64_t result = (int64_t)smccc_hvc(PSCI_CPU_SUSPEND_64, 0x10000000 | power_down, entry, 0).x0;
  require(result == PSCI_INVALID_PARAMETERS, "CPU_SUSPEND, reserved bit:", (uint64_t)result);
  result = (int64_t)smccc_hvc(PSCI_CPU_SUSPEND_64, power_down, 0x09000000, 0).x0;
  require(result == PSCI_INVALID_ADDRESS, "CPU_SUSPEND, entry in a device:", (uint64_t)result);
  start = (struct payload_cpu_start){(uint64_t)&resume_stack[2048], resumed, 0x5105};
  dsb(ish);
  for (uint64_t ms = 1; ms <= LONGEST_SUSPEND_MS; ms *= 2) {
    arm_timer(sysreg_read(cntfrq_el0) * ms / 1000);
    result = (int64_t)smccc_hvc(PSCI_CPU_SUSPEND_64, power_down, entry, (uint64_t)&start).x0;
    /* It may return if there was something to wake up for already: a busy host kept us from getting here in time. */
    require(result == PSCI_SUCCESS && payload_ticks() >= suspended_until, "CPU_SUSPEND returned", (uint64_t)result);
  }
  payload_fail("CPU_SUSPEND never powered down", 0);
}

static void one_round(uint64_t round) {
  for (unsigned page = 0; page < PAGES; page++)
    check(page);
  for (unsigned page = (unsigned)round % 16; page < PAGES; page += 16)
    fill(page, round);
}

static void say(uint64_t round) {
  put_str("victim: checksum ok ");
  put_dec(round);
  put_char('\n');
}

static uint64_t work(void) {
  uint64_t hz = sysreg_read(cntfrq_el0), latest = 0;
  for (uint64_t round = 1; round <= rounds; round++) {
    uint64_t seed = pattern(0, round);
    set_registers(seed);
    latest = max_u64(latest, sleep_until(payload_ticks() + hz * PERIOD_MS / 1000));
    one_round(round);
    check_registers(seed);
    if (round % SAY_EVERY == 0)
      say(round);
  }
  return latest * 1000000 / hz;
}

void payload_main(const void *dtb) {
  struct payload_fdt fdt = payload_fdt_read(dtb);
  uint64_t from = PAYLOAD_RAM_BASE + fdt.ram_bytes / 4;
  rounds = payload_number(fdt.bootargs, "rounds", rounds);
  first_page = from;
  page_stride = align_down(fdt.ram_bytes / 2 / PAGES, SZ_4K);
  sysreg_write(cpacr_el1, CPACR_EL1_FPEN);
  gic_init_distributor();
  gic_init_cpu(0, PPI_CNTV);
  for (unsigned page = 0; page < PAGES; page++)
    fill(page, 0);
  uint64_t to = payload_number(fdt.bootargs, "gives", 0);
  if (to && victim_give((uint16_t)to) != FFA_SUCCESS_32)
    payload_fail("could not give to VM", to);
  if (payload_under_sluice()) {
    check_timer_is_level();
    check_activation();
    check_suspend();
  }
  check_and_work();
}

static void check_and_work(void) {
  sysreg_write(cpacr_el1, CPACR_EL1_FPEN);
  uint64_t latest_us = work();
  put_str("victim: latest wake-up ");
  put_dec(latest_us);
  put_str(" us\n");
  if (latest_us > LATE_LIMIT_MS * 1000)
    payload_fail("starved, us", latest_us);
  put_str("victim: undisturbed\n");
  payload_verdict(0, rounds);
}
