/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The slabs of the VM layer's objects: VMAs, address spaces, shared objects. Objects come zeroed. No lock here; the slabs have their own.
 */

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
  return slab_shrink(vma_slab) + slab_shrink(mm_slab) + slab_shrink(shared_slab);
}

struct vm_area_struct *vm_area_alloc(void) {
  return slab_alloc(vma_slab);
}

void vm_area_free(struct vm_area_struct *vma) {
  slab_free(vma_slab, vma);
}

struct mm_struct *mm_struct_alloc(void) {
  return slab_alloc(mm_slab);
}

void mm_struct_free(struct mm_struct *mm) {
  slab_free(mm_slab, mm);
}

struct vm_shared *vm_shared_alloc(void) {
  return slab_alloc(shared_slab);
}

void vm_shared_free(struct vm_shared *shared) {
  slab_free(shared_slab, shared);
}
