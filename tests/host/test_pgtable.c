/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The page-table engine, case by case: descriptors against values worked out by hand from the Arm ARM, geometries, the errors it promises,
 * dirty logging, contiguous runs, hardware that writes at the worst moment, batches and their flushes.
 */
// sources: mm/pgtable.c mm/pgtable_write.c mm/pgtable_map.c mm/pgtable_unmap.c mm/pgtable_block.c mm/pgtable_protect.c
// sources: mm/pgtable_encode.c tests/host/pt_hw.c tests/host/pt_world.c tests/host/port/port_host.c
#include "core/bits.h"
#include "mm/frame.h"
#include "mm/port.h"
#include "pt_world.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define BASE 0x40000000ull
#define RW (PT_R | PT_W)
#define RWX (PT_R | PT_W | PT_X)
#define DESC_OUT 0x0000fffffffff000ull
#define WINDOW_PAGES (SZ_1G * 2 >> PAGE_SHIFT)

static const struct world_config s2 = {"stage 2", HW_STAGE2, 1, 0, 39, 0, BASE};
static struct world w;

static int close_world(void **state) {
  (void)state;
  world_close(&w);
  return 0;
}

static int open_s2(void **state) {
  (void)state;
  world_open(&w, &s2, WINDOW_PAGES);
  return 0;
}

static void map(uint64_t ia, uint64_t out, uint64_t size, pt_prot_t prot) {
  assert_int_equal(pt_map(&w.pt, ia, pa(out), size, prot, SZ_1G), ERR_OK);
  world_set(&w, ia, size, out, prot);
}

static void unmap(uint64_t ia, uint64_t size) {
  w.leaf_cursor = ia;
  assert_int_equal(pt_unmap(&w.pt, ia, size, world_leaf_gone, &w), ERR_OK);
}

static struct hw_leaf leaf_at(uint64_t ia) {
  struct hw_leaf leaf;
  assert_true(hw_walk(&w.hw.regime, ia, &leaf));
  return leaf;
}

static uint64_t *entry_at(uint64_t ia) {
  struct pt_step steps[4];
  unsigned count = pt_walk_steps(&w.pt, ia, steps);
  return (uint64_t *)(void *)((char *)port_frame_ptr(pa_pfn(steps[count - 1].entry)) + (steps[count - 1].entry.v & 4095));
}

/* ---- Encoders ---- */

struct golden {
  uint64_t (*leaf)(const struct pt *, pa_t, unsigned, pt_prot_t);
  pt_prot_t (*prot)(const struct pt *, uint64_t);
  unsigned features, level;
  pt_prot_t in;
  uint64_t desc; /* at output address 0x1240000000 */
};

static const struct golden golden[] = {
    /* stage 2: MemAttr << 2, S2AP << 6, SH << 8, AF 1 << 10, XN 1 << 54 */
    {pt_leaf_s2, pt_prot_s2, 0, 3, RWX, 0x12400007ff},
    {pt_leaf_s2, pt_prot_s2, 0, 2, RWX, 0x12400007fd},
    {pt_leaf_s2, pt_prot_s2, 0, 3, RW, 0x00400012400007ff},
    {pt_leaf_s2, pt_prot_s2, 0, 3, PT_R, 0x004000124000077f},
    {pt_leaf_s2, pt_prot_s2, 0, 3, RW | PT_DEVICE, 0x00400012400004c3},
    {pt_leaf_s2, pt_prot_s2, 0, 3, RW | PT_NC, 0x00400012400007d7},
    {pt_leaf_s2, pt_prot_s2, PT_FEAT_FWB, 3, RWX, 0x12400007db},
    {pt_leaf_s2, pt_prot_s2, PT_FEAT_FWB, 3, RW | PT_NC, 0x00400012400007d7},
    {pt_leaf_s2, pt_prot_s2, 0, 3, RWX | PT_OLD, 0x12400003ff},
    {pt_leaf_s2, pt_prot_s2, PT_FEAT_CONTIG, 3, RWX | PT_CONTIG, 0x00100012400007ff},
    {pt_leaf_s2, pt_prot_s2, 0, 3, RWX | PT_DIRTY_LOG, 0x040000124000077f},
    {pt_leaf_s2, pt_prot_s2, PT_FEAT_DBM, 3, RWX | PT_DIRTY_LOG, 0x040800124000077f},
    {pt_leaf_s2, pt_prot_s2, 0, 1, RWX | PT_SW0 | PT_SW2, 0x02800012400007fd},
    /* EL1: AttrIndx << 2, AP << 6, SH << 8, AF, nG 1 << 11, PXN 1 << 53, UXN 1 << 54 */
    {pt_leaf_el1, pt_prot_el1, 0, 3, RW | PT_GLOBAL, 0x0060001240000707},
    {pt_leaf_el1, pt_prot_el1, 0, 3, PT_R | PT_X | PT_GLOBAL, 0x0040001240000787},
    {pt_leaf_el1, pt_prot_el1, 0, 3, RW | PT_USER, 0x0060001240000f47},
    {pt_leaf_el1, pt_prot_el1, 0, 3, PT_R | PT_USER | PT_UX, 0x0020001240000fc7},
    {pt_leaf_el1, pt_prot_el1, 0, 2, RW | PT_DEVICE | PT_GLOBAL, 0x0060001240000401},
    {pt_leaf_el1, pt_prot_el1, 0, 3, RW | PT_NC | PT_GLOBAL, 0x006000124000070b},
    {pt_leaf_el1, pt_prot_el1, PT_FEAT_DBM, 3, RW | PT_USER | PT_DIRTY_LOG, 0x0468001240000fc7},
    /* EL2, E2H = 0: AP[1] RES1, nG and PXN RES0 */
    {pt_leaf_el2, pt_prot_el2, 0, 3, PT_R | PT_X, 0x12400007c7},
    {pt_leaf_el2, pt_prot_el2, 0, 3, RW, 0x0040001240000747},
    {pt_leaf_el2, pt_prot_el2, 0, 1, RW | PT_DEVICE, 0x0040001240000441},
};

static void test_encoders(void **state) {
  (void)state;
  for (unsigned i = 0; i < sizeof(golden) / sizeof(golden[0]); i++) {
    const struct golden *g = &golden[i];
    struct pt pt = {.features = (uint8_t)g->features};
    assert_int_equal(g->leaf(&pt, pa(0x1240000000), g->level, g->in), g->desc);
    assert_int_equal(g->prot(&pt, g->desc), g->in);
  }
}

static void test_device_is_never_executable(void **state) {
  struct pt pt = {0};
  (void)state;
  assert_int_equal(pt_leaf_s2(&pt, pa(0), 3, RWX | PT_DEVICE) >> 54 & 1, 1);
  assert_int_equal(pt_leaf_el2(&pt, pa(0), 3, RWX | PT_DEVICE) >> 54 & 1, 1);
  assert_int_equal(pt_leaf_el1(&pt, pa(0), 3, RWX | PT_UX | PT_USER | PT_DEVICE) >> 53 & 3, 3);
}

/* ---- Geometry and errors ---- */

static void test_geometry(void **state) {
  static const struct {
    unsigned level, order, bits, features;
    bool ok;
  } cases[] = {
      {0, 0, 48, 0, true},  {0, 0, 40, 0, true}, {0, 0, 39, 0, false}, {0, 1, 48, 0, false},         {0, 0, 49, 0, false},
      {1, 0, 39, 0, true},  {1, 0, 31, 0, true}, {1, 0, 30, 0, false}, {1, 0, 40, 0, false},         {1, 1, 40, 0, true},
      {1, 1, 39, 0, false}, {1, 4, 43, 0, true}, {1, 5, 44, 0, false}, {2, 0, 30, 0, true},          {2, 0, 25, 0, true},
      {2, 0, 24, 0, false}, {2, 4, 34, 0, true}, {3, 0, 21, 0, false}, {1, 0, 39, PT_FEAT_S1, true}, {1, 1, 40, PT_FEAT_S1, false},
  };
  struct pt pt;
  (void)state;
  for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
    assert_int_equal(pt_init(&pt, &world_s2_ops, pfn(0x80000), cases[i].level, cases[i].order, cases[i].bits, cases[i].features, 1),
                     cases[i].ok ? ERR_OK : ERR_INVAL);
  assert_int_equal(pt_init(&pt, &world_s2_ops, pfn(0x80001), 1, 1, 40, 0, 1), ERR_INVAL);
}

static void test_refusals(void **state) {
  struct pt_leaf leaf;
  uint64_t top = 1ull << 39;
  (void)state;
  assert_int_equal(pt_map(&w.pt, BASE + 1, pa(0), SZ_4K, RW, SZ_4K), ERR_INVAL);
  assert_int_equal(pt_map(&w.pt, BASE, pa(5), SZ_4K, RW, SZ_4K), ERR_INVAL);
  assert_int_equal(pt_map(&w.pt, BASE, pa(0), 0, RW, SZ_4K), ERR_INVAL);
  assert_int_equal(pt_map(&w.pt, BASE, pa(0), SZ_4K, RW, SZ_64K), ERR_INVAL);
  assert_int_equal(pt_map(&w.pt, top, pa(0), SZ_4K, RW, SZ_4K), ERR_RANGE);
  assert_int_equal(pt_map(&w.pt, top - SZ_4K, pa(0), 2 * SZ_4K, RW, SZ_4K), ERR_RANGE);
  assert_int_equal(pt_map(&w.pt, BASE, pa(0), PAGE_MASK, RW, SZ_4K), ERR_RANGE);
  assert_int_equal(pt_map(&w.pt, BASE, pa(1ull << 48), SZ_4K, RW, SZ_4K), ERR_RANGE);
  assert_int_equal(pt_map(&w.pt, BASE, pa((1ull << 48) - SZ_4K), 2 * SZ_4K, RW, SZ_4K), ERR_RANGE);
  assert_int_equal(pt_map_leaf(&w.pt, BASE, pa(0), 0, RW), ERR_INVAL);
  assert_int_equal(pt_map_leaf(&w.pt, BASE, pa(0), 4, RW), ERR_INVAL);
  assert_int_equal(pt_map_leaf(&w.pt, BASE, pa(SZ_4K), 2, RW), ERR_INVAL);
  assert_int_equal(pt_map_leaf(&w.pt, BASE + SZ_4K, pa(0), 2, RW), ERR_INVAL);
  assert_int_equal(pt_map_leaf(&w.pt, top, pa(0), 3, RW), ERR_RANGE);
  assert_int_equal(pt_map_leaf(&w.pt, BASE, pa(1ull << 50), 3, RW), ERR_RANGE);
  assert_int_equal(pt_unmap(&w.pt, top - SZ_4K, SZ_2M, NULL, NULL), ERR_RANGE);
  assert_int_equal(pt_unmap(&w.pt, BASE, SZ_4K + 1, NULL, NULL), ERR_INVAL);
  assert_int_equal(pt_lookup(&w.pt, top, &leaf), ERR_RANGE);
  assert_int_equal(pt_lookup(&w.pt, ~0ull, &leaf), ERR_RANGE);
  assert_int_equal(pt_split(&w.pt, BASE), ERR_NOENT);
  assert_int_equal(pt_collapse(&w.pt, BASE, 2), ERR_NOENT);
  assert_int_equal(pt_collapse(&w.pt, BASE, 3), ERR_INVAL);
  assert_int_equal(pt_mark_accessed(&w.pt, top, false), ERR_RANGE);
  assert_int_equal(pt_replace_leaf(&w.pt, BASE, pa(1), 3, RW), ERR_INVAL);
  assert_int_equal(pt_replace_leaf(&w.pt, BASE, pa(0), 3, RW), ERR_NOENT);
  /* The same once a table is at hand to short-cut by. */
  map(BASE, 0x10000, SZ_4K, RW);
  assert_int_equal(pt_map_leaf(&w.pt, BASE + 0x1001, pa(0), 3, RW), ERR_INVAL);
  assert_int_equal(pt_map_leaf(&w.pt, BASE + 0x1000, pa(8), 3, RW), ERR_INVAL);
  assert_int_equal(pt_map_leaf(&w.pt, BASE + 0x1000, pa(1ull << 48), 3, RW), ERR_RANGE);
  assert_int_equal(pt_map_leaf(&w.pt, BASE, pa(0), 3, RW), ERR_EXIST);
  assert_int_equal(pt_map_leaf(&w.pt, BASE, pa(0), 2, RW), ERR_EXIST);
  world_check(&w);
}

static void test_walk_steps(void **state) {
  struct pt_step steps[4];
  (void)state;
  map(BASE + SZ_2M, 0x80200000, SZ_4K, RW);
  assert_int_equal(pt_walk_steps(&w.pt, BASE + SZ_2M + 5, steps), 3);
  assert_int_equal(steps[0].level, 1);
  assert_int_equal(steps[0].entry.v, w.hw.regime.root + 8);
  assert_int_equal(steps[1].entry.v, (steps[0].desc & DESC_OUT) + 8);
  assert_int_equal(steps[2].level, 3);
  assert_int_equal(steps[2].desc & DESC_OUT, 0x80200000);
  assert_int_equal(pt_walk_steps(&w.pt, BASE, steps), 2);
  assert_int_equal(steps[1].desc, 0);
  assert_int_equal(pt_walk_steps(&w.pt, 1ull << 39, steps), 0);
}

static void test_largest_leaves(void **state) {
  (void)state;
  map(BASE + SZ_2M - SZ_4K, 0x100000000 - SZ_4K, SZ_1G + SZ_2M, RWX);
  assert_int_equal(leaf_at(BASE + SZ_2M - 1).level, 3);
  assert_int_equal(leaf_at(BASE + SZ_2M).level, 2);
  assert_int_equal(leaf_at(BASE + SZ_1G).level, 2); /* outputs are out of step for a level-1 leaf */
  unmap(BASE, SZ_1G * 2);
  map(BASE, 0x100000000, SZ_1G, RWX);
  assert_int_equal(leaf_at(BASE).level, 1);
  assert_int_equal(w.tables, 0);
}

/* ---- Unmapping ---- */

static void test_unmap_is_not_paid_by_size(void **state) {
  static const struct world_config wide = {"wide", HW_STAGE2, 0, 0, 48, 0, 1ull << 47};
  (void)state;
  world_open(&w, &wide, 1024);
  map(wide.window, 0x1000, SZ_4K, RW);
  uint64_t seq = w.pt.seq;
  w.leaf_cursor = 0;
  assert_int_equal(pt_unmap(&w.pt, 0, 1ull << 48, world_leaf_gone, &w), ERR_OK);
  assert_int_equal(w.mapped, 0);
  assert_int_equal(w.tables, 0);
  assert_int_equal(w.pt.seq - seq, 1); /* one write detaches the branch */
}

static void test_batches_share_flushes(void **state) {
  (void)state;
  map(BASE, 0x200001000, SZ_2M * 2, RW); /* 1024 pages: the outputs allow no blocks */
  uint64_t flushes = w.hw.flushes;
  unmap(BASE + SZ_4K, 60 * SZ_4K);
  assert_int_equal(w.hw.flushes - flushes, 1);
  unmap(BASE + SZ_2M, SZ_2M); /* a whole table */
  assert_int_equal(w.hw.flushes - flushes, 2);
  unmap(BASE, SZ_2M); /* not split into pages either */
  assert_int_equal(w.hw.flushes - flushes, 3);
  assert_int_equal(w.tables, 0);
}

static void test_last_page_frees_tables(void **state) {
  (void)state;
  map(BASE, 0x1000, SZ_4K, RW);
  map(BASE + 2 * SZ_4K, 0x9000, SZ_4K, RW);
  assert_int_equal(w.tables, 2);
  unmap(BASE, SZ_4K);
  assert_int_equal(w.tables, 2);
  unmap(BASE + 2 * SZ_4K, SZ_4K);
  assert_int_equal(w.tables, 0);
  world_check(&w);
}

/* ---- Blocks ---- */

static uint64_t meddle_ia, meddle_set, meddle_clear;

/* Hardware changes the leaf of meddle_ia once, while the engine is in the middle of something else. */
static void meddle(struct world *world, uint64_t entry, uint64_t ia, unsigned level) {
  uint64_t *leaf = entry_at(meddle_ia);
  (void)entry, (void)ia, (void)level;
  if (!(*leaf & 1))
    return;
  *leaf = (*leaf | meddle_set) & ~meddle_clear;
  world->on_write = NULL;
}

static void split_while_hardware_writes(const struct world_config *config) {
  world_open(&w, config, WINDOW_PAGES);
  map(BASE, 0x80000000, SZ_2M, RW | PT_DIRTY_LOG | PT_OLD);
  meddle_ia = BASE;
  meddle_set = 1ull << 10 | 1ull << 7;
  meddle_clear = 0;
  w.on_write = meddle;
  assert_int_equal(pt_split(&w.pt, BASE), ERR_OK);
  assert_null(w.on_write);
  for (unsigned i = 0; i < 512; i++) {
    struct hw_leaf leaf = leaf_at(BASE + i * SZ_4K);
    assert_int_equal(leaf.level, 3);
    assert_true(leaf.af && leaf.w);
  }
  world_close(&w);
}

static void test_split_keeps_what_hardware_noted(void **state) {
  static const struct world_config bbm2 = {"stage 2, BBM 2, DBM", HW_STAGE2, 1, 0, 39, PT_FEAT_BBM2 | PT_FEAT_DBM, BASE};
  static const struct world_config dbm = {"stage 2, DBM", HW_STAGE2, 1, 0, 39, PT_FEAT_DBM, BASE};
  (void)state;
  split_while_hardware_writes(&dbm);
  split_while_hardware_writes(&bbm2);
}

static void test_collapse(void **state) {
  (void)state;
  map(BASE, 0x80000000, SZ_2M, RW);
  assert_int_equal(pt_split(&w.pt, BASE), ERR_OK);
  uint64_t *entry = entry_at(BASE + 7 * SZ_4K);
  *entry &= ~(1ull << 10);
  w.speculate = 100;
  for (unsigned page = 0; page < 512; page += 2) /* half of the pages are in the TLB: a block beside one of them is a conflict */
    world_touch(&w, BASE + page * SZ_4K);
  assert_int_equal(pt_collapse(&w.pt, BASE, 2), ERR_OK); /* AF of one page less does not matter */
  assert_int_equal(leaf_at(BASE).level, 2);
  world_check(&w);
  assert_int_equal(pt_split(&w.pt, BASE), ERR_OK);
  unmap(BASE + SZ_4K, SZ_4K);
  assert_int_equal(pt_collapse(&w.pt, BASE, 2), ERR_BUSY);
  map(BASE + SZ_4K, 0x80002000, SZ_4K, RW);
  assert_int_equal(pt_collapse(&w.pt, BASE, 2), ERR_BUSY);
  world_check(&w);
}

static void test_collapse_to_1g(void **state) {
  (void)state;
  map(BASE, 0x80000000, SZ_1G, RWX);
  assert_int_equal(pt_split(&w.pt, BASE), ERR_OK);
  assert_int_equal(pt_split(&w.pt, BASE + SZ_2M), ERR_OK);
  assert_int_equal(pt_collapse(&w.pt, BASE, 1), ERR_BUSY);
  assert_int_equal(pt_collapse(&w.pt, BASE + SZ_2M, 2), ERR_OK);
  assert_int_equal(pt_collapse(&w.pt, BASE, 1), ERR_OK);
  assert_int_equal(w.tables, 0);
  world_check(&w);
}

/* ---- Contiguous runs ---- */

static void test_contiguous(void **state) {
  static const struct world_config config = {"stage 2, contiguous", HW_STAGE2, 1, 0, 39, PT_FEAT_CONTIG, BASE};
  (void)state;
  world_open(&w, &config, WINDOW_PAGES);
  /*   |....|xxxx|xxxx|xx..|   runs of 64 KiB; hints only where the run is whole */
  map(BASE + SZ_64K, 0x90010000, 2 * SZ_64K + SZ_4K * 8, RW | PT_CONTIG);
  assert_true(leaf_at(BASE + SZ_64K).contig && leaf_at(BASE + 3 * SZ_64K - 1).contig);
  assert_false(leaf_at(BASE + 3 * SZ_64K).contig);
  map(BASE + SZ_2M, 0x90201000, SZ_64K, RW | PT_CONTIG); /* outputs out of step */
  assert_false(leaf_at(BASE + SZ_2M).contig);
  w.speculate = 100;
  unmap(BASE + SZ_64K + SZ_4K, SZ_4K);
  assert_false(leaf_at(BASE + SZ_64K).contig);
  assert_true(leaf_at(BASE + 2 * SZ_64K).contig);
  world_check(&w);
  assert_int_equal(pt_protect(&w.pt, BASE + 2 * SZ_64K, SZ_64K, PT_R), ERR_OK); /* a whole run stays one */
  world_protect(&w, BASE + 2 * SZ_64K, SZ_64K, PT_R);
  assert_true(leaf_at(BASE + 2 * SZ_64K).contig);
  world_check(&w);
  assert_int_equal(pt_replace_leaf(&w.pt, BASE + 2 * SZ_64K, pa(0x7000), 3, RW), ERR_OK);
  world_set(&w, BASE + 2 * SZ_64K, SZ_4K, 0x7000, RW);
  assert_false(leaf_at(BASE + 2 * SZ_64K + SZ_4K).contig);
  world_check(&w);
}

/* ---- Dirty logging ---- */

struct seen {
  unsigned leaves;
  uint64_t last;
};

static void note(void *ctx, uint64_t ia, pa_t out, unsigned level, uint64_t desc) {
  struct seen *seen = ctx;
  (void)out, (void)level, (void)desc;
  seen->leaves++;
  seen->last = ia;
}

static void dirty_log_round(void) {
  struct seen seen = {0};
  map(BASE, 0x80001000, 8 * SZ_4K, RW | PT_DIRTY_LOG);
  assert_false(leaf_at(BASE).w);
  hw_speculate(&w.hw, BASE + 3 * SZ_4K); /* a TLB holds the read-only form */
  assert_int_equal(pt_mark_accessed(&w.pt, BASE + 3 * SZ_4K, true), ERR_OK);
  struct hw_tlb_entry e;
  assert_true(hw_access(&w.hw, BASE + 3 * SZ_4K, &e) && e.w);
  pt_collect_dirty(&w.pt, BASE, 8 * SZ_4K, note, &seen);
  assert_int_equal(seen.leaves, 1);
  assert_int_equal(seen.last, BASE + 3 * SZ_4K);
  assert_true(hw_access(&w.hw, BASE + 3 * SZ_4K, &e) && !e.w); /* the next write is seen as well */
  pt_collect_dirty(&w.pt, BASE, 8 * SZ_4K, note, &seen);
  assert_int_equal(seen.leaves, 1);
  /* Protection comes and goes without dirt or log being lost. */
  assert_int_equal(pt_mark_accessed(&w.pt, BASE + SZ_4K, true), ERR_OK);
  assert_int_equal(pt_protect(&w.pt, BASE, 8 * SZ_4K, RWX | PT_DIRTY_LOG), ERR_OK);
  pt_collect_dirty(&w.pt, BASE, SZ_2M, note, &seen);
  assert_int_equal(seen.leaves, 2);
  assert_int_equal(seen.last, BASE + SZ_4K);
  assert_int_equal(pt_protect(&w.pt, BASE, 8 * SZ_4K, RW), ERR_OK);
  assert_true(leaf_at(BASE).w);
  world_protect(&w, BASE, 8 * SZ_4K, RW);
  world_check(&w);
}

static void test_dirty_logging(void **state) {
  static const struct world_config configs[] = {
      {"stage 2, logging", HW_STAGE2, 1, 0, 39, 0, BASE},
      {"stage 2, logging by DBM", HW_STAGE2, 1, 0, 39, PT_FEAT_DBM, BASE},
      {"EL1, logging", HW_EL1, 1, 0, 39, 0, BASE},
      {"EL2, logging by DBM", HW_EL2, 0, 0, 48, PT_FEAT_DBM, BASE},
  };
  (void)state;
  for (unsigned i = 0; i < 4; i++) {
    world_open(&w, &configs[i], 1024);
    dirty_log_round();
    world_close(&w);
  }
}

static void test_mark_accessed(void **state) {
  (void)state;
  map(BASE, 0x80000000, SZ_2M, PT_R | PT_OLD);
  uint64_t flushes = w.hw.flushes;
  assert_int_equal(pt_mark_accessed(&w.pt, BASE + 77, true), ERR_PERM);
  assert_int_equal(pt_mark_accessed(&w.pt, BASE + SZ_2M, false), ERR_NOENT);
  assert_int_equal(pt_mark_accessed(&w.pt, BASE + 77, false), ERR_OK);
  assert_true(leaf_at(BASE).af);
  assert_int_equal(w.hw.flushes, flushes); /* AF = 0 is in no TLB */
  world_protect(&w, BASE, SZ_2M, PT_R);
}

/* ---- Each its own permissions ---- */

static pt_prot_t odd_pages_writable(void *ctx, uint64_t ia, pa_t out, unsigned level, pt_prot_t prot) {
  (void)ctx, (void)out, (void)level;
  return ia >> PAGE_SHIFT & 1 ? prot | PT_W : prot;
}

static pt_prot_t none_writable(void *ctx, uint64_t ia, pa_t out, unsigned level, pt_prot_t prot) {
  (void)ctx, (void)ia, (void)out, (void)level;
  return prot & ~PT_W;
}

static void test_protect_each(void **state) {
  (void)state;
  map(BASE, 0x80001000, 8 * SZ_4K, PT_R);
  uint64_t flushes = w.hw.flushes, seq = w.pt.seq;
  pt_protect_each(&w.pt, BASE, SZ_2M, odd_pages_writable, NULL);
  assert_int_equal(w.hw.flushes, flushes); /* only gains */
  assert_int_equal(w.pt.seq - seq, 4);     /* and only what changed is written */
  assert_true(!leaf_at(BASE).w && leaf_at(BASE + SZ_4K).w);
  for (unsigned i = 0; i < 8; i++)
    hw_speculate(&w.hw, BASE + i * SZ_4K);
  pt_protect_each(&w.pt, BASE, SZ_2M, none_writable, NULL);
  assert_int_equal(w.hw.flushes, flushes + 1);
  assert_int_equal(w.pt.seq - seq, 8);
  world_check(&w);
}

static void map_page(uint64_t ia) {
  assert_int_equal(pt_map_leaf(&w.pt, ia, pa(ia), 3, RW), ERR_OK);
  world_set(&w, ia, SZ_4K, ia, RW);
  hw_speculate(&w.hw, ia);
}

static void protect_leaf(uint64_t ia, pt_prot_t prot) {
  struct pt_leaf leaf;
  hw_speculate(&w.hw, ia);
  assert_int_equal(pt_lookup(&w.pt, ia, &leaf), ERR_OK);
  pt_protect_leaf(&w.pt, &leaf, prot);
  hw_flush(&w.hw, leaf.ia, BIT(39 - 9 * leaf.level), leaf.level, false);
  world_protect(&w, leaf.ia, BIT(39 - 9 * leaf.level), prot);
  world_check(&w);
}

/* Of a page in the table used last, of one that is not, of a block, of one page in a contiguous run: the flush is the caller's. */
static void test_protect_leaf(void **state) {
  (void)state;
  map(BASE, 0x80000000, SZ_2M, RW);
  map(BASE + SZ_2M, 0x90000000, SZ_4K, RW);
  map(BASE + 2 * SZ_2M, 0xa0000000, SZ_64K, RW | PT_CONTIG);
  map_page(BASE + 3 * SZ_2M);
  uint64_t flushes = w.hw.flushes;
  for (unsigned i = 0; i < 3; i++) { /* a prot that is new, and two that are known */
    protect_leaf(BASE + 3 * SZ_2M, PT_R);
    protect_leaf(BASE + 3 * SZ_2M, RW);
  }
  assert_true(w.hw.flushes <= flushes + 7); /* and one of the engine's own, the first time */
  protect_leaf(BASE + SZ_2M, PT_R);
  protect_leaf(BASE, PT_R);
  protect_leaf(BASE + 2 * SZ_2M + 5 * SZ_4K, PT_R);
}

/* Hardware sets AF after the leaf was looked up: the change is not lost. */
static void test_protect_leaf_meets_hardware(void **state) {
  (void)state;
  struct pt_leaf leaf;
  for (unsigned i = 0; i < 2; i++) {
    uint64_t ia = BASE + i * SZ_4K;
    assert_int_equal(pt_map_leaf(&w.pt, ia, pa(ia), 3, RW), ERR_OK);
    assert_int_equal(pt_map_leaf(&w.pt, ia + SZ_64K, pa(ia), 3, PT_R | PT_OLD), ERR_OK);
    assert_int_equal(pt_lookup(&w.pt, ia + SZ_64K, &leaf), ERR_OK);
    *entry_at(ia + SZ_64K) |= BIT(10); /* AF */
    ;
    pt_protect_leaf(&w.pt, &leaf, RW);
    assert_true(leaf_at(ia + SZ_64K).w && leaf_at(ia + SZ_64K).af);
    world_set(&w, ia, SZ_4K, ia, RW);
    world_set(&w, ia + SZ_64K, SZ_4K, ia, RW);
  }
  world_check(&w);
}

/* One empty table stays and serves the next page; a second does not; a range over it, or pt_trim(), takes it and what is above. */
static void test_one_empty_table_is_kept(void **state) {
  (void)state;
  w.pt.features |= PT_FEAT_KEEP;
  w.hw.regime.may_keep = 1;
  map_page(BASE);
  unsigned with_page = w.tables;
  for (unsigned i = 0; i < 3; i++) {
    unmap(BASE + i * SZ_4K, SZ_4K);
    world_check(&w);
    assert_int_equal(w.tables, with_page);
    map_page(BASE + (i + 1) * SZ_4K);
  }
  unmap(BASE + 3 * SZ_4K, SZ_4K);
  map_page(BASE + SZ_2M);
  unmap(BASE + SZ_2M, SZ_4K);
  assert_int_equal(w.tables, with_page);
  world_check(&w);
  hw_speculate(&w.hw, BASE);
  unmap(BASE, SZ_2M);
  assert_int_equal(w.tables, 0);
  pfn_t other[2]; /* the frames that were tables until now: the next table is another */
  for (unsigned i = 0; i < 2; i++)
    assert_int_equal(w.pt.ops->table_alloc(&w.pt, &other[i]), ERR_OK);
  map_page(BASE);
  unmap(BASE, SZ_4K);
  assert_int_equal(w.tables, with_page + 2);
  for (unsigned i = 0; i < 2; i++)
    w.pt.ops->table_free(&w.pt, other[i]);
  map_page(BASE);
  map_page(BASE + SZ_4K);
  unmap(BASE, 2 * SZ_4K);
  hw_speculate(&w.hw, BASE);
  pt_trim(&w.pt);
  assert_int_equal(w.tables, 0);
  pt_trim(&w.pt);
  world_check(&w);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_encoders),
      cmocka_unit_test(test_device_is_never_executable),
      cmocka_unit_test_setup_teardown(test_geometry, open_s2, close_world),
      cmocka_unit_test_setup_teardown(test_refusals, open_s2, close_world),
      cmocka_unit_test_setup_teardown(test_walk_steps, open_s2, close_world),
      cmocka_unit_test_setup_teardown(test_largest_leaves, open_s2, close_world),
      cmocka_unit_test_teardown(test_unmap_is_not_paid_by_size, close_world),
      cmocka_unit_test_setup_teardown(test_batches_share_flushes, open_s2, close_world),
      cmocka_unit_test_setup_teardown(test_last_page_frees_tables, open_s2, close_world),
      cmocka_unit_test(test_split_keeps_what_hardware_noted),
      cmocka_unit_test_setup_teardown(test_collapse, open_s2, close_world),
      cmocka_unit_test_setup_teardown(test_collapse_to_1g, open_s2, close_world),
      cmocka_unit_test_teardown(test_contiguous, close_world),
      cmocka_unit_test(test_dirty_logging),
      cmocka_unit_test_setup_teardown(test_mark_accessed, open_s2, close_world),
      cmocka_unit_test_setup_teardown(test_protect_each, open_s2, close_world),
      cmocka_unit_test_setup_teardown(test_protect_leaf, open_s2, close_world),
      cmocka_unit_test_setup_teardown(test_protect_leaf_meets_hardware, open_s2, close_world),
      cmocka_unit_test_setup_teardown(test_one_empty_table_is_kept, open_s2, close_world),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
