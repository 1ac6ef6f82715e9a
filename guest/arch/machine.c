/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The device tree, read once at boot with libfdt. Owns `machine`. Everything that is found is copied out, so that nothing points into the
 * tree afterwards. It refuses a tree without memory, interrupt controller, timer or console, and leaves alone what it does not know.
 */
#include "guest/arch/machine.h"

#include "core/bits.h"
#include "core/string.h"
#include <libfdt.h>

struct machine machine;

/* One (address, size) pair of a `reg` with the usual two cells each. */
static bool reg_pair(const void *fdt, int node, int index, uint64_t *addr, uint64_t *size) {
  int bytes;
  const fdt64_t *reg = fdt_getprop(fdt, node, "reg", &bytes);
  if (reg == NULL || bytes < (index + 1) * 16)
    return false;
  *addr = fdt64_ld(&reg[2 * index]);
  *size = fdt64_ld(&reg[2 * index + 1]);
  return true;
}

static void reserve(struct machine *m, uint64_t start, uint64_t end) {
  if (start < end && m->reserved_count < MACHINE_RESERVED_MAX)
    m->reserved[m->reserved_count++] = (struct mem_range){pfn(start >> PAGE_SHIFT), pfn(align_up(end, PAGE_SIZE) >> PAGE_SHIFT)};
}

static void ram_insert(struct machine *m, uint64_t start, uint64_t size) {
  struct mem_range r = {pfn(align_up(start, PAGE_SIZE) >> PAGE_SHIFT), pfn((start + size) >> PAGE_SHIFT)};
  if (r.start.v >= r.end.v || m->ram_count == MACHINE_RAM_MAX)
    return;
  unsigned i = m->ram_count++;
  for (; i > 0 && m->ram[i - 1].start.v > r.start.v; i--)
    m->ram[i] = m->ram[i - 1];
  m->ram[i] = r;
}

static void read_memory(struct machine *m, const void *fdt) {
  int node = -1;
  while ((node = fdt_node_offset_by_prop_value(fdt, node, "device_type", "memory", sizeof "memory")) >= 0) {
    uint64_t addr, size;
    for (int i = 0; reg_pair(fdt, node, i, &addr, &size); i++)
      ram_insert(m, addr, size);
  }
}

static void read_reserved(struct machine *m, const void *fdt) {
  uint64_t addr, size;
  for (int i = 0; i < fdt_num_mem_rsv(fdt); i++)
    if (fdt_get_mem_rsv(fdt, i, &addr, &size) == 0)
      reserve(m, addr, addr + size);
  int node, parent = fdt_path_offset(fdt, "/reserved-memory");
  if (parent < 0)
    return;
  fdt_for_each_subnode(node, fdt, parent) {
    for (int i = 0; reg_pair(fdt, node, i, &addr, &size); i++)
      reserve(m, addr, addr + size);
  }
}

/* linux,initrd-start and -end may be one cell or two. */
static uint64_t chosen_number(const void *fdt, int chosen, const char *name) {
  int bytes;
  const void *p = fdt_getprop(fdt, chosen, name, &bytes);
  if (p == NULL)
    return 0;
  return bytes == 8 ? fdt64_ld(p) : bytes == 4 ? fdt32_ld(p) : 0;
}

static void read_chosen(struct machine *m, const void *fdt) {
  int bytes, chosen = fdt_path_offset(fdt, "/chosen");
  if (chosen < 0)
    return;
  const char *args = fdt_getprop(fdt, chosen, "bootargs", &bytes);
  if (args != NULL && bytes > 0 && args[bytes - 1] == '\0')
    strlcpy(m->bootargs, args, sizeof m->bootargs);
  m->initrd_start = pa(chosen_number(fdt, chosen, "linux,initrd-start"));
  m->initrd_end = pa(chosen_number(fdt, chosen, "linux,initrd-end"));
  if (m->initrd_start.v >= m->initrd_end.v)
    m->initrd_start = m->initrd_end = pa(0);
  reserve(m, m->initrd_start.v, m->initrd_end.v);
}

static void read_cpus(struct machine *m, const void *fdt) {
  int node, bytes, cpus_node = fdt_path_offset(fdt, "/cpus");
  if (cpus_node < 0)
    return;
  fdt_for_each_subnode(node, fdt, cpus_node) {
    const char *type = fdt_getprop(fdt, node, "device_type", NULL);
    const void *reg = fdt_getprop(fdt, node, "reg", &bytes);
    if (type == NULL || strcmp(type, "cpu") != 0 || reg == NULL || m->cpu_count == CPUS_MAX)
      continue;
    m->cpu_mpidr[m->cpu_count++] = bytes == 8 ? fdt64_ld(reg) : bytes == 4 ? fdt32_ld(reg) : 0;
  }
}

static void read_psci(struct machine *m, const void *fdt) {
  static const char *const compatible[] = {"arm,psci-1.0", "arm,psci-0.2"};
  for (unsigned i = 0; i < ARRAY_SIZE(compatible); i++) {
    int node = fdt_node_offset_by_compatible(fdt, -1, compatible[i]);
    const char *method = node < 0 ? NULL : fdt_getprop(fdt, node, "method", NULL);
    if (method == NULL)
      continue;
    m->psci_present = true;
    m->psci_smc = strcmp(method, "smc") == 0;
    return;
  }
}

/* A GIC interrupt specifier: type (0 SPI, 1 PPI), number, flags. */
static uint32_t read_intid(const void *fdt, int node, int index) {
  int bytes;
  const fdt32_t *p = fdt_getprop(fdt, node, "interrupts", &bytes);
  if (p == NULL || bytes < (index + 1) * 12)
    return 0;
  return fdt32_ld(&p[3 * index + 1]) + (fdt32_ld(&p[3 * index]) == 0 ? 32 : 16);
}

static void read_virtio(struct machine *m, const void *fdt) {
  for (int node = -1; (node = fdt_node_offset_by_compatible(fdt, node, "virtio,mmio")) >= 0;) {
    struct machine_virtio v = {.intid = read_intid(fdt, node, 0)};
    if (m->virtio_count < MACHINE_VIRTIO_MAX && v.intid != 0 && reg_pair(fdt, node, 0, &v.base.v, &v.bytes))
      m->virtio[m->virtio_count++] = v;
  }
}

/* Its label; else its node's name up to the address. */
static void read_name(const void *fdt, int node, char *to, size_t cap) {
  int bytes;
  const char *label = fdt_getprop(fdt, node, "label", &bytes), *at;
  if (label != NULL && bytes > 0 && label[bytes - 1] == '\0') {
    strlcpy(to, label, cap);
    return;
  }
  const char *name = fdt_get_name(fdt, node, &bytes);
  if (name == NULL)
    return;
  at = strchr(name, '@');
  strlcpy(to, name, min_u64(cap, at != NULL ? (uint64_t)(at - name) + 1 : cap));
}

static void read_managed(struct machine *m, const void *fdt) {
  for (int node = -1; (node = fdt_node_offset_by_compatible(fdt, node, "sluice,managed")) >= 0;) {
    struct machine_managed *range = &m->managed[m->managed_count];
    if (m->managed_count == MACHINE_MANAGED_MAX || !reg_pair(fdt, node, 0, &range->base.v, &range->bytes))
      continue;
    read_name(fdt, node, range->name, sizeof range->name);
    m->managed_count++;
  }
}

static void read_window(struct machine *m, const void *fdt) {
  int node = fdt_node_offset_by_compatible(fdt, -1, "sluice,handover-window");
  if (node >= 0 && !reg_pair(fdt, node, 0, &m->window.v, &m->window_bytes))
    m->window_bytes = 0;
}

static err_t read_devices(struct machine *m, const void *fdt) {
  uint64_t size;
  int gic = fdt_node_offset_by_compatible(fdt, -1, "arm,gic-v3");
  int timer = fdt_node_offset_by_compatible(fdt, -1, "arm,armv8-timer");
  int uart = fdt_node_offset_by_compatible(fdt, -1, "arm,pl011");
  if (gic < 0 || timer < 0 || uart < 0)
    return ERR_NOENT;
  if (!reg_pair(fdt, gic, 0, &m->gicd.v, &size) || !reg_pair(fdt, gic, 1, &m->gicr.v, &m->gicr_bytes) ||
      !reg_pair(fdt, uart, 0, &m->uart.v, &size))
    return ERR_NOENT;
  m->uart_intid = read_intid(fdt, uart, 0);
  m->vtimer_intid = read_intid(fdt, timer, 2); /* secure, physical, virtual, hypervisor */
  return m->vtimer_intid == 0 ? ERR_NOENT : ERR_OK;
}

err_t machine_read(struct machine *m, const void *fdt, pa_t fdt_pa, uint64_t cap) {
  if (fdt_check_header(fdt) != 0 || fdt_totalsize(fdt) > cap)
    return ERR_INVAL;
  reserve(m, fdt_pa.v, fdt_pa.v + fdt_totalsize(fdt));
  read_memory(m, fdt);
  read_reserved(m, fdt);
  read_chosen(m, fdt);
  read_cpus(m, fdt);
  read_psci(m, fdt);
  read_virtio(m, fdt);
  read_managed(m, fdt);
  read_window(m, fdt);
  return m->ram_count == 0 ? ERR_NOENT : read_devices(m, fdt);
}
