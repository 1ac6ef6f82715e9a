/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Moving a user page while its processes run (include/mm/migrate.h; Linux: try_to_migrate(), remove_migration_ptes()).
 *
 *     freeze   find every mapping and lock its mm; then make each invalid and have the TLBs forget it, ASID by ASID (Arm ARM D8.14.1)
 *     move     copy; instruction caches, if anybody executes it; each mapping again, to the new frame, all else as it was
 *     thaw     let go of the mms
 *
 * There are no migration entries: whoever touches the page meanwhile, EL0 or a copy of the kernel's own, faults and waits for mmap_lock,
 * which is held from before the break until after the make, and then finds the page in place.
 *
 * All references must be accounted for: frame->refs of them are found, or the page is busy. Once all are found nobody can make another,
 * since a reference is made only from one that is held, under a lock that is held here (page.h). Locks: rmap_lock, the object's lock for a
 * shared page, mmap_lock of each mm that maps it; every one is tried, never waited for, so a caller may hold any of them and is then told
 * ERR_BUSY. Refuses what is no single frame of OWNER_USER.
 */

#include "mm/migrate.h"
#include "guest/vm/internal.h"
#include "guest/vm/shared.h"

/* The page on the move. rmap_lock. */
static struct {
  pfn_t frame;
  struct mm_struct *mms; /* that map it, by frozen_next */
  struct vm_shared *shared;
  uint64_t mappings;
  bool moved;
} frozen;

static struct vm_move_stats stats; /* written under rmap_lock */

struct vm_move_stats vm_read_move_stats(void) {
  return (struct vm_move_stats){atomic_load_relaxed(&stats.pages), atomic_load_relaxed(&stats.mappings)};
}

/* ---- Find ---- */

static bool all_found(void) {
  const struct frame *frame = frame_of(frozen.frame);
  uint64_t held = frozen.mappings + (frozen.shared != NULL);
  return held != 0 && atomic_load_acquire(&frame->refs) == held;
}

static bool collect(void *ctx, struct mm_struct *mm, uint64_t addr) {
  (void)ctx;
  mm->frozen.ia = addr;
  mm->frozen_next = frozen.mms;
  frozen.mms = mm;
  frozen.mappings++;
  return all_found();
}

/* The object's store is a reference as well, maybe the only one, and from it others may be made. */
static err_t lock_shared(uint64_t key) {
  uint64_t pgoff = rmap_key_addr(key) >> PAGE_SHIFT;
  struct vm_shared *shared = rmap_find_shared(key);
  if (!shared || pgoff >= shared->pages)
    return ERR_NOENT;
  if (!vm_home_trylock(&shared->lock))
    return ERR_BUSY;
  frozen.shared = shared;
  return pfn_eq(store_lookup(&shared->store, pgoff), frozen.frame) ? ERR_OK : ERR_NOENT;
}

static void release_all(void) {
  for (struct mm_struct *mm = frozen.mms, *next; mm; mm = next) {
    next = mm->frozen_next;
    mm->frozen_next = NULL;
    mm->frozen.entry = NULL;
    port_lock_release(&mm->mmap_lock);
  }
  if (frozen.shared)
    port_lock_release(&frozen.shared->lock);
  port_lock_release(&rmap_lock);
}

/* Some mapping (or the store) leads to the frame, so it is allocated and this key is its own; if all are found, it stays so. */
static err_t find_all(pfn_t from, uint64_t key) {
  frozen.frame = from;
  frozen.mms = NULL;
  frozen.shared = NULL;
  frozen.mappings = 0;
  frozen.moved = false;
  err_t err = rmap_key_kind(key) == RMAP_SHARED ? lock_shared(key) : ERR_OK;
  if (err != ERR_OK)
    return err;
  if (!all_found())
    rmap_walk(key, from, collect, NULL);
  return all_found() ? ERR_OK : ERR_BUSY;
}

/* ---- Freeze, move, thaw ---- */

static void break_all(void) {
  for (struct mm_struct *mm = frozen.mms; mm; mm = mm->frozen_next) {
    err_t err = pt_break_leaf(&mm->pt, mm->frozen.ia, pfn_pa(frozen.frame), 3, &mm->frozen);
    CHECK(err == ERR_OK);
  }
}

static void make_all(pfn_t at) {
  for (struct mm_struct *mm = frozen.mms; mm; mm = mm->frozen_next)
    pt_make_leaf(&mm->pt, &mm->frozen, pfn_pa(at));
}

static bool is_executable(void) {
  for (const struct mm_struct *mm = frozen.mms; mm; mm = mm->frozen_next) {
    if (mm->pt.ops->prot(&mm->pt, mm->frozen.desc) & PT_UX)
      return true;
  }
  return false;
}

static err_t freeze(pfn_t from, unsigned order, owner_t owner, uint64_t key) {
  if (order != 0 || owner != OWNER_USER || rmap_key_kind(key) == RMAP_NONE)
    return ERR_PERM;
  if (!vm_home_trylock(&rmap_lock))
    return ERR_BUSY;
  err_t err = find_all(from, key);
  if (err == ERR_OK)
    break_all();
  else
    release_all();
  return err;
}

/* A frame that becomes executable later is made so by mprotect, which sees to the caches then. */
static void move(pfn_t from, pfn_t to, unsigned order) {
  (void)order;
  port_copy_frame(to, from);
  if (is_executable())
    vm_home_sync_icache(to);
  make_all(to);
  if (frozen.shared)
    store_replace(&frozen.shared->store, rmap_key_addr(frame_of(to)->rmap) >> PAGE_SHIFT, to);
  frozen.moved = true;
  atomic_fetch_add_relaxed(&stats.pages, 1);
  atomic_fetch_add_relaxed(&stats.mappings, frozen.mappings);
}

/* Where it was, if the core called the move off. */
static void thaw(pfn_t at, unsigned order, owner_t owner) {
  (void)order, (void)owner;
  if (!frozen.moved)
    make_all(at);
  release_all();
}

static const struct migrate_ops ops = {
    .freeze = freeze,
    .move = move,
    .thaw = thaw,
};

void vm_migrate_init(void) {
  migrate_set_ops(&ops);
}
