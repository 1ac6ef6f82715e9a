/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Page tables at work under a running MMU: random descriptors that point anywhere, at each other and at themselves; tables outside
 * RAM or in devices; geometries that do not fit. The hardware's walks then leave RAM in every way (stage-2 faults with S1PTW).
 *
 * Only TTBR0 and its tables are touched: the code runs by TTBR1. An output inside RAM is never executable and is writable only as
 * a 4 KiB page of scratch, so that the program does not shoot itself.
 */
#include "hostile.h"

#define TABLES 3u
#define TRIES 3000u
#define DESC_AF BIT(10)
#define DESC_RO BIT(7)
#define DESC_XN (BIT(53) | BIT(54))

static uint64_t table_address(unsigned i) {
  return machine.scratch + (1 + i) * SZ_4K;
}

/* Random attributes; bits 51:48 and 63:59 are noise that must not matter or must fault at stage 1. */
static uint64_t attributes(void) {
  return random64() & (DESC_RO | BIT(6) | GENMASK(9, 8) | BIT(11) | BIT(52) | DESC_XN | BIT(2) | GENMASK(63, 59));
}

static bool in_ram_gib(uint64_t address) {
  return address >> 30 >= 1 && address < align_up(machine.ram_end, SZ_1G);
}

static uint64_t leaf(void) {
  uint64_t output = wild_address() & GENMASK(47, 12);
  if (random_below(4) == 0)
    output = random64() & GENMASK(47, 12);
  uint64_t d = output | attributes() | DESC_AF | 1;
  if (!in_ram_gib(output))
    return d | (random64() & 2);
  if (output >= machine.scratch + SZ_2M && output < machine.ram_end)
    return d | DESC_XN | 2;
  return d | DESC_XN | DESC_RO;
}

static uint64_t next_table(void) {
  switch (random_below(4)) {
  case 0:
    return (wild_address() & GENMASK(47, 12)) | 3;
  case 1:
    return (random64() & GENMASK(47, 12)) | 3;
  default:
    return table_address((unsigned)random_below(TABLES)) | 3;
  }
}

static uint64_t descriptor(void) {
  switch (random_below(4)) {
  case 0:
    return random64() & ~(uint64_t)1;
  case 1:
    return leaf();
  default:
    return next_table();
  }
}

static void fill_tables(void) {
  for (unsigned t = 0; t < TABLES; t++) {
    uint64_t *table = (uint64_t *)(table_address(t) | HIGH);
    for (unsigned i = 0; i < 512; i++)
      table[i] = descriptor();
  }
  dsb(ishst);
}

static void flush(void) {
  __asm__ volatile("tlbi vmalle1; dsb nsh; isb" ::: "memory");
}

/* One access with TTBR0 as given; stores too, as tables made here allow. */
static void access_with(uint64_t ttbr, uint64_t address, uint64_t op) {
  sysreg_write(ttbr0_el1, ttbr);
  isb();
  flush();
  ((void (*)(uint64_t, uint64_t))(op_code((unsigned)op)))(address, address);
}

static void back_to_normal(void) {
  sysreg_write(ttbr0_el1, (uint64_t)payload_table & ~HIGH);
  isb();
  flush();
}

/* A wild root may be anything that looks like a table, even our own image: loads only. */
void stage_table_bases(void) {
  uint64_t before = guards[0].traps, good_tcr = sysreg_read(tcr_el1);
  for (unsigned i = 0; i < TRIES; i++) {
    uint64_t root = random_below(2) ? wild_address() : random64();
    if (random_below(4) == 0)
      sysreg_write(tcr_el1, (good_tcr & ~GENMASK(15, 0)) | (random64() & GENMASK(15, 0)));
    (void)guarded((uint64_t)access_with, root & ~GENMASK(11, 0), random64() & GENMASK(47, 0), random_below(op_loads()));
    sysreg_write(tcr_el1, good_tcr);
    back_to_normal();
  }
  say_count("exceptions:", guards[0].traps - before);
}

void stage_page_tables(void) {
  uint64_t before = guards[0].traps;
  for (unsigned i = 0; i < TRIES; i++) {
    if (i % 16 == 0)
      fill_tables();
    uint64_t root = table_address((unsigned)random_below(TABLES));
    (void)guarded((uint64_t)access_with, root, random64() & GENMASK(38, 0), random_below(op_count()));
  }
  back_to_normal();
  say_count("exceptions:", guards[0].traps - before);
}
