/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The balloon device and the release of a VM's memory against a model of page states: for each page of the VM what it holds, whether it is
 * backed, whether it is in the balloon and whether the hypervisor keeps it back. A driver that plays by the rules of virtio in its rings,
 * but says what it likes in its buffers, inflates, deflates and reports; after each step every page must read as the model says, and the
 * counts must be the model's.
 */
// sources: hyp/dev/virtio/balloon.c hyp/dev/virtio/balloon_pages.c hyp/dev/virtio/virtqueue.c hyp/mem/reclaim.c
// sources: tests/host/fakehw/stage2_fake.c tests/host/mm_world.c tests/host/port/port_host.c
// sources: mm/ mm/lib/format.c
// cflags: -include tests/host/fakehw/vgic_fake.h
#include "fakehw/stage2_fake.h"
#include "mm_world.h"

#include "abi/scenario.h"
#include "abi/virtio.h"
#include "core/bits.h"
#include "hyp/core/vm.h"
#include "hyp/core/work.h"
#include "hyp/dev/virtio/balloon.h"
#include "hyp/mem/balloon_target.h"
#include "mm/slab.h"
#include <stdlib.h>
#include <string.h>

#define VM_BYTES (SZ_2M * 12)
#define PAGES (VM_BYTES / PAGE_SIZE)
#define RINGS 512u /* pages at the foot that the driver keeps for itself: rings and buffers */
#define QUEUE_NUM 16u
#define BUFFERS (VM_RAM_BASE + 16 * PAGE_SIZE)
#define BUFFER_BYTES (PAGE_SIZE * 4)
#define EVERYTHING 0x3fu

static const struct world_config machine = {"small", {R(0x80000, 0x80000 + 64 * 256)}, {{{0}, {0}}}, 0};
static struct vm vm;
static struct virtio_device *device;
static uint64_t now, seed;
static unsigned config_interrupts, used_interrupts;
static const char *broken;

/* ---- the hypervisor around the device ---- */

uint64_t time_now(void) {
  return now;
}
uint64_t time_from_ms(uint64_t ms) {
  return ms * 62500;
}
uint64_t time_to_us(uint64_t ticks) {
  return ticks * 2 / 125;
}
void virtio_init(struct virtio_device *d, const struct virtio_ops *ops, struct vm *of, unsigned slot) {
  d->ops = ops;
  d->vm = of;
  d->slot = slot;
  of->virtio[slot] = device = d;
}
struct virtio_device *virtio_find(const struct vm *of, const struct virtio_ops *ops) {
  return of == &vm && device->ops == ops ? device : NULL;
}
void virtio_config_changed(struct virtio_device *d) {
  d->generation++;
  config_interrupts++;
}
void virtio_signal_used(struct virtio_device *d, unsigned q) {
  used_interrupts += vq_must_signal(&d->queue[q]);
}
void virtio_needs_reset(struct virtio_device *d, const char *why) {
  d->status |= VIRTIO_STATUS_NEEDS_RESET;
  broken = why;
}

static enum virtio_work run_once(unsigned q) {
  spin_lock(&device->lock);
  enum virtio_work w = device->ops->run(device, q);
  spin_unlock(&device->lock);
  assert_false(spin_is_locked(&vm.s2.lock));
  return w;
}

/* ---- the model ---- */

static struct page {
  uint64_t holds;
  bool backed, inside, kept;
} model[PAGES];

static uint64_t random_below(uint64_t n) {
  seed = seed * 6364136223846793005u + 1442695040888963407u;
  return (seed >> 33) % n;
}

static uint64_t address_of(uint64_t page) {
  return VM_RAM_BASE + page * PAGE_SIZE;
}

/* A page the driver may give away. */
static uint64_t any_page(void) {
  return RINGS + random_below(PAGES - RINGS);
}

static void model_release(uint64_t page) {
  if (!model[page].kept) {
    model[page].holds = 0;
    model[page].backed = false;
  }
}

static void check_model(void) {
  struct balloon_state state;
  uint64_t backed = 0, inside = 0;
  for (uint64_t p = RINGS; p < PAGES; p++) {
    unsigned order;
    bool there = !pfn_is_none(fake_stage2_frame(address_of(p), &order));
    assert_int_equal(there, model[p].backed);
    assert_int_equal(fake_guest_read(address_of(p)), model[p].holds);
    inside += model[p].inside;
    assert_int_equal(vm.s2.ballooned ? vm.s2.ballooned[p / 64] >> p % 64 & 1 : 0, model[p].inside); /* what stage 2 is told */
  }
  for (uint64_t p = 0; p < PAGES; p++) {
    unsigned order;
    backed += !pfn_is_none(fake_stage2_frame(address_of(p), &order));
  }
  balloon_read(&vm, &state);
  assert_int_equal(state.actual, inside);
  assert_int_equal(vm.s2.populated_frames, backed);
  assert_int_equal(vm.s2.released_frames, fake_frames_left); /* who waits has been told of each */
}

/* ---- the driver ---- */

static uint16_t avail[VIRTIO_QUEUES_MAX], used[VIRTIO_QUEUES_MAX];

static uint64_t ring_of(unsigned q) {
  return VM_RAM_BASE + q * 3 * PAGE_SIZE;
}

static void set_up_queue(unsigned q) {
  device->queue[q] = (struct virtqueue){.s2 = &vm.s2,
                                        .desc = ipa(ring_of(q)),
                                        .avail = ipa(ring_of(q) + PAGE_SIZE),
                                        .used = ipa(ring_of(q) + 2 * PAGE_SIZE),
                                        .num = QUEUE_NUM,
                                        .ready = true};
  for (unsigned i = 0; i < 3; i++) {
    static const char zeroes[PAGE_SIZE];
    assert_int_equal(stage2_write(&vm.s2, ipa(ring_of(q) + i * PAGE_SIZE), zeroes, PAGE_SIZE), ERR_OK);
  }
  avail[q] = used[q] = 0;
}

static void start(uint64_t features) {
  device->ops->reset(device);
  device->features = features;
  for (unsigned q = 0; q < VIRTIO_QUEUES_MAX; q++)
    set_up_queue(q);
  device->status = VIRTIO_STATUS_DRIVER_OK;
  device->ops->driver_ok(device);
  for (unsigned p = 0; p < PAGES; p++)
    model[p].inside = false;
}

static void put16(uint64_t at, uint16_t v) {
  assert_int_equal(stage2_write(&vm.s2, ipa(at), &v, 2), ERR_OK);
}

static uint16_t get16(uint64_t at) {
  uint16_t v;
  assert_int_equal(stage2_read(&vm.s2, &v, ipa(at), 2), ERR_OK);
  return v;
}

static void add_chain(unsigned q, const struct vq_segment *s, unsigned count) {
  for (unsigned i = 0; i < count; i++) {
    struct virtq_desc d = {s[i].at.v, s[i].bytes, (uint16_t)((s[i].writable ? 2 : 0) | (i + 1 < count ? 1 : 0)), (uint16_t)(i + 1)};
    assert_int_equal(stage2_write(&vm.s2, ipa(ring_of(q) + i * sizeof(d)), &d, sizeof(d)), ERR_OK);
  }
  put16(ring_of(q) + PAGE_SIZE + 4 + 2 * (avail[q] % QUEUE_NUM), 0);
  put16(ring_of(q) + PAGE_SIZE + 2, ++avail[q]);
}

/* Until the chain comes back; each piece on the way leaves no lock behind. */
static void serve(unsigned q) {
  unsigned pieces = 0;
  used[q]++;
  while (get16(ring_of(q) + 2 * PAGE_SIZE + 2) != used[q]) {
    assert_int_equal(run_once(q), VIRTIO_MORE);
    assert_true(++pieces < 10000);
  }
  assert_int_equal(run_once(q), VIRTIO_IDLE);
}

/* Bytes for the device to read, cut into segments somewhere. */
static void send(unsigned q, const void *bytes, uint32_t count) {
  struct vq_segment s[3];
  unsigned n = 0;
  assert_int_equal(stage2_write(&vm.s2, ipa(BUFFERS), bytes, count), ERR_OK);
  for (uint32_t at = 0; at < count; n++) {
    uint32_t piece = n == 2 ? count - at : 1 + (uint32_t)random_below(count - at);
    s[n] = (struct vq_segment){ipa(BUFFERS + at), piece, false};
    at += piece;
  }
  add_chain(q, s, n);
  serve(q);
}

/* ---- steps ---- */

static void step_touch(void) {
  uint64_t page = any_page();
  if (!model[page].backed && random_below(3) == 0) {
    uint64_t first = align_down(page, 512);
    bool empty = true;
    for (uint64_t p = first; p < first + 512; p++)
      empty = empty && !model[p].backed;
    for (uint64_t p = first; p < first + 512 && empty; p++)
      model[p].backed = true;
    if (empty)
      fake_stage2_back(address_of(page), true);
  }
  model[page].holds = ++now;
  model[page].backed = true;
  fake_guest_write(address_of(page), now);
}

/* The hypervisor has its reasons: a device, a loan. All pages of a block at once. */
static void step_keep(void) {
  unsigned order;
  uint64_t page = any_page();
  pfn_t f = fake_stage2_frame(address_of(page), &order);
  if (pfn_is_none(f))
    return;
  struct frame *head = frame_of(pfn(align_down(f.v, BIT(order))));
  bool keep = head->pins == 0;
  head->pins = keep;
  for (uint64_t p = align_down(page, BIT(order)), end = p + BIT(order); p < end; p++)
    model[p].kept = keep;
}

static bool may_release(uint64_t page) {
  return !model[page].kept;
}

static void model_inflate(uint64_t page) {
  if (may_release(page))
    model_release(page);
  model[page].inside = true;
}

static void step_pages(bool in) {
  static uint32_t pfns[700];
  unsigned count = 1 + (unsigned)random_below(700);
  uint64_t from = any_page();
  bool run = random_below(2);
  for (unsigned i = 0; i < count; i++) {
    uint64_t page = run && from + i < PAGES ? from + i : any_page();
    pfns[i] = (uint32_t)((VM_RAM_BASE >> 12) + page);
    if (random_below(20) == 0)
      pfns[i] = random_below(2) ? (uint32_t)random_below(1u << 31) * 2 : (uint32_t)((VM_RAM_BASE >> 12) + PAGES + random_below(3));
    page = pfns[i] - (VM_RAM_BASE >> 12);
    if (page < PAGES && page >= RINGS && in)
      model_inflate(page);
    else if (page < PAGES && page >= RINGS)
      model[page].inside = false;
    else if (page < RINGS)
      pfns[i] = 0;
  }
  send(in ? BALLOON_QUEUE_INFLATE : BALLOON_QUEUE_DEFLATE, pfns, count * 4 + (uint32_t)random_below(4));
}

/* A range within the pages that may go, mostly aligned to what is sensible. */
static struct balloon_range any_range(void) {
  uint64_t align = random_below(3) ? SZ_2M : PAGE_SIZE, first = address_of(any_page()) & ~(align - 1);
  uint64_t left = VM_RAM_BASE + VM_BYTES - first, bytes = align * (1 + random_below(align == SZ_2M ? 4 : 700));
  return (struct balloon_range){first, bytes < left ? bytes : left};
}

static void step_ranges(bool in) {
  static struct balloon_range r[70];
  unsigned count = 1 + (unsigned)random_below(random_below(4) ? 4 : 70);
  for (unsigned i = 0; i < count; i++) {
    r[i] = any_range();
    bool bad = random_below(8) == 0;
    if (bad)
      r[i] = random_below(2) ? (struct balloon_range){r[i].addr + 1 + random_below(4095), r[i].bytes}
                             : (struct balloon_range){r[i].addr, (~(uint64_t)0 - random_below(VM_BYTES)) & ~(PAGE_SIZE - 1)};
    for (uint64_t p = (r[i].addr - VM_RAM_BASE) / PAGE_SIZE, n = bad ? 0 : r[i].bytes / PAGE_SIZE; n > 0; p++, n--) {
      if (in)
        model_inflate(p);
      else
        model[p].inside = false;
    }
  }
  send(in ? BALLOON_QUEUE_INFLATE : BALLOON_QUEUE_DEFLATE, r, count * sizeof(r[0]));
}

static void step_report(unsigned q, bool honoured) {
  struct vq_segment s[QUEUE_NUM];
  unsigned count = 1 + (unsigned)random_below(QUEUE_NUM);
  for (unsigned i = 0; i < count; i++) {
    struct balloon_range r = any_range();
    uint64_t odd = random_below(4) ? 0 : 1 + random_below(r.bytes < 4096 ? r.bytes - 1 : 4095);
    s[i] = (struct vq_segment){ipa(r.addr + odd), (uint32_t)(r.bytes - odd), true};
    for (uint64_t at = align_up(r.addr + odd, PAGE_SIZE); honoured && at + PAGE_SIZE <= r.addr + r.bytes; at += PAGE_SIZE)
      if (may_release((at - VM_RAM_BASE) / PAGE_SIZE))
        model_release((at - VM_RAM_BASE) / PAGE_SIZE);
  }
  add_chain(q, s, count);
  serve(q);
}

static void step(uint64_t features, unsigned report_queue, bool honoured) {
  bool ranges = features >> VIRTIO_BALLOON_F_SLUICE_RANGES & 1;
  switch (random_below(8)) {
  case 0:
    if (ranges)
      step_ranges(true);
    else
      step_pages(true);
    break;
  case 1:
    if (ranges)
      step_ranges(false);
    else
      step_pages(false);
    break;
  case 2:
    if (features >> VIRTIO_BALLOON_F_REPORTING & 1)
      step_report(report_queue, honoured);
    break;
  case 3:
    step_keep();
    break;
  default:
    for (unsigned i = 0; i < 40; i++)
      step_touch();
  }
}

static void open_world(struct world *w, uint64_t words) {
  struct ledger charged;
  world_create(w, &machine);
  memset(&vm, 0, sizeof(vm));
  memset(model, 0, sizeof(model));
  vm.id = 3;
  vm.state = VM_RUNNING;
  vm.config.memory_bytes = VM_BYTES;
  vm.config.balloon = words;
  assert_int_equal(virtio_balloon_create(&vm, 2), ERR_OK); /* once before the count: the slabs keep something for themselves */
  virtio_balloon_destroy(device);
  (void)slab_shrink_all(~(uint64_t)0);
  fake_stage2_open(&vm, VM_BYTES);
  assert_int_equal(virtio_balloon_create(&vm, 2), ERR_OK);
  ledger_read_owner(vm.id, &charged);
  assert_int_equal(charged.frames[FRAME_CORE], 1); /* the map of what is inside */
}

static void close_world(struct world *w) {
  for (uint64_t p = RINGS; p < PAGES; p++) {
    unsigned order;
    pfn_t f = fake_stage2_frame(address_of(p), &order);
    if (!pfn_is_none(f))
      frame_of(pfn(align_down(f.v, BIT(order))))->pins = 0;
  }
  virtio_balloon_destroy(device);
  (void)slab_shrink_all(~(uint64_t)0);
  fake_stage2_close();
  world_destroy(w);
}

static const uint64_t feature_sets[] = {
    0,
    BIT(VIRTIO_BALLOON_F_REPORTING),
    BIT(VIRTIO_BALLOON_F_STATS_VQ) | BIT(VIRTIO_BALLOON_F_REPORTING),
    BIT(VIRTIO_BALLOON_F_SLUICE_RANGES),
    BIT(VIRTIO_BALLOON_F_SLUICE_RANGES) | BIT(VIRTIO_BALLOON_F_STATS_VQ) | BIT(VIRTIO_BALLOON_F_REPORTING),
};

static void test_model(void **state) {
  (void)state;
  for (unsigned f = 0; f < ARRAY_SIZE(feature_sets); f++) {
    struct world w;
    open_world(&w, EVERYTHING);
    start(feature_sets[f]);
    seed = f + 1;
    for (unsigned i = 0; i < 250; i++) {
      step(feature_sets[f], feature_sets[f] >> VIRTIO_BALLOON_F_STATS_VQ & 1 ? 3 : random_below(2) ? 2 : 4, true);
      check_model();
      if (random_below(60) == 0) {
        start(feature_sets[f]);
        check_model();
      }
    }
    close_world(&w);
  }
}

/* 5.5.6.7: while the guest fills its free pages, a report must not change what they hold. */
static void test_poison(void **state) {
  (void)state;
  uint64_t features = BIT(VIRTIO_BALLOON_F_REPORTING) | BIT(VIRTIO_BALLOON_F_PAGE_POISON);
  struct world w;
  open_world(&w, EVERYTHING);
  start(features);
  for (unsigned poison = 0; poison < 2; poison++) {
    struct virtio_balloon_config space = {0, 0, 0, poison ? 0xaa : 0};
    memcpy(device->config, &space, sizeof(space));
    device->ops->config_written(device, 12, 4);
    for (unsigned i = 0; i < 60; i++) {
      step(features, 2, !poison);
      check_model();
    }
  }
  struct balloon_report r;
  assert_true(virtio_balloon_report(&vm, &r) && r.ignored_reports > 0 && r.poison == 0xaa);
  close_world(&w);
}

/* The monitor says so: reports are answered, and nothing is taken. What it offers counts for the next driver only. */
static void test_changes_while_it_runs(void **state) {
  (void)state;
  uint64_t features = BIT(VIRTIO_BALLOON_F_REPORTING) | BIT(VIRTIO_BALLOON_F_STATS_VQ);
  struct balloon_report r;
  struct world w;
  open_world(&w, EVERYTHING);
  start(features);
  for (unsigned off = 0; off < 2; off++) {
    assert_true(virtio_balloon_take_reports(&vm, !off));
    for (unsigned i = 0; i < 60; i++) {
      step(features, 3, !off);
      check_model();
    }
    assert_true(virtio_balloon_report(&vm, &r) && r.declines_reports == off && (r.ignored_reports > 0) == off);
  }
  assert_true(virtio_balloon_offer(&vm, 1u << 1));
  assert_true(virtio_balloon_report(&vm, &r) && r.offered == BIT(VIRTIO_BALLOON_F_STATS_VQ) && r.features == features);
  assert_int_equal(device->ops->features(device), BIT(VIRTIO_BALLOON_F_STATS_VQ));
  close_world(&w);
}

/* A table cannot be had for a split: the page stays as it is, whole, and is counted. */
static void test_no_table(void **state) {
  (void)state;
  struct world w;
  uint64_t ipas[2] = {address_of(600), address_of(1100)};
  struct reclaim_sum sum = {0};
  open_world(&w, EVERYTHING);
  fake_stage2_back(ipas[0], true);
  fake_guest_write(ipas[0], 77);
  fake_stage2_back(ipas[1], true);
  fake_tables_left = 1;
  assert_int_equal(reclaim_pages(&vm.s2, 2, ipas, &sum), 2);
  fake_tables_left = ~0u;
  assert_int_equal(sum.released, 1);
  assert_int_equal(sum.kept, 1);
  assert_int_equal(fake_guest_read(ipas[0]), 0);
  unsigned order;
  assert_false(pfn_is_none(fake_stage2_frame(ipas[1], &order)));
  assert_int_equal(order, 9);
  close_world(&w);
}

/* What the bounds of a piece are for: a flush for all pages, few splits, a block as a block. */
static void test_pieces(void **state) {
  (void)state;
  struct world w;
  static uint64_t ipas[RECLAIM_PAGES + 1];
  struct reclaim_sum sum = {0};
  open_world(&w, EVERYTHING);
  for (unsigned i = 0; i <= RECLAIM_PAGES; i++) {
    ipas[i] = address_of(RINGS + 7 * i % 512);
    fake_guest_write(ipas[i], i);
  }
  fake_guest_write(address_of(RINGS + 511), 1);
  fake_flushes = 0;
  assert_int_equal(reclaim_pages(&vm.s2, RECLAIM_PAGES + 1, ipas, &sum), RECLAIM_PAGES);
  assert_int_equal(fake_flushes, 1);
  assert_int_equal(sum.released, RECLAIM_PAGES);
  for (unsigned i = 0; i < 8; i++) {
    ipas[i] = address_of(512 * (2 + i) + i);
    fake_stage2_back(ipas[i], true);
  }
  fake_splits = 0;
  unsigned done = reclaim_pages(&vm.s2, 8, ipas, &sum);
  assert_true(done > 0 && done < 8 && fake_splits == done);
  uint64_t at = 0;
  struct reclaim_range range = {address_of(512 * (2 + done)), (8 - done) * SZ_2M};
  fake_flushes = 0;
  sum = (struct reclaim_sum){0};
  assert_true(reclaim_ranges(&vm.s2, 1, &range, &at, &sum));
  assert_int_equal(fake_flushes, 1);
  assert_int_equal(sum.released, (8 - done) * 512);
  close_world(&w);
}

/* Ranges that are none count as empty, whoever passes them on. */
static void test_no_ranges(void **state) {
  (void)state;
  struct world w;
  struct reclaim_sum sum = {0};
  uint64_t at = 0;
  struct reclaim_range r[] = {
      {address_of(PAGES - 1), 2 * PAGE_SIZE}, {address_of(600) + 1, PAGE_SIZE}, {0, SZ_2M}, {address_of(700), PAGE_SIZE}};
  open_world(&w, EVERYTHING);
  fake_guest_write(address_of(700), 1);
  fake_guest_write(address_of(PAGES - 1), 1);
  while (!reclaim_ranges(&vm.s2, ARRAY_SIZE(r), r, &at, &sum))
    assert_true(at <= PAGE_SIZE);
  assert_int_equal(sum.released, 1);
  assert_int_equal(fake_guest_read(address_of(PAGES - 1)), 1);
  close_world(&w);
}

/* A VM with views loses the mirrors before the page. */
static void test_views(void **state) {
  (void)state;
  struct world w;
  struct reclaim_sum sum = {0};
  uint64_t at = address_of(700);
  open_world(&w, EVERYTHING);
  vm.config.trap_stage1_faults = true;
  fake_guest_write(at, 5);
  fake_views_forgotten = 0;
  assert_int_equal(reclaim_pages(&vm.s2, 1, &at, &sum), 1);
  assert_int_equal(fake_views_forgotten, 1);
  close_world(&w);
}

static void test_config(void **state) {
  (void)state;
  struct world w;
  struct virtio_balloon_config space;
  struct balloon_state s;
  struct balloon_report r;
  open_world(&w, SCENARIO_BALLOON_DEFAULT);
  assert_int_equal(device->ops->features(device), BIT(VIRTIO_BALLOON_F_STATS_VQ) | BIT(VIRTIO_BALLOON_F_DEFLATE_ON_OOM) |
                                                      BIT(VIRTIO_BALLOON_F_REPORTING) | BIT(VIRTIO_BALLOON_F_SLUICE_RANGES));
  config_interrupts = 0;
  assert_true(balloon_set_target(&vm, PAGES - 100));
  assert_true(virtio_balloon_report(&vm, &r) && r.stand == BALLOON_NO_DRIVER);
  start(device->ops->features(device));
  assert_int_equal(config_interrupts, 1);
  assert_true(balloon_set_target(&vm, PAGES - 100)); /* the same: nobody is disturbed */
  assert_int_equal(config_interrupts, 1);
  memcpy(&space, device->config, sizeof(space));
  assert_int_equal(space.num_pages, 100);
  /* what the driver may not write is put right; what it may, counts; poison_val is not its to write here */
  space = (struct virtio_balloon_config){7, 42, 9, 11};
  memcpy(device->config, &space, sizeof(space));
  now += time_from_ms(5000);
  device->ops->config_written(device, 0, 4);
  memcpy(&space, device->config, sizeof(space));
  assert_int_equal(space.num_pages, 100);
  assert_int_equal(space.actual, 42);
  assert_int_equal(space.free_page_hint_cmd_id, 0);
  assert_int_equal(space.poison_val, 0);
  assert_true(virtio_balloon_report(&vm, &r) && r.stand == BALLOON_SAYS_NO_MORE && r.said == 42);
  now += time_from_ms(5000);
  assert_true(virtio_balloon_report(&vm, &r) && r.stand == BALLOON_SILENT && r.waiting_ms == 5000);
  vm.state = VM_PAUSED;
  assert_true(virtio_balloon_report(&vm, &r) && r.stand == BALLOON_STOPPED);
  vm.state = VM_RUNNING;
  struct balloon_range give = {address_of(RINGS), 100 * PAGE_SIZE};
  send(BALLOON_QUEUE_INFLATE, &give, sizeof(give));
  assert_true(virtio_balloon_report(&vm, &r) && r.stand == BALLOON_DONE);
  balloon_read(&vm, &s);
  assert_true(s.present && s.driven && s.keep == PAGES - 100 && s.actual == 100);
  device->ops->reset(device); /* the target outlives the driver, the balloon does not; a restart forgets both */
  balloon_read(&vm, &s);
  assert_true(s.keep == PAGES - 100 && s.actual == 0);
  device->ops->power_on(device);
  balloon_read(&vm, &s);
  assert_int_equal(s.keep, PAGES);
  assert_true(balloon_set_target(&vm, PAGES * 2));
  balloon_read(&vm, &s);
  assert_int_equal(s.keep, PAGES);
  close_world(&w);
}

static void test_stats(void **state) {
  (void)state;
  struct world w;
  struct balloon_state s;
  struct balloon_stat stats[] = {
      {BALLOON_S_MEMFREE, 40 * PAGE_SIZE}, {BALLOON_S_TAGS, 1}, {0xffff, 2}, {BALLOON_S_MAJFLT, 9}, {BALLOON_S_MEMTOT, 50 * PAGE_SIZE}};
  open_world(&w, EVERYTHING);
  assert_false(balloon_ask_stats(&vm));
  start(BIT(VIRTIO_BALLOON_F_STATS_VQ));
  assert_int_equal(stage2_write(&vm.s2, ipa(BUFFERS + 1), stats, sizeof(stats)), ERR_OK);
  struct vq_segment buffer = {ipa(BUFFERS + 1), sizeof(stats), false};
  now = 1000;
  add_chain(BALLOON_QUEUE_STATS, &buffer, 1);
  assert_int_equal(run_once(BALLOON_QUEUE_STATS), VIRTIO_MORE); /* the map of the reset is cleared first */
  assert_int_equal(run_once(BALLOON_QUEUE_STATS), VIRTIO_IDLE);
  assert_int_equal(get16(ring_of(2) + 2 * PAGE_SIZE + 2), 0); /* kept: nobody has asked */
  balloon_read(&vm, &s);
  assert_true(s.stats_valid && s.stats_at == 1000 && s.free_frames == 40 && s.total_frames == 50 && s.major_faults == 9);
  add_chain(BALLOON_QUEUE_STATS, &buffer, 1); /* one too many: waits */
  assert_int_equal(run_once(BALLOON_QUEUE_STATS), VIRTIO_IDLE);
  used_interrupts = 0;
  assert_true(balloon_ask_stats(&vm));
  assert_int_equal(get16(ring_of(2) + 2 * PAGE_SIZE + 2), 1);
  assert_int_equal(used_interrupts, 1);
  assert_true(balloon_ask_stats(&vm)); /* asked already */
  assert_int_equal(get16(ring_of(2) + 2 * PAGE_SIZE + 2), 1);
  now = 2000;
  assert_int_equal(run_once(BALLOON_QUEUE_STATS), VIRTIO_IDLE);
  balloon_read(&vm, &s);
  assert_int_equal(s.stats_at, 2000);
  device->status |= VIRTIO_STATUS_NEEDS_RESET;
  assert_false(balloon_ask_stats(&vm));
  close_world(&w);
}

/* The guest gives away its own rings, or changes a chain while it is being served: its device stops or goes on, and nothing else. */
static void test_hostile(void **state) {
  (void)state;
  for (unsigned round = 0; round < 40; round++) {
    struct world w;
    uint64_t features = feature_sets[round % ARRAY_SIZE(feature_sets)];
    seed = round + 99;
    open_world(&w, EVERYTHING);
    start(features);
    for (unsigned i = 0; i < 60; i++) {
      uint64_t junk[64];
      for (unsigned j = 0; j < 64; j++)
        junk[j] = random_below(3) ? VM_RAM_BASE + random_below(VM_BYTES / 8) * 8 : random_below(UINT32_MAX) << random_below(32);
      assert_int_equal(stage2_write(&vm.s2, ipa(BUFFERS), junk, sizeof(junk)), ERR_OK);
      if (random_below(3) == 0)
        put16(ring_of((unsigned)random_below(5)) + random_below(3) * PAGE_SIZE + random_below(128) * 2, (uint16_t)junk[0]);
      struct vq_segment s = {ipa(VM_RAM_BASE + random_below(VM_BYTES - 600)), 1 + (uint32_t)random_below(600), random_below(2)};
      unsigned q = (unsigned)random_below(5);
      add_chain(q, &s, 1);
      for (unsigned piece = 0; piece < 8; piece++)
        if (run_once(q) == VIRTIO_BROKEN)
          start(features);
    }
    close_world(&w);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_model),    cmocka_unit_test(test_poison), cmocka_unit_test(test_changes_while_it_runs),
      cmocka_unit_test(test_no_table), cmocka_unit_test(test_pieces), cmocka_unit_test(test_no_ranges),
      cmocka_unit_test(test_views),    cmocka_unit_test(test_config), cmocka_unit_test(test_stats),
      cmocka_unit_test(test_hostile),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
