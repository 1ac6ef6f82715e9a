/* SPDX-License-Identifier: BSD-2-Clause */
/* The memory of stage2_fake.h. One VM, one CPU. */
#include "fakehw/stage2_fake.h"
#include "core/bits.h"
#include "hyp/core/vm.h"
#include "hyp/mem/stage2.h"
#include "mm/page_alloc.h"
#include "mm/port.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define NOTHING (~(uint64_t)0)

uint64_t fake_frames_left;
uint32_t exhaust_open = 1; /* somebody always waits */
unsigned fake_flushes, fake_splits, fake_views_forgotten, fake_tables_left = ~0u;

static struct stage2 *s2;
static uint64_t *tlb; /* frame by page; NOTHING */
static uint64_t pages, free_before;

err_t stage2_table_alloc(struct pt *pt, pfn_t *out) {
  if (fake_tables_left == 0)
    return ERR_NOMEM;
  fake_tables_left -= fake_tables_left != ~0u;
  err_t err = page_alloc(0, ALLOC_UNMOVABLE | ALLOC_ZERO, out);
  if (err == ERR_OK)
    frame_set_state(*out, 0, FRAME_TABLE, stage2_id_vm(pt->id), 0);
  return err;
}

void quota_frames_left(struct stage2 *of, uint64_t frames) {
  (void)of;
  fake_frames_left += frames;
}

void stage2_table_free(struct pt *pt, pfn_t table) {
  (void)pt;
  page_free(table, 0);
}

static void tlb_flush(struct pt *pt, uint64_t ia, uint64_t size, unsigned level, bool tables) {
  (void)pt, (void)level, (void)tables;
  fake_flushes++;
  for (uint64_t at = ia; at < ia + size; at += PAGE_SIZE)
    if ((at - VM_RAM_BASE) / PAGE_SIZE < pages)
      tlb[(at - VM_RAM_BASE) / PAGE_SIZE] = NOTHING;
}

static void publish(struct pt *pt) {
  (void)pt;
}

static const struct pt_ops ops = {
    .name = "stage2",
    .leaf = pt_leaf_s2,
    .prot = pt_prot_s2,
    .table_alloc = stage2_table_alloc,
    .table_free = stage2_table_free,
    .tlb_flush = tlb_flush,
    .publish = publish,
};

/* A frame that is freed is in no TLB: neither it nor, for a block, any part of it. */
static void on_event(unsigned event, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e) {
  (void)c, (void)d, (void)e;
  for (uint64_t i = 0; event == MM_EVENT_FRAME_FREE && i < pages; i++)
    if (tlb[i] != NOTHING && tlb[i] - a < BIT(b))
      fail_msg("frame %#llx is freed while a TLB holds it", (unsigned long long)tlb[i]);
}

void fake_stage2_open(struct vm *vm, uint64_t bytes) {
  pfn_t root;
  free_before = page_free_frames();
  fake_frames_left = 0;
  s2 = &vm->s2;
  memset(s2, 0, sizeof(*s2));
  s2->vm = vm;
  s2->ram_base = ipa(VM_RAM_BASE);
  s2->ram_bytes = bytes;
  pages = bytes / PAGE_SIZE;
  tlb = malloc(pages * sizeof(*tlb));
  memset(tlb, 0xff, pages * sizeof(*tlb));
  assert_int_equal(page_alloc(2, ALLOC_UNMOVABLE | ALLOC_ZERO, &root), ERR_OK);
  frame_set_state(root, 2, FRAME_TABLE, vm->id, 0);
  assert_int_equal(pt_init(&s2->pt, &ops, root, 2, 2, 32, 0, vm->id), ERR_OK);
  port_host_event = on_event;
}

static void free_leaf(void *ctx, uint64_t ia, pa_t out, unsigned level, uint64_t desc) {
  (void)ctx, (void)ia, (void)desc;
  page_free(pa_pfn(out), 9 * (3 - level));
}

void fake_stage2_close(void) {
  assert_int_equal(pt_unmap(&s2->pt, VM_RAM_BASE, pages * PAGE_SIZE, free_leaf, NULL), ERR_OK);
  page_free(s2->pt.root_pfn, 2);
  port_host_event = NULL;
  free(tlb);
  assert_int_equal(page_free_frames(), free_before);
}

/* Level 2 from the concatenated root, then level 3. */
pfn_t fake_stage2_frame(uint64_t ia, unsigned *order) {
  const uint64_t *root = port_frame_ptr(s2->pt.root_pfn);
  uint64_t desc = root[ia >> 21], address = 0x0000fffffffff000;
  *order = 9;
  if ((desc & 3) == 3) {
    *order = 0;
    desc = ((const uint64_t *)port_frame_ptr(pfn((desc & address) >> 12)))[ia >> 12 & 511];
  }
  if (!(desc & 1))
    return PFN_NONE;
  return pfn(((desc & address) >> 12) + (*order ? ia >> 12 & 511 : 0));
}

void fake_stage2_back(uint64_t ia, bool block) {
  unsigned order = block ? 9 : 0;
  pfn_t f;
  ia = align_down(ia, PAGE_SIZE << order);
  assert_int_equal(page_alloc_owned(order, ALLOC_MOVABLE, s2->pt.id, ia, &f), ERR_OK);
  memset(port_frame_ptr(f), 0, PAGE_SIZE << order);
  if (pt_map_leaf(&s2->pt, ia, pfn_pa(f), order ? 2 : 3, PT_R | PT_W | PT_X) == ERR_OK)
    s2->populated_frames += 1u << order;
  else
    page_free(f, order);
}

static void *translate(uint64_t ia) {
  unsigned order;
  pfn_t f = fake_stage2_frame(ia, &order);
  uint64_t *entry = &tlb[(ia - VM_RAM_BASE) / PAGE_SIZE];
  assert_true(*entry == NOTHING || *entry == f.v);
  if (pfn_is_none(f))
    return NULL;
  *entry = f.v;
  return (char *)port_frame_ptr(f) + ia % PAGE_SIZE;
}

uint64_t fake_guest_read(uint64_t ia) {
  uint64_t *at = translate(ia);
  return at ? *at : 0;
}

void fake_guest_write(uint64_t ia, uint64_t value) {
  if (!translate(ia))
    fake_stage2_back(ia, false);
  *(uint64_t *)translate(ia) = value;
}

/* ---- what hyp/mem/stage2.c offers ---- */

static bool in_ram(ipa_t a, uint64_t bytes) {
  return stage2_is_ram_range(s2, a, bytes);
}

err_t stage2_read(struct stage2 *of, void *to, ipa_t from, uint64_t bytes) {
  unsigned order;
  assert_ptr_equal(of, s2);
  if (!in_ram(from, bytes))
    return ERR_RANGE;
  for (uint64_t i = 0; i < bytes; i++) {
    pfn_t f = fake_stage2_frame(from.v + i, &order);
    ((char *)to)[i] = pfn_is_none(f) ? 0 : ((char *)port_frame_ptr(f))[(from.v + i) % PAGE_SIZE];
  }
  return ERR_OK;
}

err_t stage2_write(struct stage2 *of, ipa_t to, const void *from, uint64_t bytes) {
  unsigned order;
  assert_ptr_equal(of, s2);
  if (!in_ram(to, bytes))
    return ERR_RANGE;
  for (uint64_t i = 0; i < bytes; i++) {
    if (pfn_is_none(fake_stage2_frame(to.v + i, &order)))
      fake_stage2_back(to.v + i, false);
    ((char *)port_frame_ptr(fake_stage2_frame(to.v + i, &order)))[(to.v + i) % PAGE_SIZE] = ((const char *)from)[i];
  }
  return ERR_OK;
}

err_t stage2_load16(struct stage2 *of, ipa_t from, uint16_t *out) {
  return is_aligned(from.v, 2) ? stage2_read(of, out, from, 2) : ERR_INVAL;
}

err_t stage2_store16(struct stage2 *of, ipa_t to, uint16_t value) {
  return is_aligned(to.v, 2) ? stage2_write(of, to, &value, 2) : ERR_INVAL;
}

err_t stage2_split(struct stage2 *of, uint64_t a) {
  struct pt_leaf leaf;
  if (pt_lookup(&of->pt, a, &leaf) != ERR_OK || leaf.level != 2)
    return ERR_OK;
  err_t err = pt_split(&of->pt, a);
  if (err == ERR_OK) {
    frame_split_block(pa_pfn(pa(align_down(leaf.out.v, SZ_2M))), 9, 0);
    fake_splits++;
  }
  return err;
}

void stage2_forget_views(struct stage2 *of, ipa_t start, uint64_t bytes) {
  assert_true(of == s2 && in_ram(start, bytes));
  fake_views_forgotten++;
}
