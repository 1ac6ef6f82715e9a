/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The virtual PL011 as drivers know it: identity, flags, FIFO order against a plain queue, receive and transmit interrupts, narrow and wild
 * access.
 */
// sources: hyp/dev/vuart.c tests/host/fakehw/hyp_fake.c
// cflags: -include tests/host/fakehw/vgic_fake.h
#include "fakehw/vgic_fake.h" /* before any header that it replaces */

#include "arch/pl011.h"
#include "core/compiler.h"
#include "hyp/core/vcpu.h"
#include "hyp/core/vm.h"
#include "hyp/ctl/console.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct vm vm;
static struct vcpu vcpu = {.vm = &vm};
static bool line;
static char sent[64];
static unsigned sent_count;

void vgic_set_spi(struct vm *of, unsigned intid, bool level) {
  assert_ptr_equal(of, &vm);
  assert_int_equal(intid, 33);
  assert_true(line != level); /* told of changes only */
  line = level;
}

void console_guest_byte(struct vm *of, uint8_t byte) {
  assert_ptr_equal(of, &vm);
  assert_false(spin_is_locked(&vm.vuart.lock)); /* the console has locks of its own */
  sent[sent_count++ % sizeof(sent)] = (char)byte;
}

static uint32_t rd(uint64_t offset) {
  return (uint32_t)vuart_read(&vcpu, offset, 4);
}

static void wr(uint64_t offset, uint32_t value) {
  vuart_write(&vcpu, offset, 4, value);
}

static int reset(void **state) {
  (void)state;
  vuart_init(&vm);
  line = false;
  sent_count = 0;
  return 0;
}

static void test_identity(void **state) {
  static const uint8_t want[8] = {0x11, 0x10, 0x14, 0x00, 0x0d, 0xf0, 0x05, 0xb1};
  (void)state;
  for (unsigned i = 0; i < 8; i++)
    assert_int_equal(rd(0xfe0 + 4 * i), want[i]);
  assert_int_equal(rd(PL011_FR), PL011_FR_TXFE | PL011_FR_RXFE);
  assert_int_equal(rd(PL011_CR), 0x300);
  assert_int_equal(rd(PL011_IFLS), 0x12);
}

static void test_transmit(void **state) {
  (void)state;
  wr(PL011_IMSC, PL011_INT_TX);
  assert_false(line);
  vuart_write(&vcpu, PL011_DR, 1, 'h');
  wr(PL011_DR, 0xfffff00 | 'i');
  assert_memory_equal(sent, "hi", 2);
  assert_int_equal(sent_count, 2);
  assert_true(line); /* room in the FIFO */
  assert_int_equal(rd(PL011_MIS), PL011_INT_TX);
  wr(PL011_ICR, PL011_INT_TX);
  assert_false(line);
  assert_int_equal(rd(PL011_FR), PL011_FR_TXFE | PL011_FR_RXFE);
}

/* Random typing and reading against a queue of 32. */
static void test_fifo_order(void **state) {
  uint8_t queue[32];
  unsigned count = 0;
  (void)state;
  srand(3);
  wr(PL011_LCR_H, PL011_LCR_H_FEN);
  for (unsigned n = 0; n < 20000; n++) {
    if (rand() % 100 < (n / 1000 % 2 ? 70 : 30)) {
      uint8_t byte = (uint8_t)rand();
      assert_int_equal(vuart_receive(&vm, byte), count < 32);
      if (count < 32)
        queue[count++] = byte;
    } else if (count != 0) {
      assert_int_equal(rd(PL011_DR), queue[0]);
      memmove(queue, queue + 1, --count);
    }
    uint32_t want = (uint32_t)(PL011_FR_TXFE | (count == 0 ? PL011_FR_RXFE : 0) | (count == 32 ? PL011_FR_RXFF : 0));
    assert_int_equal(rd(PL011_FR), want);
  }
}

static void test_receive_interrupts(void **state) {
  (void)state;
  wr(PL011_LCR_H, PL011_LCR_H_FEN);
  wr(PL011_IMSC, PL011_INT_RX | PL011_INT_RT);
  assert_true(vuart_receive(&vm, 'a'));
  assert_true(line);
  assert_int_equal(rd(PL011_MIS), PL011_INT_RT);
  for (unsigned i = 1; i < 16; i++)
    assert_true(vuart_receive(&vm, 'b'));
  assert_int_equal(rd(PL011_MIS), PL011_INT_RT | PL011_INT_RX); /* half full */
  rd(PL011_DR);
  assert_int_equal(rd(PL011_MIS), PL011_INT_RT);
  wr(PL011_IMSC, 0);
  assert_false(line);
  assert_int_equal(rd(PL011_RIS), PL011_INT_RT);
  wr(PL011_IMSC, PL011_INT_RT);
  assert_true(line);
  while (!(rd(PL011_FR) & PL011_FR_RXFE))
    rd(PL011_DR);
  assert_false(line);
}

/* Without FIFOs there is one holding register. */
static void test_without_fifos(void **state) {
  (void)state;
  assert_true(vuart_receive(&vm, 'x'));
  assert_false(vuart_receive(&vm, 'y'));
  assert_true(rd(PL011_FR) & PL011_FR_RXFF);
  assert_int_equal(rd(PL011_RIS), PL011_INT_RT | PL011_INT_RX);
  wr(PL011_LCR_H, PL011_LCR_H_FEN); /* a change of mode empties it */
  assert_true(rd(PL011_FR) & PL011_FR_RXFE);
  assert_int_equal(rd(PL011_RIS), 0);
}

static void test_wild_access(void **state) {
  (void)state;
  srand(5);
  for (unsigned n = 0; n < 200000; n++) {
    unsigned bytes = 1u << rand() % 4;
    uint64_t offset = (uint64_t)(rand() % 0x1000) & ~(uint64_t)(bytes - 1), value = (uint64_t)rand() << 33 | (uint32_t)rand();
    if (rand() % 2)
      vuart_write(&vcpu, offset, bytes, value);
    else if (bytes < 8)
      assert_true(vuart_read(&vcpu, offset, bytes) >> 8 * bytes == 0);
    if (rand() % 4 == 0)
      (void)vuart_receive(&vm, (uint8_t)rand());
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
