/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Slabs: objects never overlap (each is filled with its own pattern and looked at again), come zeroed or constructed and aligned, every
 * frame comes back from every CPU's magazines, every allocation failed in turn leaves things as they were, and misuse trips a CHECK.
 */
// sources: tests/host/mm_world.c tests/host/port/port_host.c
// sources: mm/ mm/lib/format.c
// libs: -Wl,--wrap=page_alloc
#include "mm/shrinker.h"
#include "mm/slab.h"
#include "mm_world.h"
#include <stdlib.h>
#include <string.h>

static const struct world_config map = {"plain", {{{0x40000}, {0x40000 + F(16)}}}, {{{0}, {0}}}, 0x40400};
static struct world w;
static unsigned fail_after = ~0u; /* page allocations that still succeed */

err_t __real_page_alloc(unsigned order, alloc_flags_t flags, pfn_t *out);
err_t __wrap_page_alloc(unsigned order, alloc_flags_t flags, pfn_t *out);
err_t __wrap_page_alloc(unsigned order, alloc_flags_t flags, pfn_t *out) {
  if (fail_after == 0)
    return ERR_NOMEM;
  fail_after -= fail_after != ~0u;
  return __real_page_alloc(order, flags, out);
}

static int set_up(void **state) {
  (void)state;
  fail_after = ~0u;
  port_host_cpu = 0;
  slab_set_default_debug(0);
  world_create(&w, &map);
  return 0;
}

/* Objects in use, of all caches but that of caches. */
static uint64_t objects_in_use(void) {
  struct slab_info info;
  uint64_t used = 0;
  for (unsigned i = 0; slab_describe_nth(i, &info); i++)
    used += strcmp(info.name, "slab_cache") != 0 ? info.used_objects : 0;
  return used;
}

/* Without an object in use only the caches themselves are left. */
static int tear_down(void **state) {
  (void)state;
  struct ledger l;
  bool none = objects_in_use() == 0;
  slab_shrink_all(~(uint64_t)0);
  ledger_read(&l);
  world_destroy(&w);
  return !none || l.frames[FRAME_CORE] <= 8 ? 0 : -1;
}

/* Frames free once nothing lies about. */
static uint64_t free_frames(void) {
  slab_shrink_all(~(uint64_t)0);
  return page_free_frames();
}

#define assert_check_fails(statement_)                                                                                                     \
  do {                                                                                                                                     \
    if (PORT_EXPECT_CHECK()) {                                                                                                             \
      statement_;                                                                                                                          \
      port_expect_none();                                                                                                                  \
      fail_msg("no CHECK in: %s", #statement_);                                                                                            \
    }                                                                                                                                      \
  } while (0)

enum {
  OBJECTS = 600
};

static void fill(uint8_t *p, size_t size, unsigned id) {
  for (size_t i = 0; i < size; i++)
    p[i] = (uint8_t)(id * 31 + i);
}

static void check_filled(const uint8_t *p, size_t size, unsigned id) {
  for (size_t i = 0; i < size; i++)
    assert_int_equal(p[i], (uint8_t)(id * 31 + i));
}

static void check_zero(const uint8_t *p, size_t size) {
  for (size_t i = 0; i < size; i++)
    assert_int_equal(p[i], 0);
}

/* Random allocation and freeing; whoever is alive keeps its pattern. */
static void work_on(struct slab_cache *c, size_t size, size_t align, uint64_t seed) {
  uint8_t *alive[OBJECTS] = {NULL};
  for (unsigned step = 0; step < 3000; step++) {
    unsigned at = (unsigned)(world_random(&seed) >> 20) % OBJECTS;
    if (alive[at]) {
      check_filled(alive[at], size, at);
      slab_free(c, alive[at]);
      alive[at] = NULL;
      continue;
    }
    alive[at] = slab_alloc(c);
    if (!alive[at])
      continue;
    assert_true(((uintptr_t)alive[at] & (align - 1)) == 0);
    check_zero(alive[at], size);
    fill(alive[at], size, at);
  }
  for (unsigned at = 0; at < OBJECTS; at++) {
    if (alive[at])
      check_filled(alive[at], size, at);
    slab_free(c, alive[at]);
  }
}

static void objects_are_their_own(void **state) {
  (void)state;
  static const struct {
    size_t size, align;
  } kinds[] = {{1, 0}, {16, 0}, {24, 8}, {40, 64}, {100, 0}, {320, 128}, {1000, 0}, {1500, 0}, {4096, 4096}, {5000, 16}, {8192, 0}};
  uint64_t before = free_frames();
  for (unsigned i = 0; i < ARRAY_SIZE(kinds) * (SLAB_DEBUG_ALL + 1); i++) {
    struct slab_cache *c;
    struct slab_info info;
    size_t size = kinds[i % ARRAY_SIZE(kinds)].size, align = kinds[i % ARRAY_SIZE(kinds)].align;
    assert_int_equal(slab_create_with("objects", size, align, NULL, i / ARRAY_SIZE(kinds), &c), ERR_OK);
    work_on(c, size, align ? align : 16, 77 + i);
    slab_describe(c, &info);
    assert_int_equal(info.used_objects, 0);
    assert_true(info.cached_objects <= 6ull * info.magazine_objects); /* two of the CPU's, four of the depot */
    assert_true(info.slabs * info.per_slab >= info.cached_objects);
    slab_destroy(c);
  }
  assert_int_equal(free_frames(), before);
}

/* --- constructed objects --------------------------------------------------------------------------------------------------------- */

struct constructed {
  uint64_t magic, uses;
  char rest[84];
};
static unsigned constructions;

static void construct(void *object) {
  struct constructed *o = object;
  *o = (struct constructed){.magic = (uintptr_t)o * 3};
  constructions++;
}

static const struct slab_ops constructed_ops = {.construct = construct};

static void constructed_objects_keep_their_state(void **state) {
  (void)state;
  struct constructed *o[OBJECTS];
  struct slab_info info;
  for (unsigned debug = 0; debug <= SLAB_DEBUG_ALL; debug++) {
    struct slab_cache *c;
    constructions = 0;
    assert_int_equal(slab_create_with("made", sizeof(struct constructed), 0, &constructed_ops, debug, &c), ERR_OK);
    for (unsigned round = 0; round < 3; round++) {
      for (unsigned i = 0; i < OBJECTS; i++) {
        o[i] = slab_alloc(c);
        assert_non_null(o[i]);
        assert_true(o[i]->magic == (uintptr_t)o[i] * 3);
        assert_true(o[i]->uses == 0 || round != 0);
        o[i]->uses++;
      }
      slab_describe(c, &info);
      if (round == 0)
        assert_int_equal(constructions, info.slabs * info.per_slab);
      for (unsigned i = 0; i < OBJECTS; i++)
        slab_free(c, o[i]);
    }
    slab_destroy(c);
  }
}

/* --- magazines --------------------------------------------------------------------------------------------------------------------- */

static void objects_come_back_from_every_cpu(void **state) {
  (void)state;
  struct slab_cache *c;
  struct slab_info info;
  void *p[OBJECTS];
  uint64_t before = free_frames();
  assert_int_equal(slab_create("c", 100, 0, &c), ERR_OK);
  for (unsigned i = 0; i < OBJECTS; i++) {
    port_host_cpu = i % PORT_CPUS_MAX;
    p[i] = slab_alloc(c);
    assert_non_null(p[i]);
  }
  for (unsigned i = 0; i < OBJECTS; i++) {
    port_host_cpu = (i / 7) % PORT_CPUS_MAX;
    slab_free(c, p[i]);
  }
  slab_describe(c, &info);
  assert_int_equal(info.used_objects, 0);
  assert_true(info.cached_objects > 0);
  assert_true(slab_shrink(c) > 0);
  slab_describe(c, &info);
  assert_int_equal(info.slabs, 0);
  assert_int_equal(info.cached_objects, 0);
  port_host_cpu = 3;
  slab_destroy(c);
  assert_int_equal(free_frames(), before);
}

/* A hot pair neither takes a lock nor touches a slab, wherever the magazines happen to stand. */
static unsigned locks;
static void count_lock(void) {
  locks++;
}

static void a_pair_takes_no_lock(void **state) {
  (void)state;
  struct slab_cache *c;
  void *kept[100];
  assert_int_equal(slab_create("c", 64, 0, &c), ERR_OK);
  for (unsigned i = 0; i < 100; i++)
    kept[i] = slab_alloc(c);
  for (unsigned i = 0; i < 100; i++) {
    slab_free(c, kept[i]);
    slab_free(c, slab_alloc(c));
    port_host_unlocked = count_lock;
    locks = 0;
    for (unsigned n = 0; n < 5; n++) {
      void *one = slab_alloc(c);
      slab_free(c, one);
    }
    port_host_unlocked = NULL;
    assert_int_equal(locks, 0);
  }
  slab_destroy(c);
}

/* Of a full and a nearly empty slab, the full one's gap is filled: the other can go. */
static void the_fullest_slab_is_used_first(void **state) {
  (void)state;
  struct slab_cache *c;
  struct slab_info info;
  assert_int_equal(slab_create_with("c", 512, 0, NULL, SLAB_RED_ZONE, &c), ERR_OK); /* no magazines: each call reaches the slabs */
  slab_describe(c, &info);
  unsigned n = info.per_slab;
  void *p[3][64] = {{NULL}};
  assert_in_range(n, 4, 64);
  for (unsigned slab = 0; slab < 3; slab++)
    for (unsigned i = 0; i < n; i++)
      p[slab][i] = slab_alloc(c);
  slab_free(c, p[1][2]); /* one free */
  for (unsigned i = 1; i < n; i++)
    slab_free(c, p[0][i]); /* all but one free */
  for (unsigned i = 1; i < n / 2; i++)
    slab_free(c, p[2][i]); /* half */
  assert_ptr_equal(slab_alloc(c), p[1][2]);
  for (unsigned i = 1; i < n / 2; i++) {
    char *o = slab_alloc(c);
    assert_true(o >= (char *)p[2][0] && o <= (char *)p[2][n - 1]);
  }
  char *o = slab_alloc(c);
  assert_true(o > (char *)p[0][0] && o <= (char *)p[0][n - 1]);
}

/* A request that may reclaim gets what lies unused in magazines and slabs; one that may not, does not. */
static void memory_that_is_short_comes_from_slabs(void **state) {
  (void)state;
  struct slab_cache *c;
  void *p[64];
  pfn_t f;
  assert_int_equal(slab_create("c", 4096, 0, &c), ERR_OK);
  for (unsigned i = 0; i < 64; i++)
    p[i] = slab_alloc(c);
  for (unsigned i = 0; i < 64; i++)
    slab_free(c, p[i]);
  while (page_alloc(0, ALLOC_MOVABLE, &f) == ERR_OK)
    continue;
  unsigned got = 0;
  while (page_alloc(0, ALLOC_MOVABLE | ALLOC_MAY_RECLAIM, &f) == ERR_OK)
    got++;
  assert_true(got >= 6); /* a magazine at least */
}

static void wrong_sizes_are_refused(void **state) {
  (void)state;
  struct slab_cache *c;
  assert_int_equal(slab_create("x", 0, 0, &c), ERR_INVAL);
  assert_int_equal(slab_create("x", SLAB_OBJECT_MAX + 1, 0, &c), ERR_INVAL);
  assert_int_equal(slab_create("x", 8, 3, &c), ERR_INVAL);
  assert_int_equal(slab_create("x", 8, 8192, &c), ERR_INVAL);
}

/* --- debugging --------------------------------------------------------------------------------------------------------------------- */

static void debugging_finds_the_writer(void **state) {
  (void)state;
  struct slab_cache *c;
  assert_int_equal(slab_create_with("c", 100, 0, NULL, SLAB_DEBUG_ALL + 1, &c), ERR_INVAL);
  for (size_t at = 0; at < 112; at++) { /* 100 of the object, 12 and more of the zone */
    assert_int_equal(slab_create_with("c", 100, 0, NULL, SLAB_DEBUG_ALL, &c), ERR_OK);
    uint8_t *p = slab_alloc(c), *q = slab_alloc(c);
    memset(p, 0xff, 100);
    slab_free(c, q);
    p[at] ^= 0x10;
    if (at >= 100) {
      assert_check_fails(slab_free(c, p));
      p[at] ^= 0x10;
    }
    assert_int_equal(slab_create_with("c", 100, 0, NULL, SLAB_DEBUG_ALL, &c), ERR_OK);
    p = slab_alloc(c);
    slab_free(c, p);
    p[at] ^= 0x10;
    assert_check_fails(p = slab_alloc(c));
  }
  /* with a constructor: the contents are its own, the zone is not */
  assert_int_equal(slab_create_with("c", 100, 0, &constructed_ops, SLAB_DEBUG_ALL, &c), ERR_OK);
  uint8_t *p = slab_alloc(c);
  slab_free(c, p);
  p[20] ^= 1;
  assert_ptr_equal(slab_alloc(c), p);
  slab_free(c, p);
  p[100] ^= 1;
  assert_check_fails(p = slab_alloc(c));
}

static void debugging_is_switched_while_empty(void **state) {
  (void)state;
  struct slab_cache *c;
  struct slab_info info;
  assert_int_equal(slab_create("c", 100, 0, &c), ERR_OK);
  void *p = slab_alloc(c);
  assert_int_equal(slab_set_debug(c, SLAB_POISON), ERR_BUSY);
  slab_free(c, p);
  assert_int_equal(slab_set_debug(c, 8), ERR_INVAL);
  assert_int_equal(slab_set_debug(c, SLAB_POISON), ERR_OK);
  uint8_t *q = slab_alloc(c);
  check_zero(q, 100);
  slab_free(c, q);
  slab_describe(c, &info);
  assert_true(info.debug == SLAB_POISON && info.magazine_objects == 0);
  assert_int_equal(slab_set_debug(c, 0), ERR_OK);
  slab_describe(c, &info);
  assert_true(info.debug == 0 && info.magazine_objects == 30);
  slab_set_default_debug(SLAB_RED_ZONE);
  q = mem_alloc(500);
  q[512] = 1;
  assert_check_fails(mem_free(q));
}

static void misuse_trips_a_check(void **state) {
  (void)state;
  struct slab_cache *c, *d;
  assert_int_equal(slab_create("c", 64, 0, &c), ERR_OK);
  assert_int_equal(slab_create("d", 64, 0, &d), ERR_OK);
  assert_non_null(slab_alloc(c)); /* keeps the slab */
  char *p = slab_alloc(c);
  assert_check_fails(slab_destroy(c));
  assert_check_fails(slab_free(d, p));
  assert_int_equal(slab_create("c2", 64, 0, &c), ERR_OK); /* the lock of the first is lost with the CHECK */
  assert_non_null(slab_alloc(c));
  p = slab_alloc(c);
  assert_check_fails(slab_free(c, p + 16));
  assert_int_equal(slab_create("c3", 64, 0, &c), ERR_OK);
  assert_non_null(slab_alloc(c));
  p = slab_alloc(c);
  slab_free(c, p);
  assert_check_fails(slab_free(c, p));
  assert_int_equal(slab_create("c4", 64, 0, &c), ERR_OK);
  assert_non_null(slab_alloc(c));
  p = slab_alloc(c);
  slab_free(c, p);
  p[8] ^= 1; /* a write after free */
  assert_check_fails(p = slab_alloc(c));
}

static void shrinking_gives_the_empty_slab_back(void **state) {
  (void)state;
  struct slab_cache *c;
  assert_int_equal(slab_create("c", 4096, 0, &c), ERR_OK);
  uint64_t before = free_frames();
  void *a = slab_alloc(c), *b = slab_alloc(c);
  slab_free(c, a);
  assert_true(page_free_frames() <= before - 2);
  assert_int_equal(slab_shrink(c), 1);
  assert_int_equal(slab_shrink(c), 0);
  assert_int_equal(free_frames(), before - 1);
  slab_free(c, b);
  assert_int_equal(slab_shrink(c), 1);
  assert_int_equal(free_frames(), before);
  slab_destroy(c);
}

/* --- shrinkers --------------------------------------------------------------------------------------------------------------------- */

static uint64_t has[SHRINKERS_MAX + 1], asked[SHRINKERS_MAX + 1], lies;

static uint64_t scan(unsigned i, uint64_t frames) {
  uint64_t gives = frames < has[i] ? frames : has[i];
  asked[i] += frames;
  has[i] -= gives;
  return gives;
}

static uint64_t count_0(void) {
  return has[0] + lies;
}
static uint64_t scan_0(uint64_t frames) {
  return scan(0, frames);
}
static uint64_t count_1(void) {
  return has[1];
}
static uint64_t scan_1(uint64_t frames) {
  return scan(1, frames);
}

static void shrinkers_give_by_what_they_have(void **state) {
  (void)state;
  static const struct shrinker_ops first = {"first", count_0, scan_0}, second = {"second", count_1, scan_1};
  static struct shrinker_ops more[SHRINKERS_MAX];
  struct slab_cache *c;
  assert_int_equal(shrinker_register(&first), ERR_OK);
  assert_int_equal(shrinker_register(&second), ERR_OK);
  assert_int_equal(shrinker_register(&first), ERR_EXIST);
  assert_int_equal(slab_create("c", 4096, 0, &c), ERR_OK);
  slab_free(c, slab_alloc(c));
  has[0] = 300;
  has[1] = 100;
  lies = 0;
  memset(asked, 0, sizeof(asked));
  assert_int_equal(shrinkers_scan(1), 1); /* the slabs have it */
  assert_int_equal(asked[0] + asked[1], 0);
  slab_shrink_all(~(uint64_t)0);
  assert_true(shrinkers_scan(100) >= 100);
  assert_true(asked[0] >= 75 && asked[0] <= 76 && asked[1] >= 25 && asked[1] <= 26);
  /* the first promised more than it has: the second makes up for it */
  lies = 100000;
  has[0] = 0;
  has[1] = 50;
  assert_true(shrinkers_scan(50) == 50);
  lies = 0;
  has[0] = has[1] = 7;
  assert_int_equal(shrinkers_scan(~(uint64_t)0), 14);
  assert_int_equal(shrinkers_scan(1), 0);
  for (unsigned i = 0; i < SHRINKERS_MAX; i++) {
    more[i] = first;
    assert_int_equal(shrinker_register(&more[i]), i < SHRINKERS_MAX - 2 ? ERR_OK : ERR_NOSPC);
  }
  slab_destroy(c);
}

static void every_failure_leaves_things_as_they_were(void **state) {
  (void)state;
  struct slab_cache *c;
  fail_after = 0;
  assert_int_equal(slab_create("c", 1000, 0, &c), ERR_NOMEM);
  fail_after = ~0u;
  for (unsigned debug = 0; debug <= SLAB_DEBUG_ALL; debug++) {
    assert_int_equal(slab_create_with("c", 1000, 0, NULL, debug, &c), ERR_OK);
    uint64_t before = free_frames();
    for (unsigned n = 0; n < 60; n++) {
      void *p[400];
      unsigned got = 0, allowed = n % 20;
      struct slab_info info;
      fail_after = allowed;
      while (got < 400 && (p[got] = slab_alloc(c)))
        got++;
      slab_describe(c, &info);
      assert_true(info.slabs + 1 >= allowed && info.slabs <= allowed); /* one may have gone to a magazine */
      assert_int_equal(info.used_objects, got);
      assert_int_equal(got, info.slabs * info.per_slab);
      /* freeing needs nothing; so it works with a magazine and without */
      fail_after = n < 20 ? ~0u : n < 40 ? 0 : 1;
      while (got)
        slab_free(c, p[--got]);
      fail_after = ~0u;
      slab_describe(c, &info);
      assert_int_equal(info.used_objects, 0);
      assert_int_equal(free_frames(), before);
    }
    slab_destroy(c);
  }
  /* by size: the cache itself may be what fails */
  uint64_t before = free_frames();
  fail_after = 0;
  assert_null(mem_alloc(3000));
  fail_after = ~0u;
  assert_int_equal(free_frames(), before);
  for (unsigned n = 0; n < 4; n++) {
    fail_after = n;
    void *q = mem_alloc(3000);
    fail_after = ~0u;
    assert_true(q != NULL || n < 2);
    mem_free(q);
  }
}

static void memory_by_size(void **state) {
  (void)state;
  uint8_t *p[400];
  uint64_t seed = 5;
  size_t size[400];
  for (unsigned i = 0; i < 400; i++) {
    size[i] = 1 + (size_t)(world_random(&seed) >> 30) % (i % 20 ? 3000 : 40000);
    p[i] = mem_alloc(size[i]);
    assert_non_null(p[i]);
    assert_true(mem_size(p[i]) >= size[i]);
    assert_int_equal((uintptr_t)p[i] % 16, 0);
    check_zero(p[i], size[i]);
    fill(p[i], size[i], i);
  }
  for (unsigned i = 0; i < 400; i++) {
    check_filled(p[i], size[i], i);
    mem_free(p[i]);
  }
  for (size_t pow2 = 16; pow2 <= 4096; pow2 *= 2) {
    p[0] = mem_alloc(pow2);
    assert_int_equal((uintptr_t)p[0] % pow2, 0);
    mem_free(p[0]);
  }
  mem_free(NULL);
  assert_null(mem_alloc(0));
  assert_null(mem_alloc(((size_t)4 << 20) + 1));
  assert_null(mem_alloc(~(size_t)0));
  p[0] = mem_alloc((size_t)4 << 20);
  assert_int_equal(mem_size(p[0]), (size_t)4 << 20);
  assert_check_fails(mem_free(p[0] + 4096));
  mem_free(p[0]);
}

int main(void) {
#define T(test_) cmocka_unit_test_setup_teardown(test_, set_up, tear_down)
  const struct CMUnitTest tests[] = {
      T(objects_are_their_own),
      T(constructed_objects_keep_their_state),
      T(objects_come_back_from_every_cpu),
      T(a_pair_takes_no_lock),
      T(the_fullest_slab_is_used_first),
      T(debugging_finds_the_writer),
      T(debugging_is_switched_while_empty),
      T(shrinkers_give_by_what_they_have),
      T(memory_that_is_short_comes_from_slabs),
      T(wrong_sizes_are_refused),
      T(misuse_trips_a_check),
      T(shrinking_gives_the_empty_slab_back),
      T(every_failure_leaves_things_as_they_were),
      T(memory_by_size),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
