/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The machine's device tree, as firmware and emulators write it: memory, CPUs and GIC, and the nodes of memory (numa-node-id,
 * distance-map), whole and broken. What cannot be used is one line, and never a crash: every byte of a good tree is spoiled in turn.
 */
// sources: hyp/core/machine.c hyp/core/numa.c mm/lib/format.c tests/host/host_strlcpy.c
// libs: -lfdt
#include "hyp/core/machine.h"
#include <libfdt.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define CAP 8192u
#define BANK_BYTES 0x4000000u
#define BANKS 3u
#define NONE 0xffffffffu

static _Alignas(8) unsigned char blob[CAP];
static struct machine m;
static char error[MACHINE_ERROR_MAX];

/* --- what the memory core is told ------------------------------------------------------------------------------------------------ */

static unsigned ranges_named, node_named[MACHINE_RAM_MAX], cpu_node_named[CPUS_MAX], distance_named[NODES_MAX][NODES_MAX];

err_t page_set_node(pfn_t start, pfn_t end, unsigned node) {
  assert_true(start.v < end.v && node < NODES_MAX);
  node_named[ranges_named++] = node;
  return ERR_OK;
}

err_t page_set_cpu_node(unsigned cpu, unsigned node) {
  assert_true(cpu < CPUS_MAX && node < NODES_MAX);
  cpu_node_named[cpu] = node + 1;
  return ERR_OK;
}

err_t page_set_distance(unsigned from, unsigned to, unsigned d) {
  assert_true(from < NODES_MAX && to < NODES_MAX && d >= 10 && d <= 255 && (from == to) == (d == 10));
  distance_named[from][to] = d;
  return ERR_OK;
}

static void tell_core(void) {
  ranges_named = 0;
  memset(node_named, 0xff, sizeof node_named);
  memset(cpu_node_named, 0, sizeof cpu_node_named);
  memset(distance_named, 0, sizeof distance_named);
  assert_int_equal(numa_name_memory(&m), ERR_OK);
  assert_int_equal(numa_set_distances(&m), ERR_OK);
  for (unsigned i = 0; i < m.cpu_count; i++)
    assert_int_equal(numa_set_cpu(&m, i, m.cpu_mpidr[i]), ERR_OK);
}

/* --- a tree ---------------------------------------------------------------------------------------------------------------------- */

static int at(const char *path) {
  int node = fdt_path_offset(blob, path);
  if (node < 0)
    fail_msg("no node %s", path);
  return node;
}

static void add(const char *parent, const char *name) {
  assert_true(fdt_add_subnode(blob, at(parent), name) >= 0);
}

static void set_cells(const char *path, const char *name, const uint32_t *cells, size_t count) {
  fdt32_t be[64];
  assert_true(count <= 64);
  for (size_t i = 0; i < count; i++)
    be[i] = cpu_to_fdt32(cells[i]);
  assert_int_equal(fdt_setprop(blob, at(path), name, be, (int)(count * sizeof be[0])), 0);
}

#define set(path_, name_, ...)                                                                                                             \
  set_cells(path_, name_, (const uint32_t[]){__VA_ARGS__}, sizeof((const uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t))

/* `nodes` of the banks by address, NONE: no property. libfdt puts each new node before the others. */
static void add_banks(const uint32_t nodes[BANKS]) {
  for (unsigned i = 0; i < BANKS; i++) {
    char name[32], path[40];
    uint32_t start = 0x40000000 + i * BANK_BYTES;
    snprintf(name, sizeof name, "memory@%x", start);
    snprintf(path, sizeof path, "/%s", name);
    add("/", name);
    set(path, "reg", 0, start, 0, BANK_BYTES);
    if (nodes[i] != NONE)
      set(path, "numa-node-id", nodes[i]);
  }
}

static void add_cpus(const uint32_t nodes[BANKS]) {
  add("/", "cpus");
  set("/cpus", "#address-cells", 1);
  set("/cpus", "#size-cells", 0);
  for (unsigned i = 0; i < BANKS; i++) {
    char name[16], path[24];
    snprintf(name, sizeof name, "cpu@%x", i << 8);
    snprintf(path, sizeof path, "/cpus/%s", name);
    add("/cpus", name);
    set(path, "reg", i << 8);
    if (nodes[i] != NONE)
      set(path, "numa-node-id", nodes[i]);
  }
}

static void plant(const uint32_t memory[BANKS], const uint32_t cpu_nodes[BANKS]) {
  assert_int_equal(fdt_create_empty_tree(blob, CAP), 0);
  set("/", "#address-cells", 2);
  set("/", "#size-cells", 2);
  add_banks(memory);
  add_cpus(cpu_nodes);
  add("/", "intc@8000000");
  assert_int_equal(fdt_setprop_string(blob, at("/intc@8000000"), "compatible", "arm,gic-v3"), 0);
  set("/intc@8000000", "reg", 0, 0x8000000, 0, 0x10000, 0, 0x80a0000, 0, 0xf60000);
}

static void add_map(const uint32_t *cells, size_t count) {
  add("/", "distance-map");
  assert_int_equal(fdt_setprop_string(blob, at("/distance-map"), "compatible", "numa-distance-map-v1"), 0);
  set_cells("/distance-map", "distance-matrix", cells, count);
}

#define map(...) add_map((const uint32_t[]){__VA_ARGS__}, sizeof((const uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t))

static void read_tree(void) {
  assert_int_equal(machine_read(blob, &m, error), ERR_OK);
  assert_int_equal(m.ram_count, BANKS);
  assert_int_equal(m.cpu_count, BANKS);
  tell_core();
}

static const uint32_t none[BANKS] = {NONE, NONE, NONE}, each[BANKS] = {0, 1, 2};

/* --- tests ----------------------------------------------------------------------------------------------------------------------- */

static void without_nodes(void **state) {
  (void)state;
  plant(none, none);
  read_tree();
  assert_false(m.numa.known);
  assert_string_equal(m.numa.warning, "");
  assert_int_equal(ranges_named, 0);
  for (unsigned i = 0; i < BANKS; i++)
    assert_int_equal(m.ram[i].start.v, (0x40000000 + i * BANK_BYTES) >> PAGE_SHIFT);
}

static void banks_and_cpus_have_nodes(void **state) {
  (void)state;
  plant((const uint32_t[]){2, 0, 7}, (const uint32_t[]){7, NONE, 5});
  read_tree();
  assert_true(m.numa.known);
  assert_string_equal(m.numa.warning, "");
  assert_int_equal(ranges_named, BANKS);
  assert_true(node_named[0] == 2 && node_named[1] == 0 && node_named[2] == 7); /* by address */
  assert_true(m.cpu_mpidr[0] == 0x200 && cpu_node_named[0] == 5 + 1 && cpu_node_named[1] == 0 && cpu_node_named[2] == 7 + 1);
  assert_int_equal(distance_named[0][2], 0); /* the core's default */
}

/* As QEMU writes it, in full; and as the binding allows, one direction for both. */
static void distances(void **state) {
  (void)state;
  plant(each, each);
  map(0, 0, 10, 0, 1, 20, 0, 2, 30, 1, 0, 21, 1, 1, 10, 1, 2, 255, 2, 0, 30, 2, 1, 40, 2, 2, 10);
  read_tree();
  assert_string_equal(m.numa.warning, "");
  assert_true(distance_named[0][1] == 20 && distance_named[1][0] == 21 && distance_named[1][2] == 255 && distance_named[2][1] == 40);
  plant(each, each);
  map(0, 1, 11, 1, 2, 12);
  read_tree();
  assert_string_equal(m.numa.warning, "");
  assert_true(distance_named[1][0] == 11 && distance_named[2][1] == 12 && distance_named[0][2] == 0);
}

static void expect_warning(const char *part) {
  read_tree();
  if (!strstr(m.numa.warning, part))
    fail_msg("\"%s\" is not in \"%s\"", part, m.numa.warning);
  assert_null(strchr(m.numa.warning, '\n'));
}

static void bad_ids(void **state) {
  (void)state;
  plant((const uint32_t[]){0, NODES_MAX, 1}, each);
  expect_warning("memory at 0x44000000 has a node that cannot be");
  assert_int_equal(ranges_named, 0);
  plant((const uint32_t[]){0, NONE, 1}, each);
  expect_warning("memory at 0x44000000 has no node");
  assert_int_equal(ranges_named, 0);
  plant((const uint32_t[]){NONE, 1, NONE}, each);
  expect_warning("memory at 0x44000000 has no node, or is the only one");
  plant(each, (const uint32_t[]){0, 1, 0x80000000});
  expect_warning("CPU 0x200 has a node that cannot be");
  assert_true(ranges_named == 0 && cpu_node_named[1] == 0);
  plant(each, each);
  set("/memory@44000000", "numa-node-id", 0, 1);
  expect_warning("memory at 0x44000000 has a node that cannot be");
}

/* The nodes stay; how far they are is as if nothing had been said. */
static void bad_maps(void **state) {
  (void)state;
  static const struct {
    uint32_t cells[12];
    size_t count;
    const char *warning;
  } cases[] = {
      {{0}, 0, "no matrix"},
      {{0, 1, 20, 1}, 4, "no matrix"},
      {{0, 0, 11}, 3, "an entry is no distance"},
      {{0, 1, 20, 1, 2, 10}, 6, "an entry is no distance"},
      {{0, 1, 20, 1, 2, 256}, 6, "an entry is no distance"},
      {{0, 1, 20, 1, 2, 0}, 6, "an entry is no distance"},
      {{0, NODES_MAX, 20}, 3, "an entry is no distance"},
      {{0xffffffff, 0, 20}, 3, "an entry is no distance"},
      {{0, 1, 20, 1, 2, 30, 0, 1, 20}, 9, "an entry is no distance"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    plant(each, each);
    add_map(cases[i].cells, cases[i].count);
    expect_warning(cases[i].warning);
    assert_int_equal(ranges_named, BANKS);
    for (unsigned n = 0; n < NODES_MAX * NODES_MAX; n++)
      assert_int_equal((&distance_named[0][0])[n], 0);
  }
}

static void another_map_is_none_of_ours(void **state) {
  (void)state;
  plant(each, each);
  map(0, 1, 5);
  assert_int_equal(fdt_setprop_string(blob, at("/distance-map"), "compatible", "acme,distances"), 0);
  read_tree();
  assert_string_equal(m.numa.warning, "");
}

/* Whatever a byte is: words, or a machine of which the core is told what it takes (the fakes above look). */
static void every_byte_spoiled(void **state) {
  (void)state;
  static _Alignas(8) unsigned char good[CAP];
  plant(each, each);
  map(0, 1, 20, 1, 2, 30);
  assert_int_equal(fdt_pack(blob), 0);
  size_t bytes = fdt_totalsize(blob);
  memcpy(good, blob, bytes);
  unsigned broken = 0, warned = 0;
  for (size_t i = 0; i < bytes; i++) {
    for (unsigned bit = 0; bit < 8; bit++) {
      unsigned char *copy = aligned_alloc(8, (bytes + 7) & ~(size_t)7);
      assert_non_null(copy);
      memcpy(copy, good, bytes);
      copy[i] ^= (unsigned char)(1u << bit);
      error[0] = '\0';
      if (fdt_check_full(copy, bytes) != 0) {
        free(copy); /* the boot loader's own: a tree that leads out of itself */
        continue;
      }
      if (machine_read(copy, &m, error) == ERR_OK)
        tell_core();
      else
        assert_true(++broken && error[0]);
      warned += m.numa.warning[0] != '\0';
      free(copy);
    }
  }
  assert_true(broken > 10 && warned > 100);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(without_nodes),      cmocka_unit_test(banks_and_cpus_have_nodes),
      cmocka_unit_test(distances),          cmocka_unit_test(bad_ids),
      cmocka_unit_test(bad_maps),           cmocka_unit_test(another_map_is_none_of_ours),
      cmocka_unit_test(every_byte_spoiled),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
