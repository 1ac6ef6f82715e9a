/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HYP_DEV_VIRTIO_DEVICES_H
#define HYP_DEV_VIRTIO_DEVICES_H

/* Which virtio devices a VM has: vm_config.virtio, a bit per kind, in slots of the same number. */

#include "core/err.h"

struct vm;

/* With the VM, before it runs: all of them, or none and ERR_NOMEM. At a restart: as after power-on. With the VM's end. */
MUST_CHECK err_t virtio_devices_create(struct vm *vm);
void virtio_devices_power_on(struct vm *vm);
void virtio_devices_destroy(struct vm *vm);

#endif
