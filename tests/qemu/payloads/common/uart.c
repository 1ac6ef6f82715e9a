/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The console of the test payloads, byte by byte through the PL011 at QEMU virt's address.
 *
 * Keeps no state and takes no lock: a program lets one of its CPUs speak at a time. Does not set up the line: QEMU and every
 * hypervisor tried send what is written to DR. Knows only the formats that the payloads print.
 */
#include "arch/pl011.h"
#include "payload.h"

void put_char(char c) {
  pl011_write_byte(PAYLOAD_UART, (unsigned char)c);
}

void put_str(const char *s) {
  for (; *s; s++)
    put_char(*s);
}

void put_dec(uint64_t value) {
  char digits[20];
  unsigned n = 0;
  do
    digits[n++] = (char)('0' + value % 10);
  while (value /= 10);
  while (n)
    put_char(digits[--n]);
}

void put_hex(uint64_t value) {
  put_str("0x");
  for (int shift = value ? (int)bits_fls(value) / 4 * 4 : 0; shift >= 0; shift -= 4) {
    unsigned digit = value >> shift & 15;
    put_char((char)(digit < 10 ? '0' + digit : 'a' + digit - 10));
  }
}

void put_tenths(uint64_t tenths) {
  put_dec(tenths / 10);
  put_char('.');
  put_char((char)('0' + tenths % 10));
}

bool line_came(void) {
  bool came = false;
  for (int c; (c = pl011_read_byte(PAYLOAD_UART)) >= 0;)
    came |= c == '\n';
  return came;
}
