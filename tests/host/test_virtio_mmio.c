/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The registers of virtio-mmio against a plain reading of the standard (virtio 1.2, 2.1, 3.1.1, 4.2.2): a toy device whose driver writes
 * anything anywhere, and after every access what can be read must be what the model says. Then the rules one by one, the running of
 * queues in pieces, and what outlives what.
 */
// sources: hyp/dev/virtio/virtqueue.c hyp/dev/virtio/device.c hyp/dev/virtio/mmio.c tests/host/virtio_world.c
// cflags: -include tests/host/fakehw/ctl_fake.h
#include "abi/virtio.h"
#include "mm/slab.h"
#include "virtio_world.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SLOT 2u
#define QUEUES 3u
#define TOY_ID 42u
#define TOY_FEATURES (1ull << 3 | 1ull << 50)
#define OFFERED (TOY_FEATURES | 1ull << 28 | 1ull << 29 | 1ull << 32)
#define STEPS 400000u

static struct virtio_device *toy;
static unsigned runs, oks, resets, config_writes;

static uint64_t toy_features(struct virtio_device *d) {
  (void)d;
  return TOY_FEATURES;
}

static enum virtio_work toy_run(struct virtio_device *d, unsigned q) {
  struct vq_chain c;
  assert_true(spin_is_locked(&d->lock));
  assert_true(q < QUEUES);
  runs++;
  err_t e = vq_pop(&d->queue[q], &c);
  if (e != ERR_OK)
    return virtio_no_chain(e);
  return virtio_chain_done(&d->queue[q], vq_push(&d->queue[q], c.head, 0));
}

static void toy_config(struct virtio_device *d, unsigned offset, unsigned bytes) {
  assert_true(offset + bytes <= 12 && d == toy);
  config_writes++;
}

static void toy_ok(struct virtio_device *d) {
  (void)d;
  oks++;
}

static void toy_reset(struct virtio_device *d) {
  assert_int_equal(d->status, 0);
  resets++;
}

static const struct virtio_ops ops = {.name = "toy",
                                      .device_id = TOY_ID,
                                      .queues = QUEUES,
                                      .config_bytes = 12,
                                      .features = toy_features,
                                      .run = toy_run,
                                      .config_written = toy_config,
                                      .driver_ok = toy_ok,
                                      .reset = toy_reset};

static int setup(void **state) {
  (void)state;
  world_reset();
  toy = mem_alloc(sizeof(*toy));
  virtio_init(toy, &ops, &world.vm, SLOT);
  runs = oks = resets = config_writes = 0;
  return 0;
}

static uint32_t rd(uint64_t reg) {
  return world_read(SLOT, reg);
}

static void wr(uint64_t reg, uint32_t value) {
  world_write(SLOT, reg, value);
}

static unsigned pick(unsigned n) {
  return (unsigned)random() % n;
}

/* --- the model -------------------------------------------------------------------------------------------------------------- */

static struct {
  uint32_t status, interrupts, sel[2], queue_sel, num[QUEUES];
  uint64_t driver_features, address[QUEUES][3];
  bool ready[QUEUES];
  uint8_t config[12];
} m;

static bool in_ram(uint64_t at, uint64_t bytes) {
  return at >= WORLD_RAM_BASE && at < WORLD_RAM_BASE + WORLD_RAM_BYTES && WORLD_RAM_BASE + WORLD_RAM_BYTES - at >= bytes;
}

static void model_breaks(void) {
  if (!(m.status & 0x40) && (m.status & 4))
    m.interrupts |= 2;
  m.status |= 0x40;
}

static void model_status(uint32_t v) {
  if (v == 0) {
    uint8_t keep[12];
    memcpy(keep, m.config, sizeof(keep));
    memset(&m, 0, sizeof(m));
    memcpy(m.config, keep, sizeof(keep));
    return;
  }
  for (unsigned bit = 0; bit < 8; bit++)
    if (bit != 6 && (m.status >> bit & 1) && !(v >> bit & 1))
      return; /* no bit may be cleared */
  bool features_fit = !(m.driver_features & ~OFFERED) && (m.driver_features >> 32 & 1);
  if ((v & 8) && !(m.status & 8) && !features_fit)
    v &= ~8u;
  if ((v & 4) && !(m.status & 4) && !(v & 8))
    v &= ~4u;
  m.status = (v & 0xbf) | (m.status & 0x40);
}

static void model_ready(unsigned q, uint32_t v) {
  uint64_t n = m.num[q];
  if (v == 0) {
    m.ready[q] = false;
  } else if (v == 1 && !m.ready[q]) {
    bool fits = n && m.address[q][0] % 16 == 0 && m.address[q][1] % 2 == 0 && m.address[q][2] % 4 == 0 && in_ram(m.address[q][0], 16 * n) &&
                in_ram(m.address[q][1], 6 + 2 * n) && in_ram(m.address[q][2], 6 + 8 * n);
    if (fits && (m.status & 8))
      m.ready[q] = true;
    else
      model_breaks();
  }
}

static void model_queue(uint64_t reg, uint32_t v) {
  unsigned q = m.queue_sel;
  if (q >= QUEUES)
    return;
  if (reg == 0x44)
    model_ready(q, v);
  else if (m.ready[q])
    return; /* nothing else may change then */
  else if (reg == 0x38)
    m.num[q] = v && v <= 256 && !(v & (v - 1)) ? v : 0;
  else if (reg >= 0x80 && reg < 0xa8 && reg % 16 < 8) {
    uint64_t *a = &m.address[q][(reg - 0x80) / 16];
    *a = reg & 4 ? (uint32_t)*a | (uint64_t)v << 32 : (*a & 0xffffffff00000000) | v;
  }
}

static void model_write(uint64_t reg, uint32_t v) {
  if (reg == 0x14 || reg == 0x24)
    m.sel[reg == 0x24] = v;
  else if (reg == 0x20 && m.sel[1] < 2 && !(m.status & 8))
    m.driver_features = m.sel[1] ? (uint32_t)m.driver_features | (uint64_t)v << 32 : (m.driver_features & 0xffffffff00000000) | v;
  else if (reg == 0x30)
    m.queue_sel = v;
  else if (reg == 0x64)
    m.interrupts &= ~v;
  else if (reg == 0x70)
    model_status(v);
  else if (reg >= 0x100 && reg <= 0x108)
    memcpy(m.config + reg - 0x100, &v, 4);
  else
    model_queue(reg, v);
}

static void agrees(void) {
  unsigned q = m.queue_sel;
  assert_int_equal(rd(0x70), m.status);
  assert_int_equal(rd(0x60), m.interrupts);
  assert_int_equal(world.lines, m.interrupts ? 1u << SLOT : 0);
  assert_int_equal(rd(0x10), m.sel[0] == 0 ? (uint32_t)OFFERED : m.sel[0] == 1 ? OFFERED >> 32 : 0);
  assert_int_equal(rd(0x34), q < QUEUES ? 256 : 0);
  assert_int_equal(rd(0x44), q < QUEUES && m.ready[q]);
  for (unsigned i = 0; i < 12; i += 4) {
    uint32_t want;
    memcpy(&want, m.config + i, 4);
    assert_int_equal(rd(0x100 + i), want);
  }
}

static uint32_t some_value(uint64_t reg) {
  switch (pick(4)) {
  case 0:
    return (uint32_t)random() << 1 ^ (uint32_t)random();
  case 1:
    return reg == 0x20 ? (uint32_t)(OFFERED >> (pick(2) ? 32 : 0)) : pick(5);
  case 2:
    return reg == 0x70              ? (m.status & 0xbf) | 1u << pick(8)
           : reg & 4 && reg >= 0x80 ? 0
                                    : (uint32_t)WORLD_RAM_BASE + pick(WORLD_RAM_BYTES) / 16 * 16;
  default:
    return 1u << pick(10);
  }
}

static void step(uint64_t reg, uint32_t v) {
  wr(reg, v);
  model_write(reg, v);
  agrees();
}

/* What chance finds rarely: a driver that does it right up to some point. */
static void begin_well(unsigned steps) {
  static const struct {
    uint16_t reg;
    uint32_t value;
  } right[] = {{0x70, 0},          {0x70, 1},   {0x70, 3},          {0x24, 0},  {0x20, 8},          {0x24, 1},
               {0x20, 1},          {0x70, 0xb}, {0x30, 1},          {0x38, 64}, {0x80, 0x40001000}, {0x84, 0},
               {0x90, 0x40002000}, {0x94, 0},   {0xa0, 0x40003000}, {0xa4, 0},  {0x44, 1},          {0x70, 0xf}};
  for (unsigned i = 0; i < steps && i < sizeof(right) / sizeof(right[0]); i++)
    step(right[i].reg, right[i].value);
}

static void test_any_writes(void **state) {
  static const uint16_t regs[] = {0x14, 0x20, 0x24, 0x30, 0x38, 0x44, 0x64,  0x70,  0x70,
                                  0x80, 0x84, 0x90, 0x94, 0xa0, 0xa4, 0x100, 0x104, 0x108};
  unsigned live = 0, broken = 0, ready = 0;
  (void)state;
  srandom(2);
  memset(&m, 0, sizeof(m));
  for (unsigned i = 0; i < STEPS; i++) {
    uint64_t reg = pick(16) ? regs[pick(sizeof(regs) / sizeof(regs[0]))] : pick(0x200 / 4) * 4;
    uint32_t v = some_value(reg);
    if (pick(100) == 0)
      begin_well(pick(30));
    if (reg == 0x50 || (reg == 0x70 && v == 0 && pick(8)))
      continue; /* notifications have tests of their own; resets are rarer than chance has it */
    step(reg, v);
    live += (m.status & 0x4c) == 0xc;
    broken += (m.status & 0x40) != 0;
    for (unsigned q = 0; q < QUEUES; q++)
      ready += m.ready[q];
  }
  assert_true(live > 1000 && broken > 1000 && ready > 100); /* the walk saw something */
}

/* --- rules ------------------------------------------------------------------------------------------------------------------ */

static void test_identity(void **state) {
  (void)state;
  assert_int_equal(rd(0x00), 0x74726976);
  assert_int_equal(rd(0x04), 2);
  assert_int_equal(rd(0x08), TOY_ID);
  assert_int_equal(rd(0x0b0), UINT32_MAX); /* 4.2.2: no shared memory region */
  assert_int_equal(rd(0x0b4), UINT32_MAX);
  assert_int_equal(world_read(5, 0x00), 0x74726976); /* an empty slot */
  assert_int_equal(world_read(5, 0x08), 0);
  world_write(5, 0x70, 1);
  assert_int_equal(world_read(5, 0x70), 0);
}

/* Registers by word only; the configuration space by any naturally aligned piece. */
static void test_widths(void **state) {
  struct vcpu *v = &world.vcpus[0];
  uint64_t base = SLOT * GUEST_VIRTIO_STRIDE;
  (void)state;
  for (unsigned bytes = 1; bytes <= 8; bytes *= 2) {
    uint64_t want = bytes == 4 ? 0x74726976u : 0;
    assert_int_equal(virtio_mmio_read(v, base, bytes), want);
    virtio_mmio_write(v, base + 0x70, bytes, 1);
    assert_int_equal(rd(0x70), bytes >= 4 ? 1 : 0);
  }
  virtio_mmio_write(v, base + 0x100, 8, 0x8877665544332211ull);
  virtio_mmio_write(v, base + 0x102, 2, 0xbbaa);
  virtio_mmio_write(v, base + 0x107, 1, 0xcc);
  assert_int_equal(virtio_mmio_read(v, base + 0x100, 8), 0xcc776655bbaa2211ull);
  assert_int_equal(virtio_mmio_read(v, base + 0x106, 2), 0xcc77);
  virtio_mmio_write(v, base + 0x108, 8, UINT64_MAX); /* over its end */
  assert_int_equal(virtio_mmio_read(v, base + 0x108, 4), 0);
  assert_int_equal(virtio_mmio_read(v, base + 0x108, 8), 0);
  assert_int_equal(config_writes, 3);
}

static void begin(uint64_t features) {
  assert_int_equal(driver_begin(SLOT, features), 0xb);
}

static void test_features_are_for_the_offered(void **state) {
  (void)state;
  assert_int_equal(driver_begin(SLOT, OFFERED), 0xb);
  wr(0x24, 0);
  wr(0x20, 0); /* too late */
  assert_int_equal(toy->features, OFFERED);
  assert_int_equal(driver_begin(SLOT, 1ull << 3), 0x3);            /* without VERSION_1 */
  assert_int_equal(driver_begin(SLOT, OFFERED | 1ull << 4), 0x3);  /* more than there is */
  assert_int_equal(driver_begin(SLOT, OFFERED | 1ull << 40), 0x3); /* RING_RESET is not */
  driver_ok(SLOT);
  assert_int_equal(rd(0x70) & 4, 0);
  assert_int_equal(oks, 0);
}

static struct ring live_queue(uint64_t features, unsigned num) {
  begin(features | 1ull << 32);
  struct ring r = ring_make(SLOT, 1, num);
  driver_ok(SLOT);
  for (unsigned i = 0; i < num; i++)
    ring_desc(&r, i, WORLD_RAM_BASE, 16, 0, 0);
  runs = 0;
  return r;
}

static void test_a_bad_queue_needs_a_reset(void **state) {
  (void)state;
  begin(1ull << 32);
  struct ring r = {.slot = SLOT, .index = 1, .num = 16, .desc = WORLD_RAM_BASE, .avail = WORLD_RAM_BASE + 0x1000, .used = 0x1000};
  ring_register(&r);
  assert_true(needs_reset(SLOT));
  assert_int_equal(world.lines, 0); /* no driver listens yet */
  assert_int_equal(world.reports, 1);
  for (unsigned i = 0; i < 1000; i++) { /* again and again: lines grow rare */
    begin(1ull << 32);
    ring_register(&r);
    driver_ok(SLOT);
  }
  assert_true(world.reports < 16);
  live_queue(0, 16);
  assert_false(needs_reset(SLOT));
}

static void test_broken_queue_stops_the_device_alone(void **state) {
  struct ring r = live_queue(0, 16), other = ring_make(SLOT, 2, 16);
  (void)state;
  ring_desc(&r, 0, 0, 16, 0, 0);
  ring_offer(&r, 0);
  ring_notify(&r);
  assert_true(needs_reset(SLOT));
  assert_int_equal(rd(0x60), 2); /* 2.1.2: a configuration interrupt */
  assert_int_equal(world.lines, 1u << SLOT);
  unsigned before = runs;
  ring_offer(&other, 0);
  ring_notify(&other);
  assert_int_equal(runs, before); /* nothing more happens */
  wr(0x70, 0xf);
  assert_true(needs_reset(SLOT)); /* the driver cannot wish it away */
  wr(0x70, 0);
  assert_int_equal(rd(0x70), 0);
  assert_int_equal(world.lines, 0);
  assert_int_equal(rd(0x44), 0);
  assert_int_equal(resets, 2);
}

static void test_nothing_is_served_before_driver_ok(void **state) {
  (void)state;
  begin(1ull << 32);
  struct ring r = ring_make(SLOT, 0, 8);
  ring_desc(&r, 0, WORLD_RAM_BASE, 16, 0, 0);
  ring_offer(&r, 0);
  ring_notify(&r);
  assert_int_equal(runs, 0);
  driver_ok(SLOT);
  assert_int_equal(oks, 1);
  assert_int_equal(runs, 2); /* what was offered meanwhile needs no second notification */
  unsigned before = runs;
  wr(0x70, 0x8f); /* FAILED: the driver gave up */
  ring_offer(&r, 0);
  ring_notify(&r);
  assert_int_equal(runs, before);
  wr(0x50, 7); /* no such queue */
  wr(0x50, UINT32_MAX);
}

/* --- running ---------------------------------------------------------------------------------------------------------------- */

static void test_a_full_queue_goes_in_pieces(void **state) {
  struct ring r = live_queue(0, 64);
  uint32_t id, len, used = 0;
  (void)state;
  for (unsigned i = 0; i < 20; i++)
    ring_offer(&r, i);
  ring_notify(&r);
  assert_int_equal(runs, VIRTIO_CHAINS_PER_EXIT);
  assert_int_equal(rd(0x60), 1); /* told of these eight already: more may come all the time */
  assert_true(world.vcpus[0].requests & VCPU_REQ_DEVICE);
  wr(0x64, 1);
  assert_int_equal(world.lines, 0);
  assert_int_equal(world_exits(&world.vcpus[0]), 2);
  assert_int_equal(world.vcpus[0].device_work, 0);
  assert_int_equal(world.vcpus[1].requests, 0);
  while (ring_used(&r, &id, &len))
    assert_int_equal(id, used++);
  assert_int_equal(used, 20);
  assert_int_equal(world.lines, 1u << SLOT);
}

static void test_a_reset_ends_work_that_waits(void **state) {
  struct ring r = live_queue(0, 64);
  (void)state;
  for (unsigned i = 0; i < 20; i++)
    ring_offer(&r, i);
  ring_notify(&r);
  virtio_mmio_write(&world.vcpus[1], SLOT * GUEST_VIRTIO_STRIDE + 0x70, 4, 0); /* by the other vCPU */
  unsigned before = runs;
  assert_int_equal(world_exits(&world.vcpus[0]), 1);
  assert_int_equal(runs, before);
  assert_int_equal(ram_get(r.used + 2, 2), VIRTIO_CHAINS_PER_EXIT);
}

static void test_asked_by_the_device(void **state) {
  struct ring r = live_queue(0, 16);
  (void)state;
  ring_offer(&r, 0);
  world.vcpus[0].powered = false;
  virtio_ask(toy, 1);
  assert_int_equal(runs, 0); /* not on the asker's time */
  assert_int_equal(world.vcpus[0].requests, 0);
  assert_int_equal(world_exits(&world.vcpus[1]), 1);
  assert_int_equal(ram_get(r.used + 2, 2), 1);
  world.vcpus[1].powered = false;
  virtio_ask(toy, 1); /* nobody is there */
}

/* Rather one that runs; but one that waits is better than none. */
static void test_asked_while_some_wait_for_memory(void **state) {
  struct ring r = live_queue(0, 16);
  (void)state;
  ring_offer(&r, 0);
  world.vcpus[0].state = VCPU_MEMWAIT;
  virtio_ask(toy, 1);
  assert_int_equal(world.vcpus[0].requests, 0);
  assert_int_equal(world_exits(&world.vcpus[1]), 1);
  world.vcpus[1].state = VCPU_MEMWAIT;
  virtio_ask(toy, 1);
  assert_true((world.vcpus[0].requests | world.vcpus[1].requests) & VCPU_REQ_DEVICE);
}

static void test_starved_queues(void **state) {
  struct ring r = live_queue(0, 16), other = ring_make(SLOT, 2, 16);
  uint32_t id, len;
  (void)state;
  ring_desc(&other, 0, WORLD_RAM_BASE, 16, 0, 0);
  ring_offer(&r, 0);
  ring_offer(&r, 1);
  ring_offer(&other, 0);
  world.writes_left = 2; /* one chain's answer */
  ring_notify(&r);
  ring_notify(&other);
  assert_false(needs_reset(SLOT));
  assert_int_equal(world.device_waits, 2);
  assert_int_equal(world.lines, 1u << SLOT); /* what is used is told */
  assert_true(ring_used(&r, &id, &len));
  world.writes_left = UINT64_MAX;
  unsigned before = runs;
  assert_int_equal(world_exits(&world.vcpus[0]), 0); /* it does not spin on it */
  assert_int_equal(runs, before);
  virtio_retry(&world.vm);
  world_exits(&world.vcpus[0]);
  assert_true(ring_used(&r, &id, &len));
  assert_true(ring_used(&other, &id, &len));
  before = runs;
  virtio_retry(&world.vm); /* none wants anything */
  assert_int_equal(world_exits(&world.vcpus[0]), 0);
  assert_int_equal(runs, before);
  world.writes_left = 0;
  ring_offer(&r, 2);
  ring_notify(&r);
  wr(0x70, 0);
  virtio_retry(&world.vm); /* nor after a reset */
  assert_int_equal(world_exits(&world.vcpus[0]), 0);
}

static void test_configuration_changes(void **state) {
  uint32_t generation = rd(0xfc);
  (void)state;
  virtio_config_changed(toy);
  assert_int_not_equal(rd(0xfc), generation);
  assert_int_equal(rd(0x60), 0); /* no driver */
  live_queue(0, 16);
  virtio_config_changed(toy);
  assert_int_equal(rd(0x60), 2);
  wr(0x64, 1);
  assert_int_equal(world.lines, 1u << SLOT);
  wr(0x64, 2);
  assert_int_equal(world.lines, 0);
}

static void test_power_on(void **state) {
  (void)state;
  live_queue(0, 16);
  toy->config[0] = 7;
  virtio_config_changed(toy);
  world.lines = 0; /* the interrupt controller was reset before */
  virtio_power_on(toy);
  assert_int_equal(rd(0x70), 0);
  assert_int_equal(rd(0x60), 0);
  assert_int_equal(rd(0x100), 7); /* what the machine's owner set stays */
  live_queue(0, 16);
  virtio_config_changed(toy);
  assert_int_equal(world.lines, 1u << SLOT);
}

#define TEST(name_) cmocka_unit_test_setup(name_, setup)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_any_writes),
      TEST(test_identity),
      TEST(test_widths),
      TEST(test_features_are_for_the_offered),
      TEST(test_a_bad_queue_needs_a_reset),
      TEST(test_broken_queue_stops_the_device_alone),
      TEST(test_nothing_is_served_before_driver_ok),
      TEST(test_a_full_queue_goes_in_pieces),
      TEST(test_a_reset_ends_work_that_waits),
      TEST(test_asked_by_the_device),
      TEST(test_asked_while_some_wait_for_memory),
      TEST(test_starved_queues),
      TEST(test_configuration_changes),
      TEST(test_power_on),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
