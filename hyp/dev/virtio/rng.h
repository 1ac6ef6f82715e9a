/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HYP_DEV_VIRTIO_RNG_H
#define HYP_DEV_VIRTIO_RNG_H

/* A virtio entropy device (virtio 1.2, 5.4). */

#include "core/err.h"
#include "core/types.h"

struct vm;
struct virtio_device;

/*
 * Where its bytes come from: ChaCha20 (RFC 8439) under a key of the machine's /chosen/rng-seed, a stream of its own for each device. A
 * machine without a seed, as the launcher makes them so that runs repeat, gives the same bytes in every run: no secrets should hang on
 * them.
 */
void virtio_rng_seed(const void *seed, uint64_t bytes);

MUST_CHECK err_t virtio_rng_create(struct vm *vm, unsigned slot);
void virtio_rng_destroy(struct virtio_device *d);

#endif
