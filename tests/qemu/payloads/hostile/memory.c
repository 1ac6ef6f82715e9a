/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Loads, stores, atomics, SIMD and cache maintenance on addresses that are devices, holes, beyond RAM or far beyond any machine; jumps to
 * them; and a touch of all RAM there is.
 *
 * Far addresses are reached through a level-1 table in scratch whose entries point at output addresses of up to 48 bits.
 */
#include "arch/gicv3.h"
#include "hostile.h"

#define ROUNDS_PER_OP 100u

static void all_ops(unsigned rounds, uint64_t (*address)(void)) {
  for (unsigned op = 0; op < op_count(); op++)
    for (unsigned i = 0; i < rounds; i++)
      (void)do_op(op, address(), wild_value());
}

void stage_mmio(void) {
  uint64_t before = guards[0].traps;
  all_ops(ROUNDS_PER_OP, wild_address);
  for (unsigned op = 0; op < op_count(); op++)
    for (unsigned low = 0; low < 16; low++)
      (void)do_op(op, (uint64_t)PAYLOAD_GICD + GICD_IPRIORITYR + low, wild_value());
  say_count("exceptions:", guards[0].traps - before);
}

/* Entry i of level 1 maps VA i GiB to an output address spread over 48 bits; entry 0 and those of RAM stay. */
static void far_table(void) {
  uint64_t *table = (uint64_t *)((machine.scratch + SZ_4K) | HIGH);
  for (uint64_t i = 0; i < 512; i++)
    table[i] = (((i * 0x2f3ull) << 30) & GENMASK(47, 33)) | (i & 7) << 30 | (i & 1 ? 0x705 : 0x401);
  table[0] = payload_table[0];
  dsb(ishst);
  sysreg_write(ttbr0_el1, machine.scratch + SZ_4K);
  isb();
  __asm__ volatile("tlbi vmalle1; dsb nsh; isb" ::: "memory");
}

static uint64_t far_address(void) {
  return (1 + random_below(511)) << 30 | (random64() & 0x3fffffff);
}

/* The guard puts TTBR0 back at each exception, so each access sets up its own. */
static void far_op(uint64_t op, uint64_t address, uint64_t value) {
  far_table();
  ((void (*)(uint64_t, uint64_t))(op_code((unsigned)op)))(address, value);
}

static void restore_table(void) {
  sysreg_write(ttbr0_el1, (uint64_t)payload_table & ~HIGH);
  isb();
  __asm__ volatile("tlbi vmalle1; dsb nsh; isb" ::: "memory");
}

static uint64_t beyond_ram(void) {
  return machine.ram_end - 8 + (random64() & (random64() & 1 ? 0xf : 0xffffffff));
}

void stage_outside_ram(void) {
  uint64_t before = guards[0].traps;
  all_ops(ROUNDS_PER_OP / 2, beyond_ram);
  for (unsigned op = 0; op < op_count(); op++)
    for (unsigned i = 0; i < 8; i++)
      (void)guarded((uint64_t)far_op, op, far_address(), wild_value());
  restore_table();
  say_count("exceptions:", guards[0].traps - before);
}

static void far_jump(uint64_t address) {
  far_table();
  ((void (*)(void))address)();
}

/* On the bare machine only where nothing is: what QEMU fetches from a device register may be any instruction. */
static uint64_t fetch_address(void) {
  if (!machine.sluice)
    return machine.ram_end + (random64() & 0x3ffffffc);
  uint64_t a;
  do
    a = wild_address() & ~(uint64_t)(random64() & 3);
  while (a >= machine.scratch && a < machine.ram_end);
  return a;
}

void stage_fetches(void) {
  uint64_t before = guards[0].traps;
  uint64_t device = payload_table[0];
  payload_table[0] = 0x401; /* executable: the fetch itself goes out */
  dsb(ishst);
  __asm__ volatile("tlbi vmalle1; dsb nsh; isb" ::: "memory");
  for (unsigned i = 0; i < 2000; i++)
    (void)guarded(fetch_address(), 0, 0, 0);
  for (unsigned i = 0; i < 200; i++)
    (void)guarded((uint64_t)far_jump, far_address() & ~(uint64_t)3, 0, 0);
  payload_table[0] = device;
  restore_table();
  say_count("exceptions:", guards[0].traps - before);
}

/* Everything that is there, from the top down and over each 4 KiB: all of it must be paid for by this VM alone. */
void stage_all_ram(void) {
  uint64_t wrong = 0;
  for (uint64_t a = machine.ram_end - SZ_4K; a >= machine.scratch + 2 * SZ_2M; a -= SZ_4K)
    *(volatile uint64_t *)a = a;
  for (uint64_t a = machine.ram_end - SZ_4K; a >= machine.scratch + 2 * SZ_2M; a -= SZ_4K)
    wrong += *(volatile uint64_t *)a != a;
  if (wrong)
    say_count("own pages that lost their contents:", wrong);
}
