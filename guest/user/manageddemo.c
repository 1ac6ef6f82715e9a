/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Guests that share managed memory. They meet in the range `control`, then use six other ranges in as many ways, each with a check that
 * nobody has read anything but what was written last:
 *
 *   ring     a chain of producers and consumers, one ring from each guest to the next, numbered and checksummed
 *   table    one writes, all read, again and again: what read duplication is for
 *   stream   one after another reads and changes all of it, in order: what prefetch is for
 *   pong     all write one page in turns: it thrashes, and is pinned
 *   pool     each fills its part, then reads all, more than its quota, in turns and at once: what eviction is for
 *   sums     LDXR and STXR by all on the same words
 *
 * manageddemo:all:ME:GUESTS does that once. manageddemo:churn:ME:GUESTS:ROUNDS then writes and checks its part of the pool, and looks at
 * the others'. The last guest is meant to be destroyed in the midst of it and to come back: it goes on until its second life, whose end
 * ends all. manageddemo:watch:1:1:ROUNDS keeps the even pages of the range `shared` and reads the odd ones, which are somebody's who is up
 * to no good.
 */
#include "user.h"

#define MIB (1ul << 20)
#define WORDS (PAGE / sizeof(uint64_t))
#define GUESTS_MAX 4
#define PHASES 64
#define RW (PROT_READ | PROT_WRITE)

/* The range `control`. Words that are spun on have lines of their own. */
struct control {
  struct {
    uint64_t arrived;
    uint64_t fill[7];
  } phase[PHASES];
  uint64_t all_done, lives, churn_done, sum[GUESTS_MAX + 1];
};

static struct control *control;
static unsigned long me, guests, phase;

/* ---- Words that others write ---- */

static uint64_t load(const uint64_t *p) {
  return __atomic_load_n(p, __ATOMIC_ACQUIRE);
}

static void store(uint64_t *p, uint64_t v) {
  __atomic_store_n(p, v, __ATOMIC_RELEASE);
}

/* By exclusives, whatever else the CPU has. */
static uint64_t add(uint64_t *p, uint64_t n) {
  uint64_t v;
  uint32_t failed;
  __asm__ volatile("1: ldaxr %0, [%2]\n\tadd %0, %0, %3\n\tstlxr %w1, %0, [%2]\n\tcbnz %w1, 1b"
                   : "=&r"(v), "=&r"(failed)
                   : "r"(p), "r"(n)
                   : "memory");
  return v;
}

/* Others may need this CPU to get on. */
static void relax(unsigned long tries) {
  __asm__ volatile("yield" ::: "memory");
  if (tries % 16 == 15)
    sleep_ms(1);
}

static void wait_for(const uint64_t *p, uint64_t least) {
  for (unsigned long tries = 0; load(p) < least; tries++)
    relax(tries);
}

/* Everybody is here. */
static void meet(void) {
  add(&control->phase[phase].arrived, 1);
  wait_for(&control->phase[phase].arrived, guests);
  phase++;
}

static void *range(const char *name, unsigned long bytes) {
  char path[64];
  unsigned long n = 0;
  for (const char *s = "/dev/managed/"; *s; s++)
    path[n++] = *s;
  do
    path[n++] = *name;
  while (*name++);
  int fd = (int)sys_open(path, LINUX_O_RDWR);
  void *p = fd < 0 ? NULL : sys_mmap_file(NULL, bytes, RW, MAP_SHARED, fd, 0);
  if (fd < 0 || is_error(p)) {
    print("manageddemo: %s: error %ld\n", path, fd < 0 ? -(long)fd : -(long)p);
    sys_exit(2);
  }
  sys_close(fd);
  return p;
}

static uint64_t mix(uint64_t a, uint64_t b) {
  uint64_t z = (a << 32 ^ b) * 0x9e3779b97f4a7c15ull;
  return (z ^ z >> 31) * 0xbf58476d1ce4e5b9ull;
}

/* ---- ring ---- */

#define SLOTS 64u
#define MESSAGES 400ul

struct ring {
  uint64_t head, fill_head[WORDS - 1];
  uint64_t tail, fill_tail[WORDS - 1];
  struct {
    uint64_t number, sum, body[6];
  } slot[SLOTS];
};

static bool produce(struct ring *r, uint64_t n, unsigned long who) {
  if (n - load(&r->tail) >= SLOTS)
    return false;
  uint64_t sum = n;
  for (unsigned i = 0; i < 6; i++)
    sum += r->slot[n % SLOTS].body[i] = mix(n * 8 + i, who);
  r->slot[n % SLOTS].number = n;
  r->slot[n % SLOTS].sum = sum;
  store(&r->head, n + 1);
  return true;
}

static bool consume(struct ring *r, uint64_t n, uint64_t *total) {
  if (load(&r->head) == n)
    return false;
  uint64_t sum = n;
  for (unsigned i = 0; i < 6; i++)
    sum += r->slot[n % SLOTS].body[i];
  EXPECT_EQ(r->slot[n % SLOTS].number, n);
  EXPECT_EQ(r->slot[n % SLOTS].sum, sum);
  *total += sum;
  store(&r->tail, n + 1);
  return true;
}

static void ring(void) {
  struct ring *rings = range("ring", 2 * MIB), *out = &rings[me - 1], *in = &rings[(me + guests - 2) % guests];
  uint64_t sent = 0, got = 0, total = 0, want = 0;
  unsigned long giver = (me + guests - 2) % guests + 1;
  for (unsigned long tries = 0; sent < MESSAGES || got < MESSAGES; tries++) {
    bool moved = sent < MESSAGES && produce(out, sent, me);
    sent += moved;
    if (got < MESSAGES && consume(in, got, &total))
      got++, moved = true;
    if (!moved)
      relax(tries);
  }
  for (uint64_t n = 0; n < MESSAGES; n++) {
    want += n;
    for (unsigned i = 0; i < 6; i++)
      want += mix(n * 8 + i, giver);
  }
  EXPECT_EQ(total, want);
}

/* ---- table ---- */

#define TABLE_PAGES 48ul
#define TABLE_VERSIONS 3ul

static void table(void) {
  uint64_t *t = range("table", 2 * MIB);
  for (unsigned long version = 1; version <= TABLE_VERSIONS; version++) {
    if (me == (version - 1) % guests + 1)
      for (unsigned long i = 0; i < TABLE_PAGES * WORDS; i += 8)
        t[i] = mix(version, i);
    meet();
    for (unsigned pass = 0; pass < 3; pass++)
      for (unsigned long i = 0, bad = 0; i < TABLE_PAGES * WORDS; i += 8) {
        bad += t[i] != mix(version, i);
        if (i + 8 >= TABLE_PAGES * WORDS)
          EXPECT_EQ(bad, 0);
      }
    meet();
  }
}

/* ---- stream ---- */

#define STREAM_BYTES (4 * MIB)

static void stream(void) {
  uint64_t *s = range("stream", STREAM_BYTES);
  for (unsigned long turn = 1; turn <= guests; turn++) {
    unsigned long bad = 0;
    for (unsigned long i = 0; turn == me && i < STREAM_BYTES / 8; i += 64) {
      bad += s[i] != (turn == 1 ? 0 : mix(turn - 1, i));
      s[i] = mix(turn, i);
    }
    EXPECT_EQ(bad, 0);
    meet();
  }
}

/* ---- pong ---- */

#define TURNS 300ul

static void pong(void) {
  uint64_t *turn = range("pong", 2 * MIB), *count = turn + 8;
  for (unsigned long n = me - 1; n < TURNS; n += guests) {
    for (unsigned long tries = 0; load(turn) != n; tries++)
      relax(tries);
    EXPECT_EQ(*count, n * (n + 1) / 2);
    *count += n + 1;
    store(turn, n + 1);
  }
  wait_for(turn, TURNS);
  EXPECT_EQ(*count, TURNS * (TURNS + 1) / 2);
}

/* ---- pool ---- */

#define POOL_BYTES (6 * MIB)

static uint64_t *part_of(uint64_t *p, unsigned long guest, unsigned long *words) {
  *words = POOL_BYTES / guests / PAGE * WORDS;
  return p + (guest - 1) * *words;
}

/* Each word names its place and its version, so one that was not written whole shows. Version 0: as it came. */
static uint64_t pool_word(unsigned long guest, unsigned long i, uint64_t version) {
  return version == 0 ? 0 : version << 48 | (mix(guest << 40 | i, version) >> 16);
}

static void fill(uint64_t *p, unsigned long guest, unsigned long from, unsigned long step, uint64_t version) {
  unsigned long words;
  uint64_t *part = part_of(p, guest, &words);
  for (unsigned long i = from; i < words; i += step)
    part[i] = pool_word(guest, i, version);
}

/* Words of a guest's part that are no version at all; with `version`, that are not this one. */
static unsigned long wrong(const uint64_t *p, unsigned long guest, unsigned long from, unsigned long step, uint64_t version) {
  unsigned long words, bad = 0;
  const uint64_t *part = part_of((uint64_t *)(uintptr_t)p, guest, &words);
  for (unsigned long i = from; i < words; i += step) {
    uint64_t w = part[i];
    bad += w != pool_word(guest, i, version != 0 ? version : w >> 48);
  }
  return bad;
}

static void pool(void) {
  uint64_t *p = range("pool", POOL_BYTES);
  fill(p, me, 0, 64, 1);
  meet();
  /* one after another, so that what must be evicted is known; then all at once */
  for (unsigned long turn = 1; turn <= guests + 1; turn++) {
    for (unsigned long g = 1; (turn == me || turn > guests) && g <= guests; g++)
      EXPECT_EQ(wrong(p, g, 0, 64, 1), 0);
    meet();
  }
}

/* ---- sums ---- */

#define ADDS 2000ul

static void sums(void) {
  uint64_t *s = range("sums", 2 * MIB);
  for (unsigned long i = 0; i < ADDS; i++) {
    add(&s[0], 1);
    add(&s[8], me);
    add(&s[(1 + i % 3) * WORDS], i);
  }
  meet();
  EXPECT_EQ(load(&s[0]), guests * ADDS);
  EXPECT_EQ(load(&s[8]), ADDS * guests * (guests + 1) / 2);
  EXPECT_EQ(load(&s[WORDS]) + load(&s[2 * WORDS]) + load(&s[3 * WORDS]), guests * ADDS * (ADDS - 1) / 2);
}

/* ---- The two programs ---- */

static void step(const char *name, void (*fn)(void)) {
  fn();
  print("manageddemo: %s: %s\n", name, failures == 0 ? "ok" : "WRONG");
  meet();
}

static int all(void) {
  if (load(&control->all_done)) /* in a second life */
    return 0;
  meet();
  step("ring", ring);
  step("table", table);
  step("stream", stream);
  step("pong", pong);
  step("pool", pool);
  step("sums", sums);
  store(&control->all_done, 1);
  return verdict("manageddemo: all");
}

static int churn(unsigned long rounds) {
  uint64_t *p = range("pool", POOL_BYTES), life = 1, version = 2;
  bool last = me == guests;
  if (last)
    life = add(&control->lives, 1);
  for (unsigned long n = 0; last ? life == 1 || n < rounds : !load(&control->churn_done); n++, version++) {
    fill(p, me, n % 64, 256, version);
    EXPECT_EQ(wrong(p, me, n % 64, 256, version), 0);
    for (unsigned long g = 1; g <= guests; g++)
      EXPECT_EQ(wrong(p, g, n % 64 * 64, 8 * WORDS + 8, 0), 0);
    if (last && n == 1)
      print("manageddemo: life %lu\n", life);
    sleep_ms(20);
  }
  if (last)
    store(&control->churn_done, 1);
  return verdict("manageddemo: churn");
}

static int watch(unsigned long rounds) {
  uint64_t *p = range("shared", 4 * MIB), odd = 0;
  for (unsigned long n = 1; n <= rounds; n++) {
    unsigned long bad = 0;
    for (unsigned long i = 0; i < 4 * MIB / 8; i += 2 * WORDS)
      for (unsigned long w = i; w < i + WORDS; w += 32) {
        bad += p[w] != (n == 1 ? 0 : mix(n - 1, w));
        p[w] = mix(n, w);
        odd += p[w + WORDS];
      }
    EXPECT_EQ(bad, 0);
  }
  print("manageddemo: saw %lx\n", odd);
  return verdict("manageddemo: watch");
}

int main(int argc, char **argv, char **envp) {
  (void)envp;
  if (argc < 4) {
    print("manageddemo: all:ME:GUESTS, or churn:ME:GUESTS:ROUNDS\n");
    return 2;
  }
  me = str_number(argv[2]);
  guests = str_number(argv[3]);
  if (str_starts(argv[1], "watch"))
    return watch(argc > 4 ? str_number(argv[4]) : 8);
  control = range("control", 2 * MIB);
  return str_starts(argv[1], "all") ? all() : churn(argc > 4 ? str_number(argv[4]) : 8);
}
