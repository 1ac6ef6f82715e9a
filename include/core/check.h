/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CORE_CHECK_H
#define CORE_CHECK_H

/*
 * CHECK() guards our own invariants, never anybody's input. It stays in every build: a broken invariant about who owns a frame is
 * worse than a stop. Each home (EL2, EL1, host test) provides check_failed(), which reports expression, place, CPU and current
 * guest context and does not return.
 */

#include "core/compiler.h"

NORETURN void check_failed(const char *expr, const char *file, int line);

#define CHECK(cond_)                                                                                                                       \
  do {                                                                                                                                     \
    if (unlikely(!(cond_)))                                                                                                                \
      check_failed(#cond_, __FILE__, __LINE__);                                                                                            \
  } while (0)

#endif
