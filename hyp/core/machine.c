/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reading the machine's device tree, in one walk: memory, CPUs and their nodes, GICv3, the console's PL011, reserved ranges and what the
 * boot loader left in /chosen (Devicetree Specification 0.4; Linux Documentation/devicetree/bindings). QEMU's tree claims 1 MiB and is
 * nearly all padding: it is neither copied nor kept.
 *
 * Refuses a tree without memory or without a GICv3, in words.
 */
#include "hyp/core/machine.h"
#include "core/bits.h"
#include "core/format.h"
#include "core/string.h"
#include <libfdt.h>

#define DEPTH_MAX 8
#define GIC_SPI_CELL 0u

/* #address-cells and #size-cells in force for the children of the node at each depth. */
struct walk {
  const void *dtb;
  struct machine *m;
  int node, depth;
  uint32_t address_cells[DEPTH_MAX + 1], size_cells[DEPTH_MAX + 1];
  bool in_reserved; /* inside /reserved-memory */
  bool in_cpus;
};

static const uint8_t *property(const struct walk *w, const char *name, uint32_t *bytes) {
  int length;
  const void *data = fdt_getprop(w->dtb, w->node, name, &length);
  *bytes = data && length > 0 ? (uint32_t)length : 0;
  return data;
}

static uint64_t cells(const uint8_t *at, uint32_t count) {
  uint64_t value = 0;
  for (uint32_t i = 0; i < count * 4; i++)
    value = value << 8 | at[i];
  return value;
}

static uint32_t u32_property(const struct walk *w, const char *name, uint32_t otherwise) {
  uint32_t bytes;
  const uint8_t *data = property(w, name, &bytes);
  return bytes >= 4 ? (uint32_t)cells(data, 1) : otherwise;
}

/* The `index`th (address, size) pair of `reg`, by the parent's cell counts. */
static bool reg(const struct walk *w, unsigned index, uint64_t *start, uint64_t *size) {
  uint32_t bytes, a = w->address_cells[w->depth - 1], s = w->size_cells[w->depth - 1];
  const uint8_t *data = property(w, "reg", &bytes);
  uint32_t stride = (a + s) * 4;
  if (stride == 0 || a > 2 || s > 2 || (uint64_t)(index + 1) * stride > bytes)
    return false;
  *start = cells(data + index * stride, a);
  *size = cells(data + index * stride + a * 4, s);
  return *start + *size >= *start;
}

static uint32_t node_id(const struct walk *w) {
  uint32_t bytes;
  const uint8_t *data = property(w, "numa-node-id", &bytes);
  return !data ? NUMA_NONE : bytes == 4 ? (uint32_t)cells(data, 1) : NUMA_BAD;
}

static bool has_string(const struct walk *w, const char *name, const char *value) {
  int length;
  const char *list = fdt_getprop(w->dtb, w->node, name, &length);
  return list && length > 0 && fdt_stringlist_contains(list, length, value);
}

static void add_ram(struct machine *m, uint64_t start, uint64_t size, uint32_t node) {
  struct mem_range r = {pfn(align_up(start, PAGE_SIZE) >> PAGE_SHIFT), pfn((start + size) >> PAGE_SHIFT)};
  if (r.start.v >= r.end.v || m->ram_count == MACHINE_RAM_MAX)
    return;
  unsigned at = m->ram_count++;
  for (; at > 0 && m->ram[at - 1].start.v > r.start.v; at--) {
    m->ram[at] = m->ram[at - 1];
    m->ram_node[at] = m->ram_node[at - 1];
  }
  m->ram[at] = r;
  m->ram_node[at] = node;
}

err_t machine_reserve(struct machine *m, pa_t start, pa_t end) {
  if (m->reserved_count == MACHINE_RESERVED_MAX)
    return ERR_NOSPC;
  m->reserved[m->reserved_count++] = (struct mem_range){pfn(start.v >> PAGE_SHIFT), pfn(align_up(end.v, PAGE_SIZE) >> PAGE_SHIFT)};
  return ERR_OK;
}

static void visit_memory(struct walk *w) {
  uint64_t start, size;
  uint32_t node = node_id(w);
  for (unsigned i = 0; reg(w, i, &start, &size); i++)
    add_ram(w->m, start, size, node);
}

static err_t visit_reserved(struct walk *w) {
  uint64_t start, size;
  for (unsigned i = 0; reg(w, i, &start, &size); i++) {
    err_t err = machine_reserve(w->m, pa(start), pa(start + size));
    if (err != ERR_OK)
      return err;
  }
  return ERR_OK;
}

static void visit_cpu(struct walk *w) {
  uint32_t bytes;
  const uint8_t *data = property(w, "reg", &bytes);
  if (bytes < 4 || w->m->cpu_count == CPUS_MAX)
    return;
  w->m->cpu_node[w->m->cpu_count] = node_id(w);
  w->m->cpu_mpidr[w->m->cpu_count++] = cells(data, bytes >= 8 ? 2 : 1);
}

static void visit_distances(struct walk *w) {
  uint32_t bytes;
  const uint8_t *matrix = property(w, "distance-matrix", &bytes);
  if (has_string(w, "compatible", "numa-distance-map-v1"))
    numa_read_map(&w->m->numa, matrix, bytes);
}

static void visit_gic(struct walk *w) {
  struct gic_layout *g = &w->m->gic;
  uint64_t start, size;
  if (reg(w, 0, &start, &size)) {
    g->dist = pa(start);
    g->dist_bytes = size;
  }
  if (reg(w, 1, &start, &size)) {
    g->redist = pa(start);
    g->redist_bytes = size;
  }
}

/* interrupts = <type number flags>; SPI n is INTID 32 + n. */
static void visit_uart(struct walk *w) {
  uint64_t start, size;
  uint32_t bytes;
  if (w->m->uart_intid || !reg(w, 0, &start, &size))
    return;
  const uint8_t *irq = property(w, "interrupts", &bytes);
  w->m->uart = pa(start);
  if (bytes >= 12 && cells(irq, 1) == GIC_SPI_CELL)
    w->m->uart_intid = GIC_SPI_BASE + (unsigned)cells(irq + 4, 1);
}

static uint64_t address_property(const struct walk *w, const char *name) {
  uint32_t bytes;
  const uint8_t *data = property(w, name, &bytes);
  return bytes == 4 || bytes == 8 ? cells(data, bytes / 4) : 0;
}

static void visit_chosen(struct walk *w) {
  uint32_t bytes, seed_bytes;
  const char *args = (const char *)property(w, "bootargs", &bytes);
  w->m->initrd_start = pa(address_property(w, "linux,initrd-start"));
  w->m->initrd_end = pa(address_property(w, "linux,initrd-end"));
  const uint8_t *seed = property(w, "rng-seed", &seed_bytes);
  for (uint32_t i = 0; i < seed_bytes; i++) /* a longer one is folded */
    w->m->rng_seed[i % sizeof(w->m->rng_seed)] ^= seed[i];
  w->m->interactive = bytes >= sizeof("interactive") - 1 && strncmp(args, "interactive", sizeof("interactive") - 1) == 0;
}

static bool name_is(const char *name, const char *base) {
  size_t n = strlen(base);
  return strncmp(name, base, n) == 0 && (name[n] == '\0' || name[n] == '@');
}

static err_t visit(struct walk *w) {
  const char *name = fdt_get_name(w->dtb, w->node, NULL);
  if (!name)
    return ERR_INVAL;
  if (w->depth == 1) {
    w->in_reserved = name_is(name, "reserved-memory");
    w->in_cpus = name_is(name, "cpus");
    if (name_is(name, "memory"))
      visit_memory(w);
    else if (name_is(name, "chosen"))
      visit_chosen(w);
    else if (name_is(name, "distance-map"))
      visit_distances(w);
    else if (name_is(name, "pl011") || name_is(name, "uart") || name_is(name, "serial"))
      visit_uart(w);
    else if (name_is(name, "intc") || name_is(name, "interrupt-controller"))
      if (has_string(w, "compatible", "arm,gic-v3"))
        visit_gic(w);
  } else if (w->depth == 2 && w->in_cpus && name_is(name, "cpu")) {
    visit_cpu(w);
  } else if (w->depth == 2 && w->in_reserved) {
    return visit_reserved(w);
  }
  return ERR_OK;
}

/* Only nodes whose children are looked at need their cell counts read. */
static void note_cells(struct walk *w) {
  bool matters = w->depth == 0 || (w->depth == 1 && (w->in_cpus || w->in_reserved));
  w->address_cells[w->depth] = matters ? u32_property(w, "#address-cells", 2) : 2;
  w->size_cells[w->depth] = matters ? u32_property(w, "#size-cells", 1) : 1;
}

static err_t walk_tree(struct walk *w) {
  w->node = fdt_next_node(w->dtb, -1, &w->depth);
  while (w->node >= 0 && w->depth >= 0) {
    if (w->depth <= DEPTH_MAX) {
      if (w->depth > 0) {
        err_t err = visit(w);
        if (err != ERR_OK)
          return err;
      }
      note_cells(w);
    }
    w->node = fdt_next_node(w->dtb, w->node, &w->depth);
  }
  return w->node == -FDT_ERR_NOTFOUND || w->depth < 0 ? ERR_OK : ERR_INVAL;
}

static err_t reserve_map(const void *dtb, struct machine *m) {
  int count = fdt_num_mem_rsv(dtb);
  for (int i = 0; i < count; i++) {
    uint64_t start, size;
    if (fdt_get_mem_rsv(dtb, i, &start, &size) != 0)
      return ERR_INVAL;
    err_t err = machine_reserve(m, pa(start), pa(start + size));
    if (err != ERR_OK)
      return err;
  }
  return ERR_OK;
}

static err_t fail(char *error, const char *what) {
  strlcpy(error, what, MACHINE_ERROR_MAX);
  return ERR_INVAL;
}

err_t machine_read(const void *dtb, struct machine *m, char error[MACHINE_ERROR_MAX]) {
  struct walk w = {.dtb = dtb, .m = m, .depth = -1};
  pa_t fallback_uart = m->uart;
  memset(m, 0, sizeof(*m));
  m->uart = fallback_uart;
  if (!dtb || !is_aligned((uint64_t)dtb, 8) || fdt_check_header(dtb) != 0)
    return fail(error, "no device tree in x0: start this image by the Linux arm64 boot protocol");
  if (walk_tree(&w) != ERR_OK || reserve_map(dtb, m) != ERR_OK)
    return fail(error, "the machine's device tree is broken");
  if (m->ram_count == 0)
    return fail(error, "the device tree names no memory");
  if (m->gic.redist_bytes == 0)
    return fail(error, "no GICv3 in the device tree: run QEMU with -M virt,virtualization=on,gic-version=3");
  if (m->cpu_count == 0)
    return fail(error, "the device tree names no CPU");
  for (unsigned i = 1; i < m->ram_count; i++)
    if (m->ram[i].start.v < m->ram[i - 1].end.v)
      return fail(error, "memory banks of the device tree overlap");
  numa_settle(m);
  return ERR_OK;
}

uint64_t machine_ram_bytes(const struct machine *m) {
  uint64_t frames = 0;
  for (unsigned i = 0; i < m->ram_count; i++)
    frames += m->ram[i].end.v - m->ram[i].start.v;
  return frames << PAGE_SHIFT;
}

uint64_t machine_frame_span(const struct machine *m) {
  return m->ram[m->ram_count - 1].end.v - m->ram[0].start.v;
}
