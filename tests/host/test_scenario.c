/* SPDX-License-Identifier: BSD-2-Clause */
// sources: hyp/ctl/scenario.c hyp/ctl/scenario_rules.c hyp/ctl/scenario_check.c hyp/ctl/scenario_words.c hyp/ctl/scenario_managed.c
// sources: hyp/mem/policy_kit.c hyp/mem/policy_none.c hyp/mem/policy_proportional.c hyp/mem/policy_wss.c
// sources: mm/lib/format.c tests/host/host_strlcpy.c tests/host/scenario_blob.c
// libs: -lfdt

/*
 * The scenario parser against blobs made with libfdt's own writer: a good one field by field, then one fault at a time with the exact
 * line that must name it, then every truncation and thousands of corrupted blobs, under AddressSanitizer in buffers of exact size.
 */

#include "hyp/arch/features.h"
#include "hyp/ctl/scenario.h"
#include "scenario_blob.h"

#include <libfdt.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MIB 1048576ull
#define RAM (1024 * MIB)
#define CPUS 4

static _Alignas(8) uint8_t blob[BLOB_BYTES];
static char error[SCENARIO_ERROR_MAX];

static err_t parse(struct scenario **s) {
  return scenario_parse(blob, fdt_totalsize(blob), RAM, CPUS, s, error);
}

static struct scenario *parse_good(void) {
  struct scenario *s;
  err_t e = parse(&s);
  if (e != ERR_OK)
    print_error("%s\n", error);
  assert_int_equal(e, ERR_OK);
  assert_string_equal(error, "");
  return s;
}

static void expect_error(const char *text) {
  struct scenario *s = (void *)1;
  assert_int_equal(parse(&s), ERR_INVAL);
  assert_null(s);
  assert_string_equal(error, text);
}

static int setup(void **state) {
  (void)state;
  blob_make_good(blob);
  return 0;
}

/* --- what is right --- */

static void test_hypervisor_options(void **state) {
  (void)state;
  const struct hyp_options *o = scenario_options(parse_good());
  assert_int_equal(o->trace_mask, 3);
  assert_int_equal(o->trace_records, 4096);
  assert_int_equal(o->features_off, HYP_FEAT_VMID16 | HYP_FEAT_IDC);
  assert_int_equal(o->vmid_bits, 8);
  assert_int_equal(o->slice_us, 2000);
  assert_true(o->console_quiet && o->measure_masked && o->handover_self_test && o->measure_el2);
}

static void test_vm_with_every_option(void **state) {
  (void)state;
  const struct scenario *s = parse_good();
  assert_int_equal(scenario_vm_count(s), 2);
  int index = scenario_find_vm(s, "alpha", 5);
  assert_in_range(index, 0, 1);
  const struct vm_config *c = scenario_vm(s, (unsigned)index);
  assert_string_equal(c->name, "alpha");
  assert_int_equal(c->memory_bytes, 128 * MIB);
  assert_int_equal(c->vcpus, 2);
  assert_memory_equal((const char *)c->image + 56, "ARM\x64", 4);
  assert_int_equal(c->image_bytes, 256);
  assert_memory_equal(c->initrd, "070701 anything", 15);
  assert_int_equal(c->initrd_bytes, 15);
  assert_string_equal(c->bootargs, "init=/bin/memdemo");
  assert_int_equal(c->affinity, 0x5);
  assert_int_equal(c->weight, 300);
  assert_true(!c->autostart && c->trap_stage1_faults && c->force_4k && c->console_quiet);
}

static void test_vm_with_defaults(void **state) {
  (void)state;
  const struct scenario *s = parse_good();
  const struct vm_config *c = scenario_vm(s, (unsigned)scenario_find_vm(s, "beta", 4));
  assert_int_equal(c->memory_bytes, 192 * MIB);
  assert_int_equal(c->vcpus, 1);
  assert_null(c->initrd);
  assert_int_equal(c->initrd_bytes, 0);
  assert_string_equal(c->bootargs, "");
  assert_int_equal(c->affinity, 0);
  assert_int_equal(c->weight, 100);
  assert_true(c->autostart && !c->trap_stage1_faults && !c->force_4k && !c->console_quiet);
}

static void set_quota(uint32_t min, uint32_t low, uint32_t high, uint32_t max) {
  static const char *const names[] = {"quota-min-mib", "quota-low-mib", "quota-high-mib", "quota-max-mib"};
  const uint32_t values[] = {min, low, high, max};
  blob_make_good(blob);
  for (unsigned i = 0; i < 4; i++)
    if (values[i])
      blob_set_cell(blob, "/vms/alpha", names[i], values[i]);
}

static void expect_quota(uint64_t min, uint64_t low, uint64_t high, uint64_t max) {
  const struct scenario *s = parse_good();
  const struct vm_quota *q = &scenario_vm(s, (unsigned)scenario_find_vm(s, "alpha", 5))->quota;
  assert_int_equal(q->min, min * MIB / 4096);
  assert_int_equal(q->low, low * MIB / 4096);
  assert_int_equal(q->high, high * MIB / 4096);
  assert_int_equal(q->max, max * MIB / 4096);
}

/* Marks that are not given follow those that are. */
static void test_quotas(void **state) {
  (void)state;
  expect_quota(0, 0, 128, 128);
  set_quota(0, 0, 0, 64);
  expect_quota(0, 0, 64, 64);
  set_quota(8, 0, 32, 0);
  expect_quota(8, 8, 32, 128);
  set_quota(8, 16, 32, 64);
  expect_quota(8, 16, 32, 64);
}

static void test_quotas_out_of_order(void **state) {
  (void)state;
  set_quota(0, 0, 0, 130);
  expect_error("/vms/alpha: quota-max-mib: 130 is more than the VM's 128 MiB");
  set_quota(0, 0, 66, 64);
  expect_error("/vms/alpha: quota-high-mib: 66 is above quota-max-mib, 64");
  set_quota(0, 34, 32, 64);
  expect_error("/vms/alpha: quota-low-mib: 34 is above quota-high-mib, 32");
  set_quota(66, 0, 0, 64);
  expect_error("/vms/alpha: quota-min-mib: 66 is above quota-max-mib, 64");
  set_quota(20, 16, 32, 64);
  expect_error("/vms/alpha: quota-min-mib: 20 is above quota-low-mib, 16");
}

static const struct scenario_step *step_named(const struct scenario *s, const char *name) {
  for (unsigned i = 0; i < s->steps; i++)
    if (strcmp(s->step[i].name, name) == 0)
      return &s->step[i];
  fail_msg("no step %s", name);
  return NULL;
}

static void assert_strings(const struct scenario_strings *list, const char *first, const char *second) {
  uint32_t at = 0;
  assert_int_equal(scenario_string_count(list), 2);
  assert_string_equal(scenario_next_string(list, &at), first);
  assert_string_equal(scenario_next_string(list, &at), second);
  assert_null(scenario_next_string(list, &at));
}

static void test_timeline(void **state) {
  (void)state;
  const struct scenario *s = parse_good();
  assert_int_equal(s->steps, 3);
  assert_true(scenario_has_expectations(s));
  assert_int_equal(step_named(s, "begin")->after_ms, 5);
  assert_strings(&step_named(s, "begin")->run, "start alpha", "ledger save");
  assert_int_equal(step_named(s, "look")->within_ms, 700);
  assert_strings(&step_named(s, "look")->expect, "alpha: hello", "beta: hello");
  assert_int_equal(step_named(s, "end")->within_ms, 10000);
  assert_strings(&step_named(s, "end")->verdict, "alpha", "beta");
  assert_int_equal(scenario_string_count(&step_named(s, "end")->expect_not), 1);
}

static void test_defaults_without_hypervisor_node(void **state) {
  (void)state;
  fdt_del_node(blob, fdt_path_offset(blob, "/hypervisor"));
  fdt_del_node(blob, fdt_path_offset(blob, "/timeline"));
  const struct scenario *s = parse_good();
  assert_int_equal(scenario_options(s)->slice_us, 10000);
  assert_int_equal(scenario_options(s)->trace_mask, 0);
  assert_int_equal(s->steps, 0);
  assert_false(scenario_has_expectations(s));
}

static void test_trace_all(void **state) {
  (void)state;
  blob_set_string(blob, "/hypervisor", "trace", "all");
  assert_int_equal(scenario_options(parse_good())->trace_mask, 0x7ff);
}

static void test_sum_of_memory_may_exceed_the_machine(void **state) {
  (void)state;
  blob_set_cell(blob, "/vms/alpha", "memory-mib", 1024);
  blob_set_cell(blob, "/vms/beta", "memory-mib", 1024);
  parse_good();
}

static void test_a_second_parse_forgets_the_first(void **state) {
  (void)state;
  parse_good();
  fdt_del_node(blob, fdt_path_offset(blob, "/vms/alpha"));
  blob_set(blob, "/timeline/end", "expect-verdict", "beta", 5);
  assert_int_equal(scenario_vm_count(parse_good()), 1);
}

/* --- one fault at a time --- */

#define CELL(n_)                                                                                                                           \
  4, {                                                                                                                                     \
    (uint8_t)((uint32_t)(n_) >> 24), (uint8_t)((uint32_t)(n_) >> 16), (uint8_t)((uint32_t)(n_) >> 8), (uint8_t)(n_)                        \
  }
#define TEXT(text_) sizeof(text_), text_
#define BYTES(count_, ...)                                                                                                                 \
  count_, {                                                                                                                                \
    __VA_ARGS__                                                                                                                            \
  }
#define GONE                                                                                                                               \
  -1, {                                                                                                                                    \
    0                                                                                                                                      \
  }

static const struct {
  const char *path, *property;
  int bytes;
  uint8_t data[80];
  const char *error;
} faults[] = {
    /* unknown names */
    {"/", "compatibel", TEXT("x"), "/: unknown property `compatibel` (did you mean `compatible`?)"},
    {"/", "model", TEXT("x"), "/: unknown property `model`"},
    {"/hypervisor", "slice", CELL(1), "/hypervisor: unknown property `slice`"},
    {"/hypervisor", "trace-record", CELL(1), "/hypervisor: unknown property `trace-record` (did you mean `trace-records`?)"},
    {"/vms", "compatible", TEXT("x"), "/vms: unknown property `compatible`"},
    {"/vms/alpha", "memry-mib", CELL(1), "/vms/alpha: unknown property `memry-mib` (did you mean `memory-mib`?)"},
    {"/images/guest", "date", TEXT("x"), "/images/guest: unknown property `date` (did you mean `data`?)"},
    {"/timeline/look", "expects", TEXT("x"), "/timeline/look: unknown property `expects` (did you mean `expect`?)"},
    {"/hypervisr", "trace", TEXT("pt"), "/: unknown node `hypervisr` (did you mean `hypervisor`?)"},
    {"/cpus", "x", TEXT("x"), "/: unknown node `cpus`"},
    {"/vms/alpha/disk", "x", TEXT("x"), "/vms/alpha: unknown node `disk`"},
    {"/hypervisor/x", "x", TEXT("x"), "/hypervisor: unknown node `x`"},
    /* missing ones */
    {"/", "compatible", GONE, "/: property `compatible` is missing"},
    {"/vms/beta", "compatible", GONE, "/vms/beta: property `compatible` is missing"},
    {"/vms/beta", "memory-mib", GONE, "/vms/beta: property `memory-mib` is missing"},
    {"/vms/beta", "image", GONE, "/vms/beta: property `image` is missing"},
    {"/images/guest", "data", GONE, "/images/guest: property `data` is missing"},
    /* wrong forms */
    {"/vms/alpha", "vcpus", BYTES(8, 0), "/vms/alpha: vcpus: one number is 4 bytes, here are 8"},
    {"/vms/alpha", "vcpus", BYTES(0, 0), "/vms/alpha: vcpus: one number is 4 bytes, here are 0"},
    {"/vms/alpha", "memory-mib", BYTES(3, 0), "/vms/alpha: memory-mib: one number is 4 bytes, here are 3"},
    {"/vms/alpha", "bootargs", BYTES(3, 'a', 'b', 'c'), "/vms/alpha: bootargs: one string is wanted"},
    {"/vms/alpha", "bootargs", TEXT("a\0b"), "/vms/alpha: bootargs: one string is wanted"},
    {"/vms/alpha", "bootargs", BYTES(0, 0), "/vms/alpha: bootargs: one string is wanted"},
    {"/vms/alpha", "force-4k", CELL(1), "/vms/alpha: force-4k: takes no value, here are 4 bytes"},
    {"/vms/alpha", "cpu-affinity", BYTES(5, 0), "/vms/alpha: cpu-affinity: 1 to 64 numbers of 4 bytes are wanted, here are 5 bytes"},
    {"/vms/alpha", "cpu-affinity", BYTES(0, 0), "/vms/alpha: cpu-affinity: empty"},
    {"/images/guest", "data", BYTES(0, 0), "/images/guest: data: empty"},
    {"/timeline/look", "expect", BYTES(2, 'a', 'b'), "/timeline/look: expect: strings are wanted"},
    {"/timeline/look", "expect", TEXT("a\0\0b"), "/timeline/look: expect: an empty string"},
    {"/timeline/look", "run", TEXT("a\0a\0a\0a\0a\0a\0a\0a\0a\0a\0a\0a\0a\0a\0a\0a\0a"),
     "/timeline/look: run: 17 strings, at most 16 are allowed"},
    /* out of limits */
    {"/vms/alpha", "vcpus", CELL(0), "/vms/alpha: vcpus: 0 is not within 1..8"},
    {"/vms/alpha", "vcpus", CELL(9), "/vms/alpha: vcpus: 9 is not within 1..8"},
    {"/vms/alpha", "vcpus", CELL(4294967295u), "/vms/alpha: vcpus: 4294967295 is not within 1..8"},
    {"/vms/alpha", "weight", CELL(1001), "/vms/alpha: weight: 1001 is not within 1..1000"},
    {"/vms/alpha", "memory-mib", CELL(0), "/vms/alpha: memory-mib: 0 is not within 4..1048576"},
    {"/vms/alpha", "memory-mib", CELL(129), "/vms/alpha: memory-mib: 129 is odd, memory comes in steps of 2 MiB"},
    {"/vms/alpha", "memory-mib", CELL(1026), "/vms/alpha: memory-mib: 1026 MiB, but the machine has 1024 MiB"},
    {"/vms/alpha", "cpu-affinity", CELL(4), "/vms/alpha: cpu-affinity: CPU 4, but the machine has 4 CPUs"},
    {"/vms/alpha", "cpu-affinity", CELL(4294967295u), "/vms/alpha: cpu-affinity: CPU 4294967295, but the machine has 4 CPUs"},
    {"/vms/alpha", "cpu-affinity", BYTES(8, 0, 0, 0, 1, 0, 0, 0, 1), "/vms/alpha: cpu-affinity: CPU 1 is given twice"},
    {"/hypervisor", "vmid-bits", CELL(17), "/hypervisor: vmid-bits: 17 is not within 2..16"},
    {"/hypervisor", "vmid-bits", CELL(2), "/hypervisor: vmid-bits: 2 are too few for 4 CPUs"},
    {"/hypervisor", "slice-us", CELL(1), "/hypervisor: slice-us: 1 is not within 100..1000000"},
    {"/", "sluice,machine-cpus", CELL(0), "/: sluice,machine-cpus: 0 is not within 1..512"},
    {"/", "sluice,machine-nodes", BYTES(6, 0, 0, 0, 64, 0, 0),
     "/: sluice,machine-nodes: 1 to 8 numbers of 4 bytes are wanted, here are 6 bytes"},
    /* wrong words and references */
    {"/", "compatible", TEXT("linux,dummy"), "/: compatible: \"linux,dummy\" is not \"sluice,scenario\""},
    {"/vms/alpha", "compatible", TEXT("sluice,vm2"), "/vms/alpha: compatible: \"sluice,vm2\" is not \"sluice,vm\""},
    {"/hypervisor", "trace", TEXT("fautl"), "/hypervisor: trace: unknown word \"fautl\" (did you mean \"fault\"?)"},
    {"/hypervisor", "trace", TEXT("all\0pt"), "/hypervisor: trace: unknown word \"all\""},
    {"/hypervisor", "features-off", TEXT("svelte"), "/hypervisor: features-off: unknown word \"svelte\""},
    {"/vms/alpha", "image", CELL(0), "/vms/alpha: image: 0x0 refers to no node"},
    {"/vms/alpha", "image", CELL(7), "/vms/alpha: image: there is no such image (phandle 0x7)"},
    {"/vms/alpha", "initrd", CELL(7), "/vms/alpha: initrd: there is no such image (phandle 0x7)"},
    {"/vms/alpha", "image", CELL(2), "/vms/alpha: image: `initramfs` is no arm64 Image: it has only 15 bytes"},
    {"/images/initramfs", "phandle", CELL(1), "/images/guest: phandle: 0x1 belongs to image `initramfs` already"},
    {"/timeline/end", "expect-verdict", TEXT("alpah"), "/timeline/end: expect-verdict: there is no VM `alpah`"},
};

static void test_each_fault_is_named(void **state) {
  for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
    setup(state);
    blob_set(blob, faults[i].path, faults[i].property, faults[i].data, faults[i].bytes);
    expect_error(faults[i].error);
  }
}

static void test_every_required_error_leaves_the_parser_usable(void **state) {
  blob_set_cell(blob, "/vms/alpha", "vcpus", 99);
  expect_error("/vms/alpha: vcpus: 99 is not within 1..8");
  setup(state);
  parse_good();
}

/* --- images --- */

static void edit_image(size_t at, uint64_t value) {
  int length;
  uint8_t *data = fdt_getprop_w(blob, fdt_path_offset(blob, "/images/guest"), "data", &length);
  assert_non_null(data);
  memcpy(data + at, &value, sizeof value);
}

static void test_image_without_magic(void **state) {
  (void)state;
  edit_image(56, 0x464c457f);
  expect_error("/vms/beta: image: `guest` is no arm64 Image: no magic number at byte 56");
}

static void test_big_endian_image(void **state) {
  (void)state;
  edit_image(24, 0xb);
  expect_error("/vms/beta: image: `guest` is a big-endian Image");
}

static void test_image_larger_than_its_vm(void **state) {
  (void)state;
  edit_image(16, 192 * MIB);
  edit_image(8, 0x80000);
  expect_error("/vms/beta: image: `guest` needs 197120 KiB, more than the VM's memory-mib");
}

static void test_absurd_image_header(void **state) {
  (void)state;
  edit_image(16, ~0ull);
  edit_image(8, ~0ull);
  expect_error("/vms/beta: image: `guest` needs 18014398509481983 KiB, more than the VM's memory-mib");
  edit_image(16, 1ull << 63); /* the sum wraps around to 0 */
  edit_image(8, 1ull << 63);
  expect_error("/vms/beta: image: `guest` needs 9007199254740992 KiB, more than the VM's memory-mib");
}

static void test_image_and_initrd_overlap(void **state) {
  (void)state;
  edit_image(16, 191 * MIB);
  expect_error("/vms/beta: image and initrd overlap in 192 MiB of memory");
}

/* --- names --- */

static void add_vm(const char *name) {
  char path[128];
  snprintf(path, sizeof path, "/vms/%s", name);
  blob_set_cell(blob, path, "image", 1);
  blob_set_cell(blob, path, "memory-mib", 16);
  blob_set_string(blob, path, "compatible", "sluice,vm");
}

static void test_vm_names(void **state) {
  add_vm("a-name_of.exactly+31-characters");
  parse_good();
  add_vm("a-name-of-thirty-two-characters-");
  expect_error("/vms/a-name-of-thirty-two-characters-: a VM's name has at most 31 characters");
  setup(state);
  add_vm("sluice");
  expect_error("/vms/sluice: not a name for a VM (letters, digits, - _ . +; `sluice` is the hypervisor)");
  setup(state);
  add_vm("vm@1");
  expect_error("/vms/vm@1: not a name for a VM (letters, digits, - _ . +; `sluice` is the hypervisor)");
}

static void test_control_characters_do_not_reach_the_console(void **state) {
  (void)state;
  add_vm("\033[2J\r");
  expect_error("/vms/?[2J?: not a name for a VM (letters, digits, - _ . +; `sluice` is the hypervisor)");
}

/* libfdt's writer refuses a second node of a name, so the name is changed in the finished blob. */
static void rename_node(const char *path, const char *name) {
  char *old = (char *)(uintptr_t)fdt_get_name(blob, fdt_path_offset(blob, path), NULL);
  assert_int_equal(strlen(old), strlen(name));
  memcpy(old, name, strlen(name));
}

static void test_a_node_without_a_name(void **state) {
  (void)state;
  add_vm("ab");
  *(char *)(uintptr_t)fdt_get_name(blob, fdt_path_offset(blob, "/vms/ab"), NULL) = '\0'; /* found by the fuzzer */
  expect_error("/vms: a node without a name");
}

static void test_duplicate_names(void **state) {
  add_vm("alphb");
  rename_node("/vms/alphb", "alpha");
  expect_error("/vms/alpha: two VMs have this name");
  setup(state);
  blob_set(blob, "/images/guesu", "data", "x", 1);
  rename_node("/images/guesu", "guest");
  expect_error("/images/guest: two images have this name");
  setup(state);
  blob_set_cell(blob, "/timeline/bend", "after-ms", 1);
  blob_set_cell(blob, "/timeline/tend", "after-ms", 1);
  rename_node("/timeline/bend", "tend");
  expect_error("/timeline/tend: two steps have this name");
  setup(state);
  blob_set_cell(blob, "/vmz", "phandle", 9);
  rename_node("/vmz", "vms");
  expect_error("/vms: given twice");
}

/* libfdt's writer puts a property once: give the second of two new ones the first one's name. */
static void test_a_property_given_twice(void **state) {
  (void)state;
  blob_set_cell(blob, "/vms/beta", "vcpus", 1);
  blob_set_cell(blob, "/vms/beta", "weight", 2);
  struct fdt_property *p = (struct fdt_property *)(uintptr_t)fdt_get_property(blob, fdt_path_offset(blob, "/vms/beta"), "weight", NULL);
  p->nameoff = fdt_get_property(blob, fdt_path_offset(blob, "/vms/beta"), "vcpus", NULL)->nameoff;
  expect_error("/vms/beta: vcpus: given twice");
}

static void test_too_many(void **state) {
  char name[32];
  for (unsigned i = 0; i < 31; i++) {
    snprintf(name, sizeof name, "vm%u", i);
    add_vm(name);
  }
  struct scenario *s;
  assert_int_equal(parse(&s), ERR_INVAL);
  assert_non_null(strstr(error, "more than 32 VMs"));
  setup(state);
  for (unsigned i = 0; i < 62; i++) {
    snprintf(name, sizeof name, "/timeline/step-%u", i);
    blob_set_cell(blob, name, "after-ms", 1);
  }
  assert_int_equal(parse(&s), ERR_INVAL);
  assert_non_null(strstr(error, "more than 64 steps"));
  setup(state);
  for (unsigned i = 0; i < 15; i++) {
    snprintf(name, sizeof name, "/images/image-%u", i);
    blob_set(blob, name, "data", "x", 1);
  }
  assert_int_equal(parse(&s), ERR_INVAL);
  assert_non_null(strstr(error, "more than 16 images"));
}

static void test_no_vm(void **state) {
  (void)state;
  fdt_del_node(blob, fdt_path_offset(blob, "/timeline"));
  fdt_del_node(blob, fdt_path_offset(blob, "/vms"));
  expect_error("no VM under /vms");
}

/* --- the blob itself --- */

static err_t parse_copy(const void *from, size_t bytes, struct scenario **s) {
  uint8_t *copy = malloc(bytes ? bytes : 1); /* exactly as long, so that one byte too far is seen */
  assert_non_null(copy);
  memcpy(copy, from, bytes);
  err_t e = scenario_parse(copy, bytes, RAM, CPUS, s, error);
  if (e == ERR_OK)
    for (unsigned i = 0; i < (*s)->steps; i++)
      assert_in_range(scenario_string_count(&(*s)->step[i].run), 0, 16);
  free(copy);
  return e;
}

static void test_every_truncation_is_refused(void **state) {
  (void)state;
  struct scenario *s;
  fdt_pack(blob);
  size_t whole = fdt_totalsize(blob);
  for (size_t bytes = 0; bytes < whole; bytes++) {
    assert_int_equal(parse_copy(blob, bytes, &s), ERR_INVAL);
    assert_string_not_equal(error, "");
  }
  assert_int_equal(parse_copy(blob, whole, &s), ERR_OK);
}

static void test_truncation_is_told(void **state) {
  (void)state;
  struct scenario *s;
  char text[SCENARIO_ERROR_MAX];
  snprintf(text, sizeof text, "truncated: 1000 bytes of %u", fdt_totalsize(blob));
  assert_int_equal(scenario_parse(blob, 1000, RAM, CPUS, &s, error), ERR_INVAL);
  assert_string_equal(error, text);
  assert_int_equal(scenario_parse("hello", 5, RAM, CPUS, &s, error), ERR_INVAL);
  assert_string_equal(error, "no device tree: 5 bytes are less than its header");
}

static void test_truncated_inside_with_an_honest_header(void **state) {
  (void)state;
  struct scenario *s;
  fdt_pack(blob);
  size_t whole = fdt_totalsize(blob), tags = fdt_size_dt_struct(blob);
  for (size_t cut = 4; cut < tags; cut += 4) { /* shorten the structure block only: every end must be noticed */
    uint8_t *copy = malloc(whole);
    memcpy(copy, blob, whole);
    fdt_set_size_dt_struct(copy, (uint32_t)(tags - cut));
    assert_int_equal(scenario_parse(copy, whole, RAM, CPUS, &s, error), ERR_INVAL);
    assert_string_not_equal(error, "");
    free(copy);
  }
}

static void test_header_lies(void **state) {
  (void)state;
  uint32_t tags = fdt_off_dt_struct(blob), names = fdt_off_dt_strings(blob);
  fdt_set_off_dt_strings(blob, tags);
  expect_error("the blob's blocks overlap");
  fdt_set_off_dt_strings(blob, names);
  fdt_set_off_dt_struct(blob, tags + 2);
  expect_error("the blob's blocks are misaligned");
  fdt_set_off_dt_struct(blob, tags);
  fdt_set_version(blob, 16);
  expect_error("device tree of version 16, 17 is wanted");
  fdt_set_version(blob, 17);
  fdt_set_off_dt_struct(blob, 0x7fffff00);
  expect_error("the device tree's header is broken");
  fdt_set_off_dt_struct(blob, tags);
  fdt_set_magic(blob, 0x12345678);
  expect_error("no device tree: it begins with 0x12345678");
}

static void test_memory_reservations_are_refused(void **state) {
  (void)state;
  fdt_add_mem_rsv(blob, 0x40000000, 0x1000);
  expect_error("/memreserve/ has no meaning in a scenario");
}

/* Every byte of tags and names set to values that matter; the parser must answer, whatever it says. */
static void test_corrupt_bytes(void **state) {
  (void)state;
  static const uint8_t values[] = {0, 1, 2, 3, 4, 9, 0x7f, 0x80, 0xff};
  struct scenario *s;
  fdt_pack(blob);
  size_t whole = fdt_totalsize(blob);
  for (size_t at = 0; at < whole; at++) {
    uint8_t was = blob[at];
    for (size_t v = 0; v < sizeof values; v++) {
      blob[at] = values[v];
      err_t e = parse_copy(blob, whole, &s);
      assert_true(e == ERR_OK || (e == ERR_INVAL && error[0] != '\0' && s == NULL));
    }
    blob[at] = was;
  }
}

/* --- spelling --- */

static void test_nearest(void **state) {
  (void)state;
  static const char *const names[] = {"memory-mib", "vcpus", "image", "initrd", "data"};
  assert_string_equal(scenario_nearest(names, 5, "memory_mib"), "memory-mib");
  assert_string_equal(scenario_nearest(names, 5, "vcpu"), "vcpus");
  assert_string_equal(scenario_nearest(names, 5, "imgae"), "image");
  assert_string_equal(scenario_nearest(names, 5, "initrd"), "initrd");
  assert_null(scenario_nearest(names, 5, "bootargs"));
  assert_null(scenario_nearest(names, 5, ""));
  assert_null(scenario_nearest(names, 5, "an-extremely-long-name-that-nobody-would-ever-have-meant"));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup(test_hypervisor_options, setup),
      cmocka_unit_test_setup(test_vm_with_every_option, setup),
      cmocka_unit_test_setup(test_vm_with_defaults, setup),
      cmocka_unit_test_setup(test_quotas, setup),
      cmocka_unit_test_setup(test_quotas_out_of_order, setup),
      cmocka_unit_test_setup(test_timeline, setup),
      cmocka_unit_test_setup(test_defaults_without_hypervisor_node, setup),
      cmocka_unit_test_setup(test_trace_all, setup),
      cmocka_unit_test_setup(test_sum_of_memory_may_exceed_the_machine, setup),
      cmocka_unit_test_setup(test_a_second_parse_forgets_the_first, setup),
      cmocka_unit_test_setup(test_each_fault_is_named, setup),
      cmocka_unit_test_setup(test_every_required_error_leaves_the_parser_usable, setup),
      cmocka_unit_test_setup(test_image_without_magic, setup),
      cmocka_unit_test_setup(test_big_endian_image, setup),
      cmocka_unit_test_setup(test_image_larger_than_its_vm, setup),
      cmocka_unit_test_setup(test_absurd_image_header, setup),
      cmocka_unit_test_setup(test_image_and_initrd_overlap, setup),
      cmocka_unit_test_setup(test_vm_names, setup),
      cmocka_unit_test_setup(test_control_characters_do_not_reach_the_console, setup),
      cmocka_unit_test_setup(test_a_node_without_a_name, setup),
      cmocka_unit_test_setup(test_duplicate_names, setup),
      cmocka_unit_test_setup(test_a_property_given_twice, setup),
      cmocka_unit_test_setup(test_too_many, setup),
      cmocka_unit_test_setup(test_no_vm, setup),
      cmocka_unit_test_setup(test_every_truncation_is_refused, setup),
      cmocka_unit_test_setup(test_truncation_is_told, setup),
      cmocka_unit_test_setup(test_truncated_inside_with_an_honest_header, setup),
      cmocka_unit_test_setup(test_header_lies, setup),
      cmocka_unit_test_setup(test_memory_reservations_are_refused, setup),
      cmocka_unit_test_setup(test_corrupt_bytes, setup),
      cmocka_unit_test(test_nearest),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
