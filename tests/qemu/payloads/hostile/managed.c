/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Managed memory: every operation on every kind of address in a range that another VM uses at the same time, from two CPUs at once; through
 * aliases with other attributes; as instructions; as page tables, which migrate away under the walk. Even pages are the other's: they are
 * read, never written, and the other finds out if one changed. Odd pages are this program's to lose.
 *
 * Two things are judged here: nothing of the range can be executed, and what this program put into a page that nobody writes is still
 * there.
 */
#include "hostile.h"

#define KEPT_PAGES 8u  /* odd pages that are written once */
#define TABLE_PAGES 2u /* odd pages behind them that are translation tables, or hold instructions */
#define PAGE 4096ull
#define DESC_TABLE 3u
#define DESC_NORMAL_RO 0x785u /* block, AF, inner shareable, read-only, AttrIndx 1 */
#define DESC_DEVICE 0x401u    /* block, AF, AttrIndx 0 */
#define RET 0xd65f03c0u

static uint64_t base, pages;
static uint64_t second_stack[1024] ALIGNED(16);
static struct payload_cpu_start second ALIGNED(64);
static uint32_t stop;

static uint64_t odd_page(uint64_t n) {
  return base + (2 * n + 1) * PAGE;
}

/* An odd page that may be written, at a place from which no operation reaches its neighbours. */
static uint64_t own_address(void) {
  uint64_t first = KEPT_PAGES + TABLE_PAGES;
  return odd_page(first + random_below(pages / 2 - first)) + 64 + random_below(PAGE - 256);
}

/* Anything: also the other's pages, and across both ends. */
static uint64_t any_address(void) {
  uint64_t end = base + pages * PAGE;
  switch (random_below(8)) {
  case 0:
    return end - 32 + random_below(64);
  case 1:
    return base - 32 + random_below(64);
  case 2:
    return end + random_below(SZ_1G);
  default:
    return base + random_below(pages * PAGE - 64);
  }
}

/* Operations from op_loads() on write, but not where stage 2 has nothing. */
static uint64_t attack(unsigned op) {
  return do_op(op, op < op_loads() ? any_address() : own_address(), random64());
}

/* ---- Pages that are written once ---- */

static uint64_t kept_word(uint64_t n, uint64_t i) {
  return n << 32 | i << 1 | 1;
}

static void keep(void) {
  for (uint64_t n = 0; n < KEPT_PAGES; n++)
    for (uint64_t i = 0; i < PAGE / 8; i += 8)
      ((volatile uint64_t *)odd_page(n))[i] = kept_word(n, i);
}

static void fail(const char *what, uint64_t value) {
  put_str("hostile: ");
  put_str(what);
  put_char(' ');
  put_hex(value);
  put_char('\n');
  payload_verdict(1, value);
  payload_off();
}

static void check_kept(void) {
  for (uint64_t n = 0; n < KEPT_PAGES; n++)
    for (uint64_t i = 0; i < PAGE / 8; i += 8)
      if (((volatile uint64_t *)odd_page(n))[i] != kept_word(n, i))
        fail("managed memory changed at", odd_page(n) + 8 * i);
}

/* ---- The second CPU ---- */

static void hammer_high(uint64_t unused) {
  (void)unused;
  for (unsigned i = 0; !__atomic_load_n(&stop, __ATOMIC_ACQUIRE); i++) {
    uint64_t *at = (uint64_t *)(odd_page(KEPT_PAGES + TABLE_PAGES + i % 64) + 64);
    __atomic_fetch_add(at, 1, __ATOMIC_RELAXED);
    (void)*(volatile uint64_t *)(base + 2 * (i * 7 % (pages / 2)) * PAGE);
    if (i % 16 == 0)
      cpu_relax();
  }
  payload_cpu_off();
}

static void hammer(uint64_t unused) {
  (void)unused;
  gic_init_cpu(1, 27);
  run_high((void (*)(uint64_t))((uint64_t)hammer_high & ~HIGH), 0);
}

static bool start_hammer(void) {
  stop = 0;
  second = (struct payload_cpu_start){(uint64_t)&second_stack[1024] & ~HIGH, (void (*)(uint64_t))((uint64_t)hammer & ~HIGH), 0};
  dsb(ish);
  return payload_cpu_on(1, (uint64_t)payload_secondary & ~HIGH, (uint64_t)&second & ~HIGH) == 0;
}

static void stop_hammer(void) {
  __atomic_store_n(&stop, 1, __ATOMIC_RELEASE);
  while (payload_affinity_info(1) != 1)
    cpu_relax();
}

/* ---- Aliases: the same memory as Device, and as what MAIR makes of it ---- */

static void flush(void) {
  dsb(ishst);
  __asm__ volatile("tlbi vmalle1; dsb nsh; isb" ::: "memory");
}

static void back_to_normal(uint64_t mair) {
  sysreg_write(mair_el1, mair);
  sysreg_write(ttbr0_el1, (uint64_t)payload_table & ~HIGH);
  isb();
  flush();
}

static void aliased_op(uint64_t op, uint64_t address, uint64_t table) {
  sysreg_write(ttbr0_el1, table);
  isb();
  flush();
  ((void (*)(uint64_t, uint64_t))(op_code((unsigned)op)))(address, address);
}

static void aliases(void) {
  uint64_t root = machine.scratch + SZ_4K, mair = sysreg_read(mair_el1), *table = (uint64_t *)(root | HIGH);
  for (unsigned i = 0; i < 512; i++)
    table[i] = ((uint64_t)i << 30) | DESC_DEVICE;
  for (unsigned op = 0; op < op_count(); op++) {
    uint64_t at = op < op_loads() ? any_address() : own_address();
    (void)guarded((uint64_t)aliased_op, op, at & ~(uint64_t)63, root);
    (void)guarded((uint64_t)aliased_op, op, at, root);
    back_to_normal((mair & ~(uint64_t)0xff00) | (random_below(2) ? 0x4400 : 0xbb00)); /* non-cacheable; write-through */
    (void)attack(op);
    back_to_normal(mair);
  }
}

/* ---- Tables in the range: the walk's own reads fault in stage 2, and wait, and go on ---- */

static void tables(void) {
  uint64_t root = machine.scratch + SZ_4K, l2 = odd_page(KEPT_PAGES), *table = (uint64_t *)(root | HIGH);
  uint64_t wrong = 0;
  for (unsigned i = 0; i < 512; i++)
    ((volatile uint64_t *)l2)[i] = (PAYLOAD_RAM_BASE + (uint64_t)i * SZ_2M) | DESC_NORMAL_RO;
  for (unsigned i = 0; i < 512; i++)
    table[i] = i == 2 ? l2 | DESC_TABLE : payload_table[i];
  for (unsigned i = 0; i < 500; i++) {
    uint64_t at = random_below(pages) * PAGE;
    wrong += (guarded((uint64_t)aliased_op, 3, 2 * SZ_1G + (base - PAYLOAD_RAM_BASE) + at, root) >> 63) != 0;
  }
  back_to_normal(sysreg_read(mair_el1));
  if (wrong)
    fail("walks through tables in managed memory failed:", wrong);
}

/* ---- Instructions ---- */

static void fetches(void) {
  uint64_t code = odd_page(KEPT_PAGES + 1);
  *(volatile uint32_t *)code = RET;
  __asm__ volatile("dc cvau, %0; dsb ish; ic ivau, %0; dsb ish; isb" ::"r"(code) : "memory");
  if (guarded(code, 0, 0, 0) == 0)
    fail("managed memory was executed at", code);
  for (unsigned i = 0; i < 100; i++)
    if (guarded(any_address() & ~(uint64_t)3, 0, 0, 0) == 0)
      fail("managed memory was executed", 0);
}

void stage_managed(void) {
  uint64_t before = guards[0].traps;
  base = machine.managed;
  pages = machine.managed_bytes / PAGE;
  keep();
  bool two = start_hammer();
  for (unsigned i = 0; i < 20; i++)
    for (unsigned op = 0; op < op_count(); op++)
      (void)attack(op);
  check_kept();
  aliases();
  check_kept();
  tables();
  fetches();
  check_kept();
  if (two)
    stop_hammer();
  say_count("exceptions:", guards[0].traps - before);
}
