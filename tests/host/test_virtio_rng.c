/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The entropy device: its stream is ChaCha20 by RFC 8439's own vector, no byte is given twice, and a request never writes where it should
 * not.
 */
// sources: hyp/dev/virtio/virtqueue.c hyp/dev/virtio/device.c hyp/dev/virtio/mmio.c tests/host/virtio_world.c
// cflags: -include tests/host/fakehw/ctl_fake.h
#include "hyp/dev/virtio/rng.c" /* for the block function */ // NOLINT(bugprone-suspicious-include)
#include "virtio_world.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static struct ring ring;

/* RFC 8439, 2.3.2 */
static void test_block_function(void **state) {
  static const uint8_t want[64] = {0x10, 0xf1, 0xe7, 0xe4, 0xd1, 0x3b, 0x59, 0x15, 0x50, 0x0f, 0xdd, 0x1f, 0xa3, 0x20, 0x71, 0xc4,
                                   0xc7, 0xd1, 0xf4, 0xc7, 0x33, 0xc0, 0x68, 0x03, 0x04, 0x22, 0xaa, 0x9a, 0xc3, 0xd4, 0x6c, 0x4e,
                                   0xd2, 0x82, 0x64, 0x46, 0x07, 0x9f, 0xaa, 0x09, 0x14, 0xc2, 0xd7, 0x05, 0xd9, 0x8b, 0x02, 0xa2,
                                   0xb5, 0x12, 0x9c, 0xd1, 0xde, 0x16, 0x4e, 0xb9, 0xcb, 0xd0, 0x83, 0xe8, 0xa2, 0x50, 0x3c, 0x4e};
  uint32_t in[16] = {0x61707865, 0x3320646e, 0x79622d32, 0x6b206574}, out[16];
  (void)state;
  for (uint32_t i = 0; i < 8; i++)
    in[4 + i] = 0x03020100 + i * 0x04040404;
  in[12] = 1;
  in[13] = 0x09000000;
  in[14] = 0x4a000000;
  in[15] = 0;
  next_block(in, out);
  assert_memory_equal(out, want, sizeof(want));
  assert_int_equal(in[12], 2);
  in[12] = UINT32_MAX; /* 256 GiB later */
  next_block(in, out);
  assert_int_equal(in[12], 0);
  assert_int_equal(in[13], 0x09000001);
}

static void start(void) {
  assert_int_equal(driver_begin(0, 1ull << 32), 0xb);
  ring = ring_make(0, 0, 8);
  driver_ok(0);
}

static void fresh(void) {
  world_reset();
  assert_int_equal(virtio_rng_create(&world.vm, 0), ERR_OK);
  start();
}

static uint32_t request(uint64_t at, uint32_t bytes) {
  uint32_t id, len = UINT32_MAX;
  ring_desc(&ring, 5, at, bytes, 2, 0);
  ring_offer(&ring, 5);
  ring_notify(&ring);
  assert_true(ring_used(&ring, &id, &len));
  assert_int_equal(id, 5);
  return len;
}

static void test_requests(void **state) {
  uint8_t first[PIECE];
  (void)state;
  fresh();
  assert_int_equal(request(WORLD_RAM_BASE + 0x10, 4096), PIECE); /* less than asked for */
  for (unsigned i = 0; i < PIECE; i++)
    first[i] = (uint8_t)ram_get(WORLD_RAM_BASE + 0x10 + i, 1);
  assert_int_equal(ram_get(WORLD_RAM_BASE + 0x10 + PIECE, 8), 0);
  assert_int_equal(ram_get(WORLD_RAM_BASE + 8, 8), 0);
  assert_int_equal(request(WORLD_RAM_BASE + 0x4000, 13), 13);
  assert_int_equal(ram_get(WORLD_RAM_BASE + 0x4000 + 13, 8), 0);
  uint64_t again = ram_get(WORLD_RAM_BASE + 0x4000, 8);
  for (unsigned i = 0; i + 8 <= PIECE; i++)
    assert_memory_not_equal(first + i, &again, 8);
  world.lines = 0;                     /* as the interrupt controller is at a restart */
  virtio_power_on(world.vm.virtio[0]); /* a restart does not take the stream back */
  start();
  assert_int_equal(request(WORLD_RAM_BASE + 0x10, PIECE), PIECE);
  assert_memory_not_equal(first, world.ram + 0x10, 64);
}

/* Streams of two devices, and under two keys, have nothing in common. */
static void test_streams(void **state) {
  static const uint8_t seed[40] = {1, 2, 3, [39] = 9};
  uint64_t word[3];
  (void)state;
  for (unsigned i = 0; i < 3; i++) {
    if (i == 2)
      virtio_rng_seed(seed, sizeof(seed));
    fresh();
    assert_int_equal(request(WORLD_RAM_BASE, 8), 8);
    word[i] = ram_get(WORLD_RAM_BASE, 8);
  }
  assert_true(word[0] != word[1] && word[1] != word[2] && word[0] != word[2]);
  assert_int_equal(((const uint8_t *)key)[7], 9); /* folded */
}

static void test_nothing_to_write(void **state) {
  (void)state;
  fresh();
  ring_desc(&ring, 0, WORLD_RAM_BASE, 64, 0, 0);
  ring_offer(&ring, 0);
  ring_notify(&ring);
  assert_true(needs_reset(0));
  start(); /* and after a reset it goes on */
  assert_int_equal(request(WORLD_RAM_BASE, 64), 64);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_block_function),
      cmocka_unit_test(test_requests),
      cmocka_unit_test(test_streams),
      cmocka_unit_test(test_nothing_to_write),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
