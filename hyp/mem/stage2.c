/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A VM's stage 2: its tables, and how its RAM comes to be backed. (How it goes: stage2_release.c. What EL2 itself reads and writes there:
 * stage2_access.c.)
 *
 * RAM is [ram_base, ram_base + ram_bytes), populated on first touch with zeroed frames: a 2 MiB block where none of it is there yet, 4 KiB
 * frames otherwise. A frame is zeroed before it is mapped. Tables are charged to the VM.
 *
 * Lock: s2->lock covers the tables. Zeroing and allocation happen outside it: two vCPUs that fault on one page both bring a frame, the
 * second one's goes back.
 */
#include "hyp/mem/stage2.h"
#include "arch/sysreg.h"
#include "core/bits.h"
#include "core/string.h"
#include "hyp/arch/cleanse.h"
#include "hyp/arch/features.h"
#include "hyp/arch/tlb.h"
#include "hyp/core/exit.h"
#include "hyp/core/vm.h"
#include "hyp/mem/background.h"
#include "mm/page_alloc.h"
#include "mm/port.h"

#define RAM_PROT (PT_R | PT_W | PT_X)
#define ORDER_2M 9u

err_t stage2_table_alloc(struct pt *pt, pfn_t *out) {
  /*
   * Not more effort: s2->lock is held, which a move takes. Tables of stage 2 itself may come out of the reserve: there is one at most for
   * each page that did not, and the split of a block needs one so that memory can be given back. A view's are a copy, of which a guest can
   * have many.
   */
  alloc_flags_t reserve = pt->id >> STAGE2_ID_VIEW_SHIFT ? 0 : ALLOC_HIGH;
  err_t err = page_alloc(0, ALLOC_UNMOVABLE | ALLOC_ZERO | ALLOC_MAY_RECLAIM | reserve, out);
  if (err == ERR_OK)
    frame_set_state(*out, 0, FRAME_TABLE, stage2_id_vm(pt->id), 0);
  return err;
}

void stage2_table_free(struct pt *pt, pfn_t table) {
  (void)pt;
  page_free(table, 0);
}

static struct stage2 *of_pt(struct pt *pt) {
  return container_of(pt, struct stage2, pt);
}

static void tlb_flush(struct pt *pt, uint64_t ia, uint64_t size, unsigned level, bool tables) {
  tlb_flush_ipa(pt, &of_pt(pt)->vmid, ipa(ia), size, level, tables);
}

/* Invalid entries are never cached in a TLB (Arm ARM D8.13.1), so making one valid needs no TLBI, only that walks see it. */
void stage2_publish(struct pt *pt) {
  (void)pt;
  port_dsb_ishst();
}

static const struct pt_ops ops = {
    .name = "stage2",
    .leaf = pt_leaf_s2,
    .prot = pt_prot_s2,
    .table_alloc = stage2_table_alloc,
    .table_free = stage2_table_free,
    .tlb_flush = tlb_flush,
    .publish = stage2_publish,
};

/*
 * The smallest geometry that covers the RAM: up to 16 concatenated level-2 tables (34 bits, two steps per walk), else level 1 (Arm
 * ARM D8.2.4, D8.2.7). SL0 encodes the start level: 0 is level 2, 1 is level 1.
 */
struct geometry {
  unsigned ia_bits, start_level, root_order, sl0;
};

static struct geometry geometry_for(uint64_t ram_end) {
  unsigned bits = bits_fls(ram_end - 1) + 1;
  if (bits <= 34) {
    bits = bits < 32 ? 32 : bits;
    return (struct geometry){bits, 2, bits - 30, 0};
  }
  unsigned extra = bits > 39 ? bits - 39 : 0;
  return (struct geometry){bits, 1, extra, 1};
}

static uint64_t vtcr_for(const struct geometry *g) {
  uint64_t vtcr = VTCR_RES1 | TCR_T0SZ(g->ia_bits) | (uint64_t)g->sl0 << VTCR_SL0_SHIFT | VTCR_IRGN0_WBWA | VTCR_ORGN0_WBWA |
                  VTCR_SH0_INNER | VTCR_TG0_4K | (uint64_t)features.pa_range << VTCR_PS_SHIFT;
  if (feature_on(HYP_FEAT_VMID16))
    vtcr |= VTCR_VS;
  if (feature_on(HYP_FEAT_HAFDBS))
    vtcr |= VTCR_HA;
  return vtcr;
}

static uint8_t populate_how(bool force_4k) {
  if (!background_has_pool())
    return force_4k ? POPULATE_PAGES : POPULATE_BLOCKS;
  return force_4k ? POPULATE_POOLED | POPULATE_POOLED_PAGES : POPULATE_POOLED;
}

err_t stage2_init(struct stage2 *s2, struct vm *vm, uint64_t ram_bytes, uint64_t window_bytes) {
  uint64_t managed_bytes = managed_bytes_of(vm->config.name);
  struct geometry g = geometry_for(VM_RAM_BASE + ram_bytes + window_bytes + managed_bytes);
  if (g.ia_bits > features.pa_bits || g.root_order > 4)
    return ERR_RANGE;
  pfn_t root;
  err_t err = page_alloc(g.root_order, ALLOC_UNMOVABLE | ALLOC_ZERO | ALLOC_EFFORT, &root);
  if (err != ERR_OK)
    return err;
  frame_set_state(root, g.root_order, FRAME_TABLE, vm->id, 0);
  _Static_assert(offsetof(struct stage2, lock) == 0, "what follows the lock is cleared");
  memset(&s2->pt, 0, sizeof(*s2) - offsetof(struct stage2, pt)); /* a restart: somebody may be at the lock */
  s2->vm = vm;
  s2->ram_base = ipa(VM_RAM_BASE);
  s2->ram_bytes = ram_bytes;
  s2->window_bytes = window_bytes;
  s2->managed_bytes = managed_bytes;
  s2->populate = populate_how(vm->config.force_4k);
  quota_arm(s2);
  s2->vtcr = vtcr_for(&g);
  unsigned feat = (feature_on(HYP_FEAT_BBM2) ? PT_FEAT_BBM2 : 0) | (feature_on(HYP_FEAT_FWB) ? PT_FEAT_FWB : 0);
  err = pt_init(&s2->pt, &ops, root, g.start_level, g.root_order, g.ia_bits, feat, vm->id);
  if (err != ERR_OK)
    page_free(root, g.root_order);
  return err;
}

/*
 * Interrupts are looked at half-way: a block that is cleaned, too, would fill all of the time that they may stay masked. No lock is held.
 */
static NOINLINE void cleanse_block(char *block) {
  cleanse_lines(block, SZ_2M / 2);
  irq_poll(this_cpu());
  cleanse_lines(block + SZ_2M / 2, SZ_2M / 2);
}

static ALWAYS_INLINE void cleanse(pfn_t f, unsigned order) {
  if (order == 0)
    cleanse_page(port_frame_ptr(f));
  else
    cleanse_block(port_frame_ptr(f));
  cleanse_icache();
}

void stage2_cleanse_block(pfn_t f, unsigned order) {
  cleanse(f, order);
}

void stage2_cleanse(pfn_t first, uint64_t frames) {
  cleanse_lines(port_frame_ptr(first), frames * PAGE_SIZE);
  cleanse_icache();
}

bool stage2_must_settle(void) {
  return features.needs_clean;
}

/*
 * Clean and invalidate, not clean alone: what was written past the caches lies under lines that are older (Arm ARM B2.8, mismatched
 * attributes).
 */
void stage2_settle(pfn_t first, uint64_t frames) {
  cache_clean_invalidate_poc(port_frame_ptr(first), frames * PAGE_SIZE);
}

void stage2_forget_code(void) {
  cleanse_icache();
}

/*
 * How far each request goes. No lock is held over any of them. A page is what the guest cannot do without; a block is worth no wait in a
 * fault, since pages will do and compactd makes a block of them later (so does Linux by default); in a VM that is being loaded it is worth
 * one.
 */
#define PAGE_FLAGS (ALLOC_MOVABLE | ALLOC_EFFORT)
#define FAULT_BLOCK_FLAGS ALLOC_MOVABLE
#define LOAD_BLOCK_FLAGS (ALLOC_MOVABLE | ALLOC_EFFORT)

static ALWAYS_INLINE err_t link_populated(struct stage2 *s2, uint64_t ia, unsigned order, pfn_t f) {
  err_t err = unlikely(s2->given != NULL) && stage2_is_given(s2, ia, (uint64_t)1 << order)
                  ? ERR_PERM
                  : pt_map_leaf(&s2->pt, ia, pfn_pa(f), order ? 2 : 3, RAM_PROT);
  if (likely(err == ERR_OK)) {
    s2->populated_frames += (uint64_t)1 << order;
    if (order)
      s2->faults_2m++;
    else
      s2->faults_4k++;
  }
  spin_unlock(&s2->lock);
  if (unlikely(err != ERR_OK))
    page_free(f, order);
  return err;
}

/* Beyond a mark of its quota. What another vCPU has mapped meanwhile needs no more of it. s2->lock is held, and released. */
static NOINLINE err_t link_noticed(struct stage2 *s2, uint64_t ia, unsigned order, pfn_t f) {
  struct pt_leaf leaf;
  err_t err = quota_notice(s2, order);
  if (err == ERR_OK)
    return link_populated(s2, ia, order, f);
  if (pt_lookup(&s2->pt, ia, &leaf) == ERR_OK)
    err = ERR_EXIST;
  spin_unlock(&s2->lock);
  page_free(f, order);
  return err;
}

static ALWAYS_INLINE bool passes_mark(const struct stage2 *s2, unsigned order) {
  if (order == 0)
    return s2->populated_frames >= s2->notice_frames; /* one load for both, a comparison and a branch */
  return s2->populated_frames + ((uint64_t)1 << order) > s2->notice_frames;
}

static ALWAYS_INLINE err_t map_populated(struct stage2 *s2, uint64_t ia, unsigned order, pfn_t f) {
  spin_lock(&s2->lock);
  if (unlikely(passes_mark(s2, order)))
    return link_noticed(s2, ia, order, f);
  return link_populated(s2, ia, order, f);
}

/* Specialised for a page and for a block: `order` is a constant where it is inlined. */
static ALWAYS_INLINE err_t populate_leaf(struct stage2 *s2, uint64_t ia, unsigned order, alloc_flags_t flags) {
  pfn_t f;
  err_t err = page_alloc_owned(order, flags, s2->pt.id, ia, &f);
  if (unlikely(err != ERR_OK))
    return err;
  cleanse(f, order);
  return map_populated(s2, ia, order, f);
}

/* The same, from the zeroed pool if it has one: what comes from there is cleansed already, instruction caches included. */
static NOINLINE err_t populate_leaf_pooled(struct stage2 *s2, uint64_t ia, unsigned order, alloc_flags_t flags) {
  pfn_t f;
  bool zeroed;
  err_t err = page_alloc_owned_zeroed(order, flags, s2->pt.id, ia, &f, &zeroed);
  if (unlikely(err != ERR_OK))
    return err;
  if (!zeroed)
    cleanse(f, order);
  return map_populated(s2, ia, order, f);
}

static err_t or_was_there(err_t err) {
  return unlikely(err == ERR_EXIST) ? ERR_OK : err;
}

static NOINLINE err_t populate_page(struct stage2 *s2, uint64_t a) {
  return or_was_there(populate_leaf(s2, align_down(a, PAGE_SIZE), 0, PAGE_FLAGS));
}

/*
 * May a 2 MiB block go here? Not if a table of 4 KiB leaves, or a leaf, stands there already, nor where part of it is handed over or in the
 * balloon.
 */
static bool block_possible(struct stage2 *s2, uint64_t ia) {
  struct pt_leaf leaf;
  spin_lock(&s2->lock);
  err_t err = pt_lookup(&s2->pt, ia, &leaf);
  bool possible = err == ERR_NOENT && leaf.level <= 2 && !stage2_is_given(s2, align_down(ia, SZ_2M), SZ_2M / PAGE_SIZE);
  spin_unlock(&s2->lock);
  return possible && !stage2_is_ballooned(s2, align_down(ia, SZ_2M), SZ_2M / PAGE_SIZE);
}

static NOINLINE err_t populate_large(struct stage2 *s2, uint64_t a) {
  if (!block_possible(s2, a))
    return populate_page(s2, a);
  err_t err = populate_leaf(s2, align_down(a, SZ_2M), ORDER_2M, FAULT_BLOCK_FLAGS);
  /* No block to be had, or the place was taken meanwhile, perhaps by smaller leaves. */
  return likely(err == ERR_OK) ? err : populate_page(s2, a);
}

/* With a pool, or not in a hurry. */
static NOINLINE err_t populate_pooled(struct stage2 *s2, uint64_t a, alloc_flags_t block_flags) {
  bool pages = s2->populate & (POPULATE_PAGES | POPULATE_POOLED_PAGES);
  if (!pages && block_possible(s2, a) && populate_leaf_pooled(s2, align_down(a, SZ_2M), ORDER_2M, block_flags) == ERR_OK)
    return ERR_OK;
  return or_was_there(populate_leaf_pooled(s2, align_down(a, PAGE_SIZE), 0, PAGE_FLAGS));
}

err_t stage2_populate_ram(struct stage2 *s2, uint64_t a) {
  if (s2->populate & POPULATE_PAGES)
    return populate_page(s2, a);
  return likely(s2->populate == POPULATE_BLOCKS) ? populate_large(s2, a) : populate_pooled(s2, a, FAULT_BLOCK_FLAGS);
}

err_t stage2_populate(struct stage2 *s2, ipa_t a) {
  return stage2_is_ram(s2, a) ? populate_pooled(s2, a.v, LOAD_BLOCK_FLAGS) : ERR_RANGE;
}
