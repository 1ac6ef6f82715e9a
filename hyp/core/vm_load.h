/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HYP_CORE_VM_LOAD_H
#define HYP_CORE_VM_LOAD_H

/* Putting a guest into its RAM by the Linux arm64 boot protocol. */

#include "core/err.h"
#include "core/types.h"

struct vm;

/*
 * Write the next piece of image, initrd and device tree. ERR_AGAIN while there is more; ERR_OK when done and vm->dtb is set. ERR_IO: no
 * arm64 Image; ERR_RANGE: does not fit the RAM; ERR_NOMEM.
 */
MUST_CHECK err_t vm_load_step(struct vm *vm);
ipa_t vm_load_entry(const struct vm *vm);

#endif
