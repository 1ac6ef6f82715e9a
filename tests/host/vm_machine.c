/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * CPUs, TLBs and walk caches for the tests of guest/vm: see vm_machine.h. A fetch is only allowed from a frame whose instruction caches
 * were synchronised since it left the allocator.
 */
#include "vm_machine.h"
#include "core/bits.h"
#include "guest/vm/asid.h"
#include "guest/vm/rmap.h"
#include "mm/frame.h"
#include "mm/page_alloc.h"
#include "mm/slab.h"
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <setjmp.h>

#include <cmocka.h>

#define RAM_BASE_PFN ((uint64_t)0x40000)
#define TLB_ENTRIES 48u
#define WALK_ENTRIES 16u
#define ACCESS_TRIES 4

#define DESC_OA GENMASK(47, 12)

struct tlb_entry {
  bool valid;
  uint16_t asid;
  uint64_t page; /* va >> 12; of a walk-cache entry va >> 21 */
  uint64_t desc; /* leaf; of a walk-cache entry the address of the level-3 table */
};

static struct cpu {
  struct tlb_entry tlb[TLB_ENTRIES], walk[WALK_ENTRIES];
  unsigned next_tlb, next_walk;
} cpus[MACHINE_CPUS];

uint64_t machine_icache_syncs, machine_flushes, machine_flushes_local;
static uint64_t ram_frames;
static uint8_t *icache_clean; /* per frame */
static uint8_t *window;
static uint64_t window_pages;

/* ---- The window ---- */

static bool in_window(uint64_t frame) {
  return frame - MACHINE_WINDOW_PFN < window_pages;
}

void *machine_create_window(uint64_t pages) {
  free(window);
  window = calloc(pages, PAGE_SIZE);
  window_pages = pages;
  return window;
}

/* ---- Flushes: what the TLBs forget ---- */

static void forget(unsigned cpu, uint16_t asid, uint64_t start, uint64_t size, bool tables) {
  struct cpu *c = &cpus[cpu];
  for (unsigned i = 0; i < TLB_ENTRIES; i++) {
    struct tlb_entry *e = &c->tlb[i];
    if (e->asid == asid && (e->page << 12) - start < size)
      e->valid = false;
  }
  for (unsigned i = 0; tables && i < WALK_ENTRIES; i++) {
    struct tlb_entry *e = &c->walk[i];
    if (e->asid == asid && (e->page << 21) + SZ_2M > start && e->page << 21 < start + size)
      e->valid = false;
  }
}

void vmhome_flush(uint16_t asid, uint64_t start, uint64_t size, bool tables);
void vmhome_flush(uint16_t asid, uint64_t start, uint64_t size, bool tables) {
  assert_true(size > 0 && is_aligned(start | size, PAGE_SIZE));
  __atomic_add_fetch(&machine_flushes, 1, __ATOMIC_RELAXED);
  for (unsigned cpu = 0; cpu < MACHINE_CPUS; cpu++)
    forget(cpu, asid, start, size, tables);
}

void vmhome_flush_mm(uint16_t asid);
void vmhome_flush_mm(uint16_t asid) {
  __atomic_add_fetch(&machine_flushes, 1, __ATOMIC_RELAXED);
  for (unsigned cpu = 0; cpu < MACHINE_CPUS; cpu++)
    forget(cpu, asid, 0, TASK_SIZE, true);
}

void vmhome_flush_local_page(uint16_t asid, uint64_t addr);
void vmhome_flush_local_page(uint16_t asid, uint64_t addr) {
  __atomic_add_fetch(&machine_flushes_local, 1, __ATOMIC_RELAXED);
  forget(port_cpu(), asid, addr & PAGE_MASK, PAGE_SIZE, false);
}

void vmhome_flush_local_all(void);
void vmhome_flush_local_all(void) {
  memset(&cpus[port_cpu()], 0, sizeof cpus[0]);
}

void vmhome_sync_icache(uint64_t frame);
void vmhome_sync_icache(uint64_t frame) {
  icache_clean[frame - RAM_BASE_PFN] = 1;
  __atomic_add_fetch(&machine_icache_syncs, 1, __ATOMIC_RELAXED);
}

/* ---- The walk (Arm ARM D8.3): 4 KiB granule, 39 bits, levels 1 to 3 ---- */

static uint64_t read_desc(uint64_t table, unsigned index) {
  const uint64_t *entries = port_frame_ptr(pfn(table >> 12));
  return entries[index];
}

static void assert_table_desc(uint64_t desc) {
  assert_int_equal(desc & 3, 3);
  assert_int_equal(bits_get(desc, 63, 59), 0); /* no hierarchical permissions */
  assert_int_equal(frame_state(pfn((desc & DESC_OA) >> 12)), FRAME_TABLE);
}

/* The only shape a user page may have; a block, only of the window, differs in its type. */
static void assert_leaf_desc(uint64_t desc, unsigned level) {
  bool special = in_window((desc & DESC_OA) >> 12);
  assert_int_equal(desc & 3, level == 3 ? 3 : 1);
  assert_true(level == 3 || (special && is_aligned(desc & DESC_OA, SZ_2M)));
  assert_int_equal(bits_get(desc, 55, 55), special);
  assert_int_equal(bits_get(desc, 58, 56), 0);
  assert_int_equal(bits_get(desc, 4, 2), 1);   /* AttrIndx: normal write-back */
  assert_int_equal(bits_get(desc, 9, 8), 3);   /* inner shareable */
  assert_int_equal(bits_get(desc, 10, 10), 1); /* AF */
  assert_int_equal(bits_get(desc, 11, 11), 1); /* nG: tagged with the ASID */
  assert_int_equal(bits_get(desc, 5, 5), 0);   /* NS is RES0 in Non-secure state */
  assert_int_equal(bits_get(desc, 50, 48), 0);
  assert_int_equal(bits_get(desc, 52, 52), 0); /* not contiguous */
  assert_int_equal(bits_get(desc, 53, 53), 1); /* PXN: the kernel never executes user pages */
}

static uint64_t next_table(uint64_t table, uint64_t addr, unsigned level) {
  uint64_t desc = read_desc(table, (addr >> (39 - 9 * level)) & 511);
  if (!(desc & 1))
    return 0;
  assert_table_desc(desc);
  return desc & DESC_OA;
}

static uint64_t level2_table(const struct mm_struct *mm, uint64_t addr) {
  return next_table(pfn_pa(mm->pt.root_pfn).v, addr, 1);
}

/* The descriptor of the block that translates `addr`; 0: none does. */
static uint64_t block_desc(const struct mm_struct *mm, uint64_t addr) {
  uint64_t table = level2_table(mm, addr), desc = table ? read_desc(table, (addr >> 21) & 511) : 0;
  if ((desc & 3) != 1)
    return 0;
  assert_leaf_desc(desc, 2);
  return desc;
}

/* What a block says of one of its pages, in the form of a page. */
static uint64_t page_of_block(uint64_t desc, uint64_t addr) {
  return desc ? desc | 2 | (addr & (SZ_2M - PAGE_SIZE)) : 0;
}

static uint64_t level3_table(const struct mm_struct *mm, uint64_t addr) {
  uint64_t table = level2_table(mm, addr);
  return table && !block_desc(mm, addr) ? next_table(table, addr, 2) : 0;
}

static uint64_t leaf_desc(uint64_t table, uint64_t addr) {
  uint64_t desc = table ? read_desc(table, (addr >> 12) & 511) : 0;
  if (!(desc & 1))
    return 0;
  assert_leaf_desc(desc, 3);
  return desc;
}

static struct machine_pte decode(uint64_t desc) {
  return (struct machine_pte){
      .frame = (desc & DESC_OA) >> 12,
      .user = bits_get(desc, 6, 6),
      .writable = !bits_get(desc, 7, 7),
      .user_exec = !bits_get(desc, 54, 54),
  };
}

bool machine_walk(const struct mm_struct *mm, uint64_t addr, struct machine_pte *out) {
  uint64_t block = block_desc(mm, addr), desc = block ? page_of_block(block, addr) : leaf_desc(level3_table(mm, addr), addr);
  if (desc) {
    *out = decode(desc);
    out->block = block != 0;
  }
  return desc != 0;
}

static void each_in_table(uint64_t table, unsigned level, uint64_t base, machine_page_fn *fn, void *ctx, uint64_t *tables) {
  ++*tables;
  assert_int_equal(frame_state(pfn(table >> 12)), FRAME_TABLE);
  for (unsigned i = 0; i < 512; i++) {
    uint64_t desc = read_desc(table, i), addr = base + ((uint64_t)i << (39 - 9 * level));
    if (!(desc & 1))
      continue;
    if (level == 2 && (desc & 3) == 1) {
      assert_leaf_desc(desc, 2);
      for (uint64_t page = addr; fn && page < addr + SZ_2M; page += PAGE_SIZE) {
        struct machine_pte pte = decode(page_of_block(desc, page));
        fn(ctx, page, &pte);
      }
    } else if (level < 3) {
      assert_table_desc(desc);
      each_in_table(desc & DESC_OA, level + 1, addr, fn, ctx, tables);
    } else if (fn) {
      assert_leaf_desc(desc, 3);
      struct machine_pte pte = decode(desc);
      fn(ctx, addr, &pte);
    }
  }
}

void machine_each_page(const struct mm_struct *mm, machine_page_fn *fn, void *ctx) {
  uint64_t tables = 0;
  each_in_table(pfn_pa(mm->pt.root_pfn).v, 1, 0, fn, ctx, &tables);
}

uint64_t machine_count_tables(const struct mm_struct *mm) {
  uint64_t tables = 0;
  each_in_table(pfn_pa(mm->pt.root_pfn).v, 1, 0, NULL, NULL, &tables);
  return tables;
}

/* ---- Accesses through the TLB ---- */

static struct tlb_entry *find_entry(struct tlb_entry *set, unsigned count, uint16_t asid, uint64_t page) {
  for (unsigned i = 0; i < count; i++) {
    if (set[i].valid && set[i].asid == asid && set[i].page == page)
      return &set[i];
  }
  return NULL;
}

/* As the hardware would: from the walk cache if it has the table, else from the root. */
static uint64_t walk_cached(struct cpu *c, uint16_t asid, const struct mm_struct *mm, uint64_t addr) {
  struct tlb_entry *e = find_entry(c->walk, WALK_ENTRIES, asid, addr >> 21);
  if (e)
    return leaf_desc(e->desc, addr);
  uint64_t block = block_desc(mm, addr);
  if (block)
    return page_of_block(block, addr);
  uint64_t table = level3_table(mm, addr);
  if (table)
    c->walk[c->next_walk++ % WALK_ENTRIES] = (struct tlb_entry){true, asid, addr >> 21, table};
  return leaf_desc(table, addr);
}

static uint64_t translate(const struct mm_struct *mm, uint16_t asid, uint64_t addr) {
  struct cpu *c = &cpus[port_cpu()];
  struct tlb_entry *e = find_entry(c->tlb, TLB_ENTRIES, asid, addr >> 12);
  if (e)
    return e->desc;
  uint64_t desc = walk_cached(c, asid, mm, addr);
  if (desc)
    c->tlb[c->next_tlb++ % TLB_ENTRIES] = (struct tlb_entry){true, asid, addr >> 12, desc};
  return desc;
}

static bool permits(uint64_t desc, enum access kind) {
  struct machine_pte pte = decode(desc);
  return pte.user && (kind == ACCESS_FETCH ? pte.user_exec : kind == ACCESS_STORE ? pte.writable : true);
}

/* The frame may be read, and written if `pte` says so: the zero page may not. */
static void assert_frame(const struct machine_pte *pte, enum access kind) {
  if (in_window(pte->frame)) {
    assert_int_not_equal(kind, ACCESS_FETCH);
    return;
  }
  enum frame_state state = frame_state(pfn(pte->frame));
  assert_true(state == FRAME_OWNED || (state == FRAME_CORE && !pte->writable));
  if (kind == ACCESS_FETCH)
    assert_true(icache_clean[pte->frame - RAM_BASE_PFN]);
}

static void perform(uint64_t desc, uint64_t addr, enum access kind, uint64_t *value) {
  struct machine_pte pte = decode(desc);
  assert_frame(&pte, kind);
  uint8_t *page = in_window(pte.frame) ? window + ((pte.frame - MACHINE_WINDOW_PFN) << PAGE_SHIFT) : port_frame_ptr(pfn(pte.frame));
  uint64_t *word = (uint64_t *)(void *)(page + (addr & (PAGE_SIZE - 1)));
  if (kind == ACCESS_STORE)
    *word = *value;
  else
    *value = *word;
}

enum vm_fault machine_access(struct mm_struct *mm, uint64_t addr, enum access kind, uint64_t *value) {
  static const unsigned flags_of[] = {0, FAULT_FLAG_WRITE, FAULT_FLAG_EXEC};
  static unsigned drop_hint;
  port_flags_t irq = port_irq_save();
  enum vm_fault verdict = VM_FAULT_OK;
  for (int tries = 0; tries < ACCESS_TRIES; tries++) {
    struct mm_active active = mm_activate(mm);
    assert_int_equal(active.root.v, pfn_pa(mm->pt.root_pfn).v);
    uint64_t desc = addr < TASK_SIZE ? translate(mm, active.asid, addr) : 0;
    if (desc && permits(desc, kind)) {
      perform(desc, addr, kind, value);
      break;
    }
    assert_int_not_equal(tries, ACCESS_TRIES - 1); /* livelock */
    unsigned hint = desc && drop_hint++ % 3 ? FAULT_FLAG_PRESENT : 0;
    verdict = handle_mm_fault(mm, addr, flags_of[kind] | hint);
    if (verdict != VM_FAULT_OK)
      break;
  }
  port_irq_restore(irq);
  return verdict;
}

/* ---- Boot ---- */

/* The frame table lies in the first frames of RAM. */
void machine_boot(uint64_t frames) {
  const struct mem_range ram = {pfn(RAM_BASE_PFN), pfn(RAM_BASE_PFN + frames)};
  uint64_t table_frames = align_up(frame_table_bytes(&ram, 1), PAGE_SIZE) >> PAGE_SHIFT;
  const struct mem_range reserved = {ram.start, pfn_add(ram.start, table_frames)};
  ram_frames = frames;
  port_host_ram_create(RAM_BASE_PFN, frames);
  icache_clean = calloc(frames, 1);
  assert_int_equal(page_alloc_init(&ram, 1, &reserved, 1, port_frame_ptr(ram.start)), ERR_OK);
  assert_int_equal(vm_init(8), ERR_OK);
}

void machine_set_cpu(unsigned cpu) {
  port_host_cpu = cpu;
}

uint64_t machine_free_frames(void) {
  vm_shrink_slabs();
  return page_free_frames();
}

enum move_result machine_move(uint64_t frame) {
  pfn_t to;
  assert_int_equal(page_alloc(0, ALLOC_MOVABLE, &to), ERR_OK);
  enum move_result r = frame_move(pfn(frame), 0, to);
  if (r != MOVE_DONE) {
    page_free(to, 0);
    return r;
  }
  assert_int_equal(frame_state(pfn(frame)), FRAME_FREE);
  memset(port_frame_ptr(pfn(frame)), 0xdb, PAGE_SIZE);
  return r;
}

/* ---- Failures on demand ---- */

static unsigned fail_at, allocations;

void machine_fail_allocation(unsigned nth) {
  fail_at = nth;
  allocations = 0;
}

unsigned machine_allocations(void) {
  return allocations;
}

static bool fails_now(void) {
  return __atomic_add_fetch(&allocations, 1, __ATOMIC_RELAXED) == fail_at;
}

err_t __real_page_alloc(unsigned order, alloc_flags_t flags, pfn_t *out);
err_t __wrap_page_alloc(unsigned order, alloc_flags_t flags, pfn_t *out);
/* The slabs' own requests are not counted: slab_alloc_with() fails by itself, and a magazine less is no failure. */
static bool is_a_slabs(alloc_flags_t flags) {
  return (flags & (ALLOC_RETURN_CORE | ALLOC_ZERO)) == ALLOC_RETURN_CORE;
}

err_t __wrap_page_alloc(unsigned order, alloc_flags_t flags, pfn_t *out) {
  if (!is_a_slabs(flags) && fails_now())
    return ERR_NOMEM;
  err_t err = __real_page_alloc(order, flags, out);
  if (err == ERR_OK)
    memset(&icache_clean[out->v - RAM_BASE_PFN], 0, (size_t)1 << order);
  return err;
}

err_t __real_page_alloc_owned(unsigned order, alloc_flags_t flags, owner_t owner, uint64_t rmap, pfn_t *out);
err_t __wrap_page_alloc_owned(unsigned order, alloc_flags_t flags, owner_t owner, uint64_t rmap, pfn_t *out);
err_t __wrap_page_alloc_owned(unsigned order, alloc_flags_t flags, owner_t owner, uint64_t rmap, pfn_t *out) {
  if (fails_now())
    return ERR_NOMEM;
  err_t err = __real_page_alloc_owned(order, flags, owner, rmap, out);
  if (err == ERR_OK)
    memset(&icache_clean[out->v - RAM_BASE_PFN], 0, (size_t)1 << order);
  return err;
}

void *__real_slab_alloc_with(struct slab_cache *cache, alloc_flags_t flags);
void *__wrap_slab_alloc_with(struct slab_cache *cache, alloc_flags_t flags);
void *__wrap_slab_alloc_with(struct slab_cache *cache, alloc_flags_t flags) {
  return fails_now() ? NULL : __real_slab_alloc_with(cache, flags);
}

/* ---- Invariants ---- */

static uint64_t naive_gap(const struct vm_area_struct *vma) {
  uint64_t low = vma->vm_prev ? vma->vm_prev->vm_end : 0, high = vma->vm_start;
  if (vma->vm_flags & VM_GROWSDOWN)
    high = high > STACK_GUARD_GAP ? high - STACK_GUARD_GAP : 0;
  return high > low ? high - low : 0;
}

/* Checks colours, parents, and that no bound is less than what it bounds; returns the bound. `*black` gets the black height. */
static uint64_t check_subtree(const struct rb_node *n, const struct rb_node *parent, unsigned *black, unsigned *count) {
  unsigned left_black, right_black;
  if (!n) {
    *black = 1;
    return 0;
  }
  const struct vm_area_struct *vma = container_of(n, const struct vm_area_struct, vm_rb);
  assert_ptr_equal(n->parent, parent);
  assert_false(n->red && parent && parent->red);
  ++*count;
  uint64_t left = check_subtree(n->left, n, &left_black, count), right = check_subtree(n->right, n, &right_black, count);
  assert_int_equal(left_black, right_black);
  *black = left_black + !n->red;
  assert_true(n->bound >= naive_gap(vma) && n->bound >= left && n->bound >= right);
  return n->bound;
}

static bool alike(const struct vm_area_struct *a, const struct vm_area_struct *b) {
  return a->vm_end == b->vm_start && a->vm_flags == b->vm_flags && a->vm_ops == b->vm_ops && a->vm_backing == b->vm_backing &&
         a->vm_pgoff + ((a->vm_end - a->vm_start) >> 12) == b->vm_pgoff;
}

static void check_chain(const struct mm_struct *mm) {
  const struct vm_area_struct *prev = NULL;
  uint64_t pages = 0;
  unsigned count = 0;
  for (const struct vm_area_struct *vma = mm->mmap; vma; prev = vma, vma = vma->vm_next) {
    assert_ptr_equal(vma->vm_prev, prev);
    assert_ptr_equal(vma->vm_mm, mm);
    assert_true(vma->vm_start < vma->vm_end && vma->vm_end <= TASK_SIZE && is_aligned(vma->vm_start | vma->vm_end, PAGE_SIZE));
    assert_true(!prev || prev->vm_end <= vma->vm_start);
    assert_false(prev && alike(prev, vma));
    if (!vma->vm_ops)
      assert_int_equal(vma->vm_pgoff, vma->vm_start >> 12);
    assert_ptr_equal(rb_prev(&vma->vm_rb), prev ? &prev->vm_rb : NULL);
    pages += (vma->vm_end - vma->vm_start) >> 12;
    count++;
  }
  assert_int_equal(mm->map_count, count);
  assert_int_equal(mm->total_vm, pages);
  assert_int_equal(mm->highest_vm_end, prev ? prev->vm_end : 0);
}

struct page_count {
  const struct mm_struct *mm;
  uint64_t rss[MM_RSS_KINDS];
};

static const struct vm_area_struct *naive_find(const struct mm_struct *mm, uint64_t addr) {
  const struct vm_area_struct *vma = mm->mmap;
  while (vma && vma->vm_end <= addr)
    vma = vma->vm_next;
  return vma && vma->vm_start <= addr ? vma : NULL;
}

/* Each page lies in a VMA that knows it may have pages, and is allowed no more than that VMA. */
static void check_page(void *ctx, uint64_t addr, const struct machine_pte *pte) {
  struct page_count *c = ctx;
  const struct vm_area_struct *vma = naive_find(c->mm, addr);
  assert_non_null(vma);
  assert_true(vma->faulted);
  assert_int_equal(pte->user, (vma->vm_flags & VM_ACCESS_FLAGS) != 0);
  assert_true(!pte->writable || (vma->vm_flags & VM_WRITE));
  assert_int_equal(pte->user_exec, (vma->vm_flags & VM_EXEC) != 0);
  assert_int_equal(in_window(pte->frame), (vma->vm_flags & VM_PFNMAP) != 0);
  if (in_window(pte->frame)) {
    assert_int_equal(pte->frame, MACHINE_WINDOW_PFN + vma->vm_pgoff + ((addr - vma->vm_start) >> 12));
    return;
  }
  if (frame_state(pfn(pte->frame)) == FRAME_CORE) {
    assert_false(pte->writable);
    return;
  }
  const struct frame *frame = frame_of(pfn(pte->frame));
  assert_int_equal(frame->state, FRAME_OWNED);
  assert_int_equal(frame->owner, OWNER_USER);
  enum rmap_kind kind = rmap_key_kind(frame->rmap);
  assert_int_equal(kind == RMAP_SHARED, (vma->vm_flags & VM_SHARED) != 0);
  if (kind != RMAP_SHARED) {
    assert_int_equal(rmap_key_addr(frame->rmap), addr);
    assert_int_equal(rmap_key_id(frame->rmap), c->mm->rmap_id);
    assert_false(pte->writable && frame->refs != 1);
  }
  c->rss[kind - RMAP_ANON]++;
}

void machine_check_mm(const struct mm_struct *mm) {
  unsigned black, count = 0;
  check_chain(mm);
  check_subtree(mm->mm_rb.node, NULL, &black, &count);
  assert_int_equal(count, mm->map_count);
  struct page_count pages = {.mm = mm};
  machine_each_page(mm, check_page, &pages);
  for (unsigned kind = 0; kind < MM_RSS_KINDS; kind++)
    assert_int_equal(mm->rss[kind], pages.rss[kind]);
  assert_int_equal(mm->pt.table_frames, machine_count_tables(mm));
}

static void count_ref(void *ctx, uint64_t addr, const struct machine_pte *pte) {
  (void)addr;
  uint32_t *refs = ctx;
  if (in_window(pte->frame))
    return;
  refs[pte->frame - RAM_BASE_PFN]++;
}

void machine_check_refs(struct mm_struct *const *mms, unsigned count) {
  uint32_t *refs = calloc(ram_frames, sizeof *refs);
  uint64_t wrong = 0;
  for (unsigned i = 0; i < count; i++)
    machine_each_page(mms[i], count_ref, refs);
  for (uint64_t i = 0; i < ram_frames; i++) {
    pfn_t f = pfn(RAM_BASE_PFN + i);
    if (frame_state(f) == FRAME_OWNED)
      wrong += frame_of(f)->refs != refs[i] + (rmap_key_kind(frame_of(f)->rmap) == RMAP_SHARED);
    else if (frame_state(f) != FRAME_CORE)
      wrong += refs[i] != 0;
  }
  free(refs);
  assert_int_equal(wrong, 0);
}
