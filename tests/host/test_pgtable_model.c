/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The page-table engine against a flat model, by random operations: after each one memory, TLB and model agree in every page, and each
 * allocation on the way has failed once. Geometries, encoders and features vary by configuration.
 */
// sources: mm/pgtable.c mm/pgtable_write.c mm/pgtable_map.c mm/pgtable_unmap.c mm/pgtable_block.c mm/pgtable_protect.c
// sources: mm/pgtable_encode.c tests/host/pt_hw.c tests/host/pt_world.c tests/host/port/port_host.c
#include "pt_world.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define SMALL_WINDOW (SZ_2M * 24) /* model and sweeps stay quick */
#define BIG_WINDOW (SZ_1G * 2 + SZ_2M * 8)

static const pt_prot_t prots[] = {
    PT_R,
    PT_R | PT_W,
    PT_R | PT_X,
    PT_R | PT_W | PT_X,
    PT_R | PT_W | PT_DEVICE,
    PT_R | PT_NC,
    PT_R | PT_W | PT_USER,
    PT_R | PT_USER | PT_UX,
    PT_R | PT_W | PT_GLOBAL | PT_SW0,
    PT_R | PT_W | PT_OLD,
    PT_R | PT_X | PT_SW1 | PT_SW2,
};

static pt_prot_t any_prot(struct world *w) {
  pt_prot_t prot = prots[world_random(w, sizeof(prots) / sizeof(prots[0]))];
  return world_random(w, 4) == 0 ? prot | PT_CONTIG : prot;
}

/* Page numbers near 2 MiB edges, mostly. */
static uint64_t any_address(struct world *w, uint64_t align) {
  uint64_t bytes = w->pages << PAGE_SHIFT, at = world_random(w, bytes);
  if (world_random(w, 3) == 0)
    at = (at & ~(SZ_2M - 1)) + (world_random(w, 5) - 2) * PAGE_SIZE;
  if (at >= bytes)
    at = 0;
  return w->window + (at & ~(align - 1));
}

static uint64_t any_size(struct world *w, uint64_t ia) {
  static const uint64_t sizes[] = {SZ_4K, SZ_4K, 3 * SZ_4K, SZ_64K, 5 * SZ_64K, SZ_2M, SZ_2M + 7 * SZ_4K, 3 * SZ_2M, 17 * SZ_2M, SZ_1G};
  uint64_t size = sizes[world_random(w, sizeof(sizes) / sizeof(sizes[0]))], left = w->window + (w->pages << PAGE_SHIFT) - ia;
  return size < left ? size : left;
}

/* Outputs that share alignment with the input address as often as not. */
static uint64_t any_out(struct world *w, uint64_t ia, uint64_t size) {
  uint64_t out = world_random(w, 1ull << 35) << 12;
  static const uint64_t aligns[] = {SZ_4K, SZ_64K, SZ_2M, SZ_2M * 16, SZ_1G};
  uint64_t align = aligns[world_random(w, 5)];
  out = (out & ~(align - 1)) | (ia & (align - 1));
  return out + size > 1ull << 48 ? ia & (align - 1) : out;
}

/* ---- Operations: each does the same to engine and model ---- */

static void op_map(struct world *w) {
  uint64_t ia = any_address(w, SZ_4K), size = any_size(w, ia), out = any_out(w, ia, size);
  static const uint64_t leaves[] = {SZ_4K, SZ_2M, SZ_1G};
  uint64_t max_leaf = size >= SZ_1G ? SZ_1G : leaves[world_random(w, 3)];
  pt_prot_t prot = any_prot(w);
  err_t err;
  WORLD_EACH_FAILURE(w, err, pt_map(&w->pt, ia, pa(out), size, prot, max_leaf));
  if (world_any_mapped(w, ia, size)) {
    assert_int_equal(err, ERR_EXIST);
    return;
  }
  assert_int_equal(err, ERR_OK);
  world_set(w, ia, size, out, prot);
}

static void op_map_leaf(struct world *w) {
  unsigned level = world_random(w, 4) == 0 ? 2 : 3;
  uint64_t size = level == 2 ? SZ_2M : SZ_4K, ia = any_address(w, size), out = any_out(w, ia, size) & ~(size - 1);
  pt_prot_t prot = any_prot(w) & ~PT_CONTIG;
  err_t err;
  if (ia + size > w->window + (w->pages << PAGE_SHIFT))
    return;
  WORLD_EACH_FAILURE(w, err, pt_map_leaf(&w->pt, ia, pa(out), level, prot));
  assert_int_equal(err, world_any_mapped(w, ia, size) ? ERR_EXIST : ERR_OK);
  if (err == ERR_OK)
    world_set(w, ia, size, out, prot);
}

static void op_unmap(struct world *w) {
  uint64_t ia = any_address(w, SZ_4K), size = any_size(w, ia);
  err_t err;
  w->leaf_cursor = ia;
  WORLD_EACH_FAILURE(w, err, pt_unmap(&w->pt, ia, size, world_leaf_gone, w));
  assert_int_equal(err, ERR_OK);
  assert_true(w->leaf_cursor <= ia + size);
  assert_false(world_any_mapped(w, ia, size));
}

/* ---- leaves here and there ---- */

#define SCATTERED PT_UNMAP_LEAVES_MAX

/* Which leaves may go: by a bit of the address, so that model and engine agree. */
static bool may_go(void *ctx, uint64_t ia, pa_t out) {
  struct world *w = ctx;
  assert_int_equal(w->out[world_index(w, ia)], out.v);
  return (ia >> 12 ^ ia >> 21) % 7 != 3;
}

/* Is this the leaf that is asked for, and may it go? */
static bool should_go(struct world *w, uint64_t ia, unsigned level) {
  struct hw_leaf leaf;
  uint64_t out = w->out[world_index(w, ia)];
  if (out == WORLD_UNMAPPED)
    return false;
  assert_true(hw_walk(&w->hw.regime, ia, &leaf));
  return leaf.level == level && may_go(w, ia, pa(out));
}

static bool was_named(const uint64_t *ias, unsigned count, uint64_t ia) {
  for (unsigned i = 0; i < count; i++)
    if (ias[i] == ia)
      return true;
  return false;
}

static void op_unmap_scattered(struct world *w) {
  static uint64_t ias[SCATTERED], going[SCATTERED];
  static pfn_t frames[SCATTERED];
  static bool goes[SCATTERED];
  unsigned level = world_random(w, 3) == 0 ? 2 : 3, count = 1 + (unsigned)world_random(w, SCATTERED), named = 0;
  uint64_t size = level == 2 ? SZ_2M : SZ_4K, near = any_address(w, size);
  struct hw_leaf leaf;
  for (unsigned i = 0; i < count; i++) {
    bool close = world_random(w, 2) && near + (i + 1) * size <= w->window + (w->pages << PAGE_SHIFT);
    ias[i] = i > 0 && world_random(w, 16) == 0 ? ias[i - 1] : close ? near + i * size : any_address(w, size);
    goes[i] = !was_named(ias, i, ias[i]) && should_go(w, ias[i], level);
  }
  const struct pt_leaves leaves = {.mask = 0, .may = may_go, .ctx = w, .frames = frames};
  unsigned done = count, gone = pt_unmap_leaves(&w->pt, level, &done, ias, &leaves);
  assert_true(done == count || (level == 2 && done < count));
  for (unsigned i = 0; i < done; i++)
    if (goes[i])
      going[named++] = ias[i];
  assert_int_equal(gone, named);
  for (unsigned i = 0; i < gone; i++) {
    w->leaf_cursor = 0; /* they come as they were named */
    assert_int_equal(pfn_pa(frames[i]).v, w->out[world_index(w, going[i])]);
    world_leaf_gone(w, going[i], pfn_pa(frames[i]), level, 1);
  }
  for (unsigned i = 0; i < done; i++)
    if (level == 2 && w->out[world_index(w, ias[i])] != WORLD_UNMAPPED) {
      assert_true(hw_walk(&w->hw.regime, ias[i], &leaf));
      assert_true(leaf.level <= level);
    }
  if (done < count && w->out[world_index(w, ias[done])] != WORLD_UNMAPPED) {
    assert_true(hw_walk(&w->hw.regime, ias[done], &leaf));
    assert_int_equal(leaf.level, 3);
  }
}

/* A page comes, is used and goes: what both quick ways are for. */
static void op_page_comes_and_goes(struct world *w) {
  uint64_t ia = any_address(w, SZ_4K), out = any_out(w, ia, SZ_4K);
  err_t err;
  WORLD_EACH_FAILURE(w, err, pt_map_leaf(&w->pt, ia, pa(out), 3, PT_R | PT_W));
  if (err != ERR_OK)
    return;
  world_set(w, ia, SZ_4K, out, PT_R | PT_W);
  hw_speculate(&w->hw, ia);
  w->leaf_cursor = ia;
  assert_int_equal(pt_unmap(&w->pt, ia, SZ_4K, world_leaf_gone, w), ERR_OK);
  assert_false(world_any_mapped(w, ia, SZ_4K));
}

static void op_protect(struct world *w) {
  uint64_t ia = any_address(w, SZ_4K), size = any_size(w, ia);
  pt_prot_t prot = any_prot(w) & ~(PT_DEVICE | PT_NC | PT_GLOBAL);
  err_t err;
  WORLD_EACH_FAILURE(w, err, pt_protect(&w->pt, ia, size, prot));
  assert_int_equal(err, ERR_OK);
  world_protect(w, ia, size, prot);
}

struct each {
  struct world *w;
  pt_prot_t prot;
  uint64_t cursor;
};

static pt_prot_t take_write_away(void *ctx, uint64_t ia, pa_t out, unsigned level, pt_prot_t prot) {
  struct each *e = ctx;
  uint64_t size = 1ull << (39 - 9 * level);
  assert_true(ia >= e->cursor);
  e->cursor = ia + size;
  assert_int_equal(e->w->out[world_index(e->w, ia)], out.v);
  if (world_random(e->w, 2))
    return prot;
  for (uint64_t at = ia; at < ia + size; at += PAGE_SIZE)
    e->w->prot[world_index(e->w, at)] &= ~PT_W;
  return prot & ~PT_W;
}

static void op_protect_each(struct world *w) {
  uint64_t ia = any_address(w, SZ_4K), size = any_size(w, ia);
  struct each e = {.w = w};
  pt_protect_each(&w->pt, ia, size, take_write_away, &e);
}

static void op_replace(struct world *w) {
  struct hw_leaf leaf;
  uint64_t ia = any_address(w, SZ_4K);
  bool present = hw_walk(&w->hw.regime, ia, &leaf);
  if (!present) {
    assert_int_equal(pt_replace_leaf(&w->pt, ia, pa(0x1000), 3, PT_R), ERR_NOENT);
    return;
  }
  uint64_t out = world_random(w, 3) == 0 ? leaf.out : any_out(w, 0, leaf.size) & ~(leaf.size - 1);
  pt_prot_t prot = any_prot(w) & ~PT_CONTIG;
  assert_int_equal(pt_replace_leaf(&w->pt, leaf.ia, pa(out), leaf.level, prot), ERR_OK);
  world_set(w, leaf.ia, leaf.size, out, prot);
}

/* The contents are copied between the halves: there nobody may reach the leaf, by memory or by TLB. */
static void op_move(struct world *w) {
  struct hw_leaf leaf;
  struct pt_broken broken;
  uint64_t ia = any_address(w, SZ_4K);
  if (!hw_walk(&w->hw.regime, ia, &leaf)) {
    assert_int_equal(pt_break_leaf(&w->pt, ia, pa(0), 3, &broken), ERR_NOENT);
    return;
  }
  uint64_t size = leaf.size, at = leaf.ia, out = any_out(w, 0, size) & ~(size - 1);
  pt_prot_t prot = w->prot[world_index(w, at)];
  assert_int_equal(pt_break_leaf(&w->pt, at, pa(leaf.out ^ size), leaf.level, &broken), ERR_NOENT);
  world_check(w);
  assert_int_equal(pt_break_leaf(&w->pt, at, pa(leaf.out), leaf.level, &broken), ERR_OK);
  world_clear(w, at, size);
  if (leaf.level == 3) {
    w->hw.regime.may_keep++; /* if it was the only page of its table */
    world_check(w);
    w->hw.regime.may_keep--;
  }
  pt_make_leaf(&w->pt, &broken, pa(out));
  world_set(w, at, size, out, prot);
}

static void op_split(struct world *w) {
  struct hw_leaf leaf;
  uint64_t ia = any_address(w, SZ_4K);
  bool splits = hw_walk(&w->hw.regime, ia, &leaf) && leaf.level < 3;
  err_t err;
  WORLD_EACH_FAILURE(w, err, pt_split(&w->pt, ia));
  assert_int_equal(err, splits ? ERR_OK : ERR_NOENT);
  if (splits) {
    unsigned level = leaf.level;
    assert_true(hw_walk(&w->hw.regime, ia, &leaf));
    assert_int_equal(leaf.level, level + 1);
  }
}

/* Collapsing makes 2 MiB out of pages that are alike in all but AF; the model says when they are. */
static void op_collapse(struct world *w) {
  uint64_t ia = any_address(w, SZ_2M);
  struct hw_leaf leaf;
  if (ia + SZ_2M > w->window + (w->pages << PAGE_SHIFT) || !hw_walk(&w->hw.regime, ia, &leaf) || leaf.level < 3)
    return;
  uint64_t first = world_index(w, ia);
  bool alike = w->out[first] != WORLD_UNMAPPED && (w->out[first] & (SZ_2M - 1)) == 0, young = false;
  for (uint64_t i = 0; i < 512; i++) {
    alike = alike && w->out[first + i] == w->out[first] + (i << 12) && ((w->prot[first + i] ^ w->prot[first]) & ~PT_OLD) == 0;
    young |= !(w->prot[first + i] & PT_OLD);
  }
  assert_int_equal(pt_collapse(&w->pt, ia, 2), alike ? ERR_OK : ERR_BUSY);
  if (!alike)
    return;
  for (uint64_t i = 0; i < 512; i++)
    w->prot[first + i] = (w->prot[first + i] & ~PT_OLD) | (young ? 0 : PT_OLD);
  assert_true(hw_walk(&w->hw.regime, ia, &leaf) && leaf.level == 2);
}

static void set_old(void *ctx, uint64_t ia, pa_t out, unsigned level, uint64_t desc) {
  struct world *w = ctx;
  uint64_t pages = 1ull << (9 * (3 - level)), first = world_index(w, ia);
  (void)desc;
  assert_int_equal(w->out[first], out.v);
  for (uint64_t i = 0; i < pages; i++) {
    assert_false(w->prot[first + i] & PT_OLD);
    w->prot[first + i] |= PT_OLD;
  }
}

static void op_age(struct world *w) {
  uint64_t ia = any_address(w, SZ_4K), size = any_size(w, ia);
  pt_age(&w->pt, ia, size, set_old, w);
  for (uint64_t i = world_index(w, ia); i < world_index(w, ia + size); i++)
    assert_true(w->out[i] == WORLD_UNMAPPED || (w->prot[i] & PT_OLD));
}

static void op_mark(struct world *w) {
  struct hw_leaf leaf;
  uint64_t ia = any_address(w, SZ_4K);
  bool present = hw_walk(&w->hw.regime, ia, &leaf), write = world_random(w, 2);
  err_t err = pt_mark_accessed(&w->pt, ia, write);
  assert_int_equal(err, !present ? ERR_NOENT : write && !leaf.w ? ERR_PERM : ERR_OK);
  if (err != ERR_OK)
    return;
  for (uint64_t at = leaf.ia; at < leaf.ia + leaf.size; at += PAGE_SIZE)
    w->prot[world_index(w, at)] &= ~PT_OLD;
}

static void random_op(struct world *w) {
  static void (*const ops[])(struct world *) = {
      op_map,
      op_map,
      op_map,
      op_map_leaf,
      op_map_leaf,
      op_map_leaf,
      op_unmap,
      op_unmap,
      op_unmap,
      op_page_comes_and_goes,
      op_protect,
      op_protect,
      op_protect_each,
      op_replace,
      op_move,
      op_split,
      op_collapse,
      op_age,
      op_mark,
      op_unmap_scattered,
      op_unmap_scattered,
  };
  ops[world_random(w, sizeof(ops) / sizeof(ops[0]))](w);
}

static const struct world_config configs[] = {
    {"stage 2, 48 bits", HW_STAGE2, 0, 0, 48, 0, 0x40000000},
    {"stage 2, 40 bits, 2 roots at level 1", HW_STAGE2, 1, 1, 40, PT_FEAT_CONTIG, (1ull << 39) - SZ_2M * 12},
    {"stage 2, 43 bits, 16 roots at level 1, FWB", HW_STAGE2, 1, 4, 43, PT_FEAT_FWB | PT_FEAT_CONTIG, 5ull << 39},
    {"stage 2, 34 bits, 16 roots at level 2", HW_STAGE2, 2, 4, 34, PT_FEAT_DBM, SZ_1G * 3 - SZ_2M * 5},
    {"stage 2, 32 bits, BBM 2", HW_STAGE2, 1, 0, 32, PT_FEAT_BBM2, 0},
    {"stage 2, 36 bits, level 1", HW_STAGE2, 1, 0, 36, PT_FEAT_BBM2 | PT_FEAT_CONTIG | PT_FEAT_DBM, SZ_1G},
    {"EL1, 39 bits", HW_EL1, 1, 0, 39, PT_FEAT_CONTIG, (1ull << 39) - SMALL_WINDOW},
    {"EL1, 48 bits", HW_EL1, 0, 0, 48, PT_FEAT_DBM, (1ull << 48) - SMALL_WINDOW},
    {"EL2, 48 bits", HW_EL2, 0, 0, 48, PT_FEAT_CONTIG, (1ull << 47) - SZ_2M * 9},
    {"EL2, 32 bits", HW_EL2, 1, 0, 32, 0, 0},
};

static void run(const struct world_config *config, uint64_t window, unsigned steps, uint64_t seed) {
  static struct world w;
  world_open(&w, config, window >> PAGE_SHIFT);
  w.rng ^= seed;
  for (unsigned i = 0; i < steps; i++) {
    random_op(&w);
    world_check(&w);
  }
  world_close(&w);
}

static void test_random_small(void **state) {
  (void)state;
  for (unsigned i = 0; i < sizeof(configs) / sizeof(configs[0]); i++)
    run(&configs[i], SMALL_WINDOW, 300, i * 77 + 1);
}

/* With 1 GiB leaves, and splits of these down to pages. */
static void test_random_big(void **state) {
  static const struct world_config big[] = {
      {"stage 2, 40 bits, 1 GiB leaves", HW_STAGE2, 0, 0, 40, PT_FEAT_CONTIG, SZ_1G * 3},
      {"EL1, 39 bits, 1 GiB leaves", HW_EL1, 1, 0, 39, PT_FEAT_BBM2, SZ_1G * 6},
  };
  (void)state;
  for (unsigned i = 0; i < sizeof(big) / sizeof(big[0]); i++)
    run(&big[i], BIG_WINDOW, 120, i + 3);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_random_small),
      cmocka_unit_test(test_random_big),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
