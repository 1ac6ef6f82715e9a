/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef GUEST_ARCH_MACHINE_H
#define GUEST_ARCH_MACHINE_H

/* What the device tree says about the machine, in this kernel's terms. */

#include "core/err.h"
#include "core/types.h"
#include "guest/arch/layout.h"
#include "mm/page_alloc.h"

#define MACHINE_RAM_MAX 8u
#define MACHINE_RESERVED_MAX 16u
#define MACHINE_BOOTARGS_MAX 512u
#define MACHINE_VIRTIO_MAX 32u
#define MACHINE_MANAGED_MAX 8u
#define MACHINE_MANAGED_NAME_MAX 32u

/* A virtio-mmio window. */
struct machine_virtio {
  pa_t base;
  uint64_t bytes;
  uint32_t intid;
};

/* A range that the hypervisor moves between guests. */
struct machine_managed {
  pa_t base;
  uint64_t bytes;
  char name[MACHINE_MANAGED_NAME_MAX];
};

struct machine {
  struct mem_range ram[MACHINE_RAM_MAX]; /* sorted */
  unsigned ram_count;
  struct mem_range reserved[MACHINE_RESERVED_MAX]; /* what the tree reserves, the tree itself, the initrd; the kernel adds its image */
  unsigned reserved_count;
  pa_t initrd_start, initrd_end; /* equal: none */
  char bootargs[MACHINE_BOOTARGS_MAX];
  uint64_t cpu_mpidr[CPUS_MAX];
  unsigned cpu_count;
  bool psci_smc; /* conduit: SMC, else HVC */
  bool psci_present;
  pa_t gicd, gicr;
  uint64_t gicr_bytes;
  pa_t uart;
  uint32_t uart_intid;
  uint32_t vtimer_intid;
  struct machine_virtio virtio[MACHINE_VIRTIO_MAX]; /* in the tree's order; there need be no device behind one */
  unsigned virtio_count;
  pa_t window; /* where memory that other VMs hand over may be mapped */
  uint64_t window_bytes;
  struct machine_managed managed[MACHINE_MANAGED_MAX];
  unsigned managed_count;
};

extern struct machine machine;

/*
 * Read the device tree at `fdt` (mapped, at most `cap` bytes). ERR_INVAL if it is none, ERR_NOENT if it has no memory, no GICv3, no
 * timer or no UART. FP/SIMD must be usable at EL1: libfdt was built with it.
 */
MUST_CHECK err_t machine_read(struct machine *m, const void *fdt, pa_t fdt_pa, uint64_t cap);

#endif
