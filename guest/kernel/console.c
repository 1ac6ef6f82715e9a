/* SPDX-License-Identifier: BSD-2-Clause */
/* Output of kernel and processes over the PL011, one call at a time. The lock is a leaf: nothing is taken under it. */
#include "guest/kernel/console.h"

#include "core/format.h"
#include "core/string.h"
#include "guest/arch/vlock.h"
#include "guest/drivers/uart.h"

static struct vlock lock;
static bool broken;

void console_write(const char *s, uint64_t bytes) {
  bool locked = !broken;
  if (locked)
    vlock_acquire(&lock);
  uart_write(s, bytes);
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

void console_break_lock(void) {
  broken = true;
}
