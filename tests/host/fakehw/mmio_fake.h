/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef FAKEHW_MMIO_FAKE_H
#define FAKEHW_MMIO_FAKE_H

/* Device registers that the test plays, in the place of arch/mmio.h (by its include guard: tests pass this file with -include). */

#include <stdint.h>

#define ARCH_MMIO_H
uint32_t mmio_read32(const volatile void *base, uint64_t offset);
void mmio_write32(volatile void *base, uint64_t offset, uint32_t value);

#endif
