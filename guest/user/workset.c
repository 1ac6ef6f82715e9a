/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A working set that rises and falls by a schedule, for experiments with more memory promised than there is.
 *
 *   workset:LOW:HIGH:IDLE:PERIOD:PLATEAU:PHASE:RISES:SEED      MiB, MiB, MiB, ms, ms, ms, count, number
 *
 *        HIGH        ______ plateau          ______
 *                   |      |                |      |
 *        LOW  ------+      +----------------+      +-----       all of it is touched every TOUCH_MS
 *                   ^ phase                 ^ phase + period
 *        IDLE ------------------------------------------       written once, looked at only at the end
 *
 * Each page is filled to the last word with numbers that name its place, its rise and the guest's seed. Every look is at a checksum of
 * whole pages; a rise, and a fall, counts from the moment it was due, not from when the program got to it, to the moment its last page is
 * written. It falls by munmap and by MADV_DONTNEED in turn. One line each for what a judge needs (tools/pylib/workset.py reads them);
 * "workset: PASS" means that no checksum was ever wrong, and that fresh memory was zero.
 */
#include "user.h"

#define WORDS (PAGE / sizeof(unsigned long))
#define MIB_PAGES ((1ul << 20) / PAGE)
#define TOUCH_MS 100ul
#define STEP 0x9e3779b97f4a7c15ul

struct area {
  unsigned long *at, pages, salt;
};

static struct {
  unsigned long low, high, idle, period, plateau, phase, rises, seed;
} plan = {.low = 8, .high = 64, .idle = 0, .period = 2000, .plateau = 1000, .phase = 100, .rises = 2, .seed = 1};

static unsigned long checked_pages, wrong_pages, dirty_pages;

/* ---- contents ---- */

static unsigned long first_word(const struct area *a, unsigned long page) {
  unsigned long z = (page << 16 ^ a->salt << 44 ^ plan.seed) * 0xbf58476d1ce4e5b9ul;
  return z ^ z >> 31;
}

/* Word i is first + i * STEP. A word that the loop has not come to yet must be zero in fresh memory. */
static void fill_page(unsigned long *p, unsigned long v) {
  p[0] = v;
  dirty_pages += (p[WORDS / 2] | p[WORDS - 1]) != 0;
  for (unsigned long *end = p + WORDS; p < end; p += 8, v += 8 * STEP) {
    p[0] = v;
    p[1] = v + STEP;
    p[2] = v + 2 * STEP;
    p[3] = v + 3 * STEP;
    p[4] = v + 4 * STEP;
    p[5] = v + 5 * STEP;
    p[6] = v + 6 * STEP;
    p[7] = v + 7 * STEP;
  }
}

/* The sum of the words, and the sum of its stages, so that their order counts too (Fletcher): of what is there, and of what should be. */
static bool page_is_right(const unsigned long *p, unsigned long first) {
  unsigned long sum = 0, stages = 0;
  for (const unsigned long *end = p + WORDS; p < end; p += 4) {
    stages += sum += p[0];
    stages += sum += p[1];
    stages += sum += p[2];
    stages += sum += p[3];
  }
  return sum == WORDS * first + WORDS * (WORDS - 1) / 2 * STEP &&
         stages == WORDS * (WORDS + 1) / 2 * first + (WORDS + 1) * WORDS * (WORDS - 1) / 6 * STEP;
}

static void fill(const struct area *a) {
  for (unsigned long p = 0; p < a->pages; p++)
    fill_page(a->at + p * WORDS, first_word(a, p));
}

static void verify(const struct area *a) {
  for (unsigned long p = 0; p < a->pages; p++)
    wrong_pages += !page_is_right(a->at + p * WORDS, first_word(a, p));
  checked_pages += a->pages;
}

/* One word of each page, another one each time: that the set is worked with. */
static void touch(const struct area *a) {
  static unsigned long turn;
  unsigned long word = turn++ * 37 % WORDS;
  for (unsigned long p = 0; p < a->pages; p++)
    wrong_pages += a->at[p * WORDS + word] != first_word(a, p) + word * STEP;
}

/* ---- time ---- */

static unsigned long now_us(void) {
  return now_ns() / 1000;
}

static void sleep_until_us(unsigned long when) {
  unsigned long now = now_us();
  if (now < when)
    sleep_us(when - now);
}

/* Work with the areas until `end`. */
static void work_until(unsigned long end, const struct area *low, const struct area *flood) {
  for (unsigned long now = now_us(); now < end; now = now_us()) {
    touch(low);
    touch(flood);
    unsigned long next = now + TOUCH_MS * 1000;
    sleep_until_us(next < end ? next : end);
  }
}

/* ---- the schedule ---- */

/* One page at least, so that there is an address; what is not touched costs nothing. */
static struct area new_area(unsigned long mib, unsigned long salt) {
  unsigned long pages = mib * MIB_PAGES;
  void *at = sys_mmap(NULL, (pages ? pages : 1) * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
  expect(!is_error(at), "mmap", (unsigned long)at, 0);
  if (is_error(at))
    sys_exit(1);
  return (struct area){.at = at, .pages = pages, .salt = salt};
}

static void rise(struct area *flood, unsigned long n, unsigned long due) {
  if (flood->at == NULL)
    *flood = new_area(plan.high - plan.low, 0);
  flood->salt = n + 16;
  flood->pages = (plan.high - plan.low) * MIB_PAGES;
  fill(flood);
  print("workset: rise %lu at %lu us from %lu to %lu MiB resident after %lu us\n", n, due, plan.low, plan.high, now_us() - due);
}

static void fall(struct area *flood, unsigned long n, unsigned long due) {
  bool unmap = (n + plan.seed) % 2;
  unsigned long bytes = flood->pages * PAGE;
  EXPECT_EQ(unmap ? sys_munmap(flood->at, bytes) : sys_madvise(flood->at, bytes, MADV_DONTNEED), 0);
  flood->pages = 0;
  if (unmap)
    flood->at = NULL;
  print("workset: fall %lu at %lu us to %lu MiB by %s, gone after %lu us\n", n, due, plan.low, unmap ? "munmap" : "madvise",
        now_us() - due);
}

static void one_cycle(const struct area *low, struct area *flood, unsigned long n) {
  unsigned long due = (plan.phase + n * plan.period) * 1000, end = due + plan.plateau * 1000;
  work_until(due, low, flood);
  rise(flood, n, due);
  work_until(end - TOUCH_MS * 1000, low, flood);
  verify(low);
  verify(flood);
  sleep_until_us(end);
  fall(flood, n, end);
}

static void read_plan(int argc, char **argv) {
  unsigned long *to[] = {&plan.low, &plan.high, &plan.idle, &plan.period, &plan.plateau, &plan.phase, &plan.rises, &plan.seed};
  for (int i = 1; i < argc && i <= (int)(sizeof to / sizeof *to); i++)
    *to[i - 1] = str_number(argv[i]);
  expect(plan.high > plan.low && plan.plateau >= 2 * TOUCH_MS && plan.period > plan.plateau, "plan", plan.high, plan.low);
  if (failures)
    sys_exit(2);
}

int main(int argc, char **argv, char **envp) {
  (void)envp;
  read_plan(argc, argv);
  struct area low = new_area(plan.low, 1), idle = new_area(plan.idle, 2), flood = {0};
  fill(&low);
  fill(&idle);
  print("workset: start at %lu us with %lu MiB and %lu MiB idle\n", now_us(), plan.low, plan.idle);
  for (unsigned long n = 0; n < plan.rises; n++)
    one_cycle(&low, &flood, n);
  work_until((plan.phase + plan.rises * plan.period) * 1000, &low, &flood);
  verify(&low);
  verify(&idle);
  print("workset: end at %lu us after %lu MiB in checksums\n", now_us(), checked_pages / MIB_PAGES);
  EXPECT_EQ(wrong_pages, 0);
  EXPECT_EQ(dirty_pages, 0);
  return verdict("workset");
}
