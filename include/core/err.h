/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CORE_ERR_H
#define CORE_ERR_H

/*
 * What internal calls return. Declare such functions MUST_CHECK.
 * The codes of an ABI (SMCCC, PSCI, Linux errno, virtio status) are mapped from these in one place each.
 */

#include "core/compiler.h"

typedef enum err {
  ERR_OK = 0,
  ERR_NOMEM,       /* no frame, no slab object */
  ERR_INVAL,       /* an argument is malformed: alignment, range wraps, unknown flag */
  ERR_RANGE,       /* well formed but outside what this object covers */
  ERR_EXIST,       /* something is there already */
  ERR_NOENT,       /* nothing is there */
  ERR_BUSY,        /* in use now; a later try may succeed */
  ERR_AGAIN,       /* partial progress was made and kept; call again */
  ERR_PERM,        /* present, but this access or party is not allowed */
  ERR_FAULT,       /* a user or guest address could not be accessed */
  ERR_NOSPC,       /* a fixed-size table or window is full */
  ERR_UNSUPPORTED, /* known, but not offered here */
  ERR_IO,          /* a device or image answered wrongly */
  ERR_COUNT
} err_t;

/* A short lower-case name, "no memory" for ERR_NOMEM; never NULL. */
static inline const char *err_name(err_t e) {
  static const char *const names[ERR_COUNT] = {
      "ok",    "no memory",         "invalid argument", "out of range",  "exists",      "not found", "busy",
      "again", "permission denied", "bad address",      "no space left", "unsupported", "i/o error",
  };
  return (unsigned)e < ERR_COUNT ? names[e] : "unknown error";
}

#endif
