/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * What a scenario means: nodes whose form is right become VMs, images, steps and options, and are held against each other and
 * against the machine. An image must be an arm64 Image that fits into its VM's memory with its initrd; a VM must not be larger
 * than the machine; names are unique; every reference leads somewhere. The sum of the VMs' memory may exceed the machine's:
 * frames are given on first touch, and overcommitting them is legitimate.
 * Only fixed-size tables are filled; nothing is allocated.
 */

#include "abi/trace.h"
#include "arch/image.h"
#include "core/bits.h"
#include "core/string.h"
#include "hyp/ctl/scenario_parse.h"
#include "hyp/mem/policy.h"

#define POLICIES_NAMED_MAX 16u /* among which a misspelt one is looked for */
#define IMAGE_MAGIC_AT 56u
#define DTB_ROOM SZ_2M /* what loading keeps free for the generated device tree and the initrd's alignment */

static err_t check_compatible(struct parser *p, const char *given, const char *wanted) {
  if (strcmp(given, wanted) != 0)
    return parse_fail(p, SCN_COMPATIBLE ": \"%s\" is not \"%s\"", given, wanted);
  return ERR_OK;
}

static err_t check_root(struct parser *p) {
  p->s->description = p->raw.root.description;
  return check_compatible(p, p->raw.root.compatible, SCENARIO_COMPATIBLE);
}

static err_t words_mask(struct parser *p, const char *property, const struct scenario_strings *list, const char *const *words,
                        unsigned count, uint64_t *mask) {
  uint32_t at = 0;
  for (const char *word; (word = scenario_next_string(list, &at)) != NULL;) {
    int bit = scenario_word_index(words, count, word);
    if (bit < 0) {
      const char *near = scenario_nearest(words, count, word);
      return near ? parse_fail(p, "%s: unknown word \"%s\" (did you mean \"%s\"?)", property, word, near)
                  : parse_fail(p, "%s: unknown word \"%s\"", property, word);
    }
    *mask |= BIT(bit);
  }
  return ERR_OK;
}

/* What lies in the pool is no VM's, until memory is short: more than half of RAM there is surely a mistake. */
static err_t check_zeroed_pool(struct parser *p, uint64_t *bytes) {
  uint32_t mib = p->raw.hypervisor.zeroed_pool_mib;
  *bytes = mib * SZ_1M;
  if (*bytes > p->ram_bytes / 2)
    return parse_fail(p, SCN_ZEROED_POOL ": %u is more than half of the machine's %u MiB", mib, (unsigned)(p->ram_bytes / SZ_1M));
  return ERR_OK;
}

/* Up to one for each CPU stays in use when they run out, and one more is to be given then. */
static err_t check_vmid_bits(struct parser *p, unsigned *bits) {
  *bits = p->raw.hypervisor.vmid_bits;
  if (*bits && BIT(*bits) - 1 <= p->cpus)
    return parse_fail(p, SCN_VMID_BITS ": %u are too few for %u CPUs", *bits, p->cpus);
  return ERR_OK;
}

/* A period without a policy is a slip. That of `none` is never over, so that sweeps may go over policies. */
static err_t check_policy(struct parser *p, struct hyp_options *o) {
  const struct raw_hypervisor *raw = &p->raw.hypervisor;
  const char *names[POLICIES_NAMED_MAX];
  unsigned count = 0;
  for (const struct policy *known; count < ARRAY_SIZE(names) && (known = policy_number(count)) != NULL; count++)
    names[count] = known->name;
  if (raw->policy && !(o->policy = policy_find(raw->policy))) {
    const char *near = scenario_nearest(names, count, raw->policy);
    return near ? parse_fail(p, SCN_POLICY ": there is no policy \"%s\" (did you mean \"%s\"?)", raw->policy, near)
                : parse_fail(p, SCN_POLICY ": there is no policy \"%s\"", raw->policy);
  }
  if (raw->policy_period_ms && !raw->policy)
    return parse_fail(p, SCN_POLICY_PERIOD ": there is no " SCN_POLICY);
  o->policy_period_ms = raw->policy_period_ms;
  return ERR_OK;
}

static err_t check_hypervisor(struct parser *p) {
  static const char *const groups[] = TRACE_GROUP_NAMES, *const features[] = SCENARIO_FEATURES;
  const struct raw_hypervisor *raw = &p->raw.hypervisor;
  struct hyp_options *o = &p->s->options;
  uint64_t off = 0;
  uint32_t at = 0;
  const char *first = scenario_next_string(&raw->trace, &at);
  err_t e = ERR_OK;
  if (first && strcmp(first, "all") == 0 && at == raw->trace.bytes)
    o->trace_mask = GENMASK(TRACE_GROUPS - 1, 0);
  else
    e = words_mask(p, SCN_TRACE, &raw->trace, groups, TRACE_GROUPS, &o->trace_mask);
  if (e == ERR_OK)
    e = words_mask(p, SCN_FEATURES_OFF, &raw->features_off, features, ARRAY_SIZE(features), &off);
  if (e == ERR_OK)
    e = check_zeroed_pool(p, &o->zeroed_pool_bytes);
  if (e == ERR_OK)
    e = check_vmid_bits(p, &o->vmid_bits);
  if (e == ERR_OK)
    e = check_policy(p, o);
  o->features_off = (uint32_t)off;
  if (raw->sample_ms)
    o->trace_mask |= BIT(TRACE_GROUP_SAMPLE);
  o->sample_ms = raw->sample_ms;
  o->trace_records = raw->trace_records;
  o->slice_us = raw->slice_us;
  o->console_quiet = raw->console_quiet;
  o->measure_masked = raw->measure_masked;
  o->handover_self_test = raw->handover_self_test;
  o->measure_el2 = raw->measure_el2;
  return e;
}

static err_t check_image(struct parser *p) {
  struct scenario *s = p->s;
  const char *name = p->name[p->depth - 1];
  if (s->images == SCENARIO_IMAGES_MAX)
    return parse_fail(p, "more than %u images", SCENARIO_IMAGES_MAX);
  for (unsigned i = 0; i < s->images; i++) {
    if (strcmp(s->image[i].name, name) == 0)
      return parse_fail(p, "two images have this name");
    if (p->raw.phandle && s->image[i].phandle == p->raw.phandle)
      return parse_fail(p, SCN_PHANDLE ": 0x%x belongs to image `%s` already", p->raw.phandle, s->image[i].name);
  }
  s->image[s->images++] = (struct scenario_image){name, p->raw.phandle, p->raw.image.data.data, p->raw.image.data.bytes};
  return ERR_OK;
}

static bool name_is_plain(const char *name) {
  for (; *name; name++) {
    char c = *name;
    bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    if (!letter && !(c >= '0' && c <= '9') && c != '-' && c != '_' && c != '.' && c != '+')
      return false;
  }
  return true;
}

static err_t check_vm_name(struct parser *p, const char *name) {
  if (strlen(name) >= VM_NAME_MAX)
    return parse_fail(p, "a VM's name has at most %u characters", VM_NAME_MAX - 1);
  if (!name_is_plain(name) || strcmp(name, "sluice") == 0)
    return parse_fail(p, "not a name for a VM (letters, digits, - _ . +; `sluice` is the hypervisor)");
  if (scenario_find_vm(p->s, name, strlen(name)) >= 0)
    return parse_fail(p, "two VMs have this name");
  return ERR_OK;
}

static err_t check_affinity(struct parser *p, uint64_t *mask) {
  const struct span *cells = &p->raw.vm.affinity;
  *mask = 0;
  for (uint32_t i = 0; i < cells->bytes / 4; i++) {
    uint32_t cpu = be32(cells->data + 4 * i);
    if (cpu >= p->cpus)
      return parse_fail(p, SCN_AFFINITY ": CPU %u, but the machine has %u CPU%s", cpu, p->cpus, p->cpus == 1 ? "" : "s");
    if (*mask & BIT(cpu))
      return parse_fail(p, SCN_AFFINITY ": CPU %u is given twice", cpu);
    *mask |= BIT(cpu);
  }
  return ERR_OK;
}

static err_t check_memory(struct parser *p) {
  uint32_t mib = p->raw.vm.memory_mib;
  if (mib % 2)
    return parse_fail(p, SCN_MEMORY ": %u is odd, memory comes in steps of 2 MiB", mib);
  if (p->raw.vm.window_mib % 2)
    return parse_fail(p, SCN_WINDOW ": %u is odd, the window comes in steps of 2 MiB", p->raw.vm.window_mib);
  if (p->raw.vm.window_mib && p->raw.vm.trap_stage1_faults)
    return parse_fail(p, SCN_WINDOW ": not together with " SCN_TRAP_S1 ", whose views show RAM only");
  if (mib * SZ_1M > p->ram_bytes)
    return parse_fail(p, SCN_MEMORY ": %u MiB, but the machine has %u MiB", mib, (unsigned)(p->ram_bytes / SZ_1M));
  return ERR_OK;
}

static uint64_t mib_frames(uint32_t mib) {
  return mib * (SZ_1M >> PAGE_SHIFT);
}

/* Marks that are not given follow those that are. */
static err_t check_quota(struct parser *p, struct vm_quota *out) {
  const struct raw_quota *q = &p->raw.vm.quota;
  uint32_t memory = p->raw.vm.memory_mib, max = q->max == RAW_NONE ? memory : q->max, high = q->high == RAW_NONE ? max : q->high;
  uint32_t min = q->min == RAW_NONE ? 0 : q->min, low = q->low == RAW_NONE ? min : q->low;
  if (max > memory)
    return parse_fail(p, SCN_QUOTA_MAX ": %u is more than the VM's %u MiB", max, memory);
  if (high > max)
    return parse_fail(p, SCN_QUOTA_HIGH ": %u is above " SCN_QUOTA_MAX ", %u", high, max);
  if (low > high)
    return parse_fail(p, "%s: %u is above %s, %u", q->low == RAW_NONE ? SCN_QUOTA_MIN : SCN_QUOTA_LOW, low,
                      q->high == RAW_NONE ? SCN_QUOTA_MAX : SCN_QUOTA_HIGH, high);
  if (min > low)
    return parse_fail(p, SCN_QUOTA_MIN ": %u is above " SCN_QUOTA_LOW ", %u", min, low);
  *out = (struct vm_quota){mib_frames(min), mib_frames(low), mib_frames(high), mib_frames(max)};
  return ERR_OK;
}

static void fill_config(struct vm_config *c, const struct raw_vm *raw, const char *name) {
  strlcpy(c->name, name, sizeof c->name);
  c->memory_bytes = raw->memory_mib * SZ_1M;
  c->window_bytes = raw->window_mib * SZ_1M;
  c->vcpus = raw->vcpus;
  c->bootargs = raw->bootargs;
  c->weight = raw->weight;
  c->memory_weight = raw->memory_weight;
  c->autostart = !raw->no_autostart;
  c->trap_stage1_faults = raw->trap_stage1_faults;
  c->force_4k = raw->force_4k;
  c->console_quiet = raw->console_quiet;
}

static err_t check_balloon(struct parser *p, uint64_t *features) {
  static const char *const words[] = SCENARIO_BALLOON_FEATURES;
  if (p->raw.vm.balloon_features.bytes == 0) {
    *features = SCENARIO_BALLOON_DEFAULT;
    return ERR_OK;
  }
  return words_mask(p, SCN_BALLOON_FEATURES, &p->raw.vm.balloon_features, words, ARRAY_SIZE(words), features);
}

static err_t check_vm(struct parser *p) {
  static const char *const virtio_words[] = SCENARIO_VIRTIO;
  struct scenario *s = p->s;
  const char *name = p->name[p->depth - 1];
  if (s->vms == SCENARIO_VMS_MAX)
    return parse_fail(p, "more than %u VMs", SCENARIO_VMS_MAX);
  struct scenario_vm *v = &s->vm[s->vms];
  err_t e = check_vm_name(p, name);
  if (e == ERR_OK)
    e = check_compatible(p, p->raw.vm.compatible, SCENARIO_VM_COMPATIBLE);
  if (e == ERR_OK)
    e = check_memory(p);
  if (e == ERR_OK)
    e = check_quota(p, &v->config.quota);
  if (e == ERR_OK)
    e = check_affinity(p, &v->config.affinity);
  if (e == ERR_OK)
    e = words_mask(p, SCN_VIRTIO, &p->raw.vm.virtio, virtio_words, ARRAY_SIZE(virtio_words), &v->config.virtio);
  if (e == ERR_OK)
    e = check_balloon(p, &v->config.balloon);
  if (e != ERR_OK)
    return e;
  fill_config(&v->config, &p->raw.vm, name);
  v->image = p->raw.vm.image;
  v->initrd = p->raw.vm.initrd;
  s->vms++;
  return ERR_OK;
}

static err_t check_step(struct parser *p) {
  struct scenario *s = p->s;
  const struct raw_step *raw = &p->raw.step;
  const char *name = p->name[p->depth - 1];
  if (s->steps == SCENARIO_STEPS_MAX)
    return parse_fail(p, "more than %u steps", SCENARIO_STEPS_MAX);
  for (unsigned i = 0; i < s->steps; i++)
    if (strcmp(s->step[i].name, name) == 0)
      return parse_fail(p, "two steps have this name");
  s->step[s->steps++] = (struct scenario_step){name, raw->after_ms, raw->within_ms, raw->run, raw->expect, raw->expect_not, raw->verdict};
  return ERR_OK;
}

err_t check_node(struct parser *p) {
  switch (p->kind[p->depth - 1]) {
  case NODE_ROOT:
    return check_root(p);
  case NODE_HYPERVISOR:
    return check_hypervisor(p);
  case NODE_IMAGE:
    return check_image(p);
  case NODE_VM:
    return check_vm(p);
  case NODE_STEP:
    return check_step(p);
  case NODE_RANGE:
    return check_range(p);
  default:
    return ERR_OK;
  }
}

/* --- after the last node: the whole. Errors name the node by hand, since none is open any more. --- */

static const struct scenario_image *image_by_phandle(const struct scenario *s, uint32_t phandle) {
  for (unsigned i = 0; i < s->images; i++)
    if (s->image[i].phandle == phandle)
      return &s->image[i];
  return NULL;
}

static err_t check_is_image(struct parser *p, const char *vm, const struct scenario_image *image) {
  if (image->bytes < sizeof(struct image_header))
    return parse_fail(p, "/" SCN_VMS "/%s: " SCN_IMAGE ": `%s` is no arm64 Image: it has only %u bytes", vm, image->name, image->bytes);
  const uint8_t *m = image->data + IMAGE_MAGIC_AT;
  if (((uint32_t)m[3] << 24 | (uint32_t)m[2] << 16 | (uint32_t)m[1] << 8 | m[0]) != IMAGE_MAGIC)
    return parse_fail(p, "/" SCN_VMS "/%s: " SCN_IMAGE ": `%s` is no arm64 Image: no magic number at byte 56", vm, image->name);
  if (le64(image->data + offsetof(struct image_header, flags)) & IMAGE_FLAGS_BE)
    return parse_fail(p, "/" SCN_VMS "/%s: " SCN_IMAGE ": `%s` is a big-endian Image", vm, image->name);
  return ERR_OK;
}

/* The image from the foot of memory up and the initrd from its top down must not overlap. */
static err_t check_fits(struct parser *p, const struct vm_config *c, const struct scenario_image *image) {
  uint64_t text_offset = le64(image->data + offsetof(struct image_header, text_offset));
  uint64_t size = max_u64(le64(image->data + offsetof(struct image_header, image_size)), image->bytes);
  uint64_t memory = c->memory_bytes;
  if (size > memory || text_offset > memory || text_offset + size > memory)
    return parse_fail(p, "/" SCN_VMS "/%s: " SCN_IMAGE ": `%s` needs %llu KiB, more than the VM's " SCN_MEMORY, c->name, image->name,
                      (unsigned long long)((text_offset > memory ? text_offset : text_offset + size) / SZ_1K));
  if (text_offset + size + c->initrd_bytes + DTB_ROOM > memory)
    return parse_fail(p, "/" SCN_VMS "/%s: " SCN_IMAGE " and " SCN_INITRD " overlap in %llu MiB of memory", c->name,
                      (unsigned long long)(memory / SZ_1M));
  return ERR_OK;
}

static err_t resolve_vm(struct parser *p, struct scenario_vm *v) {
  struct vm_config *c = &v->config;
  const struct scenario_image *image = image_by_phandle(p->s, v->image), *initrd = NULL;
  if (!image)
    return parse_fail(p, "/" SCN_VMS "/%s: " SCN_IMAGE ": there is no such image (phandle 0x%x)", c->name, v->image);
  if (v->initrd && !(initrd = image_by_phandle(p->s, v->initrd)))
    return parse_fail(p, "/" SCN_VMS "/%s: " SCN_INITRD ": there is no such image (phandle 0x%x)", c->name, v->initrd);
  err_t e = check_is_image(p, c->name, image);
  if (e != ERR_OK)
    return e;
  c->image = image->data;
  c->image_bytes = image->bytes;
  c->initrd = initrd ? initrd->data : NULL;
  c->initrd_bytes = initrd ? initrd->bytes : 0;
  return check_fits(p, c, image);
}

static err_t resolve_step(struct parser *p, const struct scenario_step *step) {
  uint32_t at = 0;
  for (const char *name; (name = scenario_next_string(&step->verdict, &at)) != NULL;)
    if (scenario_find_vm(p->s, name, strlen(name)) < 0)
      return parse_fail(p, "/" SCN_TIMELINE "/%s: " SCN_EXPECT_VERDICT ": there is no VM `%s`", step->name, name);
  return ERR_OK;
}

err_t check_scenario(struct parser *p) {
  struct scenario *s = p->s;
  if (s->vms == 0)
    return parse_fail(p, "no VM under /" SCN_VMS);
  for (unsigned i = 0; i < s->vms; i++) {
    err_t e = resolve_vm(p, &s->vm[i]);
    if (e != ERR_OK)
      return e;
  }
  for (unsigned i = 0; i < s->ranges; i++) {
    err_t e = resolve_range(p, &s->range[i]);
    if (e != ERR_OK)
      return e;
  }
  for (unsigned i = 0; i < s->steps; i++) {
    err_t e = resolve_step(p, &s->step[i]);
    if (e != ERR_OK)
      return e;
  }
  return ERR_OK;
}
