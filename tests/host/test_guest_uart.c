/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Our guest's UART driver at our virtual PL011, each as it is. Somebody types at any moment, between any two accesses to registers; the
 * interrupt is taken whenever the line is up. What was typed must have arrived, in order, when the line is down and stays down: a byte
 * whose interrupt is lost would lie in the FIFO until another key is pressed.
 */
// sources: guest/drivers/uart.c hyp/dev/vuart.c tests/host/vuart_world.c tests/host/fakehw/hyp_fake.c
// cflags: -include tests/host/fakehw/mmio_fake.h -include tests/host/fakehw/vgic_fake.h
#include "guest/arch/mmu.h"
#include "guest/drivers/gic.h"
#include "guest/drivers/uart.h"
#include "vuart_world.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#define BYTES 100000u

static bool enabled;
static unsigned typed, arrived;
static unsigned haste; /* a key in so many accesses, in a hundred */

void gic_enable(uint32_t intid) {
  assert_int_equal(intid, WORLD_UART_INTID);
  enabled = true;
}

err_t mmu_map_device(pa_t base, uint64_t bytes) {
  (void)base, (void)bytes;
  return ERR_OK;
}

static uint8_t key_number(unsigned n) {
  return (uint8_t)(n * 7 + n / 251);
}

/* None is typed that would find the FIFO full. */
static void type_some(void) {
  while (typed < BYTES && (unsigned)(rand() % 100) < haste && world_type(key_number(typed)))
    typed++;
}

uint32_t mmio_read32(const volatile void *base, uint64_t offset) {
  (void)base;
  uint32_t value = world_read(offset);
  type_some();
  return value;
}

void mmio_write32(volatile void *base, uint64_t offset, uint32_t value) {
  (void)base;
  world_write(offset, value);
  type_some();
}

static void take_interrupts(void) {
  char chunk[16];
  while (enabled && world_line()) {
    bool ready = uart_interrupt();
    uint64_t n = uart_read(chunk, sizeof chunk);
    assert_true(!ready || n > 0);
    for (; n > 0; n = uart_read(chunk, sizeof chunk))
      for (uint64_t i = 0; i < n; i++)
        assert_int_equal((uint8_t)chunk[i], key_number(arrived++));
  }
}

static int begin(void **state) {
  (void)state;
  world_reset();
  enabled = false;
  typed = arrived = haste = 0;
  assert_int_equal(uart_init(pa(0)), ERR_OK);
  return 0;
}

/* From now and then to nearly as fast as they are read. */
static void test_every_key_arrives(void **state) {
  (void)state;
  uart_enable_rx(WORLD_UART_INTID);
  for (unsigned seed = 1; typed < BYTES; seed++) {
    srand(seed);
    haste = seed % 30;
    type_some();
    take_interrupts();
    assert_int_equal(arrived, typed);
  }
}

static void test_keys_before_the_interrupt_is_on(void **state) {
  (void)state;
  haste = 50;
  while (typed < 20)
    type_some();
  haste = 0;
  uart_enable_rx(WORLD_UART_INTID);
  take_interrupts();
  assert_int_equal(arrived, typed);
}

/* More than the ring holds while nobody reads: the first ones stay, in order, and it goes on behind them. */
static void test_a_full_ring(void **state) {
  char chunk[512];
  (void)state;
  uart_enable_rx(WORLD_UART_INTID);
  for (unsigned n = 0; n < 300; n++) {
    assert_true(world_type((uint8_t)n));
    while (world_line())
      (void)uart_interrupt();
  }
  assert_int_equal(uart_read(chunk, sizeof chunk), 256);
  for (unsigned n = 0; n < 256; n++)
    assert_int_equal((uint8_t)chunk[n], n);
  assert_true(world_type('x'));
  assert_true(uart_interrupt());
  assert_int_equal(uart_read(chunk, sizeof chunk), 1);
  assert_int_equal(chunk[0], 'x');
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup(test_every_key_arrives, begin),
      cmocka_unit_test_setup(test_keys_before_the_interrupt_is_on, begin),
      cmocka_unit_test_setup(test_a_full_ring, begin),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
