/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The slabs of the VM layer's objects: VMAs, address spaces, shared objects; the slabs have their own locks. An mm keeps the last VMAs it
 * freed, since mmap and munmap, or mprotect there and back, make and unmake the same ones again and again: that saves both slab calls and
 * needs no lock but the mmap_lock that is held anyway. The same store is what an operation fills up before it changes anything, so that it
 * cannot fail afterwards.
 */

#include "guest/vm/gfp.h"
#include "guest/vm/internal.h"
#include "guest/vm/shared.h"
#include "mm/slab.h"

static struct slab_cache *vma_slab, *mm_slab, *shared_slab;

err_t vm_objects_init(void) {
  err_t err = slab_create("vm_area_struct", sizeof(struct vm_area_struct), _Alignof(struct vm_area_struct), &vma_slab);
  if (err == ERR_OK)
    err = slab_create("mm_struct", sizeof(struct mm_struct), _Alignof(struct mm_struct), &mm_slab);
  if (err == ERR_OK)
    err = slab_create("vm_shared", sizeof(struct vm_shared), _Alignof(struct vm_shared), &shared_slab);
  return err;
}

uint64_t vm_shrink_slabs(void) {
  return slab_shrink_all(~(uint64_t)0);
}

err_t vm_area_reserve_slow(struct mm_struct *mm, unsigned count) {
  CHECK(count <= VMA_SPARES_MAX);
  while (mm->vma_spare_count < count) {
    struct vm_area_struct *vma = slab_alloc_with(vma_slab, GFP_KERNEL_LOCKED);
    if (!vma)
      return ERR_NOMEM;
    vm_area_keep(mm, vma);
  }
  return ERR_OK;
}

void vm_area_free_slow(struct vm_area_struct *vma) {
  slab_free(vma_slab, vma);
}

void vm_area_drop_spares(struct mm_struct *mm) {
  while (mm->vma_spares)
    slab_free(vma_slab, vm_area_take(mm));
}

struct mm_struct *mm_struct_alloc(void) {
  return slab_alloc_with(mm_slab, GFP_KERNEL_LOCKED);
}

void mm_struct_free(struct mm_struct *mm) {
  slab_free(mm_slab, mm);
}

struct vm_shared *vm_shared_alloc(void) {
  return slab_alloc_with(shared_slab, GFP_KERNEL_LOCKED);
}

void vm_shared_free(struct vm_shared *shared) {
  slab_free(shared_slab, shared);
}
