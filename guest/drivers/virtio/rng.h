/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef GUEST_DRIVERS_VIRTIO_RNG_H
#define GUEST_DRIVERS_VIRTIO_RNG_H

/* The entropy device (virtio 1.2, 5.4). */

#include "core/types.h"

/* The next bytes the device gave; false and `to` undefined if there is no device, or it does not answer. Any CPU. */
bool virtio_rng_read(void *to, uint64_t bytes);

#endif
