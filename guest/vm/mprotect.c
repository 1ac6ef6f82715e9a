/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * mprotect(2).
 *
 * Everything that can fail comes first: the range must be mapped throughout, newly writable private memory is charged, and VMAs for
 * at most two cuts are reserved. Then mprotect_fixup() turns VMA after VMA, so an error changes nothing (Linux stops half-way).
 * Permissions of mapped pages are chosen one by one: a page that fork shares, or the zero page, must not become writable with its VMA.
 * Lock: mmap_lock.
 */

#include "guest/vm/internal.h"

/* Flags of `vma` when VM_READ, VM_WRITE and VM_EXEC are as `access` says; once charged, always charged. */
static vm_flags_t changed_flags(const struct vm_area_struct *vma, vm_flags_t access) {
  vm_flags_t flags = (vma->vm_flags & ~VM_ACCESS_FLAGS) | access;
  return vm_accountable(flags) ? flags | VM_ACCOUNT : flags;
}

/* ---- Pages ---- */

struct page_change {
  const struct vm_area_struct *vma;
  bool gained;
};

/* What a page may be used for: all that the VMA allows, but no write to a frame that others see and the VMA does not share. */
static pt_prot_t page_prot(const struct vm_area_struct *vma, pfn_t frame) {
  pt_prot_t prot = vma->vm_page_prot;
  if (!(prot & PT_W) || (vma->vm_flags & VM_SHARED))
    return prot;
  return pfn_eq(frame, zero_pfn) || !user_page_is_exclusive(frame) ? prot & ~PT_W : prot;
}

static pt_prot_t change_page(void *ctx, uint64_t ia, pa_t out, unsigned level, pt_prot_t old) {
  struct page_change *pc = ctx;
  (void)ia, (void)level;
  pt_prot_t now = page_prot(pc->vma, pa_pfn(out));
  if (now & ~old) {
    pc->gained = true;
    if (now & ~old & PT_UX)
      vm_home_sync_icache(pa_pfn(out));
  }
  return now;
}

/* An entry that only gained is flushed too: without it each would cost a spurious fault. */
static ALWAYS_INLINE void flush(const struct mm_struct *mm, uint64_t from, uint64_t to) {
  if (mm->context.id)
    vm_home_tlb_flush(&mm->context, from, to - from, false);
}

/* The engine flushes what lost, and leaves alone what gained. */
static NOINLINE void change_pages(struct vm_area_struct *vma, uint64_t from, uint64_t to) {
  struct page_change pc = {.vma = vma};
  pt_protect_each(&vma->vm_mm->pt, from, to - from, change_page, &pc);
  if (pc.gained)
    flush(vma->vm_mm, from, to);
}

static ALWAYS_INLINE void change_one(struct vm_area_struct *vma, uint64_t addr) {
  struct mm_struct *mm = vma->vm_mm;
  struct pt_leaf leaf;
  if (pt_lookup(&mm->pt, addr, &leaf) != ERR_OK)
    return;
  pt_prot_t now = page_prot(vma, pa_pfn(leaf.out));
  if (now == leaf.prot)
    return;
  if (now & ~leaf.prot & PT_UX)
    vm_home_sync_icache(pa_pfn(leaf.out));
  pt_protect_leaf(&mm->pt, &leaf, now);
  flush(mm, addr, addr + PAGE_SIZE);
}

/* The pages of [from, to), all of which `vma` covers now: it may cover others that have been like that before. */
static ALWAYS_INLINE void change_protection(struct vm_area_struct *vma, uint64_t from, uint64_t to) {
  if (!vma->faulted)
    return;
  if (to - from == PAGE_SIZE)
    change_one(vma, from);
  else
    change_pages(vma, from, to);
}

/* ---- VMAs ---- */

static void set_flags(struct vm_area_struct *vma, vm_flags_t flags) {
  vma->vm_flags = flags;
  vma->vm_page_prot = vm_get_page_prot(flags);
}

/* How often `vma` must be cut for [from, to) to stand alone. */
static unsigned cuts(const struct vm_area_struct *vma, uint64_t from, uint64_t to) {
  return (from > vma->vm_start) + (to < vma->vm_end);
}

/*
 * A piece at one end of `vma` may go on in the neighbour there. Then no cut is needed, only the edge moves:
 *
 *     PPPPVVVVVVVV        VVVVVVVVNNNN
 *         xxxx                xxxx
 *     PPPPPPPPVVVV        VVVVNNNNNNNN
 *
 * Returns the neighbour, or NULL.
 */
static NOINLINE struct vm_area_struct *find_taker(const struct vm_area_struct *vma, uint64_t from, vm_flags_t flags) {
  struct vma_kind kind = vma_kind_of(vma);
  kind.flags = flags;
  if (from == vma->vm_start)
    return can_vma_merge_after(vma->vm_prev, &kind, from, vma->vm_pgoff) ? vma->vm_prev : NULL;
  return can_vma_merge_before(vma->vm_next, &kind, vma->vm_end, vma->vm_pgoff + vma_pages(vma)) ? vma->vm_next : NULL;
}

static struct vm_area_struct *taker_of(const struct vm_area_struct *vma, uint64_t from, uint64_t to, vm_flags_t flags) {
  return cuts(vma, from, to) == 1 ? find_taker(vma, from, flags) : NULL;
}

static NOINLINE void hand_over(struct vm_area_struct *vma, struct vm_area_struct *taker, uint64_t from, uint64_t to) {
  taker->faulted |= vma->faulted;
  if (taker == vma->vm_prev)
    vma_move_edge(taker, vma, to);
  else
    vma_move_edge(vma, taker, from);
}

/* `vma` becomes [from, to) with the new flags, and whoever is like it then becomes part of it. */
static ALWAYS_INLINE void carve(struct mm_struct *mm, struct vm_area_struct *vma, uint64_t from, uint64_t to, vm_flags_t flags) {
  if (from > vma->vm_start)
    split_vma_below(mm, vma, from);
  if (to < vma->vm_end)
    split_vma_above(mm, vma, to);
  set_flags(vma, flags);
  vma_merge_neighbours(mm, vma);
}

/* Pages of [from, to) in `vma` that are charged from now on. */
static uint64_t newly_charged(const struct vm_area_struct *vma, vm_flags_t flags, uint64_t from, uint64_t to) {
  return unlikely(flags & ~vma->vm_flags & VM_ACCOUNT) ? (to - from) >> PAGE_SHIFT : 0;
}

/* Give [from, to) of `vma` other flags; `taker` as found by taker_of(). Returns the VMA that covers it now. */
static ALWAYS_INLINE struct vm_area_struct *mprotect_fixup(struct mm_struct *mm, struct vm_area_struct *vma, uint64_t from, uint64_t to,
                                                           vm_flags_t flags, struct vm_area_struct *taker) {
  if (unlikely(taker != NULL)) {
    hand_over(vma, taker, from, to);
    vma = taker;
  } else {
    carve(mm, vma, from, to, flags);
  }
  change_protection(vma, from, to);
  return vma;
}

/* ---- What may fail, and what then cannot ---- */

/* A device's memory is not executed: instruction caches could not be kept in step with what others write to it. */
static ALWAYS_INLINE bool is_refused(const struct vm_area_struct *vma, vm_flags_t access) {
  return unlikely(vma->vm_flags & VM_PFNMAP) && (access & VM_EXEC);
}

static NOINLINE err_t reserve_slow(struct mm_struct *mm, unsigned vmas, uint64_t charge_pages) {
  if (mm->map_count + vmas > MAX_MAP_COUNT || vm_area_reserve(mm, vmas) != ERR_OK)
    return ERR_NOMEM;
  err_t err = vm_commit(charge_pages);
  if (err == ERR_OK)
    mm->committed_vm += charge_pages;
  return err;
}

/* Nothing is charged as a rule, and what the last mprotect freed is still there. */
static err_t reserve(struct mm_struct *mm, unsigned vmas, uint64_t charge_pages) {
  if (likely(vmas <= mm->vma_spare_count && mm->map_count < MAX_MAP_COUNT - VMA_SPARES_MAX && charge_pages == 0))
    return ERR_OK;
  return reserve_slow(mm, vmas, charge_pages);
}

/* All of [from, to) lies in `vma`: most calls. */
static err_t protect_within(struct mm_struct *mm, struct vm_area_struct *vma, uint64_t from, uint64_t to, vm_flags_t access) {
  vm_flags_t flags = changed_flags(vma, access);
  if (flags == vma->vm_flags)
    return ERR_OK;
  if (unlikely(vma->vm_flags & VM_PFNMAP)) {
    if (is_refused(vma, access))
      return ERR_PERM;
    pfnmap_cut(mm, from, to);
  }
  struct vm_area_struct *taker = taker_of(vma, from, to, flags);
  err_t err = reserve(mm, taker ? 0 : cuts(vma, from, to), newly_charged(vma, flags, from, to));
  if (err == ERR_OK)
    (void)mprotect_fixup(mm, vma, from, to, flags, taker);
  return err;
}

/* [from, end) is mapped without a hole; how many VMAs its ends will need, and what must be charged. */
static err_t plan(const struct vm_area_struct *vma, uint64_t from, uint64_t end, vm_flags_t access, unsigned *vmas,
                  uint64_t *charge_pages) {
  for (; from < end; vma = vma->vm_next) {
    if (!vma || vma->vm_start > from)
      return ERR_NOMEM;
    if (is_refused(vma, access))
      return ERR_PERM;
    uint64_t to = min_u64(vma->vm_end, end);
    vm_flags_t flags = changed_flags(vma, access);
    *charge_pages += newly_charged(vma, flags, from, to);
    if (flags != vma->vm_flags)
      *vmas += cuts(vma, from, to);
    from = to;
  }
  return ERR_OK;
}

static NOINLINE err_t protect_several(struct mm_struct *mm, struct vm_area_struct *vma, uint64_t start, uint64_t end, vm_flags_t access) {
  unsigned vmas = 0;
  uint64_t charge_pages = 0;
  err_t err = plan(vma, start, end, access, &vmas, &charge_pages);
  if (err == ERR_OK)
    err = reserve(mm, vmas, charge_pages);
  if (err != ERR_OK)
    return err;
  pfnmap_cut(mm, start, end);
  for (; vma && vma->vm_start < end; vma = vma->vm_next) {
    vm_flags_t flags = changed_flags(vma, access);
    uint64_t from = max_u64(vma->vm_start, start), to = min_u64(vma->vm_end, end);
    if (flags != vma->vm_flags)
      vma = mprotect_fixup(mm, vma, from, to, flags, taker_of(vma, from, to, flags));
  }
  return ERR_OK;
}

/* PROT_GROWSDOWN: from the start of the stack. */
static NOINLINE err_t protect_stack(struct mm_struct *mm, struct vm_area_struct *vma, uint64_t end, vm_flags_t access) {
  if (!vma || vma->vm_start >= end)
    return ERR_NOMEM;
  if (!(vma->vm_flags & VM_GROWSDOWN))
    return ERR_INVAL;
  return protect_several(mm, vma, vma->vm_start, end, access);
}

static err_t protect_locked(struct mm_struct *mm, uint64_t start, uint64_t end, vm_flags_t access, bool grows_down) {
  struct vm_area_struct *vma = find_vma(mm, start);
  if (unlikely(grows_down))
    return protect_stack(mm, vma, end, access);
  if (likely(vma && vma->vm_start <= start && end <= vma->vm_end))
    return protect_within(mm, vma, start, end, access);
  return protect_several(mm, vma, start, end, access);
}

err_t do_mprotect(struct mm_struct *mm, uint64_t addr, uint64_t len, unsigned prot) {
  bool grows_down = prot & PROT_GROWSDOWN;
  prot &= ~PROT_GROWSDOWN;
  if (!is_aligned(addr, PAGE_SIZE) || (prot & ~(PROT_READ | PROT_WRITE | PROT_EXEC)))
    return ERR_INVAL;
  if (len == 0)
    return ERR_OK;
  if (len > TASK_SIZE || addr > TASK_SIZE - len)
    return ERR_NOMEM;
  port_flags_t irq = mmap_lock(mm);
  err_t err = protect_locked(mm, addr, addr + align_up(len, PAGE_SIZE), prot, grows_down);
  mmap_unlock(mm, irq);
  return err;
}
