/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef GUEST_DRIVERS_VIRTIO_DRIVERS_H
#define GUEST_DRIVERS_VIRTIO_DRIVERS_H

/* The drivers there are. For mmio.c alone. */

struct virtio_driver;

extern const struct virtio_driver virtio_console_driver, virtio_rng_driver, virtio_balloon_driver;

static const struct virtio_driver *const virtio_drivers[] = {&virtio_console_driver, &virtio_rng_driver, &virtio_balloon_driver};

#endif
