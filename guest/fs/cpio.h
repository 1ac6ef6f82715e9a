/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef GUEST_FS_CPIO_H
#define GUEST_FS_CPIO_H

/*
 * Reader for newc cpio archives ("070701" and "070702"; Linux Documentation/driver-api/early-userspace/buffer-format.rst). Pure C, no
 * allocation, any input.
 */

#include "core/err.h"
#include "core/types.h"

struct cpio_reader {
  const uint8_t *data;
  uint64_t bytes, pos;
};

struct cpio_entry {
  const char *name; /* within the archive, terminated; leading "./" and "/" cut off */
  const uint8_t *data;
  uint64_t bytes;
  uint32_t mode; /* as st_mode */
};

#define CPIO_S_IFMT 0170000u
#define CPIO_S_IFREG 0100000u
#define CPIO_S_IFDIR 0040000u
#define CPIO_S_IFLNK 0120000u
#define CPIO_NAME_MAX 4096u

void cpio_open(struct cpio_reader *r, const void *data, uint64_t bytes);

/*
 * The next entry. ERR_NOENT after the last (the trailer, or nothing but zeroes up to the end). ERR_INVAL if the archive is broken here:
 * no header, a field that is no number, a name without end, an entry that reaches beyond the archive. After an error every further call
 * answers the same.
 */
MUST_CHECK err_t cpio_next(struct cpio_reader *r, struct cpio_entry *out);

#endif
