/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef GUEST_VM_INTERNAL_H
#define GUEST_VM_INTERNAL_H

/*
 * What the files of guest/vm share among themselves. Unless a comment says otherwise the caller holds mm->mmap_lock, ranges are page
 * aligned and lie within [0, TASK_SIZE).
 */

#include "core/check.h"
#include "core/compiler.h"
#include "guest/vm/home.h"
#include "guest/vm/mm_types.h"
#include "guest/vm/mman.h"
#include "guest/vm/page.h"
#include "guest/vm/rmap.h"
#include "guest/vm/vm.h"
#include "mm/frame.h"

static inline port_flags_t mmap_lock(struct mm_struct *mm) {
  port_flags_t flags = port_irq_save();
  port_lock_acquire(&mm->mmap_lock);
  return flags;
}

static inline void mmap_unlock(struct mm_struct *mm, port_flags_t flags) {
  port_lock_release(&mm->mmap_lock);
  port_irq_restore(flags);
}

static inline uint64_t vma_pages(const struct vm_area_struct *vma) {
  return (vma->vm_end - vma->vm_start) >> PAGE_SHIFT;
}

/* Page offset in the backing of the page at `addr`. */
static inline uint64_t linear_page_index(const struct vm_area_struct *vma, uint64_t addr) {
  return vma->vm_pgoff + ((addr - vma->vm_start) >> PAGE_SHIFT);
}

/* Where the space that is kept for `vma` begins: a stack has its guard gap below it. */
static inline uint64_t vm_start_gap(const struct vm_area_struct *vma) {
  if (!(vma->vm_flags & VM_GROWSDOWN))
    return vma->vm_start;
  return vma->vm_start > STACK_GUARD_GAP ? vma->vm_start - STACK_GUARD_GAP : 0;
}

/* ---- objects.c: slabs; no lock needed ---- */
MUST_CHECK err_t vm_objects_init(void);
err_t vm_area_reserve_slow(struct mm_struct *mm, unsigned count);
/* mmap_lock held, or nobody knows the mm yet. See to it that the mm has `count` (at most VMA_SPARES_MAX) spare VMAs. ERR_NOMEM. */
static inline MUST_CHECK err_t vm_area_reserve(struct mm_struct *mm, unsigned count) {
  return likely(mm->vma_spare_count >= count) ? ERR_OK : vm_area_reserve_slow(mm, count);
}
/* One that was reserved; contents arbitrary. */
static inline struct vm_area_struct *vm_area_take(struct mm_struct *mm) {
  struct vm_area_struct *vma = mm->vma_spares;
  CHECK(vma != NULL);
  mm->vma_spares = vma->vm_next;
  mm->vma_spare_count--;
  return vma;
}
void vm_area_free_slow(struct vm_area_struct *vma);
static inline void vm_area_keep(struct mm_struct *mm, struct vm_area_struct *vma) {
  vma->vm_next = mm->vma_spares;
  mm->vma_spares = vma;
  mm->vma_spare_count++;
}
/* It may stay with the mm for its next need. */
static inline void vm_area_free(struct mm_struct *mm, struct vm_area_struct *vma) {
  if (likely(mm->vma_spare_count < VMA_SPARES_MAX))
    vm_area_keep(mm, vma);
  else
    vm_area_free_slow(vma);
}
/* Free what vm_area_free() kept. */
void vm_area_drop_spares(struct mm_struct *mm);
struct mm_struct *mm_struct_alloc(void); /* zeroed, or NULL; likewise the other */
void mm_struct_free(struct mm_struct *mm);
struct vm_shared *vm_shared_alloc(void);
void vm_shared_free(struct vm_shared *shared);

/* ---- vma.c: the tree ---- */
/* The first VMA that ends above `addr`, or NULL; it may begin above `addr` too. */
struct vm_area_struct *find_vma_slow(struct mm_struct *mm, uint64_t addr);
/* The same, and the one before it (the last VMA when the result is NULL). */
struct vm_area_struct *find_vma_prev(struct mm_struct *mm, uint64_t addr, struct vm_area_struct **prev);
/* Put `vma` right after `prev` (NULL: first). The range must be free. */
void vma_link(struct mm_struct *mm, struct vm_area_struct *vma, struct vm_area_struct *prev);
void vma_unlink(struct mm_struct *mm, struct vm_area_struct *vma);
/* Move an edge of `vma` within the free space around it; vm_pgoff follows the start. */
void vma_set_start(struct vm_area_struct *vma, uint64_t start);
void vma_set_end(struct vm_area_struct *vma, uint64_t end);
/* Move the common edge of two adjacent VMAs; both keep at least a page. */
void vma_move_edge(struct vm_area_struct *lower, struct vm_area_struct *upper, uint64_t edge);
/* Free space between `vma` (with its guard gap, if a stack) and its predecessor: what vm_rb.bound bounds. */
static inline uint64_t vma_gap_below(const struct vm_area_struct *vma) {
  uint64_t low = vma->vm_prev ? vma->vm_prev->vm_end : 0;
  uint64_t high = vm_start_gap(vma);
  return high > low ? high - low : 0;
}

static inline struct vm_area_struct *find_vma(struct mm_struct *mm, uint64_t addr) {
  struct vm_area_struct *vma = mm->mmap_cache;
  if (likely(vma && addr >= vma->vm_start && addr < vma->vm_end))
    return vma;
  return find_vma_slow(mm, addr);
}

/* ---- merge.c ---- */
/* What two neighbours must share to become one. */
struct vma_kind {
  vm_flags_t flags;
  const struct vm_operations *ops;
  void *backing;
};
/* True if a range of this kind that ends at `end` with page offset `end_pgoff` goes on in `vma`; `vma` may be NULL. */
bool can_vma_merge_before(const struct vm_area_struct *vma, const struct vma_kind *kind, uint64_t end, uint64_t end_pgoff);
/* True if `vma` goes on in a range of this kind that starts at `start` with `pgoff`. */
bool can_vma_merge_after(const struct vm_area_struct *vma, const struct vma_kind *kind, uint64_t start, uint64_t pgoff);
/* Cover the free range [start, end) by growing a neighbour or both (then they become one). The VMA that covers it now, or NULL: no
 * neighbour fits. */
struct vm_area_struct *vma_merge(struct mm_struct *mm, struct vm_area_struct *prev, uint64_t start, uint64_t end,
                                 const struct vma_kind *kind, uint64_t pgoff);
/* Cut off what `vma` has above or below `addr`, strictly inside; takes a reserved VMA for it. Cannot fail. */
void split_vma_above(struct mm_struct *mm, struct vm_area_struct *vma, uint64_t addr);
void split_vma_below(struct mm_struct *mm, struct vm_area_struct *vma, uint64_t addr);
void vma_merge_alike(struct mm_struct *mm, struct vm_area_struct *vma);
/* Let `vma` swallow those of its neighbours that are like it. */
static inline void vma_merge_neighbours(struct mm_struct *mm, struct vm_area_struct *vma) {
  const struct vm_area_struct *prev = vma->vm_prev, *next = vma->vm_next;
  if ((prev && prev->vm_flags == vma->vm_flags) || (next && next->vm_flags == vma->vm_flags))
    vma_merge_alike(mm, vma);
}
/* Take `vma` out of the tree and free it, letting go of its backing. */
void vma_remove(struct mm_struct *mm, struct vm_area_struct *vma);

/* All but links, tree and mm: what a split or a fork hands on. By way of a copy: the compiler can pair loads and stores then. */
static inline void vma_copy(struct vm_area_struct *to, const struct vm_area_struct *from) {
  const struct vm_area_struct copy = *from;
  to->vm_start = copy.vm_start;
  to->vm_end = copy.vm_end;
  to->vm_ops = copy.vm_ops;
  to->vm_backing = copy.vm_backing;
  to->vm_pgoff = copy.vm_pgoff;
  to->vm_flags = copy.vm_flags;
  to->vm_page_prot = copy.vm_page_prot;
  to->faulted = copy.faulted;
}

static inline struct vma_kind vma_kind_of(const struct vm_area_struct *vma) {
  return (struct vma_kind){.flags = vma->vm_flags, .ops = vma->vm_ops, .backing = vma->vm_backing};
}

/* ---- unmapped.c ---- */
/* Choose where `len` bytes go, given mmap's hint and flags; `prev` gets the VMA before the place. do_mmap's errors. */
MUST_CHECK err_t get_unmapped_area(struct mm_struct *mm, uint64_t hint, uint64_t len, unsigned flags, uint64_t *addr,
                                   struct vm_area_struct **prev);

/* ---- mmap.c ---- */
extern const pt_prot_t vm_page_prots[VM_ACCESS_FLAGS + 1];
/* What a page of a VMA with `flags` may be used for at most. */
static inline pt_prot_t vm_get_page_prot(vm_flags_t flags) {
  _Static_assert(VM_PFNMAP == PT_SW0, "the flag is the mark of its leaves (pfnmap.c)");
  return vm_page_prots[flags & VM_ACCESS_FLAGS] | (flags & VM_PFNMAP);
}
/* Make the free range [addr, addr + len) part of a VMA of `kind`, after `prev`, which is returned. Takes a reserved VMA unless a neighbour
 * grows. Cannot fail. */
struct vm_area_struct *mmap_region(struct mm_struct *mm, struct vm_area_struct *prev, uint64_t addr, uint64_t len,
                                   const struct vma_kind *kind, uint64_t pgoff);

/* ---- munmap.c ---- */
/* Unmap. A VMA is reserved where one must be cut in two. */
void unmap_region(struct mm_struct *mm, uint64_t start, uint64_t end);
/* True if unmapping [start, end) cuts a VMA in two. */
bool unmap_splits(struct mm_struct *mm, uint64_t start, uint64_t end);
MUST_CHECK err_t do_munmap_locked(struct mm_struct *mm, uint64_t start, uint64_t end);

/* ---- commit.c: atomic, no lock needed ---- */
void vm_commit_init(void);
/* Charge `pages` of future memory. ERR_NOMEM if that is obviously too much (Linux's OVERCOMMIT_GUESS). */
MUST_CHECK err_t vm_commit(uint64_t pages);
void vm_uncommit(uint64_t pages);
/* True if a VMA with these flags is charged for each page. */
static inline bool vm_accountable(vm_flags_t flags) {
  return (flags & (VM_NORESERVE | VM_SHARED | VM_WRITE)) == VM_WRITE;
}

/* ---- stack.c ---- */
/* Grow the stack `vma` down to the page of `addr`, below its start. ERR_NOMEM over a limit. */
MUST_CHECK err_t expand_stack(struct vm_area_struct *vma, uint64_t addr);

/* ---- anon.c ---- */
extern pfn_t zero_pfn;
MUST_CHECK err_t vm_zero_page_init(void);
/* As do_no_page(): ERR_NOMEM, ERR_EXIST. */
MUST_CHECK err_t do_anonymous_page(struct vm_area_struct *vma, uint64_t addr, bool write);

/* ---- cow.c ---- */
/* Make the page that `leaf` maps read-only at `addr` writable, by itself or by a copy. ERR_NOMEM. */
MUST_CHECK err_t do_wp_page(struct vm_area_struct *vma, uint64_t addr, const struct pt_leaf *leaf);

/* ---- fault.c ---- */
/* Put a frame under `addr`, which had none. ERR_EXIST, ERR_NOMEM as pt_map_leaf; then the frame is still the caller's. */
static inline MUST_CHECK err_t vm_map_page(struct vm_area_struct *vma, uint64_t addr, pfn_t frame, pt_prot_t prot) {
  if (prot & PT_UX)
    vm_home_sync_icache(frame);
  vma->faulted = true;
  return pt_map_leaf(&vma->vm_mm->pt, addr, pfn_pa(frame), 3, prot);
}
static inline void count_fault(struct mm_struct *mm, enum fault_kind kind) {
  mm->faults[kind]++;
}

/* ---- mm.c ---- */
/* As mm_alloc(), but unknown to rmap.c yet: for fork, which fills it without its lock. */
MUST_CHECK err_t mm_create(struct mm_struct **out);

/* ---- rmap.c: takes rmap_lock itself; mmap_lock may be held or not ---- */
extern struct port_lock rmap_lock;
void rmap_init(void);
/* From now on pages of `mm` may be found and moved; the mm is complete. */
void rmap_add_mm(struct mm_struct *mm);
/* No longer. When this returns nobody is about to. One that was never added does no harm. mmap_lock not held. */
void rmap_remove_mm(struct mm_struct *mm);
void rmap_add_shared(struct vm_shared *shared);
void rmap_remove_shared(struct vm_shared *shared);
/* A VMA of a shared object, as its open and close. */
void rmap_add_vma(struct vm_area_struct *vma);
void rmap_remove_vma(struct vm_area_struct *vma);
/*
 * Call `fn` for each place where `frame`, whose key that is, is mapped, with that mm's mmap_lock held, which `fn` keeps, until it answers
 * true. rmap_lock held. Left out are mms whose lock is held by somebody (the caller of rmap_walk() may be one), that are being made or
 * taken down, or that have not run yet: count what comes against frame->refs. The mm for which `fn` answered true is the first the next
 * time: neighbours in memory often belong together.
 */
typedef bool rmap_fn(void *ctx, struct mm_struct *mm, uint64_t addr);
void rmap_walk(uint64_t key, pfn_t frame, rmap_fn *fn, void *ctx);
/* The shared object of that key, or NULL. rmap_lock held. */
struct vm_shared *rmap_find_shared(uint64_t key);

/* ---- migrate.c ---- */
void vm_migrate_init(void);

/* ---- zap.c ---- */
/* Drop all pages in the range; the VMAs stay. */
void zap_page_range(struct mm_struct *mm, uint64_t start, uint64_t end);
/* Free every page, table and VMA of an mm that nobody uses any more; the root table stays. No lock. */
void exit_mmap(struct mm_struct *mm);
/* Before pages go: note how many there were at the most. */
void vm_update_hiwater(struct mm_struct *mm);

/* ---- pfnmap.c ---- */
extern const struct vm_operations pfnmap_vm_ops;
void pfnmap_cut_slow(struct mm_struct *mm, uint64_t start, uint64_t end);
/* Before VMAs end or change at `start` and `end`: a leaf that one of them cuts goes; its pages fault in again. */
static inline void pfnmap_cut(struct mm_struct *mm, uint64_t start, uint64_t end) {
  if (unlikely(mm->pfn_blocks != 0))
    pfnmap_cut_slow(mm, start, end);
}

/* ---- file.c, shared.c ---- */
extern const struct vm_operations file_private_vm_ops;
extern const struct vm_operations shared_vm_ops;
MUST_CHECK err_t vm_shared_create(uint64_t pages, bool account, struct vm_shared **out);
void vm_shared_put(struct vm_shared *shared);

#endif
