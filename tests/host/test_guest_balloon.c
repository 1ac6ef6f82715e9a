/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What is in our guest's balloon, against a device that follows the rules until it is lost: at any notification, or while frames are
 * collected, and that comes back with other features, or not at all. The device must be told of frames that are the kernel's own, each
 * once; what it was told, what the driver holds and what the allocator misses must be the same, and once a device is gone all of it must
 * come back.
 *
 * And whether the target is followed, that a device changes at any moment while memory runs out at any other: the last one is met, but that
 * nothing goes in any more once memory was short after it.
 */
// sources: guest/drivers/virtio/virtqueue.c guest/drivers/virtio/balloon_pages.c guest/drivers/virtio/balloon_resize.c
// sources: tests/host/mm_world.c tests/host/port/port_host.c
// sources: mm/ mm/lib/format.c
// cflags: -include tests/host/fakehw/guest_fake.h
// libs: -Wl,--wrap=page_alloc
#include "core/bits.h"
#include "guest/arch/mmu.h"
#include "guest/drivers/virtio/balloon_priv.h"
#include "mm/slab.h"
#include "mm_world.h"
#include <string.h>

#define FRAMES F(64)
#define STEPS 6000u

static const struct world_config map = {"plain", {R(0x40000, 0x40000 + F(64))}, {{{0}, {0}}}, 0x80000};
static struct world w;
static struct virtio_device device;
static struct virtqueue queue[2]; /* inflate, deflate */
static uint64_t seed, now, told, config_actual, resets;
static bool lost, lossy, inside[FRAMES];
static uint32_t target;
static bool restless;          /* anything may happen meanwhile */
static bool short_since_asked; /* memory was, after the target was last changed */
struct balloon balloon = {.pages = {FRAME_LINK_NONE, 0}, .blocks = {FRAME_LINK_NONE, 0}};
uint64_t timer_hz = 1000;

uint64_t timer_now(void) {
  return now++;
}

bool virtio_is_lost(const struct virtio_device *d) {
  assert_ptr_equal(d, &device);
  return lost;
}

static uint64_t pick(uint64_t n) {
  return world_random(&seed) % n;
}

static void something_happens(void);

void virtio_config_write32(struct virtio_device *d, unsigned offset, uint32_t value) {
  assert_ptr_equal(d, &device);
  assert_int_equal(offset, offsetof(struct virtio_balloon_config, actual));
  config_actual = value;
  something_happens();
}

void virtio_config_read(struct virtio_device *d, unsigned offset, void *to, unsigned bytes) {
  assert_ptr_equal(d, &device);
  assert_int_equal(offset, offsetof(struct virtio_balloon_config, num_pages));
  assert_int_equal(bytes, sizeof(target));
  memcpy(to, &target, sizeof(target));
  something_happens();
}

/* --- the device ------------------------------------------------------------------------------------------------------------------ */

static void move(uint64_t frame, uint64_t count, bool in) {
  for (uint64_t i = frame - w.base; i < frame - w.base + count; i++) {
    assert_in_range(i, 0, FRAMES - 1);
    assert_int_equal(inside[i], !in);
    assert_int_equal(frame_state(pfn(w.base + i)), FRAME_CORE);
    inside[i] = in;
  }
  told += in ? count : -count;
}

static void read_message(const void *message, uint32_t bytes, bool in) {
  const struct balloon_range *range = message;
  const uint32_t *number = message;
  if (virtio_has(&device, VIRTIO_BALLOON_F_SLUICE_RANGES))
    for (uint32_t i = 0; i < bytes / sizeof(*range); i++)
      move(range[i].addr / PAGE_SIZE, range[i].bytes / PAGE_SIZE, in);
  else
    for (uint32_t i = 0; i < bytes / sizeof(*number); i++)
      move(number[i], 1, in);
}

/* It may be lost before it has looked, or between looking and answering. */
void virtio_notify(struct virtio_device *d, uint16_t index) {
  struct virtqueue *q = &queue[index];
  assert_ptr_equal(d, &device);
  if (lossy && pick(10) == 0) {
    lost = true;
    return;
  }
  uint16_t head = q->avail[2 + (uint16_t)(q->avail[1] - 1) % q->num];
  const struct virtq_desc *desc = &q->desc[head];
  assert_in_range(desc->len, 1, sizeof(union balloon_message));
  read_message(linear_va(pa(desc->addr)), desc->len, index == BALLOON_QUEUE_INFLATE);
  if (lossy && pick(20) == 0) {
    lost = true;
    return;
  }
  ((uint32_t *)(void *)(q->used + 2))[2 * (q->used[1] % q->num)] = head;
  q->used[1]++;
  something_happens();
}

/* --- what the transport does, and balloon.c for it ------------------------------------------------------------------------------- */

static void forget(void) {
  for (unsigned i = 0; i < 2; i++)
    vq_fini(&queue[i]);
  memset(inside, 0, sizeof(inside));
  told = config_actual = 0;
  balloon.device = NULL;
  balloon.inflate = balloon.deflate = NULL;
  balloon.orphaned = true;
  lost = true;
  resets++;
}

static void bring_up(void) {
  uint64_t ranges = pick(2) ? BIT(VIRTIO_BALLOON_F_SLUICE_RANGES) : 0;
  device = (struct virtio_device){.features = ranges | (pick(2) ? BIT(VIRTIO_BALLOON_F_DEFLATE_ON_OOM) : 0)};
  for (unsigned i = 0; i < 2; i++)
    assert_int_equal(vq_init(&queue[i], &device, (uint16_t)i, 4), ERR_OK);
  balloon.inflate = &queue[0];
  balloon.deflate = &queue[1];
  balloon.device = &device;
  lost = false;
}

/* Another CPU serves the interrupt while frames are collected: no lock is held then. */
err_t __real_page_alloc(unsigned order, alloc_flags_t flags, pfn_t *out);
err_t __wrap_page_alloc(unsigned order, alloc_flags_t flags, pfn_t *out);
err_t __wrap_page_alloc(unsigned order, alloc_flags_t flags, pfn_t *out) {
  bool by_the_driver = lossy && balloon.device != NULL && !balloon.lock.held;
  if (by_the_driver && pick(100) == 0) {
    lossy = false;
    forget();
    if (pick(2))
      bring_up();
    if (pick(2))
      (void)balloon_reclaim(1); /* and a third runs out of memory */
    lossy = true;
  }
  something_happens();
  return __real_page_alloc(order, flags, out);
}

/* --- cases ----------------------------------------------------------------------------------------------------------------------- */

/* An interrupt: the device wants another size. Or a process finds no frame. One time in `rare`. */
static void something_may_happen(unsigned rare) {
  if (!restless || pick(rare) != 0)
    return;
  restless = false;
  if (pick(2)) {
    target = (uint32_t)pick(FRAMES / 2);
    short_since_asked = false;
    balloon_ask();
  } else {
    short_since_asked |= !balloon.lock.held; /* who finds the thread at it gets nothing now */
    (void)balloon_reclaim(1 + pick(2000));
  }
  restless = true;
}

static void something_happens(void) {
  something_may_happen(50);
}

static uint64_t driver_frames(void) {
  uint64_t n = 0;
  uint32_t at = balloon.pages.top;
  for (; at != FRAME_LINK_NONE; at = frame_of(pfn(at + frame_base_pfn))->next)
    n++;
  assert_int_equal(n, balloon.pages.count);
  for (at = balloon.blocks.top; at != FRAME_LINK_NONE; at = frame_of(pfn(at + frame_base_pfn))->next)
    n += BALLOON_BLOCK_FRAMES;
  assert_int_equal(n, balloon_inside());
  return n;
}

/* Frames of the allocator's are free, in the balloon, or what the test knows of. */
static void check(uint64_t all) {
  unsigned rings = balloon.inflate != NULL ? 2 : 0;
  assert_int_equal(page_free_frames() + driver_frames() + rings, all);
  if (balloon.device && !balloon.orphaned && !lost)
    assert_int_equal(told, balloon_inside());
}

static void one_step(void) {
  switch (pick(5)) {
  case 0:
  case 1:
    (void)balloon_inflate_some(1 + pick(pick(2) ? 600 : 6000));
    break;
  case 2:
    (void)balloon_deflate_some(1 + pick(pick(2) ? 600 : 6000));
    break;
  case 3:
    (void)(pick(2) ? balloon_reclaim(1 + pick(100)) : balloon_reclaim_waiting(1 + pick(100)));
    break;
  default:
    if (balloon.orphaned && pick(2))
      balloon_take_all_back();
  }
  if (lost && balloon.device != NULL) {
    assert_true(balloon_inside() >= told); /* nothing has left that the device was not told of */
    forget();
  }
  if (balloon.device == NULL && pick(3) == 0)
    bring_up();
}

static void run(bool may_fail) {
  world_create(&w, &map);
  seed = 88172645463325252ull;
  told = now = resets = 0;
  memset(inside, 0, sizeof(inside));
  balloon.message = mem_alloc(sizeof(*balloon.message));
  lost = lossy = false;
  uint64_t all = page_free_frames();
  bring_up();
  lossy = may_fail;
  for (unsigned i = 0; i < STEPS; i++) {
    one_step();
    check(all);
  }
  assert_int_equal(resets > 100, may_fail);
  lossy = false;
  if (balloon.device != NULL)
    forget();
  balloon_take_all_back();
  assert_int_equal(balloon_inside(), 0);
  check(all);
  mem_free(balloon.message);
  world_destroy(&w);
}

static void what_is_told_is_what_is_inside(void **state) {
  (void)state;
  run(false);
}

static void all_comes_back_from_a_device_that_is_lost(void **state) {
  (void)state;
  run(true);
}

/* While things happen, and then until it rests. */
static void follow(uint64_t all) {
  restless = true;
  for (unsigned i = 0; i < 20; i++) {
    (void)balloon_resize_step();
    something_may_happen(4);
    something_may_happen(4);
  }
  restless = false;
  uint64_t was = balloon_inside();
  while (balloon_resize_step())
    ;
  if (balloon_inside() != target) {
    assert_true(short_since_asked);
    assert_true(balloon_inside() < target && balloon_inside() <= was);
  }
  assert_int_equal(config_actual, balloon_inside());
  assert_false(balloon_has_to_resize());
  check(all);
}

static void the_last_target_is_met(void **state) {
  (void)state;
  world_create(&w, &map);
  seed = 2463534242;
  told = now = 0;
  memset(inside, 0, sizeof(inside));
  balloon.message = mem_alloc(sizeof(*balloon.message));
  lost = lossy = false;
  uint64_t all = page_free_frames();
  unsigned met = 0, held_back = 0;
  for (unsigned i = 0; i < 120; i++) {
    bring_up();
    device.features |= BIT(VIRTIO_BALLOON_F_DEFLATE_ON_OOM);
    target = (uint32_t)pick(FRAMES / 2);
    short_since_asked = false;
    balloon_ask();
    for (unsigned n = 0; n < 10; n++) {
      follow(all);
      met += balloon_inside() == target;
      held_back += balloon_inside() != target;
    }
    forget();
    balloon_take_all_back();
  }
  assert_true(met > 200 && held_back > 200);
  mem_free(balloon.message);
  world_destroy(&w);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(what_is_told_is_what_is_inside),
      cmocka_unit_test(all_comes_back_from_a_device_that_is_lost),
      cmocka_unit_test(the_last_target_is_met),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
