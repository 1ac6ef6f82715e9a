/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The slabs of the VM layer's objects: VMAs, address spaces, shared objects. VMAs come with arbitrary contents, since whoever takes one
 * fills it anyway. No lock here; the slabs have their own.
 */

#include "core/string.h"
#include "guest/vm/internal.h"
#include "guest/vm/shared.h"
#include "mm/slab.h"

static struct slab_cache *vma_slab, *mm_slab, *shared_slab;

err_t vm_objects_init(void) {
  vma_slab = slab_create("vm_area_struct", sizeof(struct vm_area_struct), _Alignof(struct vm_area_struct));
  mm_slab = slab_create("mm_struct", sizeof(struct mm_struct), _Alignof(struct mm_struct));
  shared_slab = slab_create("vm_shared", sizeof(struct vm_shared), _Alignof(struct vm_shared));
  return vma_slab && mm_slab && shared_slab ? ERR_OK : ERR_NOMEM;
}

struct vm_area_struct *vm_area_alloc(void) {
  return slab_alloc(vma_slab);
}

void vm_area_free(struct vm_area_struct *vma) {
  slab_free(vma_slab, vma);
}

struct mm_struct *mm_struct_alloc(void) {
  struct mm_struct *mm = slab_alloc(mm_slab);
  if (mm)
    memset(mm, 0, sizeof *mm);
  return mm;
}

void mm_struct_free(struct mm_struct *mm) {
  slab_free(mm_slab, mm);
}

struct vm_shared *vm_shared_alloc(void) {
  struct vm_shared *shared = slab_alloc(shared_slab);
  if (shared)
    memset(shared, 0, sizeof *shared);
  return shared;
}

void vm_shared_free(struct vm_shared *shared) {
  slab_free(shared_slab, shared);
}
