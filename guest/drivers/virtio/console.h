/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef GUEST_DRIVERS_VIRTIO_CONSOLE_H
#define GUEST_DRIVERS_VIRTIO_CONSOLE_H

/*
 * The virtio console (virtio 1.2, 5.3) as hvc0: one port. Without such a device, or while it is being reset, nothing goes and nothing
 * comes.
 */

#include "core/types.h"

/*
 * Everything, or false and nothing more: the device is not there, or was lost on the way. Newlines go out as they are. Any CPU, any lock
 * but this driver's own.
 */
bool hvc_write(const char *s, uint64_t bytes);
/* Take at most `cap` received bytes; 0 if there are none. sched_lock may be held. */
uint64_t hvc_read(char *to, uint64_t cap);

#endif
