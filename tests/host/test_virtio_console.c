/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The virtio console: bytes go out once and in order, whatever the chains look like and however the work is cut; keys come in by way of a
 * vCPU of the VM, also when they are typed in the middle of the device's own work.
 */
// sources: hyp/dev/virtio/console.c hyp/dev/virtio/virtqueue.c hyp/dev/virtio/device.c hyp/dev/virtio/mmio.c tests/host/virtio_world.c
// cflags: -include tests/host/fakehw/ctl_fake.h
#include "abi/virtio.h"
#include "cpu_limit.h"
#include "hyp/dev/virtio/console.h"
#include "virtio_world.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define F_EVENT (1ull << 29)
#define F_ALL (1ull << 28 | 1ull << 29 | 1ull << 32)

static struct ring rx, tx;

static int setup(void **state) {
  (void)state;
  world_reset();
  return virtio_console_create(&world.vm, 0) == ERR_OK ? 0 : -1;
}

static void start(uint64_t features) {
  assert_int_equal(driver_begin(0, features | 1ull << 32), 0xb);
  rx = ring_make(0, 0, 16);
  tx = ring_make(0, 1, 16);
  driver_ok(0);
}

static unsigned pick(unsigned n) {
  return (unsigned)random() % n;
}

static void test_identity(void **state) {
  (void)state;
  assert_int_equal(world_read(0, 8), 3);
  assert_int_equal(world_read(0, 0x10), (uint32_t)F_ALL); /* features of its own: none */
}

/* Chains of random length, over several pages or a byte long, in bursts; the console's side is one string. */
static void test_every_byte_once(void **state) {
  static uint8_t want[WORLD_SENT_MAX];
  uint64_t n = 0;
  (void)state;
  srandom(3);
  start(F_ALL);
  while (n < WORLD_SENT_MAX - 16 * 1500) {
    unsigned burst = 1 + pick(8);
    for (unsigned i = 0; i < burst; i++) {
      uint64_t at = WORLD_RAM_BASE + i * 0x1000;
      uint32_t first = 1 + pick(pick(2) ? 4 : 700), second = 1 + pick(700);
      for (uint32_t b = 0; b < first + second; b++) {
        want[n] = (uint8_t)pick(256);
        ram_put(at + b, 1, want[n++]);
      }
      ring_desc(&tx, 2 * i, at, first, 1, 2 * i + 1);
      ring_desc(&tx, 2 * i + 1, at + first, second, 0, 0);
      ring_offer(&tx, 2 * i);
    }
    ring_notify(&tx);
    world_exits(&world.vcpus[0]);
    for (unsigned i = 0; i < burst; i++) {
      uint32_t id, len;
      assert_true(ring_used(&tx, &id, &len));
      assert_int_equal(id, 2 * i);
      assert_int_equal(len, 0);
    }
  }
  assert_int_equal(world.sent_bytes, n);
  assert_memory_equal(world.sent, want, n);
  assert_false(needs_reset(0));
}

static void test_a_piece_at_a_time(void **state) {
  (void)state;
  start(0);
  ring_desc(&tx, 0, WORLD_RAM_BASE, 0x4000, 0, 0);
  ring_offer(&tx, 0);
  ring_notify(&tx);
  assert_int_equal(world.sent_bytes, VIRTIO_CHAINS_PER_EXIT * 128); /* and no more in one go */
  uint64_t half = world.sent_bytes;
  ring_desc(&tx, 0, WORLD_RAM_BASE, 16, 0, 0); /* the driver changes its mind: the chain is shorter than what is out of it */
  world_exits(&world.vcpus[0]);
  assert_int_equal(world.sent_bytes, half);
  assert_int_equal(ram_get(tx.used + 2, 2), 1);
  ring_offer(&tx, 0); /* and the next one begins at its beginning */
  ring_notify(&tx);
  world_exits(&world.vcpus[0]);
  assert_int_equal(world.sent_bytes, half + 16);
}

static void test_a_stopped_queue_forgets(void **state) {
  (void)state;
  start(0);
  ring_desc(&tx, 0, WORLD_RAM_BASE, 0x4000, 0, 0);
  ring_offer(&tx, 0);
  ring_notify(&tx);
  world.vcpus[0].requests = 0;
  world_write(0, VIRTIO_MMIO_QUEUE_SEL, 1);
  world_write(0, VIRTIO_MMIO_QUEUE_READY, 0);
  world.sent_bytes = 0;
  tx = ring_make(0, 1, 16);
  ring_desc(&tx, 0, WORLD_RAM_BASE, 16, 0, 0);
  ring_offer(&tx, 0);
  ring_notify(&tx);
  assert_int_equal(world.sent_bytes, 16);
}

/* --- input ------------------------------------------------------------------------------------------------------------------ */

static void offer_input(unsigned i, uint32_t bytes) {
  ring_desc(&rx, i, WORLD_RAM_BASE + i * 0x100, bytes, 2, 0);
  ring_offer(&rx, i);
}

static void test_keys(void **state) {
  uint32_t id, len;
  (void)state;
  assert_false(virtio_console_receive(&world.vm, 'x')); /* no driver */
  start(F_EVENT);
  offer_input(0, 4);
  offer_input(1, 64);
  for (const char *s = "abcdef"; *s; s++)
    assert_true(virtio_console_receive(&world.vm, (uint8_t)*s));
  assert_int_equal(ram_get(rx.used + 2, 2), 0); /* on the VM's time only */
  assert_true(world_exits(&world.vcpus[0]) > 0);
  assert_true(ring_used(&rx, &id, &len));
  assert_int_equal(len, 4);
  assert_int_equal(ram_get(WORLD_RAM_BASE, 4), 0x64636261);
  assert_true(ring_used(&rx, &id, &len));
  assert_int_equal(len, 2);
  assert_int_equal(ram_get(WORLD_RAM_BASE + 0x100, 2), 0x6665);
  assert_int_equal(world.lines, 1);
}

static void test_keys_wait_for_buffers(void **state) {
  unsigned kept = 0;
  (void)state;
  start(F_EVENT);
  while (virtio_console_receive(&world.vm, (uint8_t)kept))
    kept++;
  assert_int_equal(kept, 64);
  world_exits(&world.vcpus[0]);
  assert_int_equal(ram_get(rx.used + 4 + 8 * 16, 2), 0); /* it wants to hear of the first buffer */
  for (unsigned i = 0; i < 16; i++)
    offer_input(i, 4);
  ring_notify(&rx);
  world_exits(&world.vcpus[0]); /* more buffers than one exit serves, and every key has its place */
  for (unsigned i = 0; i < 64; i++)
    assert_int_equal(ram_get(WORLD_RAM_BASE + i / 4 * 0x100 + i % 4, 1), i);
}

static void test_an_input_buffer_to_be_read(void **state) {
  (void)state;
  start(0);
  ring_desc(&rx, 0, WORLD_RAM_BASE, 16, 0, 0);
  ring_offer(&rx, 0);
  assert_true(virtio_console_receive(&world.vm, 'x'));
  world_exits(&world.vcpus[0]);
  assert_true(needs_reset(0));
  assert_false(virtio_console_receive(&world.vm, 'x')); /* then it is the UART's */
}

static unsigned typed;

static void type_now(void) {
  typed += virtio_console_receive(&world.vm, 'k');
}

/* A write to guest RAM may have to populate it, and looks for interrupts then: with the device's lock held, on this CPU. */
static void test_keys_in_the_middle(void **state) {
  (void)state;
  start(F_EVENT);
  typed = 0;
  limit_cpu_seconds(5); /* a lock taken twice waits for ever */
  for (unsigned i = 0; i < 8; i++)
    offer_input(i, 64);
  ring_desc(&tx, 0, WORLD_RAM_BASE + 0x8000, 16, 0, 0);
  ring_offer(&tx, 0);
  world.on_populate = type_now;
  ring_notify(&tx);
  world.on_populate = NULL;
  limit_cpu_seconds(0);
  world_exits(&world.vcpus[0]);
  uint64_t got = 0;
  uint32_t id, len;
  while (ring_used(&rx, &id, &len))
    got += len;
  assert_true(typed > 0);
  assert_int_equal(got, typed);
}

/* Wherever it runs out, no key is lost, nor given twice, and no rule was broken: it goes on when there is a frame. */
static void test_memory_runs_out(void **state) {
  (void)state;
  for (unsigned writes = 0; writes < 3; writes++) {
    uint32_t id, len;
    start(0);
    world.device_waits = 0;
    offer_input(0, 16);
    assert_true(virtio_console_receive(&world.vm, 'x'));
    world.writes_left = writes;
    world_exits(&world.vcpus[0]);
    assert_false(needs_reset(0));
    assert_int_equal(world.device_waits, 1);
    assert_false(ring_used(&rx, &id, &len));
    virtio_retry(&world.vm);
    world_exits(&world.vcpus[0]);
    assert_int_equal(world.device_waits, 2);
    assert_true(virtio_console_receive(&world.vm, 'y'));
    world.writes_left = UINT64_MAX;
    virtio_retry(&world.vm);
    world_exits(&world.vcpus[0]);
    assert_true(ring_used(&rx, &id, &len));
    assert_int_equal(len, 2);
    assert_int_equal(ram_get(WORLD_RAM_BASE, 2), 'x' | 'y' << 8);
    assert_false(ring_used(&rx, &id, &len));
  }
}

/* What was sent is sent once, though the driver hears of it late. */
static void test_memory_runs_out_behind_output(void **state) {
  uint32_t id, len;
  (void)state;
  start(0);
  ring_desc(&tx, 0, WORLD_RAM_BASE, 200, 0, 0);
  ring_offer(&tx, 0);
  world.writes_left = 0;
  ring_notify(&tx);
  world_exits(&world.vcpus[0]);
  assert_int_equal(world.sent_bytes, 200);
  assert_false(ring_used(&tx, &id, &len));
  world.writes_left = UINT64_MAX;
  virtio_retry(&world.vm);
  world_exits(&world.vcpus[0]);
  assert_int_equal(world.sent_bytes, 200);
  assert_true(ring_used(&tx, &id, &len));
  assert_false(needs_reset(0));
}

#define TEST(name_) cmocka_unit_test_setup(name_, setup)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_identity),
      TEST(test_every_byte_once),
      TEST(test_a_piece_at_a_time),
      TEST(test_a_stopped_queue_forgets),
      TEST(test_keys),
      TEST(test_keys_wait_for_buffers),
      TEST(test_an_input_buffer_to_be_read),
      TEST(test_keys_in_the_middle),
      TEST(test_memory_runs_out),
      TEST(test_memory_runs_out_behind_output),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
