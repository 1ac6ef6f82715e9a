/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Output of kernel and processes over the PL011 or the virtio console, one call at a time. Under the lock only the drivers' own are
 * taken.
 */
#include "guest/kernel/console.h"

#include "core/format.h"
#include "core/string.h"
#include "guest/arch/vlock.h"
#include "guest/drivers/uart.h"
#include "guest/drivers/virtio/console.h"
#include "guest/kernel/bootargs.h"

static struct vlock lock;
static bool broken;

/* What the virtio console does not take goes to the UART; and so does the panic report, which must not wait for anybody. */
static void emit(const char *s, uint64_t bytes) {
  bool elsewhere = bootargs.console_hvc && !broken && hvc_write(s, bytes);
  if (!elsewhere || bootargs.console_uart)
    uart_write(s, bytes);
}

void console_write(const char *s, uint64_t bytes) {
  bool locked = !broken;
  if (locked)
    vlock_acquire(&lock);
  emit(s, bytes);
  if (locked)
    vlock_release(&lock);
}

static void print(const char *prefix, const char *fmt, va_list args) {
  char line[256];
  size_t n = strlcpy(line, prefix, sizeof line);
  int more = format_v(line + n, sizeof line - n, fmt, args);
  n += (size_t)more;
  console_write(line, n < sizeof line ? n : sizeof line - 1);
}

void kprintf(const char *fmt, ...) {
  va_list args;
  va_start(args, fmt);
  print("guest: ", fmt, args);
  va_end(args);
}

void kprintf_more(const char *fmt, ...) {
  va_list args;
  va_start(args, fmt);
  print("", fmt, args);
  va_end(args);
}

uint64_t console_read(char *to, uint64_t cap) {
  uint64_t n = uart_read(to, cap);
  return n > 0 ? n : hvc_read(to, cap);
}

void console_break_lock(void) {
  broken = true;
}
