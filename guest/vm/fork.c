/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * fork: a second address space with the same contents (Linux: dup_mm, dup_mmap, copy_page_range).
 *
 * Private pages are shared and lose their write permission in both tables; the first write copies. One pass over each VMA does its pages,
 * with one TLB flush at its end, before the child can run: until then only the parent's threads write, and they write to the parent's
 * memory. Pages of shared objects are not copied; the child faults them in. Lock: the parent's mmap_lock; nobody knows the child yet. When
 * memory runs out the child is taken down again, and the parent's pages that became read-only are made writable by their next write fault.
 */

#include "guest/vm/internal.h"

struct copy {
  struct mm_struct *child;
  err_t err;
};

/* Map the parent's page in the child too. */
static err_t copy_one_page(struct copy *c, uint64_t addr, pfn_t frame, pt_prot_t prot) {
  err_t err = pt_map_leaf(&c->child->pt, addr, pfn_pa(frame), 3, prot);
  if (err != ERR_OK)
    return err;
  if (pfn_eq(frame, zero_pfn))
    return ERR_OK;
  user_page_get(frame);
  c->child->rss[rmap_rss_kind(frame_of(frame)->rmap)]++;
  return ERR_OK;
}

static pt_prot_t copy_leaf(void *ctx, uint64_t ia, pa_t out, unsigned level, pt_prot_t prot) {
  struct copy *c = ctx;
  (void)level;
  if (c->err != ERR_OK)
    return prot;
  c->err = copy_one_page(c, ia, pa_pfn(out), prot & ~PT_W);
  return c->err == ERR_OK ? prot & ~PT_W : prot;
}

/* Only private pages are copied, and only where there may be some. */
static err_t copy_page_range(struct mm_struct *child, const struct vm_area_struct *vma) {
  struct copy c = {.child = child};
  if (vma->faulted && !(vma->vm_flags & VM_SHARED))
    pt_protect_each(&vma->vm_mm->pt, vma->vm_start, vma->vm_end - vma->vm_start, copy_leaf, &c);
  return c.err;
}

static err_t dup_vma(struct mm_struct *child, const struct vm_area_struct *old, struct vm_area_struct **prev) {
  if (vm_area_reserve(child, 1) != ERR_OK)
    return ERR_NOMEM;
  struct vm_area_struct *vma = vm_area_take(child);
  vma_copy(vma, old);
  if (vma->vm_flags & VM_SHARED)
    vma->faulted = false;
  vma_link(child, vma, *prev);
  if (vma->vm_ops)
    vma->vm_ops->open(vma);
  *prev = vma;
  return ERR_OK;
}

static err_t dup_mmap(struct mm_struct *child, struct mm_struct *old) {
  err_t err = vm_commit(old->committed_vm);
  if (err != ERR_OK)
    return err;
  child->committed_vm = old->committed_vm;
  child->total_vm = old->total_vm;
  struct vm_area_struct *prev = NULL;
  for (const struct vm_area_struct *vma = old->mmap; vma; vma = vma->vm_next) {
    err = dup_vma(child, vma, &prev);
    if (err == ERR_OK)
      err = copy_page_range(child, vma);
    if (err != ERR_OK)
      return err;
  }
  return ERR_OK;
}

static void copy_settings(struct mm_struct *child, const struct mm_struct *old) {
  child->rmap_id = old->rmap_id;
  child->start_brk = old->start_brk;
  child->brk = old->brk;
  child->stack_limit = old->stack_limit;
  child->start_code = old->start_code;
  child->end_code = old->end_code;
  child->start_stack = old->start_stack;
}

err_t mm_fork(struct mm_struct *old, struct mm_struct **out) {
  struct mm_struct *child;
  err_t err = mm_create(&child);
  if (err != ERR_OK)
    return err;
  port_flags_t irq = mmap_lock(old);
  copy_settings(child, old);
  err = dup_mmap(child, old);
  mmap_unlock(old, irq);
  if (err != ERR_OK) {
    mm_put(child);
    return err;
  }
  rmap_add_mm(child);
  *out = child;
  return ERR_OK;
}
