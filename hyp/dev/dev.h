/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HYP_DEV_DEV_H
#define HYP_DEV_DEV_H

/* The doors through which exits reach the guest's machine: MMIO, system registers, SMCCC. All for the current vCPU. */

#include "core/compiler.h"
#include "core/err.h"
#include "core/types.h"
#include "hyp/core/vcpu.h"
#include "hyp/core/vm.h"

/* The guest's machine, as QEMU's virt board lays it out. */
#define GUEST_GICD_BASE 0x08000000ull
#define GUEST_GICD_BYTES 0x10000ull
#define GUEST_GICR_BASE 0x080a0000ull /* 128 KiB for each vCPU */
#define GUEST_GICR_STRIDE 0x20000ull
#define GUEST_UART_BASE 0x09000000ull
#define GUEST_UART_BYTES 0x1000ull

/* What a device read answers, in two registers. */
struct mmio_result {
  uint64_t value;   /* zero-extended from the access size */
  uint64_t claimed; /* 0: no device there, so reflect an external abort */
};

/*
 * One access of 1, 2, 4 or 8 bytes to IPA space that is not RAM. A device claims unaligned accesses too: those are RAZ/WI. Bits of `value`
 * above the bytes written are ignored.
 */
static inline struct mmio_result dev_mmio_read(struct vcpu *v, uint64_t addr, unsigned bytes);
bool dev_mmio_write(struct vcpu *v, uint64_t addr, unsigned bytes, uint64_t value);

/* ESR_EC_SYSREG: emulate the access in `esr` and move the PC past it, or make it UNDEFINED in the guest (reported, at a limited rate). */
void dev_sysreg(struct vcpu *v, uint64_t esr);

/*
 * HVC #0 or SMC #0: x0 holds the function id; results go to x0..x3. PSCI, SMCCC architecture calls, vendor calls. Does not move the PC (an
 * SMC's must be).
 */
void dev_smccc(struct vcpu *v);

/*
 * Build the VM's device tree into `to` (8-byte aligned); returns its size, or 0 if `cap` is too small. [initrd_start, initrd_end) is where
 * the initrd lies in the VM's RAM; empty: none. libfdt was built with FP/SIMD registers: the caller has saved the guest's live FP state.
 */
uint64_t dev_build_fdt(const struct vm *vm, void *to, uint64_t cap, ipa_t initrd_start, ipa_t initrd_end);

/* mmio.c: redistributors, unaligned accesses, nobody. */
struct mmio_result dev_mmio_read_rare(struct vcpu *v, uint64_t addr, unsigned bytes);

static inline struct mmio_result dev_mmio_read(struct vcpu *v, uint64_t addr, unsigned bytes) {
  if (likely(!(addr & (bytes - 1)))) {
    if (addr - GUEST_GICD_BASE < GUEST_GICD_BYTES)
      return (struct mmio_result){vgicd_read(v, addr - GUEST_GICD_BASE, bytes), true};
    if (addr - GUEST_UART_BASE < GUEST_UART_BYTES)
      return (struct mmio_result){vuart_read(v, addr - GUEST_UART_BASE, bytes), true};
  }
  return dev_mmio_read_rare(v, addr, bytes);
}

#endif
