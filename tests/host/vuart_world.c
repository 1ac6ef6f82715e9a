/* SPDX-License-Identifier: BSD-2-Clause */
#include "fakehw/vgic_fake.h" /* before any header that it replaces */

#include "hyp/core/vcpu.h"
#include "hyp/core/vm.h"
#include "hyp/ctl/console.h"
#include "vuart_world.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static struct vm vm;
static struct vcpu vcpu = {.vm = &vm};
static bool line;

void vgic_set_spi(struct vm *of, unsigned intid, bool level) {
  assert_ptr_equal(of, &vm);
  assert_int_equal(intid, WORLD_UART_INTID);
  line = level;
}

void console_guest_byte(struct vm *of, uint8_t byte) {
  (void)of, (void)byte;
}

void world_reset(void) {
  line = false;
  vuart_init(&vm);
}

uint32_t world_read(uint64_t offset) {
  return (uint32_t)vuart_read(&vcpu, offset, 4);
}

void world_write(uint64_t offset, uint32_t value) {
  vuart_write(&vcpu, offset, 4, value);
}

bool world_type(uint8_t byte) {
  return vuart_receive(&vm, byte);
}

bool world_line(void) {
  return line;
}
