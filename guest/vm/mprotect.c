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

struct change {
  uint64_t start, end;
  vm_flags_t access; /* VM_READ, VM_WRITE, VM_EXEC as they shall be */
  uint64_t charge_pages;
};

/* Flags of `vma` after the change; once charged, always charged. */
static vm_flags_t changed_flags(const struct vm_area_struct *vma, const struct change *c) {
  vm_flags_t flags = (vma->vm_flags & ~VM_ACCESS_FLAGS) | c->access;
  return vm_accountable(flags) ? flags | VM_ACCOUNT : flags;
}

static bool goes_on_in_prev(const struct vm_area_struct *vma, const struct vma_kind *kind) {
  return can_vma_merge_after(vma->vm_prev, kind, vma->vm_start, vma->vm_pgoff);
}

static bool goes_on_in_next(const struct vm_area_struct *vma, const struct vma_kind *kind) {
  return can_vma_merge_before(vma->vm_next, kind, vma->vm_end, vma->vm_pgoff + vma_pages(vma));
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

/* The pages of [from, to), all of which `vma` covers now: it may cover others that have been like that before. */
static void change_protection(struct vm_area_struct *vma, uint64_t from, uint64_t to) {
  struct mm_struct *mm = vma->vm_mm;
  struct page_change pc = {.vma = vma};
  if (!vma->faulted)
    return;
  pt_protect_each(&mm->pt, from, to - from, change_page, &pc);
  /* Entries that only gained are not flushed by the engine; without this each would cost a spurious fault. */
  if (pc.gained && mm->context.id)
    vm_home_tlb_flush(&mm->context, from, to - from, false);
}

/* ---- VMAs ---- */

static void set_flags(struct vm_area_struct *vma, vm_flags_t flags) {
  vma->vm_flags = flags;
  vma->vm_page_prot = vm_get_page_prot(flags);
}

/*
 * Where a piece at one end of `vma` goes on in its neighbour, only the edge moves:
 *
 *     PPPPVVVVVVVV        VVVVVVVVNNNN
 *         xxxx                xxxx
 *     PPPPPPPPVVVV        VVVVNNNNNNNN
 *
 * Returns the neighbour, or NULL.
 */
static struct vm_area_struct *move_edge(struct vm_area_struct *vma, uint64_t from, uint64_t to, vm_flags_t flags) {
  struct vma_kind kind = vma_kind_of(vma);
  kind.flags = flags;
  if (from == vma->vm_start && goes_on_in_prev(vma, &kind)) {
    vma->vm_prev->faulted |= vma->faulted;
    vma_move_edge(vma->vm_prev, vma, to);
    return vma->vm_prev;
  }
  if (to == vma->vm_end && goes_on_in_next(vma, &kind)) {
    vma->vm_next->faulted |= vma->faulted;
    vma_move_edge(vma, vma->vm_next, from);
    return vma->vm_next;
  }
  return NULL;
}

/* Make [from, to) of `vma` a VMA with the new flags, or part of one. A piece that is cut off below has a predecessor it differs from. */
static struct vm_area_struct *carve(struct mm_struct *mm, struct vm_area_struct *vma, uint64_t from, uint64_t to, vm_flags_t flags) {
  bool cut_below = from > vma->vm_start, cut_above = to < vma->vm_end;
  if (cut_below != cut_above) {
    struct vm_area_struct *neighbour = move_edge(vma, from, to, flags);
    if (neighbour)
      return neighbour;
  }
  if (cut_below)
    vma = split_vma(mm, vma, from);
  if (cut_above)
    split_vma(mm, vma, to);
  set_flags(vma, flags);
  mm->mmap_cache = vma;
  return cut_below ? vma : vma_merge_with_prev(mm, vma);
}

/* Returns the VMA that covers the piece of `vma` in the range now. */
static struct vm_area_struct *mprotect_fixup(struct mm_struct *mm, struct vm_area_struct *vma, struct change *c) {
  vm_flags_t flags = changed_flags(vma, c);
  uint64_t from = max_u64(vma->vm_start, c->start), to = min_u64(vma->vm_end, c->end);
  if (flags == vma->vm_flags)
    return vma_merge_with_prev(mm, vma);
  if ((flags & ~vma->vm_flags) & VM_ACCOUNT)
    mm->committed_vm += (to - from) >> PAGE_SHIFT;
  vma = carve(mm, vma, from, to, flags);
  change_protection(vma, from, to);
  return vma;
}

/* ---- What may fail ---- */

/* The range is mapped without a hole; adds up what must be charged and which ends must be cut. */
static err_t plan(const struct vm_area_struct *first, struct change *c, unsigned *cuts) {
  const struct vm_area_struct *vma = first;
  uint64_t addr = c->start;
  *cuts = 0;
  for (; addr < c->end; vma = vma->vm_next) {
    if (!vma || vma->vm_start > addr)
      return ERR_NOMEM;
    uint64_t to = min_u64(vma->vm_end, c->end);
    vm_flags_t flags = changed_flags(vma, c);
    if ((flags & ~vma->vm_flags) & VM_ACCOUNT)
      c->charge_pages += (to - addr) >> PAGE_SHIFT;
    if (flags != vma->vm_flags)
      *cuts += (addr > vma->vm_start) + (to < vma->vm_end);
    addr = to;
  }
  return ERR_OK;
}

/* A single cut within one VMA is saved where move_edge() will do. */
static bool moves_edge(const struct vm_area_struct *vma, const struct change *c) {
  struct vma_kind kind = vma_kind_of(vma);
  kind.flags = changed_flags(vma, c);
  if (c->end > vma->vm_end)
    return false;
  return c->start == vma->vm_start ? goes_on_in_prev(vma, &kind) : c->end == vma->vm_end && goes_on_in_next(vma, &kind);
}

static err_t reserve(struct mm_struct *mm, const struct vm_area_struct *first, struct change *c) {
  unsigned cuts;
  err_t err = plan(first, c, &cuts);
  if (err != ERR_OK)
    return err;
  if (cuts == 1 && moves_edge(first, c))
    cuts = 0;
  if (mm->map_count + cuts > MAX_MAP_COUNT || vm_area_reserve(mm, cuts) != ERR_OK)
    return ERR_NOMEM;
  return c->charge_pages ? vm_commit(c->charge_pages) : ERR_OK;
}

static err_t protect_locked(struct mm_struct *mm, struct change *c, bool grows_down) {
  struct vm_area_struct *vma = find_vma(mm, c->start);
  if (grows_down) {
    if (!vma || vma->vm_start >= c->end)
      return ERR_NOMEM;
    if (!(vma->vm_flags & VM_GROWSDOWN))
      return ERR_INVAL;
    c->start = vma->vm_start;
  }
  err_t err = reserve(mm, vma, c);
  if (err == ERR_OK) {
    while (vma && vma->vm_start < c->end)
      vma = mprotect_fixup(mm, vma, c)->vm_next;
    if (vma && vma->vm_start == c->end)
      (void)vma_merge_with_prev(mm, vma);
  }
  return err;
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
  struct change c = {.start = addr, .end = addr + align_up(len, PAGE_SIZE), .access = prot, .charge_pages = 0};
  port_flags_t irq = mmap_lock(mm);
  err_t err = protect_locked(mm, &c, grows_down);
  mmap_unlock(mm, irq);
  return err;
}
