/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * handle_mm_fault(): from an address and an access to a page that serves it, or to a verdict.
 *
 *   no VMA, not below a stack              SEGV_MAPERR
 *   VMA does not allow the access          SEGV_ACCERR
 *   nothing mapped, private anonymous      do_anonymous_page()
 *   nothing mapped, vm_ops                 do_fault(), or its own way to map a page without a frame
 *   mapped read-only, write allowed        do_wp_page()
 *   mapped as the access needs             spurious: served by another CPU, or a stale TLB entry
 *
 * Lock: mmap_lock over the whole of it. The common fault, first touch of a page, walks the tables once: the page is made first and
 * pt_map_leaf() says if something was there already.
 */

#include "guest/vm/internal.h"

const char *vm_fault_name(enum vm_fault f) {
  static const char *const names[] = {"ok", "SEGV_MAPERR", "SEGV_ACCERR", "bus error", "out of memory"};
  return (unsigned)f < ARRAY_SIZE(names) ? names[f] : "unknown";
}

/* Writable or executable implies readable on this architecture, as in Linux's do_page_fault() without EPAN. */
static bool access_allowed(const struct vm_area_struct *vma, unsigned flags) {
  vm_flags_t needed = VM_ACCESS_FLAGS;
  if (flags & FAULT_FLAG_EXEC)
    needed = VM_EXEC;
  else if (flags & FAULT_FLAG_WRITE)
    needed = VM_WRITE;
  return vma->vm_flags & needed;
}

/* First touch of a page of a file or a shared object. */
static err_t do_fault(struct vm_area_struct *vma, uint64_t addr) {
  if (vma->vm_ops->map)
    return vma->vm_ops->map(vma, addr);
  struct vm_fault_page vmf = {.addr = addr, .pgoff = linear_page_index(vma, addr)};
  err_t err = vma->vm_ops->fault(vma, &vmf);
  if (err != ERR_OK)
    return err;
  err = vm_map_page(vma, addr, vmf.frame, vma->vm_page_prot);
  if (err != ERR_OK) {
    user_page_put(vmf.frame);
    return err;
  }
  vma->vm_mm->rss[rmap_rss_kind(frame_of(vmf.frame)->rmap)]++;
  count_fault(vma->vm_mm, vma->vm_flags & VM_SHARED ? FAULT_SHARED : FAULT_FILE);
  return ERR_OK;
}

/* Nothing is mapped at `addr`, as far as we know: ERR_EXIST if something is. */
static err_t do_no_page(struct vm_area_struct *vma, uint64_t addr, unsigned flags) {
  return vma->vm_ops ? do_fault(vma, addr) : do_anonymous_page(vma, addr, flags & FAULT_FLAG_WRITE);
}

static err_t spurious(struct mm_struct *mm, uint64_t addr) {
  if (mm->context.id)
    vm_home_tlb_flush_local_page(&mm->context, addr);
  count_fault(mm, FAULT_SPURIOUS);
  return ERR_OK;
}

/* A leaf is said to be there: look at it. */
static err_t do_present_page(struct vm_area_struct *vma, uint64_t addr, unsigned flags) {
  struct pt_leaf leaf;
  if (pt_lookup(&vma->vm_mm->pt, addr, &leaf) != ERR_OK)
    return do_no_page(vma, addr, flags);
  if ((flags & FAULT_FLAG_WRITE) && !(leaf.prot & PT_W))
    return do_wp_page(vma, addr, &leaf);
  return spurious(vma->vm_mm, addr);
}

/* The VMA for `addr`, grown if it is a stack; NULL: nothing there. */
static struct vm_area_struct *find_or_grow(struct mm_struct *mm, uint64_t addr) {
  struct vm_area_struct *vma = find_vma(mm, addr);
  if (!vma || likely(addr >= vma->vm_start))
    return vma;
  if (!(vma->vm_flags & VM_GROWSDOWN) || expand_stack(vma, addr) != ERR_OK)
    return NULL;
  return find_vma(mm, addr);
}

/*
 * Making a page for `addr` has failed: is there one? Another CPU may have served the same fault, or the page was on the move when it was
 * missed (migrate.c); then lack of memory is no reason to refuse.
 */
static bool served_meanwhile(const struct mm_struct *mm, uint64_t addr, err_t err) {
  struct pt_leaf leaf;
  return err == ERR_EXIST || (err == ERR_NOMEM && pt_lookup(&mm->pt, addr, &leaf) == ERR_OK);
}

/* ERR_NOENT: no VMA; ERR_PERM: not for this access; ERR_IO, ERR_NOMEM from the backing. */
static err_t fault_locked(struct mm_struct *mm, uint64_t addr, unsigned flags) {
  struct vm_area_struct *vma = find_or_grow(mm, addr);
  if (unlikely(!vma))
    return ERR_NOENT;
  if (unlikely(!access_allowed(vma, flags)))
    return ERR_PERM;
  addr &= PAGE_MASK;
  if (!(flags & FAULT_FLAG_PRESENT)) {
    err_t err = do_no_page(vma, addr, flags);
    if (likely(err == ERR_OK) || !served_meanwhile(mm, addr, err))
      return err;
  }
  return do_present_page(vma, addr, flags);
}

static enum vm_fault verdict(struct mm_struct *mm, err_t err) {
  count_fault(mm, err == ERR_NOMEM ? FAULT_OOM : FAULT_SEGV);
  switch (err) {
  case ERR_NOMEM:
    return VM_FAULT_OOM;
  case ERR_NOENT:
    return VM_FAULT_SEGV_MAPERR;
  case ERR_PERM:
    return VM_FAULT_SEGV_ACCERR;
  default:
    return VM_FAULT_BUS;
  }
}

enum vm_fault handle_mm_fault(struct mm_struct *mm, uint64_t addr, unsigned flags) {
  port_flags_t irq = mmap_lock(mm);
  err_t err = fault_locked(mm, addr, flags);
  enum vm_fault result = likely(err == ERR_OK) ? VM_FAULT_OK : verdict(mm, err);
  mmap_unlock(mm, irq);
  return result;
}
