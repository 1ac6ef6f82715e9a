/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Moving a VM's frames under its running vCPUs.
 *
 *     freeze   s2->lock; the leaf is made invalid, TLBs forget it under the VM's VMID (Arm ARM D8.14.1), in the views as well
 *     move     copy; the leaf again, with the new output
 *     thaw     s2->lock is dropped
 *
 * A vCPU that touches the page meanwhile faults, and its fault waits for s2->lock before it looks: it then finds the page there and tries
 * again. So there is no state to wait for, and the guest can at most notice the time: a page takes about as long as its copy and as much
 * again.
 *
 * Only single pages are moved. A block of 2 MiB would keep interrupts masked for too long, so it is split, and answered with "gone": who
 * wanted it moved looks again and finds 512 pages. hyp/mem/collapse.c makes blocks of them afterwards.
 *
 * Lock: vms_lock, for as long as it takes to get hold of s2->lock, which is then held from freeze to thaw; it covers s2->broken. EL2's own
 * accesses to guest memory hold it too (stage2_read, stage2_write).
 */
#include "hyp/mem/move.h"
#include "core/check.h"
#include "hyp/arch/features.h"
#include "hyp/arch/tlb.h"
#include "hyp/arch/zero.h"
#include "hyp/core/vm.h"
#include "hyp/mem/background.h"
#include "hyp/mem/managed.h"
#include "mm/fragment.h"
#include "mm/page_alloc.h"
#include "mm/port.h"

#define ORDER_2M 9u

/* The stage 2 of a VM that was there when somebody last looked, locked; NULL if the VM or its memory is gone. */
static struct stage2 *lock_owner(owner_t owner) {
  spin_lock(&vms_lock);
  struct vm *vm = vm_by_id(owner);
  if (vm)
    spin_lock(&vm->s2.lock);
  spin_unlock(&vms_lock);
  if (vm && !vm->s2.pt.root) {
    spin_unlock(&vm->s2.lock);
    return NULL;
  }
  return vm ? &vm->s2 : NULL;
}

static struct stage2 *locked_owner(owner_t owner) {
  return &vm_by_id(owner)->s2; /* cannot go away: discard() in vm.c waits for the lock */
}

static err_t break_page(struct stage2 *s2, pfn_t from, uint64_t at) {
  err_t err = pt_break_leaf(&s2->pt, at, pfn_pa(from), 3, &s2->broken);
  if (err == ERR_OK && s2->vm->config.trap_stage1_faults)
    stage2_forget_views(s2, ipa(at), PAGE_SIZE);
  return err;
}

static err_t split_block(struct stage2 *s2, uint64_t at) {
  return stage2_split(s2, at) == ERR_OK ? ERR_NOENT : ERR_BUSY;
}

static err_t freeze_guest(pfn_t from, unsigned order, owner_t owner, uint64_t rmap) {
  struct stage2 *s2 = lock_owner(owner);
  if (!s2)
    return ERR_NOENT;
  err_t err = ERR_NOENT;
  if (stage2_is_memory(s2, ipa(rmap)))
    err = order == 0 ? break_page(s2, from, rmap) : order == ORDER_2M ? split_block(s2, rmap) : ERR_PERM;
  if (err != ERR_OK)
    spin_unlock(&s2->lock);
  return err;
}

/* A guest may have written past the caches, and may read and execute past them (design.md, cache rule). */
static void copy_contents(pfn_t from, pfn_t to) {
  if (features.needs_clean)
    cache_clean_invalidate_poc(port_frame_ptr(from), PAGE_SIZE);
  if (features.needs_clean || !feature_on(HYP_FEAT_IDC)) /* it may be code: to the PoU at least */
    copy_page_poc(port_frame_ptr(to), port_frame_ptr(from));
  else
    copy_page(port_frame_ptr(to), port_frame_ptr(from));
  if (features.needs_ic)
    icache_flush_all();
}

static void move_guest(pfn_t from, pfn_t to, unsigned order) {
  struct stage2 *s2 = locked_owner(frame_of(to)->owner);
  CHECK(order == 0); /* nothing else is ever frozen */
  copy_contents(from, to);
  pt_make_leaf(&s2->pt, &s2->broken, pfn_pa(to));
  s2->broken.entry = NULL;
  s2->moved_frames++;
}

/* Where it was, if the core called the move off. */
static void thaw_guest(pfn_t at, owner_t owner) {
  struct stage2 *s2 = locked_owner(owner);
  if (s2->broken.entry)
    pt_make_leaf(&s2->pt, &s2->broken, pfn_pa(at));
  s2->broken.entry = NULL;
  spin_unlock(&s2->lock);
}

/* ---- by owner: VMs, managed ranges, and what the `fragment` command holds ---- */

static bool is_managed(pfn_t f) {
  return frame_of(f)->state == FRAME_MANAGED;
}

static err_t freeze(pfn_t from, unsigned order, owner_t owner, uint64_t rmap) {
  if (is_managed(from))
    return order == 0 ? managed_freeze(from, owner, rmap) : ERR_PERM;
  return owner == OWNER_FRAGMENTER ? fragment_migrate_ops.freeze(from, order, owner, rmap) : freeze_guest(from, order, owner, rmap);
}

static void move(pfn_t from, pfn_t to, unsigned order) {
  if (frame_of(to)->owner == OWNER_FRAGMENTER)
    fragment_migrate_ops.move(from, to, order);
  else if (is_managed(to)) /* its entry has taken over that of `from` */
    managed_move(from, to);
  else
    move_guest(from, to, order);
}

static void thaw(pfn_t at, unsigned order, owner_t owner) {
  if (owner == OWNER_FRAGMENTER)
    fragment_migrate_ops.thaw(at, order, owner);
  else if (is_managed(at))
    managed_thaw(at);
  else
    thaw_guest(at, owner);
}

static const struct migrate_ops ops = {
    .freeze = freeze,
    .move = move,
    .thaw = thaw,
};

void move_init(void) {
  migrate_set_ops(&ops);
}

/* ---- by address ---- */

/* The frame behind a page of RAM, as a frame of its own. */
static enum move_result find_page(struct stage2 *s2, uint64_t at, pfn_t *out) {
  struct pt_leaf leaf;
  if (!s2->pt.root || !stage2_is_ram(s2, ipa(at)) || pt_lookup(&s2->pt, at, &leaf) != ERR_OK)
    return MOVE_GONE;
  *out = pa_pfn(leaf.out);
  return leaf.level == 3 || stage2_split(s2, at) == ERR_OK ? MOVE_DONE : MOVE_NO_ROOM;
}

enum move_result move_page(struct stage2 *s2, ipa_t a) {
  pfn_t from, to;
  spin_lock(&s2->lock);
  enum move_result result = find_page(s2, a.v, &from);
  spin_unlock(&s2->lock);
  if (result != MOVE_DONE)
    return result;
  if (page_alloc(0, ALLOC_MOVABLE | ALLOC_EFFORT, &to) != ERR_OK)
    return MOVE_NO_ROOM;
  result = frame_move(from, 0, to);
  if (result != MOVE_DONE)
    page_free(to, 0);
  return result;
}
