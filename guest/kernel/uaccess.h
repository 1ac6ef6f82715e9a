/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef GUEST_KERNEL_UACCESS_H
#define GUEST_KERNEL_UACCESS_H

/*
 * Access to the memory of the current process. Pages are faulted in as the process's own access would; what cannot be becomes ERR_FAULT. No
 * lock that the fault path takes may be held (guest/vm/mm_types.h).
 */

#include "core/err.h"
#include "core/types.h"

MUST_CHECK err_t copy_from_user(void *to, uint64_t from, uint64_t bytes);
MUST_CHECK err_t copy_to_user(uint64_t to, const void *from, uint64_t bytes);
/* A NUL-terminated string into to[cap]; *out is its length without the NUL. ERR_FAULT; ERR_NOSPC if it does not fit. */
MUST_CHECK err_t copy_string_from_user(char *to, uint64_t from, uint64_t cap, uint64_t *out);

#endif
