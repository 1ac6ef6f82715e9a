/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef GUEST_KERNEL_RANDOM_H
#define GUEST_KERNEL_RANDOM_H

#include <stdint.h>

/*
 * Numbers for AT_RANDOM and getrandom(2): what a virtio entropy device gives, if the machine has one; else a splitmix64 sequence from a
 * fixed seed, the
 * same in every run, because runs must repeat exactly. That is not for secrets.
 */
uint64_t random_u64(void);

#endif
