/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The virtual PL011 as drivers know it: identity, flags, FIFO order against a plain queue, receive and transmit interrupts, narrow and wild
 * access.
 */
// sources: hyp/dev/vuart.c tests/host/vuart_world.c tests/host/fakehw/hyp_fake.c
// cflags: -include tests/host/fakehw/vgic_fake.h
#include "arch/pl011.h"
#include "core/compiler.h"
#include "vuart_world.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static int reset(void **state) {
  (void)state;
  world_reset();
  return 0;
}

static void test_identity(void **state) {
  static const uint8_t want[8] = {0x11, 0x10, 0x14, 0x00, 0x0d, 0xf0, 0x05, 0xb1};
  (void)state;
  for (unsigned i = 0; i < 8; i++)
    assert_int_equal(world_read(0xfe0 + 4 * i), want[i]);
  assert_int_equal(world_read(PL011_FR), PL011_FR_TXFE | PL011_FR_RXFE);
  assert_int_equal(world_read(PL011_CR), 0x300);
  assert_int_equal(world_read(PL011_IFLS), 0x12);
}

static void test_transmit(void **state) {
  const char *sent;
  (void)state;
  world_write(PL011_IMSC, PL011_INT_TX);
  assert_false(world_line());
  world_write_bytes(PL011_DR, 1, 'h');
  world_write(PL011_DR, 0xfffff00 | 'i');
  assert_int_equal(world_sent(&sent), 2);
  assert_memory_equal(sent, "hi", 2);
  assert_true(world_line()); /* room in the FIFO */
  assert_int_equal(world_read(PL011_MIS), PL011_INT_TX);
  world_write(PL011_ICR, PL011_INT_TX);
  assert_false(world_line());
  assert_int_equal(world_read(PL011_FR), PL011_FR_TXFE | PL011_FR_RXFE);
}

/* Random typing and reading against a queue of 32. */
static void test_fifo_order(void **state) {
  uint8_t queue[32];
  unsigned count = 0;
  (void)state;
  srand(3);
  world_write(PL011_LCR_H, PL011_LCR_H_FEN);
  for (unsigned n = 0; n < 20000; n++) {
    if (rand() % 100 < (n / 1000 % 2 ? 70 : 30)) {
      uint8_t byte = (uint8_t)rand();
      assert_int_equal(world_type(byte), count < 32);
      if (count < 32)
        queue[count++] = byte;
    } else if (count != 0) {
      assert_int_equal(world_read(PL011_DR), queue[0]);
      memmove(queue, queue + 1, --count);
    }
    uint32_t want = (uint32_t)(PL011_FR_TXFE | (count == 0 ? PL011_FR_RXFE : 0) | (count == 32 ? PL011_FR_RXFF : 0));
    assert_int_equal(world_read(PL011_FR), want);
  }
}

static void test_receive_interrupts(void **state) {
  (void)state;
  world_write(PL011_LCR_H, PL011_LCR_H_FEN);
  world_write(PL011_IMSC, PL011_INT_RX | PL011_INT_RT);
  assert_true(world_type('a'));
  assert_true(world_line());
  assert_int_equal(world_read(PL011_MIS), PL011_INT_RT);
  for (unsigned i = 1; i < 16; i++)
    assert_true(world_type('b'));
  assert_int_equal(world_read(PL011_MIS), PL011_INT_RT | PL011_INT_RX); /* half full */
  world_read(PL011_DR);
  assert_int_equal(world_read(PL011_MIS), PL011_INT_RT);
  world_write(PL011_IMSC, 0);
  assert_false(world_line());
  assert_int_equal(world_read(PL011_RIS), PL011_INT_RT);
  world_write(PL011_IMSC, PL011_INT_RT);
  assert_true(world_line());
  while (!(world_read(PL011_FR) & PL011_FR_RXFE))
    world_read(PL011_DR);
  assert_false(world_line());
}

/* Without FIFOs there is one holding register. */
static void test_without_fifos(void **state) {
  (void)state;
  assert_true(world_type('x'));
  assert_false(world_type('y'));
  assert_true(world_read(PL011_FR) & PL011_FR_RXFF);
  assert_int_equal(world_read(PL011_RIS), PL011_INT_RT | PL011_INT_RX);
  world_write(PL011_LCR_H, PL011_LCR_H_FEN); /* a change of mode empties it */
  assert_true(world_read(PL011_FR) & PL011_FR_RXFE);
  assert_int_equal(world_read(PL011_RIS), 0);
}

static void test_wild_access(void **state) {
  (void)state;
  srand(5);
  for (unsigned n = 0; n < 200000; n++) {
    unsigned bytes = 1u << rand() % 4;
    uint64_t offset = (uint64_t)(rand() % 0x1000) & ~(uint64_t)(bytes - 1), value = (uint64_t)rand() << 33 | (uint32_t)rand();
    if (rand() % 2)
      world_write_bytes(offset, bytes, value);
    else if (bytes < 8)
      assert_true(world_read_bytes(offset, bytes) >> 8 * bytes == 0);
    if (rand() % 4 == 0)
      (void)world_type((uint8_t)rand());
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup(test_identity, reset),      cmocka_unit_test_setup(test_transmit, reset),
      cmocka_unit_test_setup(test_fifo_order, reset),    cmocka_unit_test_setup(test_receive_interrupts, reset),
      cmocka_unit_test_setup(test_without_fifos, reset), cmocka_unit_test_setup(test_wild_access, reset),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
