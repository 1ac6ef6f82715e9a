/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The world around the engine in its tests. Every descriptor write passes through on_event(), where the TLB gets its chance to walk and
 * break-before-make is held against what it knows. Freed tables are filled with descriptors that look real, so that a walk through one
 * shows.
 */
#include "pt_world.h"
#include "mm/frame.h"
#include "mm/port.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define ARENA_BASE 0x80000u
#define ARENA_FRAMES 4096u
#define ROOT_FRAMES_MAX 16u
#define POISON 0x00400000deadb7ffull /* a page at 0xdeadb000 */

struct frame *frame_table;
uint64_t frame_base_pfn;
uintptr_t frame_table_bias;

static struct frame frames[ARENA_FRAMES];
static uint32_t free_stack[ARENA_FRAMES];
static unsigned free_count;
static struct world *the_world; /* for events */

uint64_t world_random(struct world *w, uint64_t below) {
  w->rng ^= w->rng << 13;
  w->rng ^= w->rng >> 7;
  w->rng ^= w->rng << 17;
  return (w->rng * 0x2545f4914f6cdd1dull >> 11) % below;
}

/* ---- What the engine asks its owner ---- */

static struct world *world_of(struct pt *pt) {
  return (struct world *)(void *)((char *)pt - offsetof(struct world, pt));
}

static err_t table_alloc(struct pt *pt, pfn_t *out) {
  struct world *w = world_of(pt);
  if (w->fail_after == 0) {
    w->failed = true;
    return ERR_NOMEM;
  }
  if (w->fail_after != ~0u)
    w->fail_after--;
  assert_true(free_count > 0);
  *out = pfn(ARENA_BASE + free_stack[--free_count]);
  port_zero_frames(*out, 1);
  frame_of(*out)->refs = 0x55555555; /* not ours to rely on */
  w->tables++;
  return ERR_OK;
}

static void table_free(struct pt *pt, pfn_t table) {
  struct world *w = world_of(pt);
  uint64_t *entries = port_frame_ptr(table);
  hw_check_table_forgotten(&w->hw, pfn_pa(table).v);
  for (unsigned i = 0; i < 512; i++)
    entries[i] = POISON;
  assert_true(w->tables > 0);
  w->tables--;
  free_stack[free_count++] = (uint32_t)(table.v - ARENA_BASE);
}

static void tlb_flush(struct pt *pt, uint64_t ia, uint64_t size, unsigned level, bool tables) {
  hw_flush(&world_of(pt)->hw, ia, size, level, tables);
}

static void publish(struct pt *pt) {
  (void)pt;
}

#define WORLD_OPS(name_)                                                                                                                   \
  {                                                                                                                                        \
    .name = #name_, .leaf = pt_leaf_##name_, .prot = pt_prot_##name_, .table_alloc = table_alloc, .table_free = table_free,                \
    .tlb_flush = tlb_flush, .publish = publish,                                                                                            \
  }
const struct pt_ops world_s2_ops = WORLD_OPS(s2), world_el1_ops = WORLD_OPS(el1), world_el2_ops = WORLD_OPS(el2);

static void on_pte_write(struct world *w, uint64_t entry, uint64_t old, uint64_t desc, uint64_t where) {
  unsigned level = where & 3;
  uint64_t ia = where & ~3ull;
  if (hw_reaches(&w->hw.regime, ia, entry))
    hw_check_make(&w->hw, ia, level, old, desc);
  if (w->on_write)
    w->on_write(w, entry, ia, level);
  if (world_random(w, 100) < w->speculate) {
    hw_speculate(&w->hw, w->hot[0] + world_random(w, w->hot[1] - w->hot[0]));
    hw_speculate(&w->hw, ia);
  }
}

static void on_event(unsigned event, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e) {
  static uint32_t last;
  uint32_t seq = (uint32_t)e;
  if (event != MM_EVENT_PTE_WRITE)
    return;
  assert_int_equal(e >> 32, the_world->pt.id);
  if (seq != 1)
    assert_int_equal(seq, last + 1);
  last = seq;
  assert_int_equal(*(uint64_t *)(void *)((char *)port_frame_ptr(pfn(a >> 12)) + (a & 4095)), c);
  on_pte_write(the_world, a, b, c, d);
}

/* ---- Opening and closing ---- */

static const struct pt_ops *ops_for(enum hw_stage stage) {
  return stage == HW_STAGE2 ? &world_s2_ops : stage == HW_EL1 ? &world_el1_ops : &world_el2_ops;
}

static void open_arena(void) {
  port_host_ram_create(ARENA_BASE, ARENA_FRAMES);
  frame_table = frames;
  frame_base_pfn = ARENA_BASE;
  frame_table_bias = (uintptr_t)frames - ARENA_BASE * sizeof(struct frame);
  free_count = 0;
  for (unsigned i = ARENA_FRAMES; i-- > ROOT_FRAMES_MAX;)
    free_stack[free_count++] = i;
}

void world_open(struct world *w, const struct world_config *config, uint64_t pages) {
  memset(w, 0, sizeof(*w));
  the_world = w;
  open_arena();
  w->config = config;
  w->window = config->window;
  w->pages = pages;
  w->out = malloc(pages * sizeof(*w->out));
  w->prot = calloc(pages, sizeof(*w->prot));
  memset(w->out, 0xff, pages * sizeof(*w->out));
  w->fail_after = ~0u;
  w->rng = 0x9e3779b97f4a7c15ull;
  w->hot[0] = w->window;
  w->hot[1] = w->window + (pages << PAGE_SHIFT);
  w->speculate = 20;
  w->hw.regime = (struct hw_regime){
      .stage = config->stage,
      .start_level = config->start_level,
      .root_tables = 1u << config->root_order,
      .ia_bits = config->ia_bits,
      .root = (uint64_t)ARENA_BASE << 12,
      .fwb = config->features & PT_FEAT_FWB,
      .dbm = config->features & PT_FEAT_DBM,
      .bbm2 = config->features & PT_FEAT_BBM2,
      .contig = config->features & PT_FEAT_CONTIG,
  };
  unsigned features = config->features | (config->stage == HW_STAGE2 ? 0 : PT_FEAT_S1);
  assert_int_equal(
      pt_init(&w->pt, ops_for(config->stage), pfn(ARENA_BASE), config->start_level, config->root_order, config->ia_bits, features, 7),
      ERR_OK);
  port_host_event = on_event;
}

static void leaf_destroyed(void *ctx, uint64_t ia, pa_t out, unsigned level, uint64_t desc) {
  struct world *w = ctx;
  uint64_t pages = 1ull << (9 * (3 - level));
  (void)desc;
  assert_int_equal(w->out[world_index(w, ia)], out.v);
  w->leaf_pages += pages;
}

void world_close(struct world *w) {
  unsigned before = w->tables, calls = 0;
  w->hw.tlb_count = w->hw.walk_count = 0; /* TLBI by VMID or ASID, and it never runs again */
  w->speculate = 0;
  w->leaf_pages = 0;
  while (pt_destroy(&w->pt, 3, leaf_destroyed, w) == ERR_AGAIN) {
    assert_true(before - w->tables <= 3 * (calls + 1));
    assert_true(++calls <= before);
  }
  assert_int_equal(w->leaf_pages, w->mapped);
  assert_int_equal(w->tables, 0);
  assert_int_equal(w->pt.table_frames, w->hw.regime.root_tables);
  assert_int_equal(free_count, ARENA_FRAMES - ROOT_FRAMES_MAX);
  for (unsigned i = 0; i < w->hw.regime.root_tables; i++)
    assert_int_equal(frame_of(pfn(ARENA_BASE + i))->refs, 0);
  port_host_event = NULL;
  port_host_ram_destroy();
  free(w->out);
  free(w->prot);
}

/* ---- The model ---- */

bool world_any_mapped(const struct world *w, uint64_t ia, uint64_t size) {
  for (uint64_t i = world_index(w, ia); i < world_index(w, ia + size); i++)
    if (w->out[i] != WORLD_UNMAPPED)
      return true;
  return false;
}

void world_set(struct world *w, uint64_t ia, uint64_t size, uint64_t out, pt_prot_t prot) {
  for (uint64_t i = world_index(w, ia); i < world_index(w, ia + size); i++, out += PAGE_SIZE) {
    w->mapped += w->out[i] == WORLD_UNMAPPED;
    w->out[i] = out;
    w->prot[i] = prot & ~PT_CONTIG;
  }
}

void world_clear(struct world *w, uint64_t ia, uint64_t size) {
  for (uint64_t i = world_index(w, ia); i < world_index(w, ia + size); i++) {
    w->mapped -= w->out[i] != WORLD_UNMAPPED;
    w->out[i] = WORLD_UNMAPPED;
    w->prot[i] = 0;
  }
}

void world_protect(struct world *w, uint64_t ia, uint64_t size, pt_prot_t prot) {
  pt_prot_t mask = PT_R | PT_W | PT_X | PT_USER | PT_UX | PT_OLD | PT_DIRTY_LOG | PT_SW0 | PT_SW1 | PT_SW2;
  for (uint64_t i = world_index(w, ia); i < world_index(w, ia + size); i++)
    if (w->out[i] != WORLD_UNMAPPED)
      w->prot[i] = (w->prot[i] & ~mask) | (prot & mask);
}

void world_leaf_gone(void *ctx, uint64_t ia, pa_t out, unsigned level, uint64_t desc) {
  struct world *w = ctx;
  uint64_t size = 1ull << (39 - 9 * level);
  struct hw_leaf leaf;
  assert_true(ia >= w->leaf_cursor);
  w->leaf_cursor = ia + size;
  hw_check_forgotten(&w->hw, ia, size);
  assert_false(hw_walk(&w->hw.regime, ia, &leaf));
  assert_true(desc & 1);
  for (uint64_t i = 0; i < size >> PAGE_SHIFT; i++)
    assert_int_equal(w->out[world_index(w, ia) + i], out.v + (i << PAGE_SHIFT));
  w->leaf_pages += size >> PAGE_SHIFT;
  world_clear(w, ia, size);
}

/* ---- Agreement ---- */

/* What hardware should see of a page under `prot`. Written here, not taken from the engine. */
static void check_rights(const struct world *w, const struct hw_leaf *leaf, pt_prot_t prot) {
  bool device = prot & PT_DEVICE, stage2 = w->config->stage == HW_STAGE2, el1 = w->config->stage == HW_EL1;
  enum hw_memory memory = device ? HW_DEVICE : prot & PT_NC ? HW_NC : HW_WB;
  bool want_user = el1 && (prot & PT_USER) && (prot & (PT_R | PT_W));
  bool ok = leaf->memory == memory && leaf->af == !(prot & PT_OLD) && leaf->x == ((prot & PT_X) && !device);
  ok = ok && leaf->r == (!stage2 || (prot & PT_R));
  ok = ok && ((prot & PT_DIRTY_LOG) || leaf->w == !!(prot & PT_W));
  ok = ok && (!el1 || (leaf->user == want_user && leaf->ux == ((prot & PT_UX) && !device) && leaf->global == !!(prot & PT_GLOBAL)));
  ok = ok && ((leaf->desc >> 55 & 7) == ((prot / PT_SW0) & 7));
  if (!ok)
    hw_die("%s: leaf %#llx at %#llx does not mean prot %#x", w->config->name, (unsigned long long)leaf->desc, (unsigned long long)leaf->ia,
           prot);
}

struct agreement {
  struct world *w;
  uint64_t pages;
};

static void check_leaf(void *ctx, const struct hw_leaf *leaf) {
  struct agreement *a = ctx;
  uint64_t first = world_index(a->w, leaf->ia), pages = leaf->size >> PAGE_SHIFT;
  for (uint64_t i = 0; i < pages; i++) {
    if (a->w->out[first + i] != leaf->out + (i << PAGE_SHIFT))
      hw_die("%s: %#llx + %llu pages goes to the wrong place", a->w->config->name, (unsigned long long)leaf->ia, (unsigned long long)i);
    if (i == 0 || a->w->prot[first + i] != a->w->prot[first + i - 1])
      check_rights(a->w, leaf, a->w->prot[first + i]);
  }
  a->pages += pages;
}

void world_touch(struct world *w, uint64_t ia) {
  struct hw_tlb_entry e;
  struct pt_leaf found;
  uint64_t expect = w->out[world_index(w, ia)];
  bool present = hw_access(&w->hw, ia, &e);
  if (present != (expect != WORLD_UNMAPPED) || (present && ((e.out + (ia - e.ia)) & PAGE_MASK) != expect))
    hw_die("%s: the TLB has a stale translation of %#llx", w->config->name, (unsigned long long)ia);
  err_t err = pt_lookup(&w->pt, ia, &found);
  assert_int_equal(err, present ? ERR_OK : ERR_NOENT);
  if (!present)
    return;
  pt_prot_t prot = w->prot[world_index(w, ia)];
  assert_int_equal(found.out.v, expect | (ia & (PAGE_SIZE - 1)));
  assert_int_equal(found.prot & (PT_SW0 | PT_SW1 | PT_SW2 | PT_DIRTY_LOG), prot & (PT_SW0 | PT_SW1 | PT_SW2 | PT_DIRTY_LOG));
  if (!(prot & PT_DIRTY_LOG) && (e.w != !!(prot & PT_W) || e.x != ((prot & PT_X) && !(prot & PT_DEVICE))))
    hw_die("%s: the TLB has stale permissions of %#llx", w->config->name, (unsigned long long)ia);
}

void world_check(struct world *w) {
  struct agreement a = {.w = w};
  unsigned tables = hw_for_each_leaf(&w->hw.regime, check_leaf, &a);
  assert_int_equal(a.pages, w->mapped);
  assert_int_equal(tables, w->tables + w->hw.regime.root_tables);
  assert_int_equal(tables, w->pt.table_frames);
  for (unsigned i = 0; i < w->hw.tlb_count; i++) /* whatever the TLB remembers must still be so */
    if (w->hw.tlb[i].ia - w->window < w->pages << PAGE_SHIFT)
      world_touch(w, w->hw.tlb[i].ia + world_random(w, w->hw.tlb[i].size));
  for (unsigned i = 0; i < 4; i++)
    world_touch(w, w->window + world_random(w, w->pages << PAGE_SHIFT));
}
