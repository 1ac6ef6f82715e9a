/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef ARCH_MMIO_H
#define ARCH_MMIO_H

/*
 * Device register access. Plain loads and stores by asm, so that the compiler can neither split nor merge them nor choose a
 * writeback form (which leaves ISV = 0 when the access traps to a hypervisor). Device-nGnRnE keeps them in order among themselves; ordering
 * against Normal memory needs the caller's DMB/DSB.
 */

#include "arch/barrier.h"
#include <stdint.h>

static inline uint32_t mmio_read32(const volatile void *base, uint64_t offset) {
  uint32_t value;
  __asm__ volatile("ldr %w0, [%1]" : "=r"(value) : "r"((const volatile char *)base + offset) : "memory");
  return value;
}

static inline void mmio_write32(volatile void *base, uint64_t offset, uint32_t value) {
  __asm__ volatile("str %w0, [%1]" ::"rZ"(value), "r"((volatile char *)base + offset) : "memory");
}

static inline uint64_t mmio_read64(const volatile void *base, uint64_t offset) {
  uint64_t value;
  __asm__ volatile("ldr %0, [%1]" : "=r"(value) : "r"((const volatile char *)base + offset) : "memory");
  return value;
}

static inline void mmio_write64(volatile void *base, uint64_t offset, uint64_t value) {
  __asm__ volatile("str %x0, [%1]" ::"rZ"(value), "r"((volatile char *)base + offset) : "memory");
}

static inline void mmio_write8(volatile void *base, uint64_t offset, uint8_t value) {
  __asm__ volatile("strb %w0, [%1]" ::"rZ"((uint32_t)value), "r"((volatile char *)base + offset) : "memory");
}

#endif
