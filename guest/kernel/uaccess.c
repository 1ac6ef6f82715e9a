/* SPDX-License-Identifier: BSD-2-Clause */
/* Range checks in front of the copying instructions (guest/arch/switch.S), and strings. */
#include "guest/kernel/uaccess.h"

#include "core/bits.h"
#include "guest/vm/vm.h"

uint64_t user_copy_in(void *to, uint64_t from, uint64_t bytes);
uint64_t user_copy_out(uint64_t to, const void *from, uint64_t bytes);

err_t copy_from_user(void *to, uint64_t from, uint64_t bytes) {
  return access_ok(from, bytes) && user_copy_in(to, from, bytes) == 0 ? ERR_OK : ERR_FAULT;
}

err_t copy_to_user(uint64_t to, const void *from, uint64_t bytes) {
  return access_ok(to, bytes) && user_copy_out(to, from, bytes) == 0 ? ERR_OK : ERR_FAULT;
}

/* Page by page: the string may end right before a page that is not there. */
err_t copy_string_from_user(char *to, uint64_t from, uint64_t cap, uint64_t *out) {
  uint64_t done = 0;
  while (done < cap) {
    uint64_t chunk = min_u64(min_u64(cap - done, 64), PAGE_SIZE - ((from + done) & ~PAGE_MASK));
    if (copy_from_user(to + done, from + done, chunk) != ERR_OK)
      return ERR_FAULT;
    for (uint64_t i = 0; i < chunk; i++) {
      if (to[done + i] == '\0') {
        *out = done + i;
        return ERR_OK;
      }
    }
    done += chunk;
  }
  return ERR_NOSPC;
}
