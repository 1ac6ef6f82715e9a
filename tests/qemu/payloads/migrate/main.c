/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Two guests in two ranges of managed memory, which lie one behind the other above RAM: `control` (2 MiB, must not migrate: the turn to
 * speak stands there) and `data` (4 MiB). What a fault that migrates a page costs; or, with `pong=1`, one page that both write in turn; or,
 * with `told=1`, all pages to and fro until the first is sent a line; or, with `scarce=1`, more pages than there is memory for
 * (dts/managed-squeeze.dts).
 *
 * `role=` 1 measures, 2 answers. Each page of data is written by one and read by the other, so that no page ever arrives with wrong
 * contents unnoticed.
 */
#include "tests/qemu/payloads/common/payload.h"

#define PAGE 4096ull
#define PAGES 1024u
#define PONGS 200u
#define PONG_SPINS 100u
#define UNDER_WAY 3u /* a round of the follower's: both have had all pages */

static volatile uint64_t *control, *data;

const char payload_complaint[] = "migrate: FAIL: ";

/* WFE traps: the other gets the CPU. */
static void wait_turn(uint64_t turn) {
  while (__atomic_load_n(&control[0], __ATOMIC_ACQUIRE) != turn)
    __asm__ volatile("wfe" ::: "memory");
}

static void give_turn(uint64_t turn) {
  __atomic_store_n(&control[0], turn, __ATOMIC_RELEASE);
}

static volatile uint64_t *word_of(unsigned page) {
  return &data[page * PAGE / 8 + page % 512];
}

static uint64_t value_of(unsigned page, uint64_t round) {
  return (page + 1) * 0x9e3779b97f4a7c15ull ^ round << 56;
}

/* Every `step`th page from `from` up to `end`. */
static void write_some(unsigned from, unsigned end, unsigned step, uint64_t round) {
  for (unsigned i = from; i < end; i += step)
    *word_of(i) = value_of(i, round);
}

static void check_some(unsigned from, unsigned end, unsigned step, uint64_t round) {
  for (unsigned i = from; i < end; i += step)
    if (*word_of(i) != value_of(i, round))
      payload_fail("page", i);
}

static void write_all(uint64_t round) {
  write_some(0, PAGES, 1, round);
}

static void check_all(uint64_t round) {
  check_some(0, PAGES, 1, round);
}

static void report(const char *row, uint64_t ticks, uint64_t units) {
  put_str("bench: ");
  put_str(row);
  put_char(' ');
  put_tenths((ticks * (10000000000u / sysreg_read(cntfrq_el0)) + units / 2) / units);
  put_char('\n');
}

static void measure(const char *row, void (*what)(uint64_t round), uint64_t round) {
  uint64_t before = payload_ticks();
  what(round);
  report(row, payload_ticks() - before, PAGES);
}

/* Turn by turn, spinning meanwhile as two that share a lock do, but giving way now and then. */
static void play(unsigned role) {
  for (uint64_t i = role - 1; i < PONGS; i += 2) {
    for (unsigned spins = 0; __atomic_load_n(&data[0], __ATOMIC_ACQUIRE) != i;)
      if (++spins % PONG_SPINS == 0)
        __asm__ volatile("wfe" ::: "memory");
    __atomic_store_n(&data[0], i + 1, __ATOMIC_RELEASE);
  }
}

static void lead(void) {
  measure("managed-populate", write_all, 1);
  measure("managed-touch", check_all, 1); /* nothing but the loop */
  give_turn(1);
  wait_turn(2); /* the other has read all, and written again */
  measure("managed-migrate-read", check_all, 2);
  write_all(3);
  give_turn(3);
  wait_turn(4);
  measure("managed-migrate-write", write_all, 5);
  give_turn(5);
  wait_turn(6);
}

static void follow(void) {
  wait_turn(1);
  check_all(1);
  write_all(2);
  give_turn(2);
  wait_turn(3);
  check_all(3);
  give_turn(4);
  wait_turn(5);
  check_all(5);
  give_turn(6);
}

/*
 * To and fro: each reads what the other wrote, and writes it anew. The turn says which round it is. Who has been told to stop says so in
 * control[1], in its last turn.
 */
static void alternate(uint64_t role) {
  bool over = false;
  for (uint64_t i = role - 1; !over; i += 2) {
    wait_turn(i);
    if (i > 0)
      check_all(i - 1);
    over = control[1] != 0;
    if (!over)
      write_all(i);
    if (role == 1 && line_came())
      control[1] = over = true;
    if (i == UNDER_WAY)
      put_str("migrate: under way\n");
    give_turn(i + 1);
  }
}

/* Nobody has had these pages: whatever was in their frames before is not to be seen. */
static void check_new(unsigned from, unsigned end) {
  for (uint64_t i = from * PAGE / 8; i < end * PAGE / 8; i++)
    if (data[i] != 0)
      payload_fail("not new, word", i);
}

/* The first block is there twice when memory runs out; the two behind it are touched by the leader only then. */
static void be_scarce(uint64_t role) {
  const unsigned twice = PAGES / 2, end = PAGES + PAGES / 2;
  if (role == 1) {
    write_some(0, twice, 1, 1);
    give_turn(1);
    wait_turn(2);
    check_new(twice, end);
    write_some(twice, end, 1, 1);
    give_turn(3);
    return;
  }
  wait_turn(1);
  check_some(0, twice, 1, 1);
  put_str("migrate: copies made\n");
  give_turn(2);
  put_str("migrate: your turn\n");
  check_some(0, twice, 1, 1);
  write_some(1, twice, 2, 2);
  check_some(0, twice, 2, 1);
  check_some(1, twice, 2, 2);
  put_str("migrate: all there\n");
  wait_turn(3);
  check_some(twice, end, 1, 1);
}

void payload_main(const void *dtb) {
  struct payload_fdt fdt = payload_fdt_read(dtb);
  uint64_t end = PAYLOAD_RAM_BASE + fdt.ram_bytes;
  control = (volatile uint64_t *)end;
  data = (volatile uint64_t *)(end + 512 * PAGE);
  uint64_t role = payload_number(fdt.bootargs, "role", 1);
  if (payload_number(fdt.bootargs, "pong", 0))
    play((unsigned)role);
  else if (payload_number(fdt.bootargs, "scarce", 0))
    be_scarce(role);
  else if (payload_number(fdt.bootargs, "told", 0))
    alternate(role);
  else if (role == 1)
    lead();
  else
    follow();
  put_str("migrate: done\n");
  payload_verdict(0, 0);
  payload_off();
}
