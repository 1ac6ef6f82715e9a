/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The device tree of a VM, as QEMU's virt board would describe what we offer: CPUs by PSCI, memory, GICv3, generic timer, PL011.
 *
 * Written front to back by libfdt's sequential writer, names not looked up for sharing: that is linear in what is written, and boot counts
 * instructions. libfdt uses FP/SIMD registers: the caller has saved the guest's. `struct tree` keeps the first error, so that the
 * description below reads as one.
 */
#include "core/format.h"
#include "hyp/core/vm.h"
#include "hyp/dev/dev.h"
#include <libfdt.h>

#define GIC_PHANDLE 1u
#define CLOCK_PHANDLE 2u
#define CLOCK_HZ 24000000u
#define GIC_SPI 0u
#define GIC_PPI 1u
#define LEVEL_HIGH 4u

struct tree {
  void *fdt;
  int err;
};

static void keep(struct tree *t, int err) {
  if (t->err == 0)
    t->err = err;
}

static void begin(struct tree *t, const char *name) {
  keep(t, fdt_begin_node(t->fdt, name));
}

static void end(struct tree *t) {
  keep(t, fdt_end_node(t->fdt));
}

static void bytes(struct tree *t, const char *name, const void *value, uint64_t length) {
  keep(t, fdt_property(t->fdt, name, value, (int)length));
}

/* A string literal, or several with NULs between them. */
#define text(t_, name_, literal_) bytes(t_, name_, literal_, sizeof(literal_))

static void string(struct tree *t, const char *name, const char *value) {
  bytes(t, name, value, strlen(value) + 1);
}

static void flag(struct tree *t, const char *name) {
  bytes(t, name, NULL, 0);
}

static void cell(struct tree *t, const char *name, uint32_t value) {
  fdt32_t be = cpu_to_fdt32(value);
  bytes(t, name, &be, sizeof(be));
}

static void wide(struct tree *t, const char *name, uint64_t value) {
  fdt64_t be = cpu_to_fdt64(value);
  bytes(t, name, &be, sizeof(be));
}

#define CELLS_MAX 12u

static void cells(struct tree *t, const char *name, const uint32_t *values, unsigned count) {
  fdt32_t be[CELLS_MAX];
  for (unsigned i = 0; i < count; i++)
    be[i] = cpu_to_fdt32(values[i]);
  bytes(t, name, be, count * sizeof(be[0]));
}

static void reg(struct tree *t, uint64_t base, uint64_t size) {
  fdt64_t be[2] = {cpu_to_fdt64(base), cpu_to_fdt64(size)};
  bytes(t, "reg", be, sizeof(be));
}

static void chosen(struct tree *t, const struct vm *vm, ipa_t initrd_start, ipa_t initrd_end) {
  begin(t, "chosen");
  string(t, "bootargs", vm->config.bootargs);
  text(t, "stdout-path", "/pl011@9000000");
  if (initrd_end.v > initrd_start.v) {
    wide(t, "linux,initrd-start", initrd_start.v);
    wide(t, "linux,initrd-end", initrd_end.v);
  }
  end(t);
}

static void psci(struct tree *t) {
  begin(t, "psci");
  text(t, "compatible", "arm,psci-1.0\0arm,psci-0.2");
  text(t, "method", "hvc");
  end(t);
}

/* VCPUS_MAX is below ten: one digit names each. */
static void cpu_nodes(struct tree *t, const struct vm *vm) {
  char name[] = "cpu@0";
  begin(t, "cpus");
  cell(t, "#address-cells", 1);
  cell(t, "#size-cells", 0);
  for (unsigned i = 0; i < vm->vcpu_count; i++) {
    name[4] = (char)('0' + i);
    begin(t, name);
    text(t, "device_type", "cpu");
    text(t, "compatible", "arm,armv8");
    text(t, "enable-method", "psci");
    cell(t, "reg", i);
    end(t);
  }
  end(t);
}

static void memory(struct tree *t, const struct vm *vm) {
  begin(t, "memory@40000000");
  text(t, "device_type", "memory");
  reg(t, vm->s2.ram_base.v, vm->s2.ram_bytes);
  end(t);
}

/* Where memory that other VMs hand over may be mapped (docs/handover.md): the guest chooses the place in it. */
static void window(struct tree *t, const struct vm *vm) {
  if (vm->s2.window_bytes == 0)
    return;
  begin(t, "handover-window");
  text(t, "compatible", "sluice,handover-window");
  reg(t, stage2_window(&vm->s2).v, vm->s2.window_bytes);
  end(t);
}

/* Managed memory (docs/managed.md), which lies above RAM: no-map, so that nobody takes it for RAM of the guest's own. */
static void managed(struct tree *t, const struct vm *vm) {
  char name[MANAGED_NAME_MAX + 20];
  if (vm->seats == 0)
    return;
  begin(t, "reserved-memory");
  cell(t, "#address-cells", 2);
  cell(t, "#size-cells", 2);
  flag(t, "ranges");
  for (unsigned i = 0; i < vm->seats; i++) {
    const struct managed_seat *seat = &vm->seat[i];
    format(name, sizeof(name), "%s@%llx", seat->name, (unsigned long long)seat->base);
    begin(t, name);
    text(t, "compatible", "sluice,managed");
    reg(t, seat->base, seat->bytes);
    flag(t, "no-map");
    end(t);
  }
  end(t);
}

static void gic(struct tree *t, const struct vm *vm) {
  fdt64_t regions[4] = {cpu_to_fdt64(GUEST_GICD_BASE), cpu_to_fdt64(GUEST_GICD_BYTES), cpu_to_fdt64(GUEST_GICR_BASE),
                        cpu_to_fdt64(vm->vcpu_count * GUEST_GICR_STRIDE)};
  begin(t, "intc@8000000");
  text(t, "compatible", "arm,gic-v3");
  cell(t, "#interrupt-cells", 3);
  flag(t, "interrupt-controller");
  bytes(t, "reg", regions, sizeof(regions));
  cell(t, "phandle", GIC_PHANDLE);
  end(t);
}

/* Secure physical, physical, virtual and hypervisor timer: PPIs 13, 14, 11, 10, as the binding orders them. */
static void timer(struct tree *t) {
  static const uint32_t interrupts[] = {GIC_PPI, 13, LEVEL_HIGH, GIC_PPI, 14, LEVEL_HIGH, GIC_PPI, 11, LEVEL_HIGH, GIC_PPI, 10, LEVEL_HIGH};
  begin(t, "timer");
  text(t, "compatible", "arm,armv8-timer");
  cells(t, "interrupts", interrupts, 12);
  flag(t, "always-on");
  end(t);
}

static void clock(struct tree *t) {
  begin(t, "apb-pclk");
  text(t, "compatible", "fixed-clock");
  cell(t, "#clock-cells", 0);
  cell(t, "clock-frequency", CLOCK_HZ);
  cell(t, "phandle", CLOCK_PHANDLE);
  end(t);
}

static void uart(struct tree *t) {
  static const uint32_t interrupts[] = {GIC_SPI, VUART_INTID - 32, LEVEL_HIGH};
  static const uint32_t clocks[] = {CLOCK_PHANDLE, CLOCK_PHANDLE};
  begin(t, "pl011@9000000");
  text(t, "compatible", "arm,pl011\0arm,primecell");
  reg(t, GUEST_UART_BASE, GUEST_UART_BYTES);
  cells(t, "interrupts", interrupts, 3);
  cells(t, "clocks", clocks, 2);
  text(t, "clock-names", "uartclk\0apb_pclk");
  end(t);
}

/* A hexadecimal digit names each slot: "virtio_mmio@a000000" is the first, and so on by GUEST_VIRTIO_STRIDE. */
static void virtio(struct tree *t, const struct vm *vm) {
  char name[] = "virtio_mmio@a000000";
  for (unsigned i = 0; i < VIRTIO_SLOTS; i++) {
    const uint32_t interrupts[] = {GIC_SPI, VIRTIO_INTID - 32 + i, LEVEL_HIGH};
    if (!vm->virtio[i])
      continue;
    name[sizeof(name) - 4] =
        (char)((i * GUEST_VIRTIO_STRIDE >> 8) < 10 ? '0' + (i * GUEST_VIRTIO_STRIDE >> 8) : 'a' - 10 + (i * GUEST_VIRTIO_STRIDE >> 8));
    begin(t, name);
    text(t, "compatible", "virtio,mmio");
    reg(t, GUEST_VIRTIO_BASE + i * GUEST_VIRTIO_STRIDE, GUEST_VIRTIO_STRIDE);
    cells(t, "interrupts", interrupts, 3);
    flag(t, "dma-coherent");
    end(t);
  }
}

static void root(struct tree *t, const struct vm *vm, ipa_t initrd_start, ipa_t initrd_end) {
  begin(t, "");
  text(t, "compatible", "linux,dummy-virt");
  text(t, "model", "Sluice virtual machine");
  cell(t, "#address-cells", 2);
  cell(t, "#size-cells", 2);
  cell(t, "interrupt-parent", GIC_PHANDLE);
  chosen(t, vm, initrd_start, initrd_end);
  psci(t);
  cpu_nodes(t, vm);
  memory(t, vm);
  window(t, vm);
  managed(t, vm);
  gic(t, vm);
  timer(t);
  clock(t);
  uart(t);
  virtio(t, vm);
  end(t);
}

uint64_t dev_build_fdt(const struct vm *vm, void *to, uint64_t cap, ipa_t initrd_start, ipa_t initrd_end) {
  struct tree t = {.fdt = to};
  keep(&t, fdt_create_with_flags(to, (int)cap, FDT_CREATE_FLAG_NO_NAME_DEDUP));
  keep(&t, fdt_finish_reservemap(to));
  root(&t, vm, initrd_start, initrd_end);
  keep(&t, fdt_finish(to));
  return t.err == 0 ? fdt_totalsize(to) : 0;
}
