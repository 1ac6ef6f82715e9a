/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Objects charged to owners: whatever comes and goes, an owner's bytes are those of the objects that it has, a failure charges nobody, and
 * when the last object has gone nothing is left. The oracle counts objects; it knows sizes from slabinfo's strides only.
 */
// sources: tests/host/mm_world.c tests/host/port/port_host.c
// sources: mm/ mm/lib/format.c
// libs: -Wl,--wrap=page_alloc
#include "mm/slab.h"
#include "mm_world.h"
#include <string.h>

#define OWNERS 5u
#define OBJECTS 300u

static const struct world_config map = {"plain", {{{0x40000}, {0x40000 + F(16)}}}, {{{0}, {0}}}, 0x40400};
static struct world w;
static bool no_frames;
static struct slab_cache *cache[2];

err_t __real_page_alloc(unsigned order, alloc_flags_t flags, pfn_t *out);
err_t __wrap_page_alloc(unsigned order, alloc_flags_t flags, pfn_t *out);
err_t __wrap_page_alloc(unsigned order, alloc_flags_t flags, pfn_t *out) {
  return no_frames ? ERR_NOMEM : __real_page_alloc(order, flags, out);
}

static int set_up(void **state) {
  (void)state;
  no_frames = false;
  world_create(&w, &map);
  assert_int_equal(slab_create("small", 100, 0, &cache[0]), ERR_OK);
  assert_int_equal(slab_create("large", 5000, 0, &cache[1]), ERR_OK);
  return 0;
}

static int tear_down(void **state) {
  (void)state;
  world_destroy(&w);
  return 0;
}

static uint64_t stride(unsigned kind) {
  struct slab_info info;
  slab_describe(cache[kind], &info);
  return info.stride_bytes;
}

static uint64_t charged_objects(unsigned kind) {
  struct slab_info info;
  slab_describe(cache[kind], &info);
  assert_int_equal(info.charged_objects, info.used_objects);
  return info.charged_objects;
}

static void owners_pay_for_what_they_have(void **state) {
  (void)state;
  static void *held[OBJECTS];
  uint64_t has[OWNERS][2] = {{0}}, seed = 9;
  for (unsigned step = 0; step < 20000; step++) {
    unsigned i = (unsigned)(world_random(&seed) >> 33) % OBJECTS, owner = i % OWNERS, kind = i / OWNERS % 2;
    if (held[i]) {
      slab_free_for(cache[kind], held[i], (owner_t)owner);
      held[i] = NULL;
      has[owner][kind]--;
    } else if ((held[i] = slab_alloc_for(cache[kind], (owner_t)owner, 0)) != NULL) {
      has[owner][kind]++;
    }
    assert_int_equal(slab_charged_bytes((owner_t)owner), has[owner][0] * stride(0) + has[owner][1] * stride(1));
  }
  for (unsigned i = 0; i < OBJECTS; i++)
    slab_free_for(cache[i / OWNERS % 2], held[i], (owner_t)(i % OWNERS));
  for (unsigned owner = 0; owner < OWNERS_MAX; owner++)
    assert_int_equal(slab_charged_bytes((owner_t)owner), 0);
  assert_true(charged_objects(0) == 0 && charged_objects(1) == 0);
}

static void who_gets_nothing_pays_nothing(void **state) {
  (void)state;
  void *first = slab_alloc_for(cache[1], 3, 0);
  uint64_t one = slab_charged_bytes(3), got = 1;
  assert_true(first && one >= 5000);
  no_frames = true;
  void *more[8];
  while (got < 8 && (more[got] = slab_alloc_for(cache[1], 3, 0)))
    got++;
  assert_true(got < 8);
  assert_int_equal(slab_charged_bytes(3), got * one);
  assert_int_equal(charged_objects(1), got);
  slab_free_for(cache[1], NULL, 3);
  assert_int_equal(slab_charged_bytes(3), got * one);
}

static void nobody_is_given_back_what_another_paid(void **state) {
  (void)state;
  void *object = slab_alloc_for(cache[0], 3, 0);
  if (PORT_EXPECT_CHECK()) {
    slab_free_for(cache[0], object, 4);
    port_expect_none();
    fail_msg("freed for another owner");
  }
  if (PORT_EXPECT_CHECK()) {
    object = slab_alloc_for(cache[0], OWNERS_MAX, 0);
    port_expect_none();
    fail_msg("charged to nobody: %p", object);
  }
}

static void a_new_start_owes_nothing(void **state) {
  assert_non_null(slab_alloc_for(cache[0], 7, 0));
  tear_down(state);
  set_up(state);
  assert_int_equal(slab_charged_bytes(7), 0);
}

int main(void) {
#define T(test_) cmocka_unit_test_setup_teardown(test_, set_up, tear_down)
  const struct CMUnitTest tests[] = {
      T(owners_pay_for_what_they_have),
      T(who_gets_nothing_pays_nothing),
      T(nobody_is_given_back_what_another_paid),
      T(a_new_start_owes_nothing),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
