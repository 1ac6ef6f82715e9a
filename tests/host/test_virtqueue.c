/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Split virtqueues against a model of a driver: random chains, direct, indirect and mixed, must come out as they were put in, in their
 * order, whatever was held back or put back meanwhile; what is given back must be what the driver finds; and both kinds of notification
 * must be wanted exactly when the standard's words say so, counted entry by entry. Then every way to break a ring.
 */
// sources: hyp/dev/virtio/virtqueue.c hyp/dev/virtio/device.c hyp/dev/virtio/mmio.c tests/host/virtio_world.c
// cflags: -include tests/host/fakehw/ctl_fake.h
#include "abi/virtio.h"
#include "virtio_world.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define NUM 16u
#define STEPS 300000u
#define TABLES (WORLD_RAM_BASE + 0x10000) /* indirect ones, 0x200 bytes for each head */
#define BUFFERS WORLD_RAM_BASE            /* 0x1000 bytes for each head */

static struct virtqueue q;
static struct ring ring;

static void start(bool indirect, bool event_idx) {
  world_reset();
  ring = (struct ring){.num = NUM, .desc = WORLD_RAM_BASE + 0x20000, .avail = WORLD_RAM_BASE + 0x22000, .used = WORLD_RAM_BASE + 0x23000};
  q = (struct virtqueue){.s2 = &world.vm.s2, .desc = ipa(ring.desc), .avail = ipa(ring.avail), .used = ipa(ring.used), .num = NUM};
  q.ready = true;
  q.indirect = indirect;
  q.event_idx = event_idx;
}

static unsigned pick(unsigned n) {
  return (unsigned)((uint64_t)random() * n >> 31); /* random() gives 31 bits */
}

/* --- the model -------------------------------------------------------------------------------------------------------------- */

struct model_chain {
  bool exists;
  unsigned count, out, descs;
  uint64_t at[8];
  uint32_t bytes[8];
  uint32_t readable, writable;
};

static struct model_chain chains[NUM];           /* by head; a head's descriptors are those of the model's choice */
static uint8_t owner[NUM];                       /* descriptor -> its chain's head + 1; 0: free */
static unsigned waiting[NUM], wait_in, wait_out; /* heads made available, in order */
static unsigned held[NUM], held_count;           /* taken by the device */
static uint64_t signal_base;                     /* used elements when the driver was last asked about an interrupt */
static uint64_t pushed, taken_used;

static unsigned free_descs(unsigned *list) {
  unsigned n = 0;
  for (unsigned i = 0; i < NUM; i++)
    if (owner[i] == 0)
      list[n++] = i;
  for (unsigned i = n; i > 1; i--) { /* in any order */
    unsigned j = pick(i), t = list[i - 1];
    list[i - 1] = list[j];
    list[j] = t;
  }
  return n;
}

static void invent(struct model_chain *c, unsigned head, unsigned max) {
  c->count = 1 + pick(max);
  c->out = pick(c->count + 1);
  c->readable = c->writable = 0;
  uint64_t at = BUFFERS + head * 0x1000ull;
  for (unsigned i = 0; i < c->count; i++) {
    c->at[i] = at;
    c->bytes[i] = 1 + pick(400);
    at += c->bytes[i];
    *(i < c->out ? &c->readable : &c->writable) += c->bytes[i];
    for (uint32_t b = 0; b < c->bytes[i]; b++)
      ram_put(c->at[i] + b, 1, pick(256));
  }
}

static unsigned flags_of(const struct model_chain *c, unsigned i) {
  return (i + 1 < c->count ? 1u : 0) | (i >= c->out ? 2u : 0);
}

static void put_table(const struct model_chain *c, unsigned head, unsigned from) {
  struct ring table = {.desc = TABLES + head * 0x200ull};
  for (unsigned i = from; i < c->count; i++) /* linked backwards now and then would be as good: entries are where `next` says */
    ring_desc(&table, i == from ? 0 : c->count - i, c->at[i], c->bytes[i], flags_of(c, i), i + 1 < c->count ? c->count - i - 1 : 0);
}

static void add(void) {
  unsigned list[NUM], n = free_descs(list);
  if (n == 0)
    return;
  unsigned head = list[0], direct = n;
  struct model_chain *c = &chains[head];
  invent(c, head, q.indirect ? 8 : n < 8 ? n : 8);
  if (q.indirect)
    direct = pick(2) ? 0 : pick(c->count < n ? c->count : n); /* so many, then the table */
  if (direct > c->count)
    direct = c->count;
  for (unsigned i = 0; i < direct; i++)
    ring_desc(&ring, list[i], c->at[i], c->bytes[i], flags_of(c, i) | (direct < c->count ? 1 : 0), i + 1 < n ? list[i + 1] : 0);
  c->descs = direct;
  if (direct < c->count) {
    put_table(c, head, direct);
    ring_desc(&ring, list[direct], TABLES + head * 0x200ull, (c->count - direct) * 16, 4 | (pick(2) ? 2u : 0), pick(65536));
    c->descs++;
  }
  for (unsigned i = 0; i < c->descs; i++)
    owner[list[i]] = (uint8_t)(head + 1);
  c->exists = true;
  waiting[wait_in++ % NUM] = head;
  ring_offer(&ring, head);
}

static void check_contents(const struct model_chain *c, const struct vq_chain *got) {
  uint8_t want[8 * 400], have[8 * 400 + 16];
  uint32_t n = 0;
  for (unsigned i = 0; i < c->out; i++)
    for (uint32_t b = 0; b < c->bytes[i]; b++)
      want[n++] = (uint8_t)ram_get(c->at[i] + b, 1);
  uint32_t from = pick(c->readable + 2), len = pick(sizeof(have));
  uint64_t expect = from >= n ? 0 : len < n - from ? len : n - from;
  assert_int_equal(vq_read(&q, got, from, have, len), expect);
  assert_memory_equal(have, want + (from < n ? from : 0), expect);
}

static void pop(void) {
  struct vq_chain got;
  err_t e = vq_pop(&q, &got);
  if (wait_in == wait_out) {
    assert_int_equal(e, ERR_NOENT);
    if (q.event_idx)
      assert_int_equal(ram_get(ring.used + 4 + 8 * NUM, 2), ring.avail_idx); /* told to notify of the next one */
    return;
  }
  unsigned head = waiting[wait_out % NUM];
  const struct model_chain *c = &chains[head];
  assert_int_equal(e, ERR_OK);
  assert_int_equal(got.head, head);
  assert_int_equal(got.count, c->count);
  assert_int_equal(got.readable, c->readable);
  assert_int_equal(got.writable, c->writable);
  for (unsigned i = 0; i < c->count; i++) {
    assert_int_equal(got.segment[i].at.v, c->at[i]);
    assert_int_equal(got.segment[i].bytes, c->bytes[i]);
    assert_int_equal(got.segment[i].writable, i >= c->out);
  }
  check_contents(c, &got);
  if (pick(4) == 0) {
    vq_unpop(&q);
    return;
  }
  wait_out++;
  held[held_count++] = head;
}

static void push(void) {
  if (held_count == 0)
    return;
  unsigned i = pick(held_count), head = held[i];
  uint32_t id, len, written = pick(1000);
  held[i] = held[--held_count];
  assert_int_equal(vq_push(&q, (uint16_t)head, written), ERR_OK);
  assert_int_equal(vq_push(&q, (uint16_t)head, written), ERR_INVAL); /* once */
  pushed++;
  assert_true(ring_used(&ring, &id, &len)); /* at once: the order of many is the order of pushes */
  assert_int_equal(id, head);
  assert_int_equal(len, written);
  for (unsigned d = 0; d < NUM; d++)
    if (owner[d] == head + 1)
      owner[d] = 0;
  chains[head].exists = false;
  taken_used++;
}

/* 2.7.7.2 and 2.7.10, word for word: was an element with index used_event written since the last time? */
static void signal(void) {
  uint16_t event = (uint16_t)(pushed - pick(6) + 2);
  bool want = false, quiet = pick(2);
  ram_put(ring.avail, 2, quiet);
  ram_put(ring.avail + 4 + 2 * NUM, 2, event);
  for (uint64_t i = signal_base; i < pushed; i++)
    want |= q.event_idx ? (uint16_t)i == event : !quiet;
  assert_int_equal(vq_must_signal(&q), want);
  signal_base = pushed;
}

static void run_model(bool indirect, bool event_idx) {
  memset(chains, 0, sizeof(chains));
  memset(owner, 0, sizeof(owner));
  wait_in = wait_out = held_count = 0;
  pushed = signal_base = taken_used = 0;
  start(indirect, event_idx);
  for (unsigned i = 0; i < STEPS; i++) {
    switch (pick(4)) {
    case 0:
      add();
      break;
    case 1:
      pop();
      break;
    case 2:
      push();
      break;
    default:
      signal();
    }
  }
  assert_true(pushed > 65536 / 2);
  assert_int_equal(pushed, taken_used);
}

static void test_model(void **state) {
  (void)state;
  srandom(1);
  for (unsigned i = 0; i < 4; i++)
    run_model(i & 1, i & 2);
}

/* --- contents --------------------------------------------------------------------------------------------------------------- */

static void test_writes_land_in_writable_segments(void **state) {
  struct vq_chain c;
  (void)state;
  start(false, false);
  ring_desc(&ring, 0, BUFFERS, 4, 1, 1);
  ring_desc(&ring, 1, BUFFERS + 0x100, 3, 2 | 1, 2);
  ring_desc(&ring, 2, BUFFERS + 0x200, 3, 2, 0);
  ring_offer(&ring, 0);
  assert_int_equal(vq_pop(&q, &c), ERR_OK);
  assert_int_equal(vq_write(&q, &c, 1, "abcdefgh", 8), ERR_INVAL); /* there are six, and five behind the first */
  assert_int_equal(ram_get(BUFFERS, 4), 0);
  assert_int_equal(ram_get(BUFFERS + 0x100, 4), 'a' << 8 | 'b' << 16);
  assert_int_equal(ram_get(BUFFERS + 0x200, 4), 'c' | 'd' << 8 | 'e' << 16);
  assert_int_equal(vq_write(&q, &c, 0, "uvwxyz", 6), ERR_OK);
  assert_int_equal(ram_get(BUFFERS + 0x200, 4), 'x' | 'y' << 8 | 'z' << 16);
}

/* Whichever write finds no frame: nothing is lost, and the same again goes on where there is one. */
static void test_no_frame(void **state) {
  struct vq_chain c;
  (void)state;
  start(false, true);
  for (unsigned i = 0; i < 2; i++) {
    ring_desc(&ring, i, BUFFERS + 0x100 * i, 16, 2, 0);
    ring_offer(&ring, i);
  }
  assert_int_equal(vq_pop(&q, &c), ERR_OK);
  world.writes_left = 0;
  world.lack = ERR_NOSPC;
  assert_int_equal(vq_write(&q, &c, 0, "abc", 3), ERR_NOSPC);
  world.lack = ERR_NOMEM;
  for (unsigned writes = 0; writes < 2; writes++) {
    world.writes_left = writes;
    assert_int_equal(vq_push(&q, 0, 3), ERR_NOMEM);
    assert_int_equal(ram_get(ring.used + 2, 2), 0);
  }
  vq_unpop(&q);
  world.writes_left = UINT64_MAX;
  for (unsigned i = 0; i < 2; i++) {
    assert_int_equal(vq_pop(&q, &c), ERR_OK);
    assert_int_equal(vq_write(&q, &c, 0, "abc", 3), ERR_OK);
    assert_int_equal(vq_push(&q, c.head, 3), ERR_OK);
  }
  world.writes_left = 0; /* the word that asks to be told of the next chain */
  assert_int_equal(vq_pop(&q, &c), ERR_NOMEM);
  world.writes_left = UINT64_MAX;
  assert_int_equal(vq_pop(&q, &c), ERR_NOENT);
  assert_int_equal(ram_get(ring.used + 4 + 8 * ring.num, 2), 2);
}

/* --- rings that break the rules --------------------------------------------------------------------------------------------- */

static void refused(void) {
  struct virtqueue before = q;
  struct vq_chain c;
  assert_int_equal(vq_pop(&q, &c), ERR_INVAL);
  assert_memory_equal(&before, &q, sizeof(q));
}

#define RAM_END (WORLD_RAM_BASE + WORLD_RAM_BYTES)

static void test_bad_descriptors(void **state) {
  static const struct {
    uint64_t addr;
    uint32_t len;
    unsigned flags, next;
  } bad[] = {
      {WORLD_RAM_BASE, 16, 1, 0},              /* a loop of one */
      {WORLD_RAM_BASE, 0, 0, 0},               /* empty */
      {WORLD_RAM_BASE, 16, 1, NUM},            /* on to nowhere */
      {WORLD_RAM_BASE, 16, 1, 65535},          /* likewise */
      {WORLD_RAM_BASE - 1, 16, 0, 0},          /* begins below RAM */
      {RAM_END - 15, 16, 0, 0},                /* ends above it */
      {RAM_END, 1, 0, 0},                      /* behind it */
      {0, 16, 2, 0},                           /* nowhere near */
      {UINT64_MAX - 7, 16, 0, 0},              /* wraps */
      {WORLD_RAM_BASE, UINT32_MAX, 0, 0},      /* wild length */
      {WORLD_RAM_BASE, UINT32_MAX, 2, 0},      /* the same, to be written */
      {WORLD_RAM_BASE, 16, 4, 0},              /* indirect, whose entry is all zero: length 0 */
      {WORLD_RAM_BASE + 0x1000, 24, 4, 0},     /* no whole number of entries */
      {WORLD_RAM_BASE, 0, 4, 0},               /* no entries */
      {RAM_END - 16, 32, 4, 0},                /* a table that leaves RAM */
      {0x09000000, 16, 4, 0},                  /* a table in the UART */
      {WORLD_RAM_BASE, 0xfffffff0u, 4, 0},     /* a table of 4 GiB */
      {WORLD_RAM_BASE + 0x1000, 16, 4 | 1, 0}, /* NEXT and INDIRECT (2.7.5.3.1) */
  };
  (void)state;
  for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
    start(true, i & 1);
    ram_put(WORLD_RAM_BASE + 0x1000, 8, WORLD_RAM_BASE);
    ram_put(WORLD_RAM_BASE + 0x1008, 4, 16);
    ram_put(RAM_END - 16, 8, WORLD_RAM_BASE); /* good entries, so that only what the case is about is wrong */
    ram_put(RAM_END - 8, 4, 16);
    ring_desc(&ring, 0, bad[i].addr, bad[i].len, bad[i].flags, bad[i].next);
    ring_offer(&ring, 0);
    refused();
  }
}

static void test_indirect_needs_its_feature(void **state) {
  struct ring table = {.desc = TABLES};
  struct vq_chain c;
  (void)state;
  for (unsigned offered = 0; offered < 2; offered++) {
    start(offered, false);
    ring_desc(&table, 0, BUFFERS, 16, 0, 0);
    ring_desc(&ring, 0, TABLES, 16, 4, 0);
    ring_offer(&ring, 0);
    if (offered)
      assert_int_equal(vq_pop(&q, &c), ERR_OK);
    else
      refused();
  }
}

static void test_indirect_inside_indirect(void **state) {
  struct ring table = {.desc = TABLES};
  (void)state;
  start(true, false);
  ring_desc(&table, 0, BUFFERS, 16, 1, 1);
  ring_desc(&table, 1, TABLES + 0x200, 16, 4, 0);
  ram_put(TABLES + 0x200, 8, BUFFERS);
  ram_put(TABLES + 0x208, 4, 16);
  ring_desc(&ring, 0, TABLES, 32, 4, 0);
  ring_offer(&ring, 0);
  refused();
}

static void test_loop_inside_indirect(void **state) {
  struct ring table = {.desc = TABLES};
  (void)state;
  start(true, false);
  ring_desc(&table, 0, BUFFERS, 16, 1, 1);
  ring_desc(&table, 1, BUFFERS, 16, 1, 0);
  ring_desc(&ring, 0, TABLES, 32, 4, 0);
  ring_offer(&ring, 0);
  refused();
}

static void test_readable_after_writable(void **state) {
  (void)state;
  start(false, false);
  ring_desc(&ring, 0, BUFFERS, 16, 2 | 1, 1);
  ring_desc(&ring, 1, BUFFERS, 16, 0, 0);
  ring_offer(&ring, 0);
  refused();
}

static void test_chain_that_is_too_long(void **state) {
  struct ring table = {.desc = TABLES};
  struct vq_chain c;
  (void)state;
  for (unsigned n = VQ_SEGMENTS_MAX; n <= VQ_SEGMENTS_MAX + 1; n++) {
    start(true, false);
    for (unsigned i = 0; i < n; i++)
      ring_desc(&table, i, BUFFERS, 16, i + 1 < n, i + 1);
    ring_desc(&ring, 0, TABLES, 16 * n, 4, 0);
    ring_offer(&ring, 0);
    if (n == VQ_SEGMENTS_MAX)
      assert_int_equal(vq_pop(&q, &c), ERR_OK);
    else
      refused();
  }
}

static void test_heads_and_indices(void **state) {
  struct vq_chain c;
  (void)state;
  start(false, false);
  for (unsigned i = 0; i < NUM; i++)
    ring_desc(&ring, i, BUFFERS, 16, 0, 0);
  ring_offer(&ring, NUM); /* no such descriptor */
  refused();
  ram_put(ring.avail + 2, 2, NUM + 1); /* more than there are */
  refused();
  ram_put(ring.avail + 2, 2, 0xffff); /* backwards */
  refused();
  ram_put(ring.avail + 2, 2, 0);
  ring.avail_idx = 0;
  ring_offer(&ring, 3);
  ring_offer(&ring, 3); /* again, while it is out */
  assert_int_equal(vq_pop(&q, &c), ERR_OK);
  refused();
  assert_int_equal(vq_push(&q, 3, 0), ERR_OK);
  assert_int_equal(vq_pop(&q, &c), ERR_OK); /* now it may */
  ram_put(ring.avail + 2, 2, 2 + NUM);      /* all of them, though one is out */
  refused();
}

static void test_rings_outside_ram(void **state) {
  struct vq_chain c;
  (void)state;
  start(false, true);
  q.avail = ipa(RAM_END - 3);
  assert_int_equal(vq_pop(&q, &c), ERR_INVAL);
  assert_true(vq_must_signal(&q) == false); /* nothing was used */
  start(false, true);
  q.used = ipa(RAM_END - 4);
  assert_int_equal(vq_pop(&q, &c), ERR_INVAL); /* the notification cannot be asked for */
  start(false, false);
  q.desc = ipa(RAM_END);
  ring_offer(&ring, 0);
  refused();
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_model),
      cmocka_unit_test(test_writes_land_in_writable_segments),
      cmocka_unit_test(test_no_frame),
      cmocka_unit_test(test_bad_descriptors),
      cmocka_unit_test(test_indirect_needs_its_feature),
      cmocka_unit_test(test_indirect_inside_indirect),
      cmocka_unit_test(test_loop_inside_indirect),
      cmocka_unit_test(test_readable_after_writable),
      cmocka_unit_test(test_chain_that_is_too_long),
      cmocka_unit_test(test_heads_and_indices),
      cmocka_unit_test(test_rings_outside_ram),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
