/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The device tree that a VM is given, read back with libfdt's read-only half: what a guest kernel looks for is there with the values that
 * the bindings ask for, phandles lead to what they name, and a buffer of any smaller size is refused without a byte written behind it.
 */
// sources: hyp/dev/fdt.c mm/lib/format.c
// cflags: -include tests/host/fakehw/vgic_fake.h
// libs: -lfdt
#include "hyp/core/vm.h"
#include "hyp/dev/dev.h"
#include <libfdt.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define CAP 4096u
#define RAM_BASE 0x40000000ull

static struct vm vm;
static _Alignas(8) unsigned char blob[CAP];

static void describe(unsigned vcpus, uint64_t ram_bytes, const char *bootargs) {
  memset(&vm, 0, sizeof vm);
  vm.config.bootargs = bootargs;
  vm.vcpu_count = vcpus;
  vm.s2.ram_base = ipa(RAM_BASE);
  vm.s2.ram_bytes = ram_bytes;
}

static void build(uint64_t initrd_start, uint64_t initrd_end) {
  memset(blob, 0xa5, sizeof blob);
  uint64_t size = dev_build_fdt(&vm, blob, sizeof blob, ipa(initrd_start), ipa(initrd_end));
  assert_in_range(size, 1, CAP);
  assert_int_equal(size, fdt_totalsize(blob));
  assert_int_equal(fdt_check_full(blob, size), 0);
}

static int node(const char *path) {
  int at = fdt_path_offset(blob, path);
  if (at < 0)
    fail_msg("no node %s", path);
  return at;
}

/* The property holds exactly these bytes. */
static void holds(const char *path, const char *name, const void *bytes, size_t length) {
  int found;
  const void *value = fdt_getprop(blob, node(path), name, &found);
  if (!value || (size_t)found != length || memcmp(value, bytes, length) != 0)
    fail_msg("%s: %s is not as expected (%d bytes)", path, name, found);
}

#define holds_text(path_, name_, literal_) holds(path_, name_, literal_, sizeof(literal_))

static void holds_cells(const char *path, const char *name, const uint32_t *cells, size_t count) {
  fdt32_t be[16];
  assert_true(count <= 16);
  for (size_t i = 0; i < count; i++)
    be[i] = cpu_to_fdt32(cells[i]);
  holds(path, name, be, count * sizeof be[0]);
}

#define holds_numbers(path_, name_, ...)                                                                                                   \
  holds_cells(path_, name_, (const uint32_t[]){__VA_ARGS__}, sizeof((const uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t))

static void lacks(const char *path, const char *name) {
  assert_null(fdt_getprop(blob, node(path), name, NULL));
}

static void root_and_memory(void **state) {
  (void)state;
  describe(1, 0x180000000ull, "");
  build(0, 0);
  holds_numbers("/", "#address-cells", 2);
  holds_numbers("/", "#size-cells", 2);
  holds_text("/", "compatible", "linux,dummy-virt");
  holds_text("/memory@40000000", "device_type", "memory");
  holds_numbers("/memory@40000000", "reg", 0, 0x40000000, 1, 0x80000000);
  assert_int_equal(fdt_num_mem_rsv(blob), 0);
}

static void chosen(void **state) {
  (void)state;
  describe(1, 64 << 20, "console=ttyAMA0 run=\"a b\" -- x");
  build(0x48000000, 0x48012345);
  holds_text("/chosen", "bootargs", "console=ttyAMA0 run=\"a b\" -- x");
  holds_numbers("/chosen", "linux,initrd-start", 0, 0x48000000);
  holds_numbers("/chosen", "linux,initrd-end", 0, 0x48012345);
  const char *stdout_path = fdt_getprop(blob, node("/chosen"), "stdout-path", NULL);
  assert_int_equal(fdt_node_check_compatible(blob, node(stdout_path), "arm,pl011"), 0);
}

static void no_initrd(void **state) {
  (void)state;
  describe(1, 64 << 20, "");
  build(0x48000000, 0x48000000);
  lacks("/chosen", "linux,initrd-start");
  lacks("/chosen", "linux,initrd-end");
  holds_text("/chosen", "bootargs", "");
}

static void cpu_nodes(void **state) {
  (void)state;
  for (unsigned vcpus = 1; vcpus <= VCPUS_MAX; vcpus++) {
    describe(vcpus, 64 << 20, "");
    build(0, 0);
    holds_numbers("/cpus", "#address-cells", 1);
    holds_numbers("/cpus", "#size-cells", 0);
    unsigned seen = 0;
    int at;
    fdt_for_each_subnode(at, blob, node("/cpus")) {
      const fdt32_t *reg = fdt_getprop(blob, at, "reg", NULL);
      assert_non_null(reg);
      assert_int_equal(fdt32_to_cpu(*reg), seen++);
      assert_string_equal(fdt_getprop(blob, at, "device_type", NULL), "cpu");
      assert_string_equal(fdt_getprop(blob, at, "enable-method", NULL), "psci");
      assert_int_equal(fdt_node_check_compatible(blob, at, "arm,armv8"), 0);
    }
    assert_int_equal(seen, vcpus);
    holds_numbers("/intc@8000000", "reg", 0, 0x08000000, 0, 0x10000, 0, 0x080a0000, 0, 0x20000 * vcpus);
  }
}

static void psci(void **state) {
  (void)state;
  describe(2, 64 << 20, "");
  build(0, 0);
  holds_text("/psci", "method", "hvc");
  assert_int_equal(fdt_node_check_compatible(blob, node("/psci"), "arm,psci-1.0"), 0);
  assert_int_equal(fdt_node_check_compatible(blob, node("/psci"), "arm,psci-0.2"), 0);
}

/* The root's interrupt-parent leads to the GIC; timer and UART name lines in its three cells. */
static void interrupts(void **state) {
  (void)state;
  describe(1, 64 << 20, "");
  build(0, 0);
  const fdt32_t *parent = fdt_getprop(blob, 0, "interrupt-parent", NULL);
  assert_non_null(parent);
  assert_int_equal(fdt_node_offset_by_phandle(blob, fdt32_to_cpu(*parent)), node("/intc@8000000"));
  assert_int_equal(fdt_node_check_compatible(blob, node("/intc@8000000"), "arm,gic-v3"), 0);
  holds_numbers("/intc@8000000", "#interrupt-cells", 3);
  holds("/intc@8000000", "interrupt-controller", "", 0);
  assert_int_equal(fdt_node_check_compatible(blob, node("/timer"), "arm,armv8-timer"), 0);
  holds_numbers("/timer", "interrupts", 1, 13, 4, 1, 14, 4, 1, 11, 4, 1, 10, 4);
  holds_numbers("/pl011@9000000", "interrupts", 0, 1, 4);
}

static void uart(void **state) {
  (void)state;
  describe(1, 64 << 20, "");
  build(0, 0);
  holds_text("/pl011@9000000", "compatible", "arm,pl011\0arm,primecell");
  holds_numbers("/pl011@9000000", "reg", 0, 0x09000000, 0, 0x1000);
  holds_text("/pl011@9000000", "clock-names", "uartclk\0apb_pclk");
  int length;
  const fdt32_t *clocks = fdt_getprop(blob, node("/pl011@9000000"), "clocks", &length);
  assert_int_equal(length, 8);
  for (int i = 0; i < 2; i++)
    assert_int_equal(fdt_node_offset_by_phandle(blob, fdt32_to_cpu(clocks[i])), node("/apb-pclk"));
  holds_text("/apb-pclk", "compatible", "fixed-clock");
  holds_numbers("/apb-pclk", "#clock-cells", 0);
  holds_numbers("/apb-pclk", "clock-frequency", 24000000);
}

/* A buffer of exactly the size, from the heap: AddressSanitizer stands behind its end. */
static uint64_t build_in(uint64_t cap) {
  unsigned char *to = malloc(cap ? cap : 1);
  assert_non_null(to);
  uint64_t size = dev_build_fdt(&vm, to, cap, ipa(0x48000000), ipa(0x48001000));
  if (size) {
    assert_int_equal(fdt_check_full(to, cap), 0);
    assert_true(size <= cap);
  }
  free(to);
  return size;
}

static void every_size(void **state) {
  (void)state;
  describe(VCPUS_MAX, 64 << 20, "console=ttyAMA0");
  build(0x48000000, 0x48001000);
  uint64_t size = fdt_totalsize(blob), cap = 0;
  while (build_in(cap) == 0)
    assert_in_range(++cap, 1, CAP);
  /* the sequential writer works with the strings at the far end of the buffer: it asks for no more than what is written */
  assert_in_range(cap, size, size + 8);
  for (; cap < size + 64; cap++)
    assert_int_equal(build_in(cap), size);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(root_and_memory),
      cmocka_unit_test(chosen),
      cmocka_unit_test(no_initrd),
      cmocka_unit_test(cpu_nodes),
      cmocka_unit_test(psci),
      cmocka_unit_test(interrupts),
      cmocka_unit_test(uart),
      cmocka_unit_test(every_size),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
