/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HYP_DEV_VIRTIO_CONSOLE_H
#define HYP_DEV_VIRTIO_CONSOLE_H

/* A virtio console (virtio 1.2, 5.3) with one port and no features of its own, beside the PL011. */

#include "core/err.h"
#include "core/types.h"

struct vm;
struct virtio_device;

MUST_CHECK err_t virtio_console_create(struct vm *vm, unsigned slot);
void virtio_console_destroy(struct virtio_device *d);

/*
 * A byte typed for this VM; false if it has no such console, its driver is not there, or what was typed before waits already. Any CPU, no
 * lock held.
 */
bool virtio_console_receive(struct vm *vm, uint8_t byte);

#endif
