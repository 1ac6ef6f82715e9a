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
static NOINLINE struct vm_area_struct *move_edge(struct vm_area_struct *vma, uint64_t from, uint64_t to, vm_flags_t flags) {
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
  if (cut_above)
    split_vma(mm, vma, to);
  if (cut_below)
    vma = split_vma(mm, vma, from);
  set_flags(vma, flags);
  mm->mmap_cache = vma;
  return cut_below ? vma : vma_merge_with_prev(mm, vma);
}

/* Pages of [from, to) in `vma` that are charged from now on. */
static uint64_t newly_charged(const struct vm_area_struct *vma, vm_flags_t flags, uint64_t from, uint64_t to) {
  return flags & ~vma->vm_flags & VM_ACCOUNT ? (to - from) >> PAGE_SHIFT : 0;
}

/* Give [from, to) of `vma` other flags. Returns the VMA that covers it now. */
static struct vm_area_struct *mprotect_fixup(struct mm_struct *mm, struct vm_area_struct *vma, uint64_t from, uint64_t to,
                                             vm_flags_t flags) {
  mm->committed_vm += newly_charged(vma, flags, from, to);
  vma = carve(mm, vma, from, to, flags);
  change_protection(vma, from, to);
  return vma;
}

/* Whoever begins at `end` may be like what was changed below it. */
static void merge_above(struct mm_struct *mm, struct vm_area_struct *next, uint64_t end) {
  if (next && next->vm_start == end)
    (void)vma_merge_with_prev(mm, next);
}

/* ---- What may fail, and what then cannot ---- */

static err_t reserve(struct mm_struct *mm, unsigned cuts, uint64_t charge_pages) {
  if (mm->map_count + cuts > MAX_MAP_COUNT || vm_area_reserve(mm, cuts) != ERR_OK)
    return ERR_NOMEM;
  return charge_pages ? vm_commit(charge_pages) : ERR_OK;
}

/* move_edge() will do: a cut is saved. */
static bool moves_edge(const struct vm_area_struct *vma, const struct change *c, vm_flags_t flags) {
  struct vma_kind kind = vma_kind_of(vma);
  kind.flags = flags;
  return c->start == vma->vm_start ? goes_on_in_prev(vma, &kind) : goes_on_in_next(vma, &kind);
}

/* All of the range lies in `vma`: most calls. */
static err_t protect_within(struct mm_struct *mm, struct vm_area_struct *vma, const struct change *c) {
  vm_flags_t flags = changed_flags(vma, c);
  if (flags == vma->vm_flags)
    return ERR_OK;
  unsigned cuts = (c->start > vma->vm_start) + (c->end < vma->vm_end);
  if (cuts == 1 && moves_edge(vma, c, flags))
    cuts = 0;
  err_t err = reserve(mm, cuts, newly_charged(vma, flags, c->start, c->end));
  if (err != ERR_OK)
    return err;
  vma = mprotect_fixup(mm, vma, c->start, c->end, flags);
  merge_above(mm, vma->vm_next, c->end);
  return ERR_OK;
}

/* The range is mapped without a hole; which ends must be cut, and what must be charged. */
static err_t plan(const struct vm_area_struct *vma, const struct change *c, unsigned *cuts, uint64_t *charge_pages) {
  for (uint64_t addr = c->start; addr < c->end; vma = vma->vm_next) {
    if (!vma || vma->vm_start > addr)
      return ERR_NOMEM;
    uint64_t to = min_u64(vma->vm_end, c->end);
    vm_flags_t flags = changed_flags(vma, c);
    *charge_pages += newly_charged(vma, flags, addr, to);
    if (flags != vma->vm_flags)
      *cuts += (addr > vma->vm_start) + (to < vma->vm_end);
    addr = to;
  }
  return ERR_OK;
}

static NOINLINE err_t protect_several(struct mm_struct *mm, struct vm_area_struct *vma, const struct change *c) {
  unsigned cuts = 0;
  uint64_t charge_pages = 0;
  err_t err = plan(vma, c, &cuts, &charge_pages);
  if (err == ERR_OK)
    err = reserve(mm, cuts, charge_pages);
  if (err != ERR_OK)
    return err;
  for (; vma && vma->vm_start < c->end; vma = vma->vm_next) {
    vm_flags_t flags = changed_flags(vma, c);
    if (flags == vma->vm_flags)
      vma = vma_merge_with_prev(mm, vma);
    else
      vma = mprotect_fixup(mm, vma, max_u64(vma->vm_start, c->start), min_u64(vma->vm_end, c->end), flags);
  }
  merge_above(mm, vma, c->end);
  return ERR_OK;
}

/* PROT_GROWSDOWN: from the start of the stack. */
static err_t start_at_stack(const struct vm_area_struct *vma, struct change *c) {
  if (!vma || vma->vm_start >= c->end)
    return ERR_NOMEM;
  if (!(vma->vm_flags & VM_GROWSDOWN))
    return ERR_INVAL;
  c->start = vma->vm_start;
  return ERR_OK;
}

static err_t protect_locked(struct mm_struct *mm, struct change *c, bool grows_down) {
  struct vm_area_struct *vma = find_vma(mm, c->start);
  err_t err = grows_down ? start_at_stack(vma, c) : ERR_OK;
  if (err != ERR_OK)
    return err;
  if (likely(vma && vma->vm_start <= c->start && c->end <= vma->vm_end))
    return protect_within(mm, vma, c);
  return protect_several(mm, vma, c);
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
  struct change c = {.start = addr, .end = addr + align_up(len, PAGE_SIZE), .access = prot};
  port_flags_t irq = mmap_lock(mm);
  err_t err = protect_locked(mm, &c, grows_down);
  mmap_unlock(mm, irq);
  return err;
}
