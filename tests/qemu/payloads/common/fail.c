/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How a payload ends that found something wrong: one line on the console that begins with what the payload calls itself
 * (payload_complaint), a failed verdict for the hypervisor, off.
 */
#include "payload.h"

void payload_unexpected(uint64_t esr, uint64_t elr, uint64_t far);

_Noreturn void payload_fail(const char *what, uint64_t value) {
  put_str(payload_complaint);
  put_str(what);
  put_char(' ');
  put_hex(value);
  put_char('\n');
  payload_verdict(1, value);
  payload_off();
}

/* From vectors.S. */
void payload_unexpected(uint64_t esr, uint64_t elr, uint64_t far) {
  put_str("ELR ");
  put_hex(elr);
  put_str(" FAR ");
  put_hex(far);
  put_char('\n');
  payload_fail("exception, ESR", esr);
}
