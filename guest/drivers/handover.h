/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef GUEST_DRIVERS_HANDOVER_H
#define GUEST_DRIVERS_HANDOVER_H

/* /dev/handover: memory of processes given to other VMs, and theirs taken (abi/handover_dev.h). */

#include "abi/handover_dev.h"
#include "core/types.h"

struct machine;
struct vm_file;

/* Once, at boot; without FF-A or a window in the device tree there is no such device. */
void handover_init(const struct machine *m);
/* The device if that is its path, and it is there; else NULL. */
struct vm_file *handover_find(const char *path);
/* A call of the current process. 0 or -errno; what it answers is in `call`. */
int64_t handover_ioctl(uint32_t request, struct handover_dev *call);

#endif
