/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef GUEST_KERNEL_MEMORY_H
#define GUEST_KERNEL_MEMORY_H

#include "core/err.h"

struct machine;

/*
 * Hand RAM to the memory core: map it all, find room for the frame table, reserve what is in use (device tree, initrd, image, the table
 * itself), start the buddy, replace the boot tables by the kernel's own, start the VM layer. ERR_NOMEM if the frame table fits nowhere.
 */
MUST_CHECK err_t memory_init(struct machine *m);

#endif
