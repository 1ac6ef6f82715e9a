/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Reverse mapping: from a user frame's key (rmap.h) to whoever may map it.
 *
 *   private pages    fork is all that can give a page to a second mm, at the same address. So the mms of one family of forks, found by its
 *                    id, are all the candidates there are, and each has one place to look at (Linux: anon_vma, without its trees)
 *   shared objects   each object, found by its id, keeps the list of the VMAs that map it (Linux: address_space.i_mmap)
 *
 * Nothing is kept per page: frame->refs says how many mappings there are, so a search can stop when it has them all, and knows when it has
 * missed one. Faults, munmap and mprotect do not come here; fork, exit and VMAs of shared objects do.
 *
 * Invariant: an mm is in its family's list from when its tables may be looked at under its mmap_lock to when they are taken down without.
 * Lock: rmap_lock, over the lists; whoever holds it keeps every mm and object in them alive.
 */

#include "guest/vm/internal.h"
#include "guest/vm/shared.h"

#define BUCKETS 64u

struct port_lock rmap_lock;
static struct list_node mms[BUCKETS], objects[BUCKETS];

void rmap_init(void) {
  for (unsigned i = 0; i < BUCKETS; i++) {
    list_init(&mms[i]);
    list_init(&objects[i]);
  }
}

static void insert(struct list_node *list, struct list_node *n) {
  port_flags_t irq = port_irq_save();
  port_lock_acquire(&rmap_lock);
  list_push_front(list, n);
  port_lock_release(&rmap_lock);
  port_irq_restore(irq);
}

static void erase(struct list_node *n) {
  port_flags_t irq = port_irq_save();
  port_lock_acquire(&rmap_lock);
  list_remove(n);
  port_lock_release(&rmap_lock);
  port_irq_restore(irq);
}

void rmap_add_mm(struct mm_struct *mm) {
  insert(&mms[mm->rmap_id % BUCKETS], &mm->rmap_node);
}

/* A move that has found the mm holds rmap_lock until it is done. */
void rmap_remove_mm(struct mm_struct *mm) {
  erase(&mm->rmap_node);
}

void rmap_add_shared(struct vm_shared *shared) {
  insert(&objects[shared->id % BUCKETS], &shared->rmap_node);
}

void rmap_remove_shared(struct vm_shared *shared) {
  erase(&shared->rmap_node);
}

void rmap_add_vma(struct vm_area_struct *vma) {
  insert(&vma->vm_shared->vmas, &vma->shared_node);
}

void rmap_remove_vma(struct vm_area_struct *vma) {
  erase(&vma->shared_node);
}

/* ---- Searches ---- */

struct search {
  uint64_t key;
  pfn_t frame;
  rmap_fn *fn;
  void *ctx;
};

static bool maps(const struct mm_struct *mm, uint64_t addr, pfn_t frame) {
  struct pt_leaf leaf;
  return addr < TASK_SIZE && pt_lookup(&mm->pt, addr, &leaf) == ERR_OK && pfn_eq(pa_pfn(leaf.out), frame);
}

/* Where page `pgoff` of the object is in `vma`; beyond TASK_SIZE if it is not. */
static uint64_t vma_address(const struct vm_area_struct *vma, uint64_t pgoff) {
  uint64_t n = pgoff - vma->vm_pgoff;
  return n < vma_pages(vma) ? vma->vm_start + (n << PAGE_SHIFT) : TASK_SIZE;
}

/*
 * An mm without context.id has never run, so the engine does not flush for it: but it may begin to run, and to fill a TLB, at any moment.
 * Once there is one it stays until rmap_remove_mm().
 */
static bool may_look(struct mm_struct *mm) {
  return !list_is_empty(&mm->rmap_node) && atomic_load_relaxed(&mm->context.id) != 0 && vm_home_trylock(&mm->mmap_lock);
}

/* `vma` is NULL for private pages. True: enough. */
static bool visit(const struct search *s, struct mm_struct *mm, const struct vm_area_struct *vma) {
  if (!may_look(mm))
    return false;
  uint64_t addr = rmap_key_addr(s->key);
  if (vma)
    addr = vma_address(vma, addr >> PAGE_SHIFT);
  if (maps(mm, addr, s->frame))
    return s->fn(s->ctx, mm, addr);
  port_lock_release(&mm->mmap_lock);
  return false;
}

static void put_first(struct list_node *list, struct list_node *n) {
  list_remove(n);
  list_push_front(list, n);
}

static void walk_family(const struct search *s) {
  uint32_t id = rmap_key_id(s->key);
  struct list_node *family = &mms[id % BUCKETS];
  list_for_each (n, family) {
    struct mm_struct *mm = list_entry(n, struct mm_struct, rmap_node);
    if (mm->rmap_id == id && visit(s, mm, NULL)) {
      put_first(family, n);
      return;
    }
  }
}

struct vm_shared *rmap_find_shared(uint64_t key) {
  uint32_t id = rmap_key_id(key);
  list_for_each (n, &objects[id % BUCKETS]) {
    struct vm_shared *shared = list_entry(n, struct vm_shared, rmap_node);
    if (shared->id == id)
      return shared;
  }
  return NULL;
}

static void walk_shared(const struct search *s) {
  struct vm_shared *shared = rmap_find_shared(s->key);
  if (!shared)
    return;
  list_for_each (n, &shared->vmas) {
    struct vm_area_struct *vma = list_entry(n, struct vm_area_struct, shared_node);
    if (visit(s, vma->vm_mm, vma)) {
      put_first(&shared->vmas, n);
      return;
    }
  }
}

void rmap_walk(uint64_t key, pfn_t frame, rmap_fn *fn, void *ctx) {
  const struct search s = {.key = key, .frame = frame, .fn = fn, .ctx = ctx};
  if (rmap_key_kind(key) == RMAP_SHARED)
    walk_shared(&s);
  else
    walk_family(&s);
}
