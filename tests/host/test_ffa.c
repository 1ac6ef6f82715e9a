/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * FF-A 1.1 calls as a guest makes them, registers in and registers out, over the hand-over itself: what is offered and what is not, which
 * error each mistake earns, who owns RX and when, fragments in and out of order. Expectations are written from DEN0077A as numbers, beside
 * include/abi/ffa.h.
 */
// sources: hyp/dev/ffa.c hyp/dev/ffa_info.c hyp/dev/ffa_memory.c hyp/dev/ffa_giver.c hyp/dev/ffa_borrower.c hyp/dev/ffa_desc.c
// sources: hyp/mem/handover.c hyp/mem/handover_giver.c hyp/mem/handover_borrower.c hyp/mem/handover_place.c hyp/mem/handover_leave.c hyp/mem/handover_frames.c hyp/mem/given.c
// sources: tests/host/handover_world.c tests/host/mm_world.c tests/host/port/port_host.c mm/ mm/lib/format.c
// cflags: -include tests/host/fakehw/ctl_fake.h
#include "core/compiler.h"
#include "hyp/core/exit.h"
#include "hyp/dev/ffa.h"
#include "mm/port.h"
#include "tests/host/cpu_limit.h"
#include "tests/host/handover_world.h"
#include <string.h>

#define INVALID (-2)
#define NO_MEMORY (-3)
#define BUSY (-4)
#define DENIED (-6)
#define NOT_SUPPORTED (-1)
#define ERROR 0x84000060u
#define SUCCESS 0x84000061u
#define FRAG_RX 0x8400007au
#define RETRIEVE_RESP 0x84000075u
#define TX (VM_RAM_BASE + 16 * PAGE_SIZE)
#define RX (VM_RAM_BASE + 17 * PAGE_SIZE)
#define OWN (VM_RAM_BASE + 64 * PAGE_SIZE) /* memory to give */
#define WINDOW (VM_RAM_BASE + RAM_PAGES * PAGE_SIZE)

static struct vcpu vcpus[VMS + 1];
static struct cpu cpu;

struct cpu *this_cpu(void) {
  return &cpu;
}

void irq_poll(struct cpu *c) {
  (void)c;
}

static uint8_t *byte_at(struct stage2 *s2, uint64_t a, bool make) {
  if (!hw_contents(s2->vm, a & ~(PAGE_SIZE - 1)) && make && !stage2_is_given(s2, a & ~(PAGE_SIZE - 1), 1))
    assert_int_equal(stage2_populate(s2, ipa(a & ~(PAGE_SIZE - 1))), ERR_OK);
  uint8_t *page = (uint8_t *)hw_contents(s2->vm, a & ~(PAGE_SIZE - 1));
  return page ? page + a % PAGE_SIZE : NULL;
}

err_t stage2_read(struct stage2 *s2, void *to, ipa_t from, uint64_t bytes) {
  const uint8_t *at = byte_at(s2, from.v, false);
  if (at)
    memcpy(to, at, bytes);
  else
    memset(to, 0, bytes);
  return ERR_OK;
}

err_t stage2_write(struct stage2 *s2, ipa_t to, const void *from, uint64_t bytes) {
  uint8_t *at = byte_at(s2, to.v, true);
  if (!at)
    return ERR_PERM;
  memcpy(at, from, bytes);
  return ERR_OK;
}

/* ---- calls ---- */

static uint64_t *x; /* of the last call */

static int64_t call(unsigned id, uint32_t fid, uint64_t x1, uint64_t x2, uint64_t x3, uint64_t x4) {
  struct vcpu *v = &vcpus[id];
  x = v->x;
  memset(x, 0xa5, 8 * sizeof(*x));
  x[0] = fid, x[1] = x1, x[2] = x2, x[3] = x3, x[4] = x4;
  int64_t x0 = ffa_call(v, fid);
  while (v->requests & VCPU_REQ_FFA) {
    v->requests = 0;
    ffa_resume(v);
    x0 = (int64_t)x[0];
  }
  x[0] = (uint64_t)x0;
  return (uint32_t)x0 == ERROR ? (int32_t)x[2] : 0;
}

static void map_buffers(unsigned id) {
  assert_int_equal(call(id, 0xc4000066, TX, RX, 1, 0), 0);
}

static void put(unsigned id, uint32_t offset, const void *what, uint32_t bytes) {
  memcpy(byte_at(&vms[id].s2, TX, true) + offset, what, bytes);
}

struct say {
  uint16_t sender, attributes;
  uint32_t flags;
  uint64_t handle, tag;
  uint16_t endpoint;
  uint8_t permissions;
  uint64_t address;
  uint32_t pages;
};

/* One endpoint, one range; the length. */
static uint32_t describe(unsigned id, const struct say *s) {
  struct ffa_transaction t = {s->sender, s->attributes, s->flags, s->handle, s->tag, 16, 1, 48, {0, 0, 0}};
  struct ffa_access a = {s->endpoint, s->permissions, 0, 64, 0};
  struct ffa_composite c = {s->pages, 1, 0};
  struct ffa_constituent range = {s->address, s->pages, 0};
  put(id, 0, &t, 48);
  put(id, 48, &a, 16);
  put(id, 64, &c, 16);
  put(id, 80, &range, 16);
  return 96;
}

static struct say lend_say(void) {
  return (struct say){.sender = 1, .attributes = 0x2f, .endpoint = 2, .permissions = 2, .address = OWN, .pages = 1};
}

static int64_t send(uint32_t fid, const struct say *s) {
  uint32_t length = describe(1, s);
  return call(1, fid, length, length, 0, 0);
}

static uint64_t handle_out(void) {
  assert_int_equal(x[0], SUCCESS);
  return (uint32_t)x[2] | x[3] << 32;
}

static uint64_t lent(void) {
  struct say s = lend_say();
  assert_int_equal(send(0x84000072, &s), 0);
  return handle_out();
}

static struct say take_say(uint64_t handle) {
  return (struct say){1, 0x2f, 0, handle, 0, 2, 2, WINDOW, 1};
}

static int64_t retrieve(const struct say *s) {
  uint32_t length = describe(2, s);
  return call(2, 0x84000074, length, length, 0, 0);
}

static int64_t reclaim(uint64_t handle, uint32_t flags) {
  return call(1, 0x84000077, (uint32_t)handle, handle >> 32, flags, 0);
}

static int64_t relinquish(unsigned id, uint64_t handle, uint32_t flags, uint32_t count, uint16_t endpoint) {
  struct ffa_relinquish r = {handle, flags, count};
  put(id, 0, &r, 16);
  put(id, 16, &endpoint, 2);
  return call(id, 0x84000076, 0, 0, 0, 0);
}

/* ---- set-up calls ---- */

static void what_is_offered(void **state) {
  (void)state;
  static const uint32_t offered[] = {0x84000060, 0x84000061, 0x84000063, 0x84000064, 0x84000065, 0x84000066, 0xc4000066, 0x84000067,
                                     0x84000068, 0x84000069, 0x84000071, 0xc4000071, 0x84000072, 0xc4000072, 0x84000073, 0xc4000073,
                                     0x84000074, 0xc4000074, 0x84000075, 0x84000076, 0x84000077, 0x8400007b};
  unsigned found = 0;
  for (uint32_t number = 0x60; number <= 0xef; number++)
    for (unsigned wide = 0; wide < 2; wide++) {
      uint32_t fid = 0x84000000u | number | (wide ? 0x40000000u : 0);
      bool is = false;
      for (unsigned i = 0; i < ARRAY_SIZE(offered); i++)
        is |= offered[i] == fid;
      assert_int_equal(call(1, 0x84000064, fid, 0, 0, 0), is ? 0 : NOT_SUPPORTED);
      assert_true(!is || (x[2] == 0 && x[3] == 0)); /* buffers of 4 KiB; none but TX and RX */
      found += is;
    }
  assert_int_equal(found, ARRAY_SIZE(offered));
  for (uint32_t feature = 1; feature <= 3; feature++) /* notification and schedule receiver interrupts, managed exit */
    assert_int_equal(call(1, 0x84000064, feature, 0, 0, 0), NOT_SUPPORTED);
}

static void what_is_not_offered_is_refused(void **state) {
  (void)state;
  static const uint32_t never[] = {0x84000062, 0x8400006a, 0x8400006b, 0x8400006c, 0x8400006d, 0x8400006f, 0x84000070,
                                   0x84000078, 0x84000079, 0x8400007a, 0x8400007c, 0x84000085, 0x84000088, 0x84000089,
                                   0xc4000067, 0xc4000076, 0xc4000077, 0xc400007b, 0x840000ef};
  map_buffers(1);
  for (unsigned i = 0; i < ARRAY_SIZE(never); i++) {
    assert_int_equal(call(1, never[i], 0, 0, 0, 0), NOT_SUPPORTED);
    assert_true(x[0] == ERROR && x[1] == 0 && x[3] == 0 && x[4] == 0 && x[7] == 0);
  }
}

/* `word` of the UUID is `value`. */
static int64_t partitions(unsigned word, uint32_t value, uint64_t flags) {
  x = vcpus[1].x;
  memset(x, 0, 8 * sizeof(*x));
  x[0] = 0x84000068;
  x[1 + word] = value;
  x[5] = flags;
  (void)ffa_call(&vcpus[1], 0x84000068);
  return x[0] == ERROR ? (int32_t)x[2] : 0;
}

/* Three VMs, 24 bytes for each: id, vCPUs, AArch64, no UUID; RX is the caller's then. */
static void who_is_there(void **state) {
  (void)state;
  for (unsigned id = 1; id <= VMS; id++)
    vms[id].vcpu_count = id;
  assert_int_equal(partitions(0, 0, 1), 0);
  assert_true(x[0] == SUCCESS && x[2] == 3 && x[3] == 0); /* the count needs no buffer */
  assert_int_equal(partitions(0, 0, 0), DENIED);
  map_buffers(1);
  for (unsigned word = 0; word < 4; word++)
    assert_int_equal(partitions(word, 1u << 31, 1), INVALID); /* a UUID that nobody has */
  assert_int_equal(partitions(0, 0, 2), INVALID);
  assert_int_equal(partitions(0, 0, 0), 0);
  assert_true(x[0] == SUCCESS && x[2] == 3 && x[3] == 24);
  const uint32_t *rx = (const uint32_t *)hw_contents(&vms[1], RX);
  for (unsigned i = 0; i < VMS; i++) {
    assert_int_equal(rx[6 * i], (i + 1) << 16 | (i + 1));
    assert_int_equal(rx[6 * i + 1], 0x100);
    assert_true((rx[6 * i + 2] | rx[6 * i + 3] | rx[6 * i + 4] | rx[6 * i + 5]) == 0);
  }
  assert_int_equal(partitions(0, 0, 0), BUSY);
  assert_int_equal(call(1, 0x84000065, 0, 0, 0, 0), 0);
  vms[3].state = VM_DYING;
  assert_int_equal(partitions(0, 0, 0), 0);
  assert_int_equal(x[2], 2);
  vms[3].state = VM_RUNNING;
  for (unsigned id = 1; id <= VMS; id++)
    vms[id].vcpu_count = 0;
}

static void version_and_id(void **state) {
  (void)state;
  (void)call(3, 0x84000063, 0x10000, 0, 0, 0);
  assert_int_equal(x[0], 0x10001);
  (void)call(3, 0x84000063, 0x80010001, 0, 0, 0); /* bit 31 must be zero: no version, and no FFA_ERROR either */
  assert_int_equal((int32_t)x[0], NOT_SUPPORTED);
  assert_int_equal(call(3, 0x84000069, 0, 0, 0, 0), 0);
  assert_true(x[0] == SUCCESS && x[2] == 3);
}

static void buffers(void **state) {
  (void)state;
  const uint64_t bad[][3] = {{TX + 8, RX, 1}, {TX, RX + 2048, 1}, {TX, TX, 1},       {TX, RX, 0},
                             {TX, RX, 2},     {WINDOW, RX, 1},    {TX, 0x9000000, 1}};
  assert_int_equal(call(1, 0x84000067, 0, 0, 0, 0), INVALID); /* UNMAP without a pair */
  assert_int_equal(call(1, 0x84000065, 0, 0, 0, 0), DENIED);
  assert_int_equal(reclaim(1, 0), DENIED);
  for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
    assert_int_equal(call(1, 0xc4000066, bad[i][0], bad[i][1], bad[i][2], 0), INVALID);
  assert_int_equal(call(1, 0x84000066, TX, RX, 1, 0), 0);
  assert_int_equal(call(1, 0xc4000066, TX, RX, 1, 0), DENIED);
  assert_int_equal(call(1, 0x84000065, 0, 0, 0, 0), DENIED); /* RX is not the caller's: nothing is in it */
  assert_int_equal(call(1, 0x84000067, 0, 0, 0, 0), 0);
  assert_int_equal(call(1, 0x84000067, 0, 0, 0, 0), INVALID);
}

/* ---- the giver ---- */

static void what_a_sender_may_say(void **state) {
  (void)state;
  static const struct {
    uint32_t fid;
    uint16_t sender, attributes;
    uint32_t flags;
    uint64_t handle;
    uint16_t endpoint;
    uint8_t permissions;
    int64_t answer;
  } row[] = {
      {0x84000073, 1, 0x2f, 0, 0, 2, 2, 0},          {0xc4000073, 1, 0x2f, 0, 0, 2, 1, 0}, {0x84000072, 1, 0, 0, 0, 2, 2, 0},
      {0x84000072, 1, 0x2f, 1, 0, 2, 2, 0},          {0x84000071, 1, 0, 0, 0, 2, 0, 0},    {0x84000071, 1, 0x2f, 1, 0, 2, 0, 0},
      {0x84000073, 1, 0, 0, 0, 2, 2, INVALID},       /* a sharer says how the memory is cached */
      {0x84000073, 1, 0x2b, 0, 0, 2, 2, INVALID},    /* not shareable */
      {0x84000073, 1, 0x6f, 0, 0, 2, 2, INVALID},    /* NS is not a guest's to set */
      {0x84000073, 1, 0x2f, 1, 0, 2, 2, INVALID},    /* zeroing what is shared */
      {0x84000072, 1, 0x2f, 2, 0, 2, 2, INVALID},    /* time slicing */
      {0x84000072, 1, 0x2f, 8, 0, 2, 2, INVALID},    /* a receiver's flag */
      {0x84000072, 1, 0x2f, 0, 7, 2, 2, INVALID},    /* a handle */
      {0x84000072, 2, 0x2f, 0, 0, 2, 2, INVALID},    /* another's name */
      {0x84000072, 1, 0x2f, 0, 0, 1, 2, INVALID},    /* to itself */
      {0x84000072, 1, 0x2f, 0, 0, 9, 2, INVALID},    /* to nobody */
      {0x84000072, 1, 0x2f, 0, 0, 2, 0, INVALID},    /* a lender says who may write */
      {0x84000072, 1, 0x2f, 0, 0, 2, 6, INVALID},    /* and leaves execution to the borrower */
      {0x84000072, 1, 0x2f, 0, 0, 2, 3, INVALID},    /* reserved */
      {0x84000072, 1, 0x2f, 0, 0, 2, 0x82, INVALID}, /* reserved */
      {0x84000071, 1, 0x2f, 0, 0, 2, 2, INVALID},    /* a donor says nothing of access */
  };
  map_buffers(1);
  for (unsigned i = 0; i < ARRAY_SIZE(row); i++) {
    struct say s = {row[i].sender, row[i].attributes, row[i].flags, row[i].handle, 0, row[i].endpoint, row[i].permissions, OWN, 1};
    int64_t got = send(row[i].fid, &s);
    if (got != row[i].answer)
      fail_msg("row %u: %lld", i, (long long)got);
    if (got == 0)
      assert_int_equal(reclaim(handle_out(), 0), 0);
  }
}

static void what_a_sender_may_give(void **state) {
  (void)state;
  struct say s = lend_say();
  map_buffers(1);
  for (uint64_t at = OWN + 1; at < OWN + 8; at++) {
    s.address = at;
    assert_int_equal(send(0x84000072, &s), INVALID);
  }
  s.address = 0x9000000;
  assert_int_equal(send(0x84000072, &s), INVALID);
  s.address = WINDOW; /* where nothing is */
  assert_int_equal(send(0x84000072, &s), DENIED);
  s.address = WINDOW - PAGE_SIZE;
  s.pages = 2;
  assert_int_equal(send(0x84000072, &s), DENIED);
  s = lend_say();
  uint64_t handle = lent();
  assert_int_equal(send(0x84000072, &s), DENIED); /* twice */
  uint32_t length = describe(1, &s);
  assert_int_equal(call(1, 0x84000072, length, length, TX, 1), INVALID); /* a buffer of its own */
  assert_int_equal(call(1, 0x84000072, length, PAGE_SIZE + 16, 0, 0), INVALID);
  assert_int_equal(reclaim(handle, 2), INVALID); /* time slicing */
  assert_int_equal(reclaim(handle + 1, 0), INVALID);
  *hw_contents(&vms[1], TX) = 1;
  assert_int_equal(reclaim(handle, 1), 0);
  assert_int_equal(reclaim(handle, 0), INVALID);
  assert_int_equal(*hw_contents(&vms[1], OWN), 0);
}

static void regions_are_bounded(void **state) {
  (void)state;
  struct say s = lend_say();
  map_buffers(1);
  for (unsigned i = 0; i < HANDOVERS_MAX; i++, s.address += PAGE_SIZE)
    assert_int_equal(send(0x84000073, &s), 0);
  assert_int_equal(send(0x84000073, &s), NO_MEMORY);
}

/* 300 ranges: 251 fit in TX, the rest come in two fragments; and everything that may go wrong between. */
static void fragments(void **state) {
  (void)state;
  struct say s = lend_say();
  struct ffa_composite c = {300, 300, 0};
  map_buffers(1);
  assert_int_equal(call(1, 0x8400007b, 1, 1, 16, 0), INVALID); /* of nothing */
  (void)describe(1, &s);
  put(1, 64, &c, 16);
  uint32_t sent = 0, total = 80 + 300 * 16;
  for (uint32_t at = 80; at < PAGE_SIZE; at += 16, sent++)
    put(1, at, &(struct ffa_constituent){OWN + 2 * sent * PAGE_SIZE, 1, 0}, 16);
  assert_int_equal(call(1, 0x84000072, total, PAGE_SIZE, 0, 0), 0);
  assert_true(x[0] == FRAG_RX && x[3] == PAGE_SIZE && x[4] == 0);
  uint64_t handle = (uint32_t)x[1] | x[2] << 32;
  assert_int_equal(handle, 1ull << 32 | 1);
  assert_int_equal(call(1, 0x84000072, 96, 96, 0, 0), BUSY);
  assert_int_equal(relinquish(1, handle, 0, 1, 1), BUSY);
  assert_int_equal(reclaim(handle + 1, 0), BUSY);
  assert_int_equal(call(1, 0x84000067, 0, 0, 0, 0), BUSY);
  assert_int_equal(call(1, 0x8400007b, 2, 1, 16, 0), INVALID);
  assert_int_equal(call(1, 0x8400007b, 1, 1, 0, 0), INVALID);
  assert_int_equal(call(1, 0x8400007b, 1, 1, 64, 1u << 16), INVALID); /* a sender's id */
  assert_int_equal(call(1, 0x8400007b, 1, 1, total - PAGE_SIZE + 16, 0), INVALID);
  for (uint32_t part = 0; part < 2; part++) {
    uint32_t count = part == 0 ? 20 : 300 - sent;
    for (uint32_t i = 0; i < count; i++, sent++)
      put(1, 16 * i, &(struct ffa_constituent){OWN + 2 * sent * PAGE_SIZE, 1, 0}, 16);
    assert_int_equal(call(1, 0x8400007b, 1, 1, 16 * count, 0), 0);
    assert_int_equal(x[0], part == 0 ? FRAG_RX : SUCCESS);
  }
  assert_int_equal(handle_out(), handle);
  assert_int_equal(reclaim(handle, 0), 0);
}

/* ---- the borrower ---- */

static void what_a_receiver_may_say(void **state) {
  (void)state;
  static const struct {
    uint32_t flags;
    uint16_t sender, attributes;
    uint64_t tag;
    uint16_t endpoint;
    uint8_t permissions;
    uint64_t address;
    uint32_t pages;
    int64_t answer;
  } row[] = {
      {0, 2, 0x2f, 0, 2, 2, WINDOW, 1, INVALID}, /* not the sender */
      {0, 1, 0, 0, 2, 2, WINDOW, 1, INVALID},    /* attributes are the receiver's to name */
      {0, 1, 0x2f, 5, 2, 2, WINDOW, 1, INVALID}, /* another tag */
      {0, 1, 0x2f, 0, 3, 2, WINDOW, 1, INVALID}, /* for another */
      {0, 1, 0x2f, 0, 2, 0, WINDOW, 1, INVALID}, /* no access */
      {0, 1, 0x2f, 0, 2, 2, WINDOW, 2, INVALID}, /* more than it is */
      {0, 1, 0x2f, 0, 2, 2, OWN, 1, INVALID},    /* not in the window */
      {0, 1, 0x2f, 0, 2, 2, WINDOW + WINDOW_BYTES, 1, INVALID},
      {0x08, 1, 0x2f, 0, 2, 2, WINDOW, 1, INVALID},  /* it is no share */
      {0x18, 1, 0x2f, 0, 2, 2, WINDOW, 1, INVALID},  /* nor a donation */
      {0x02, 1, 0x2f, 0, 2, 2, WINDOW, 1, INVALID},  /* time slicing */
      {0x04, 1, 0x2f, 0, 2, 1, WINDOW, 1, DENIED},   /* zeroing, by who only reads */
      {0x200, 1, 0x2f, 0, 2, 2, WINDOW, 1, INVALID}, /* an alignment hint */
      {0x01, 1, 0x2f, 0, 2, 2, WINDOW, 1, DENIED},   /* zeroes that the lender did not promise */
      {0x10, 1, 0x2f, 0, 2, 2, WINDOW, 1, 0},
  };
  map_buffers(1);
  map_buffers(2);
  uint64_t handle = lent();
  for (unsigned i = 0; i < ARRAY_SIZE(row); i++) {
    struct say s = {row[i].sender,   row[i].attributes,  row[i].flags,   handle,      row[i].tag,
                    row[i].endpoint, row[i].permissions, row[i].address, row[i].pages};
    int64_t got = retrieve(&s);
    if (got != row[i].answer)
      fail_msg("row %u: %lld", i, (long long)got);
  }
  assert_true(x[0] == RETRIEVE_RESP && x[1] == 96 && x[2] == 96 && x[3] == 0);
}

/* RX is the caller's from the response to RX_RELEASE; what it says is what was mapped. */
static void rx_has_an_owner(void **state) {
  (void)state;
  map_buffers(1);
  map_buffers(2);
  struct say s = take_say(lent()), other = lend_say();
  assert_int_equal(retrieve(&s), 0);
  struct ffa_transaction t;
  struct ffa_access a;
  struct ffa_constituent c;
  const uint8_t *rx = (const uint8_t *)hw_contents(&vms[2], RX);
  memcpy(&t, rx, 48), memcpy(&a, rx + 48, 16), memcpy(&c, rx + 80, 16);
  assert_true(t.sender == 1 && t.handle == s.handle && t.flags == 0x10 && t.attributes == 0x2f && t.access_count == 1);
  assert_true(a.endpoint == 2 && a.permissions == 6 && c.address == WINDOW && c.pages == 1); /* RW, XN */
  other.address = OWN + PAGE_SIZE;
  assert_int_equal(send(0x84000073, &other), 0);
  struct say second = take_say(handle_out());
  second.address = WINDOW + PAGE_SIZE;
  assert_int_equal(retrieve(&second), BUSY);
  assert_int_equal(call(2, 0x84000065, 0, 0, 0, 0), 0);
  assert_int_equal(call(2, 0x84000065, 0, 0, 0, 0), DENIED);
  second.permissions = 2 | 8;
  assert_int_equal(retrieve(&second), DENIED); /* what is shared is not executed */
  second.permissions = 2;
  assert_int_equal(retrieve(&second), 0);
}

static void letting_go(void **state) {
  (void)state;
  map_buffers(1);
  map_buffers(2);
  map_buffers(3);
  struct say s = take_say(lent());
  assert_int_equal(relinquish(2, s.handle, 0, 1, 2), INVALID); /* it does not have it yet */
  assert_int_equal(retrieve(&s), 0);
  assert_int_equal(reclaim(s.handle, 0), DENIED);
  assert_int_equal(relinquish(3, s.handle, 0, 1, 3), INVALID);
  assert_int_equal(relinquish(2, s.handle, 0, 1, 3), INVALID); /* in another's name */
  assert_int_equal(relinquish(2, s.handle, 0, 2, 2), INVALID);
  assert_int_equal(relinquish(2, s.handle, 2, 1, 2), INVALID); /* time slicing */
  assert_int_equal(relinquish(2, s.handle, 0, 1, 2), 0);
  assert_int_equal(relinquish(2, s.handle, 0, 1, 2), INVALID);
  assert_int_equal(reclaim(s.handle, 0), 0);
}

/* Contents go when a loan is let go of: asked for on the way in, or on the way out; by who may write. */
static void letting_go_empty(void **state) {
  (void)state;
  map_buffers(1);
  map_buffers(2);
  for (unsigned way = 0; way < 4; way++) {
    struct say s = take_say(lent());
    uint64_t *first = hw_contents(&vms[1], OWN), held = 0x5aul + way;
    assert_null(first);
    s.flags = way & 1 ? 4 : 0;
    assert_int_equal(retrieve(&s), 0);
    assert_int_equal(call(2, 0x84000065, 0, 0, 0, 0), 0);
    *hw_contents(&vms[2], WINDOW) = held;
    assert_int_equal(relinquish(2, s.handle, way >> 1, 1, 2), 0);
    assert_int_equal(reclaim(s.handle, 0), 0);
    assert_int_equal(*hw_contents(&vms[1], OWN), way ? 0 : held);
  }
  struct say shared = lend_say();
  assert_int_equal(send(0x84000073, &shared), 0);
  struct say s = take_say(handle_out());
  s.flags = 4;
  assert_int_equal(retrieve(&s), DENIED); /* its owner still uses it */
  s.flags = 0;
  assert_int_equal(retrieve(&s), 0);
  assert_int_equal(relinquish(2, s.handle, 1, 1, 2), DENIED);
  assert_int_equal(relinquish(2, s.handle, 0, 1, 2), 0);
  struct say given = {.sender = 1, .endpoint = 2, .address = OWN + PAGE_SIZE, .pages = 1};
  assert_int_equal(send(0x84000071, &given), 0);
  s = take_say(handle_out());
  s.flags = 4;
  assert_int_equal(call(2, 0x84000065, 0, 0, 0, 0), 0);
  assert_int_equal(retrieve(&s), INVALID); /* a donation is not let go of */
}

/* A request without a composite: the callee says where it is, in the lowest hole. */
static int64_t retrieve_anywhere(const struct say *s) {
  struct ffa_access a = {s->endpoint, s->permissions, 0, 0, 0};
  (void)describe(2, s);
  put(2, 48, &a, 16);
  return call(2, 0x84000074, 64, 64, 0, 0);
}

static uint64_t place_out(void) {
  struct ffa_constituent c;
  assert_int_equal(x[0], RETRIEVE_RESP);
  memcpy(&c, (const uint8_t *)hw_contents(&vms[2], RX) + 80, 16);
  assert_int_equal(call(2, 0x84000065, 0, 0, 0, 0), 0);
  return c.address;
}

static uint64_t shared_at(uint64_t address, uint32_t pages) {
  struct say s = lend_say();
  s.address = address, s.pages = pages;
  assert_int_equal(send(0x84000073, &s), 0);
  return handle_out();
}

static void where_the_receiver_does_not_say(void **state) {
  (void)state;
  map_buffers(1);
  map_buffers(2);
  vms[2].s2.window_bytes = 3 * SZ_2M;
  struct say fixed = take_say(shared_at(OWN, 1)), hole, small = take_say(shared_at(OWN + 200 * PAGE_SIZE, 3)),
             large = take_say(shared_at(OWN + 300 * PAGE_SIZE, 600)), rest = take_say(shared_at(OWN + 100 * PAGE_SIZE, 1));
  fixed.address += 2 * PAGE_SIZE;
  assert_int_equal(retrieve(&fixed), 0); /* holes: [0, 2), [3, ...) */
  assert_int_equal(call(2, 0x84000065, 0, 0, 0, 0), 0);
  assert_int_equal(retrieve_anywhere(&small), 0);
  assert_int_equal(place_out(), WINDOW + 3 * PAGE_SIZE);
  assert_non_null(hw_contents(&vms[2], WINDOW + 5 * PAGE_SIZE));
  assert_int_equal(retrieve_anywhere(&rest), 0);
  assert_int_equal(place_out(), WINDOW);
  assert_int_equal(retrieve_anywhere(&large), 0); /* it may hold a block: at 2 MiB */
  assert_int_equal(place_out(), WINDOW + SZ_2M);
  assert_int_equal(relinquish(2, small.handle, 0, 1, 2), 0);
  hole = take_say(shared_at(OWN + 10 * PAGE_SIZE, 80));
  hole.flags = 0x200; /* a hint at an alignment */
  assert_int_equal(retrieve_anywhere(&hole), INVALID);
  hole.flags = 0;
  assert_int_equal(retrieve_anywhere(&hole), 0);
  assert_int_equal(place_out(), WINDOW + 3 * PAGE_SIZE);
  vms[2].s2.window_bytes = SZ_2M / 2;
  struct say full = take_say(shared_at(OWN + 400 * PAGE_SIZE - 290 * PAGE_SIZE, 1));
  full.handle = large.handle;
  assert_int_equal(relinquish(2, large.handle, 0, 1, 2), 0);
  assert_int_equal(retrieve_anywhere(&full), NO_MEMORY);
  vms[2].s2.window_bytes = WINDOW_BYTES;
}

/* The other call of a VM is told to wait; RX that was given away is a refusal, not a loss. */
static void one_call_at_a_time(void **state) {
  (void)state;
  map_buffers(1);
  map_buffers(2);
  struct say own_rx = {2, 0x2f, 0, 0, 0, 1, 2, RX, 1};
  uint32_t length = describe(2, &own_rx);
  assert_int_equal(call(2, 0x84000072, length, length, 0, 0), 0);
  struct say s = take_say(lent());
  assert_int_equal(retrieve(&s), DENIED);
  assert_int_equal(call(2, 0x84000077, 1, 2, 0, 0), 0);
  assert_int_equal(retrieve(&s), 0);
}

static void a_long_call_is_one_call(void **state) {
  (void)state;
  map_buffers(1);
  struct vcpu other = {.vm = &vms[1]};
  struct say large = lend_say();
  large.pages = 900;
  uint32_t length = describe(1, &large);
  x = vcpus[1].x;
  x[0] = 0x84000073, x[1] = x[2] = length, x[3] = x[4] = 0;
  (void)ffa_call(&vcpus[1], 0x84000073);
  assert_true(vcpus[1].requests & VCPU_REQ_FFA);
  other.x[1] = 1;
  (void)ffa_call(&other, 0x84000077);
  assert_true(other.x[0] == ERROR && (int32_t)other.x[2] == BUSY);
  ffa_resume(&other); /* nobody's but the caller's to go on with */
  assert_true((int32_t)other.x[2] == BUSY);
  for (vcpus[1].requests = 0; x[0] == 0x84000073; vcpus[1].requests = 0)
    ffa_resume(&vcpus[1]);
  assert_int_equal(reclaim(handle_out(), 0), 0);
}

/* The giver is destroyed while its donation is half the taker's: that is completed for it, and the taker is told so. */
static void a_giver_that_dies_completes_its_donation(void **state) {
  (void)state;
  map_buffers(1);
  map_buffers(2);
  vms[2].s2.window_bytes = 2 * SZ_2M;
  struct say s = {.sender = 1, .endpoint = 2, .address = OWN, .pages = 600};
  assert_int_equal(send(0x84000071, &s), 0);
  struct say t = take_say(handle_out());
  t.pages = 600;
  uint32_t length = describe(2, &t);
  x = vcpus[2].x;
  x[0] = 0x84000074, x[1] = x[2] = length, x[3] = x[4] = 0;
  (void)ffa_call(&vcpus[2], 0x84000074);
  ffa_resume(&vcpus[2]);
  assert_int_equal(vms[1].handover->slot[0].state, HANDOVER_TAKEN);
  uint64_t gone = vms[1].handover->slot[0].borrower[0].gone;
  assert_true(gone > 0 && gone < 600);
  while (handover_leave(&vms[1]) == ERR_AGAIN)
    ;
  vcpus[2].requests = 0;
  ffa_resume(&vcpus[2]);
  assert_true(x[0] == RETRIEVE_RESP && vms[2].s2.window_frames == 600);
  vms[2].s2.window_bytes = WINDOW_BYTES;
}

/* Whoever is being destroyed is not given anything any more: its id may soon be another's. */
static void the_dying_are_given_nothing(void **state) {
  (void)state;
  struct say s = lend_say();
  map_buffers(1);
  vms[2].state = VM_DYING;
  assert_int_equal(send(0x84000072, &s), INVALID);
  vms[2].state = VM_RUNNING;
  assert_int_equal(send(0x84000072, &s), 0);
}

static int set_up(void **state) {
  hw_blocks = false;
  assert_int_equal(hw_set_up(state), 0);
  assert_int_equal(ffa_init(), ERR_OK);
  hw_vms_make();
  memset(vcpus, 0, sizeof(vcpus));
  for (unsigned id = 1; id <= VMS; id++)
    vcpus[id].vm = &vms[id];
  return 0;
}

static int tear_down(void **state) {
  for (unsigned id = 1; id <= VMS; id++) {
    while (handover_leave(&vms[id]) == ERR_AGAIN)
      ;
    ffa_close(&vms[id]);
  }
  hw_vms_end(0);
  return hw_tear_down(state);
}

#define TEST(name_) cmocka_unit_test_setup_teardown(name_, set_up, tear_down)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(what_is_offered),
      TEST(what_is_not_offered_is_refused),
      TEST(version_and_id),
      TEST(who_is_there),
      TEST(buffers),
      TEST(what_a_sender_may_say),
      TEST(what_a_sender_may_give),
      TEST(regions_are_bounded),
      TEST(fragments),
      TEST(what_a_receiver_may_say),
      TEST(rx_has_an_owner),
      TEST(letting_go),
      TEST(letting_go_empty),
      TEST(where_the_receiver_does_not_say),
      TEST(one_call_at_a_time),
      TEST(a_long_call_is_one_call),
      TEST(a_giver_that_dies_completes_its_donation),
      TEST(the_dying_are_given_nothing),
  };
  limit_cpu_seconds(15);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
