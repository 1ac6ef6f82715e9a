/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The hostile guest: does everything to its hypervisor that a guest can do, in bounded stages, and says at the end that it is still
 * there. What counts is what does not happen: the hypervisor does not fall, and the VM beside it does not notice.
 *
 * Random choices come from `seed=` in the boot arguments (default 1, not 0), so a run repeats; `passes=` goes through the stages again.
 * Each stage says its name before it starts: the last one on the console is the one that hangs. Runs on bare QEMU as well, where the same
 * exceptions come from the machine. The program itself stays out of its own fire: it runs from the upper half (guard.S), and stages write
 * only to scratch and to what is not its RAM.
 */
#include "hostile_ffa.h"

struct machine machine;
uint16_t hostile_victim, hostile_accomplice;
static uint64_t random_state = 1;

/* xorshift64* (Vigna). */
uint64_t random64(void) {
  random_state ^= random_state >> 12;
  random_state ^= random_state << 25;
  random_state ^= random_state >> 27;
  return random_state * 2685821657736338717ull;
}

uint64_t random_below(uint64_t bound) {
  return random64() % bound;
}

uint64_t wild_value(void) {
  uint64_t r = random64();
  switch (random_below(8)) {
  case 0:
    return 0;
  case 1:
    return ~(uint64_t)0;
  case 2:
    return (uint64_t)1 << random_below(64);
  case 3:
    return ((uint64_t)1 << random_below(64)) - 1;
  case 4:
    return wild_address();
  case 5:
    return r & 0xff;
  default:
    return r;
  }
}

/* Real devices of a bare machine that could end the run: fw_cfg has DMA. The UART has its own stage. */
static bool is_spared(uint64_t address) {
  uint64_t page = address & ~(SZ_64K - 1);
  return page == 0x09000000 || (!machine.sluice && (page == 0x09020000 || page == 0x09030000));
}

static uint64_t any_address(void) {
  uint64_t r = random64();
  switch (random_below(8)) {
  case 0:
    return 0x08000000 + (r & 0x1ffff); /* GICD and what follows */
  case 1:
    return 0x080a0000 + (r & 0xfffff); /* redistributors, and beyond the last one */
  case 2:
    return 0x0a000000 + (r & 0x3fff); /* virtio-mmio */
  case 3:
    return machine.ram_end - 8 + (r & 0xff); /* across the end */
  case 4:
    return machine.ram_end + (r & 0x1ffffffff); /* beyond */
  case 5:
    return machine.scratch + SZ_2M + r % (machine.scratch_bytes - 2 * SZ_2M);
  case 6:
    return 0x40000000 - 8 + (r & 7); /* just below RAM */
  default:
    return r & 0x3fffffff;
  }
}

uint64_t wild_address(void) {
  uint64_t a;
  do
    a = any_address();
  while (is_spared(a));
  return a;
}

void say_count(const char *what, uint64_t n) {
  put_str("hostile:   ");
  put_str(what);
  put_char(' ');
  put_dec(n);
  put_char('\n');
}

uint64_t op_code(unsigned op) {
  uint64_t code = (uint64_t)ops + op * OP_BYTES;
  bool atomic = code >= (uint64_t)ops_atomics && code < (uint64_t)ops_atomics_end;
  return atomic && !machine.sluice ? (uint64_t)ops : code;
}

const char payload_complaint[] = "hostile: FAIL: ";

#define STAGE(name_)                                                                                                                       \
  do {                                                                                                                                     \
    put_str("hostile: stage " #name_ "\n");                                                                                                \
    stage_##name_();                                                                                                                       \
    irq_reset();                                                                                                                           \
    irq_drain();                                                                                                                           \
  } while (0)

static void processor_and_memory(void) {
  STAGE(hypercalls);
  STAGE(suspend);
  STAGE(odd_instructions);
  STAGE(sysreg_reads);
  STAGE(debug);
  STAGE(mmio);
  STAGE(outside_ram);
  STAGE(fetches);
  STAGE(all_ram);
  STAGE(page_tables);
  STAGE(table_bases);
  STAGE(alignment);
  STAGE(exception_returns);
  STAGE(vectors);
}

static void devices_and_cpus(void) {
  STAGE(gic);
  STAGE(timers);
  STAGE(uart);
  STAGE(virtio);
  STAGE(ffa);
  STAGE(waits);
  STAGE(sysreg_writes);
  STAGE(system_operations);
  STAGE(ipi_storm);
  STAGE(cpu_on);
}

static void survived(void) {
  put_str("hostile: survived ");
  put_dec(guards[0].traps + guards[1].traps);
  put_str(" traps\n");
  payload_verdict(0, guards[0].traps);
  payload_off();
}

/* With the word `virtio` in its boot arguments: nothing else. */
static void run_virtio(uint64_t passes) {
  while (passes--)
    STAGE(virtio);
  survived();
}

/* With the word `balloon`: nothing else. */
static void run_balloon(uint64_t passes) {
  while (passes--)
    STAGE(balloon);
  STAGE(balloon_silence);
  survived();
}

/* With the word `ffa`: nothing else. */
static void run_ffa(uint64_t passes) {
  while (passes--)
    STAGE(ffa);
  STAGE(ffa_end);
  survived();
}

/* Whoever takes what VM `from` gives. */
static void run_accomplice(uint64_t from) {
  uint64_t id[8] = {FFA_ID_GET};
  smccc_hvc8(id);
  self_id = (uint16_t)id[2];
  ffa_accomplice(from);
  payload_verdict(0, 0);
  payload_off();
}

/* With the word `managed`: nothing else. */
static void run_managed(uint64_t passes) {
  while (passes--)
    STAGE(managed);
  survived();
}

static void run(uint64_t passes) {
  while (passes--) {
    processor_and_memory();
    devices_and_cpus();
  }
  STAGE(endless_faults);
  survived();
}

static void choose(const char *bootargs) {
  uint64_t passes = payload_number(bootargs, "passes", 1);
  if (payload_has_word(bootargs, "virtio"))
    run_high(run_virtio, passes);
  else if (payload_has_word(bootargs, "balloon"))
    run_high(run_balloon, passes);
  else if (payload_has_word(bootargs, "managed"))
    run_high(run_managed, passes);
  else if (payload_has_word(bootargs, "ffa"))
    run_high(run_ffa, passes);
  else if (payload_has_word(bootargs, "takes"))
    run_high(run_accomplice, payload_number(bootargs, "takes", 1));
  else
    run_high(run, passes);
}

void payload_main(const void *dtb) {
  struct payload_fdt fdt = payload_fdt_read(dtb);
  machine.sluice = payload_under_sluice();
  machine.ram_end = PAYLOAD_RAM_BASE + fdt.ram_bytes;
  machine.scratch = align_up(PAYLOAD_RAM_BASE + fdt.ram_bytes / 2, SZ_2M);
  machine.scratch_bytes = machine.ram_end - machine.scratch;
  random_state = payload_number(fdt.bootargs, "seed", 1);
  sysreg_write(cpacr_el1, CPACR_EL1_FPEN);
  gic_init_distributor();
  gic_init_cpu(0, 27);
  machine.managed = fdt.managed_base;
  machine.managed_bytes = fdt.managed_bytes;
  hostile_victim = (uint16_t)payload_number(fdt.bootargs, "victim", 0);
  hostile_accomplice = (uint16_t)payload_number(fdt.bootargs, "accomplice", 0);
  choose(fdt.bootargs);
}
