/* SPDX-License-Identifier: BSD-2-Clause */

/* See scenario_blob.h. Every libfdt call must succeed: a blob that was not built as meant would make its test meaningless. */

#include "scenario_blob.h"

#include <libfdt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void ok(int result, const char *what) {
  if (result < 0) {
    fprintf(stderr, "scenario_blob: %s: %s\n", what, fdt_strerror(result));
    abort();
  }
}

static int node(void *blob, const char *path) {
  int at = fdt_path_offset(blob, path);
  if (at >= 0)
    return at;
  char parent[128];
  snprintf(parent, sizeof parent, "%s", path);
  char *slash = strrchr(parent, '/');
  const char *name = path + (slash - parent) + 1;
  *slash = '\0';
  at = fdt_add_subnode(blob, node(blob, slash == parent ? "/" : parent), name);
  ok(at, path);
  return at;
}

void blob_set(void *blob, const char *path, const char *property, const void *data, int bytes) {
  if (bytes < 0)
    ok(fdt_delprop(blob, node(blob, path), property), property);
  else
    ok(fdt_setprop(blob, node(blob, path), property, data, bytes), property);
}

void blob_set_cell(void *blob, const char *path, const char *property, uint32_t value) {
  fdt32_t cell = cpu_to_fdt32(value);
  blob_set(blob, path, property, &cell, sizeof cell);
}

void blob_set_string(void *blob, const char *path, const char *property, const char *value) {
  blob_set(blob, path, property, value, (int)strlen(value) + 1);
}

static void set_list(void *blob, const char *path, const char *property, const char *list, int bytes) {
  blob_set(blob, path, property, list, bytes);
}

#define LIST(blob_, path_, property_, text_) set_list(blob_, path_, property_, text_, (int)sizeof(text_))

static void make_image(uint8_t image[256]) {
  memset(image, 0x5a, 256);
  memset(image, 0, 64);
  memcpy(image + 56, "ARM\x64", 4);
  image[16] = 0x00, image[17] = 0x40; /* image_size 16 KiB */
  image[24] = 0x0a;                   /* 4 KiB pages, anywhere */
}

static void make_images(void *blob) {
  uint8_t image[256];
  make_image(image);
  blob_set(blob, "/images/guest", "data", image, sizeof image);
  blob_set_cell(blob, "/images/guest", "phandle", 1);
  blob_set(blob, "/images/initramfs", "data", "070701 anything", 15);
  blob_set_cell(blob, "/images/initramfs", "phandle", 2);
}

static void make_vms(void *blob) {
  static const uint8_t affinity[] = {0, 0, 0, 0, 0, 0, 0, 2};
  blob_set_string(blob, "/vms/alpha", "compatible", "sluice,vm");
  blob_set_cell(blob, "/vms/alpha", "memory-mib", 128);
  blob_set_cell(blob, "/vms/alpha", "vcpus", 2);
  blob_set_cell(blob, "/vms/alpha", "image", 1);
  blob_set_cell(blob, "/vms/alpha", "initrd", 2);
  blob_set_string(blob, "/vms/alpha", "bootargs", "init=/bin/memdemo");
  blob_set(blob, "/vms/alpha", "cpu-affinity", affinity, sizeof affinity);
  blob_set_cell(blob, "/vms/alpha", "weight", 300);
  blob_set(blob, "/vms/alpha", "no-autostart", "", 0);
  blob_set(blob, "/vms/alpha", "trap-stage1-faults", "", 0);
  blob_set(blob, "/vms/alpha", "force-4k", "", 0);
  blob_set(blob, "/vms/alpha", "console-quiet", "", 0);
  blob_set_string(blob, "/vms/beta", "compatible", "sluice,vm");
  blob_set_cell(blob, "/vms/beta", "memory-mib", 192);
  blob_set_cell(blob, "/vms/beta", "image", 1);
}

static void make_hypervisor(void *blob) {
  LIST(blob, "/hypervisor", "trace", "fault\0pt");
  blob_set_cell(blob, "/hypervisor", "trace-records", 4096);
  LIST(blob, "/hypervisor", "features-off", "vmid16\0idc");
  blob_set_cell(blob, "/hypervisor", "vmid-bits", 8);
  blob_set_cell(blob, "/hypervisor", "slice-us", 2000);
  blob_set(blob, "/hypervisor", "console-quiet", "", 0);
  blob_set(blob, "/hypervisor", "measure-masked", "", 0);
  blob_set(blob, "/hypervisor", "handover-self-test", "", 0);
  blob_set(blob, "/hypervisor", "measure-el2", "", 0);
}

static void make_timeline(void *blob) {
  blob_set_cell(blob, "/timeline/begin", "after-ms", 5);
  LIST(blob, "/timeline/begin", "run", "start alpha\0ledger save");
  LIST(blob, "/timeline/look", "expect", "alpha: hello\0beta: hello");
  blob_set_cell(blob, "/timeline/look", "within-ms", 700);
  LIST(blob, "/timeline/end", "expect-verdict", "alpha\0beta");
  LIST(blob, "/timeline/end", "expect-not", "panic");
}

/* libfdt's writer puts a new node before its elder siblings, so what shall come first is made last. */
int blob_make_good(void *to) {
  ok(fdt_create_empty_tree(to, BLOB_BYTES), "empty tree");
  make_timeline(to);
  make_vms(to);
  make_images(to);
  make_hypervisor(to);
  blob_set_string(to, "/", "compatible", "sluice,scenario");
  blob_set_string(to, "/", "description", "for tests");
  blob_set_cell(to, "/", "sluice,machine-cpus", 4);
  blob_set_cell(to, "/", "sluice,machine-memory-mib", 1024);
  blob_set_string(to, "/", "sluice,machine-cpu", "max");
  blob_set_cell(to, "/", "sluice,timeout-s", 60);
  ok(fdt_pack(to), "pack");
  int bytes = (int)fdt_totalsize(to);
  ok(fdt_open_into(to, to, BLOB_BYTES), "room for edits");
  return bytes;
}
