/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Slabs: objects never overlap (each is filled with its own pattern and looked at again), come zeroed and aligned, every frame comes back,
 * every allocation failed in turn leaves things as they were, and misuse trips a CHECK.
 */
// sources: tests/host/mm_world.c tests/host/port/port_host.c
// sources: mm/
// libs: -Wl,--wrap=page_alloc
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
  world_create(&w, &map);
  return 0;
}

/* Each cache of the core keeps at most one empty slab: no more may be missing. */
static int tear_down(void **state) {
  (void)state;
  struct ledger l;
  ledger_read(&l);
  world_destroy(&w);
  return l.frames[FRAME_CORE] <= 16 ? 0 : -1;
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
  uint64_t before = page_free_frames();
  for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++) {
    struct slab_cache *c;
    struct slab_info info;
    assert_int_equal(slab_create("objects", kinds[i].size, kinds[i].align, &c), ERR_OK);
    work_on(c, kinds[i].size, kinds[i].align ? kinds[i].align : 16, 77 + i);
    slab_describe(c, &info);
    assert_int_equal(info.used_objects, 0);
    assert_true(info.slabs <= 1);
    slab_destroy(c);
  }
  assert_int_equal(page_free_frames() + 1, before); /* the cache of caches keeps one slab */
}

static void wrong_sizes_are_refused(void **state) {
  (void)state;
  struct slab_cache *c;
  assert_int_equal(slab_create("x", 0, 0, &c), ERR_INVAL);
  assert_int_equal(slab_create("x", SLAB_OBJECT_MAX + 1, 0, &c), ERR_INVAL);
  assert_int_equal(slab_create("x", 8, 3, &c), ERR_INVAL);
  assert_int_equal(slab_create("x", 8, 8192, &c), ERR_INVAL);
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
  uint64_t before = page_free_frames();
  void *a = slab_alloc(c), *b = slab_alloc(c);
  slab_free(c, a);
  assert_int_equal(page_free_frames(), before - 2);
  assert_int_equal(slab_shrink(c), 1);
  assert_int_equal(slab_shrink(c), 0);
  assert_int_equal(page_free_frames(), before - 1);
  slab_free(c, b);
  assert_int_equal(slab_shrink(c), 1);
  assert_int_equal(page_free_frames(), before);
  slab_destroy(c);
}

static void every_failure_leaves_things_as_they_were(void **state) {
  (void)state;
  struct slab_cache *c;
  fail_after = 0;
  assert_int_equal(slab_create("c", 1000, 0, &c), ERR_NOMEM);
  fail_after = ~0u;
  assert_int_equal(slab_create("c", 1000, 0, &c), ERR_OK);
  uint64_t before = page_free_frames();
  for (unsigned n = 0; n < 20; n++) {
    void *p[200];
    unsigned got = 0;
    struct slab_info info;
    fail_after = n;
    while (got < 200 && (p[got] = slab_alloc(c)))
      got++;
    slab_describe(c, &info);
    assert_int_equal(info.slabs, n);
    assert_int_equal(info.used_objects, got);
    assert_int_equal(got, n * info.per_slab);
    fail_after = ~0u;
    while (got)
      slab_free(c, p[--got]);
    slab_shrink(c);
    assert_int_equal(page_free_frames(), before);
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
      T(wrong_sizes_are_refused),
      T(misuse_trips_a_check),
      T(shrinking_gives_the_empty_slab_back),
      T(every_failure_leaves_things_as_they_were),
      T(memory_by_size),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
