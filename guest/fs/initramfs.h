/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef GUEST_FS_INITRAMFS_H
#define GUEST_FS_INITRAMFS_H

/* The files of the initramfs, as the VM layer can map them. */

#include "core/err.h"
#include "core/types.h"
#include "guest/vm/mm_types.h"

struct initramfs_file {
  struct vm_file file;
  const uint8_t *data; /* (c) in the archive, at any alignment */
  uint64_t bytes;      /* (c) */
};

/* Index the regular files of the archive at `data`, which stays where it is. ERR_INVAL if it is broken, ERR_NOMEM. */
MUST_CHECK err_t initramfs_init(const void *data, uint64_t bytes);
/* By path from the root, with or without a leading '/'. NULL if there is none. */
struct initramfs_file *initramfs_find(const char *path);

#endif
