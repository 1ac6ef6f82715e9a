/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Our guest's side of virtqueues against a device that may do anything. An honest one must find each chain as it was added, in order,
 * and each token must come back once, with the length that was said, and notifications must go both ways exactly when the standard's
 * words say so. A faulty one (ids that are none or not out, the same twice, an index that jumps, silence, a reset at any moment) may end
 * the queue, but no token comes that is not out, and what is left comes by vq_detach(). The oracle is a list of what is out.
 */
// sources: guest/drivers/virtio/virtqueue.c
// sources: tests/host/mm_world.c tests/host/port/port_host.c
// sources: mm/ mm/lib/format.c
// cflags: -include tests/host/fakehw/guest_fake.h
// libs: -Wl,--wrap=mem_alloc -Wl,--wrap=mem_free
#include "abi/virtio.h"
#include "core/bits.h"
#include "guest/arch/mmu.h"
#include "guest/drivers/virtio/mmio.h"
#include "mm/slab.h"
#include "mm_world.h"
#include <string.h>

#define NUM 16u
#define ITEMS 64u

static const struct world_config map = {"plain", {R(0x40000, 0x40000 + F(64))}, {{{0}, {0}}}, 0x80000};
static struct world w;
static struct virtio_device device;
static struct virtqueue q;
static uint64_t seed, now, tables; /* of indirect chains, allocated */
static bool no_memory;
static bool lost;
static unsigned notified;
uint64_t timer_hz = 1000;

uint64_t timer_now(void) {
  return now++;
}

bool virtio_is_lost(const struct virtio_device *d) {
  return d == &device && lost;
}

void *__real_mem_alloc(size_t bytes);
void __real_mem_free(void *p);
void *__wrap_mem_alloc(size_t bytes);
void __wrap_mem_free(void *p);

void *__wrap_mem_alloc(size_t bytes) {
  void *p = no_memory ? NULL : __real_mem_alloc(bytes);
  tables += p != NULL;
  return p;
}

void __wrap_mem_free(void *p) {
  tables -= p != NULL;
  __real_mem_free(p);
}

static uint64_t pick(uint64_t n) {
  return world_random(&seed) % n;
}

/* --- the device: reads rings where they are, keeps its own indices --------------------------------------------------------------- */

static struct item {
  struct vq_segment segment[VQ_CHAIN_MAX];
  unsigned out, in;
  bool is_out, seen; /* the driver has it out; the device has taken it */
  uint16_t head;
  uint32_t bytes; /* what the device said it wrote */
} items[ITEMS];
static unsigned order[1 << 16]; /* of items, as they were added */
static uint16_t device_avail, device_used;

static const struct virtq_desc *chain_of(uint16_t head) {
  const struct virtq_desc *d = &q.desc[head];
  return d->flags & VIRTQ_DESC_F_INDIRECT ? linear_va(pa(d->addr)) : d;
}

static void see(struct item *item, uint16_t head) {
  bool indirect = q.desc[head].flags & VIRTQ_DESC_F_INDIRECT;
  const struct virtq_desc *base = indirect ? chain_of(head) : q.desc, *d = indirect ? base : &q.desc[head];
  unsigned count = item->out + item->in;
  if (indirect)
    assert_int_equal(q.desc[head].len, count * sizeof(*d));
  for (unsigned i = 0; i < count; i++) {
    assert_int_equal(d->addr, item->segment[i].at.v);
    assert_int_equal(d->len, item->segment[i].bytes);
    assert_int_equal(!!(d->flags & VIRTQ_DESC_F_WRITE), i >= item->out);
    assert_int_equal(!!(d->flags & VIRTQ_DESC_F_NEXT), i + 1 < count);
    d = &base[d->next];
  }
  item->head = head;
  item->seen = true;
}

static void take_all(void) {
  for (; device_avail != q.avail[1]; device_avail++)
    see(&items[order[device_avail]], q.avail[2 + (device_avail & (q.num - 1u))]);
}

static void give(uint32_t id, uint32_t bytes) {
  uint32_t *at = (uint32_t *)((char *)q.used + 4 + 8 * (device_used & (q.num - 1u)));
  at[0] = id;
  at[1] = bytes;
  q.used[1] = ++device_used;
}

static struct item *some(bool seen) {
  for (unsigned i = (unsigned)pick(ITEMS), n = 0; n < ITEMS; n++, i = (i + 1) % ITEMS)
    if (items[i].is_out && items[i].seen == seen)
      return &items[i];
  return NULL;
}

/* --- the driver ------------------------------------------------------------------------------------------------------------------- */

static struct item *idle_item(void) {
  for (unsigned i = 0; i < ITEMS; i++)
    if (!items[i].is_out)
      return &items[i];
  return NULL;
}

static err_t add(void) {
  struct item *item = idle_item();
  if (!item)
    return ERR_NOSPC;
  item->out = (unsigned)pick(4);
  item->in = (unsigned)pick(4) + !item->out;
  for (unsigned i = 0; i < item->out + item->in; i++)
    item->segment[i] = (struct vq_segment){pa(world_random(&seed)), 1 + (uint32_t)pick(100000)};
  uint16_t at = q.avail_idx;
  err_t err = vq_add(&q, item->segment, item->out, item->in, item);
  if (err == ERR_OK) {
    item->is_out = true;
    item->seen = false;
    order[at] = (unsigned)(item - items);
  }
  return err;
}

static struct item *get(void) {
  uint32_t bytes = 0;
  struct item *item = vq_get_used(&q, &bytes);
  if (item) {
    assert_true(item >= items && item < items + ITEMS && item->is_out);
    item->is_out = false;
    item->bytes = bytes;
  }
  return item;
}

static unsigned count_out(void) {
  unsigned n = 0;
  for (unsigned i = 0; i < ITEMS; i++)
    n += items[i].is_out;
  return n;
}

void virtio_notify(struct virtio_device *d, uint16_t queue) {
  assert_ptr_equal(d, &device);
  (void)queue;
  notified++;
}

/* --- life ------------------------------------------------------------------------------------------------------------------------ */

static void begin(uint64_t features) {
  world_create(&w, &map);
  memset(items, 0, sizeof(items));
  device = (struct virtio_device){.features = features};
  device_avail = device_used = 0;
  seed = 88172645463325252ull ^ features;
  lost = false;
  now = notified = 0;
  no_memory = false;
  assert_int_equal(vq_init(&q, &device, 0, NUM), ERR_OK);
}

/* What is out comes back once, and nothing stays behind. */
static void end(void) {
  struct item *item;
  while ((item = vq_detach(&q)) != NULL) {
    assert_true(item->is_out);
    item->is_out = false;
  }
  assert_int_equal(count_out(), 0);
  vq_fini(&q);
  assert_int_equal(tables, 0);
  world_destroy(&w);
}

#define ALL (BIT(VIRTIO_F_INDIRECT_DESC) | BIT(VIRTIO_F_EVENT_IDX))

static void honest(uint64_t features) {
  begin(features);
  for (unsigned step = 0; step < 150000; step++) { /* past the indices' end, more than once */
    struct item *item;
    uint32_t said;
    no_memory = pick(8) == 0; /* a chain then takes descriptors of the ring */
    switch (pick(4)) {
    case 0:
    case 1:
      if (add() == ERR_NOSPC)
        assert_true(q.free_count < 7 || count_out() == ITEMS);
      break;
    case 2:
      take_all();
      if ((item = some(true)) != NULL) {
        said = (uint32_t)world_random(&seed);
        give(item->head, said);
        assert_ptr_equal(get(), item);
        assert_int_equal(item->bytes, said);
      }
      break;
    default:
      assert_null(get());
    }
  }
  end();
}

static void an_honest_device_finds_what_was_added(void **state) {
  (void)state;
  for (unsigned i = 0; i < 4; i++)
    honest((i & 1 ? BIT(VIRTIO_F_INDIRECT_DESC) : 0) | (i & 2 ? BIT(VIRTIO_F_EVENT_IDX) : 0));
}

/* Entry by entry: is the one that the device waits for among those that were added since the last kick? */
static void the_device_is_told_when_it_wants_to_be(void **state) {
  (void)state;
  begin(ALL);
  for (unsigned step = 0; step < 100000; step++) {
    uint16_t from = q.avail_idx, event = (uint16_t)(from + pick(40) - 20);
    q.used[2 + 4 * q.num] = event;
    for (uint64_t n = pick(6); n > 0; n--)
      (void)add();
    bool wanted = false;
    for (uint16_t i = from; i != q.avail_idx; i++)
      wanted |= i == event;
    notified = 0;
    vq_kick(&q);
    assert_int_equal(notified, wanted);
    take_all();
    for (struct item *item; (item = some(true)) != NULL;) {
      give(item->head, 0);
      bool asks = pick(2);
      if (asks)
        assert_true(vq_enable_interrupts(&q));
      else
        vq_disable_interrupts(&q);
      assert_ptr_equal(get(), item);
      if (asks)
        assert_int_equal(q.avail[2 + q.num], q.used_idx);
    }
  }
  end();
}

static uint32_t wild_id(void) {
  switch (pick(3)) {
  case 0:
    return (uint32_t)pick(NUM); /* perhaps one that is out: that is no breach that can be seen */
  case 1:
    return NUM + (uint32_t)pick(NUM);
  default:
    return (uint32_t)world_random(&seed);
  }
}

static bool is_head_out(uint32_t id) {
  for (unsigned i = 0; i < ITEMS; i++)
    if (items[i].is_out && items[i].seen && items[i].head == id)
      return true;
  return false;
}

static void one_fault(void) {
  for (unsigned n = 1 + (unsigned)pick(20); n > 0; n--)
    (void)add();
  take_all();
  bool may = false;
  if (pick(3) != 0) {
    uint32_t id = wild_id();
    may = is_head_out(id);
    give(id, (uint32_t)world_random(&seed));
  } else {
    q.used[1] = device_used = (uint16_t)(device_used + 1 + pick(0xffff)); /* stale elements, and more than are out */
    may = true;
  }
  unsigned before = count_out(), got = 0;
  while (get() != NULL)
    got++;
  assert_true(got <= before && count_out() == before - got);
  if (!may) {
    assert_int_equal(got, 0);
    assert_true(q.broken);
  }
  if (q.broken) {
    assert_int_equal(vq_add(&q, items[0].segment, 1, 0, &items[0]), ERR_IO);
    assert_false(vq_enable_interrupts(&q));
    assert_null(vq_wait_used(&q, NULL));
  }
}

static void a_faulty_device_gives_no_token_that_is_not_out(void **state) {
  (void)state;
  for (unsigned round = 0; round < 3000; round++) {
    begin(round & 1 ? ALL : 0);
    seed += round * 7919;
    one_fault();
    end();
  }
}

/* Lost, or silent for a second: whoever waits goes on. */
static void who_waits_goes_on(void **state) {
  (void)state;
  begin(ALL);
  assert_int_equal(add(), ERR_OK);
  assert_null(vq_wait_used(&q, NULL));
  assert_in_range(now, timer_hz, 2 * timer_hz);
  lost = true;
  now = 0;
  assert_null(vq_wait_used(&q, NULL));
  assert_true(now < 10);
  end();
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(an_honest_device_finds_what_was_added),
      cmocka_unit_test(the_device_is_told_when_it_wants_to_be),
      cmocka_unit_test(a_faulty_device_gives_no_token_that_is_not_out),
      cmocka_unit_test(who_waits_goes_on),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
