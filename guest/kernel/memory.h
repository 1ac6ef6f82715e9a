/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef GUEST_KERNEL_MEMORY_H
#define GUEST_KERNEL_MEMORY_H

#include "core/err.h"

struct machine;

/*
 * Hand RAM to the memory core: find room for the frame table, reserve what is in use (device tree, initrd, image, the table itself),
 * start the buddy and the VM layer. ERR_NOMEM if the frame table fits nowhere.
 */
MUST_CHECK err_t memory_init(struct machine *m);

#endif
