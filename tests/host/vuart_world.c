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
static char sent[64];
static unsigned sent_count;

void vgic_set_spi(struct vm *of, unsigned intid, bool level) {
  assert_ptr_equal(of, &vm);
  assert_int_equal(intid, WORLD_UART_INTID);
  assert_true(line != level); /* told of changes only */
  line = level;
}

void console_guest_byte(struct vm *of, uint8_t byte) {
  assert_ptr_equal(of, &vm);
  assert_false(spin_is_locked(&vm.vuart.lock)); /* the console has locks of its own */
  sent[sent_count++ % sizeof(sent)] = (char)byte;
}

void world_reset(void) {
  line = false;
  sent_count = 0;
  vuart_init(&vm);
}

uint32_t world_read(uint64_t offset) {
  return (uint32_t)world_read_bytes(offset, 4);
}

void world_write(uint64_t offset, uint32_t value) {
  world_write_bytes(offset, 4, value);
}

uint64_t world_read_bytes(uint64_t offset, unsigned bytes) {
  return vuart_read(&vcpu, offset, bytes);
}

void world_write_bytes(uint64_t offset, unsigned bytes, uint64_t value) {
  vuart_write(&vcpu, offset, bytes, value);
}

bool world_type(uint8_t byte) {
  return vuart_receive(&vm, byte);
}

bool world_line(void) {
  return line;
}

unsigned world_sent(const char **text) {
  *text = sent;
  return sent_count;
}
