/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where a region goes when its taker leaves that to the hypervisor: the lowest hole of its window that is large enough. What may hold a
 * block begins at 2 MiB, so that blocks stay blocks.
 *
 *      window   | taken |   hole   | taken |  hole                       |
 *                        too small           ^ base ... at: looked at so far
 *
 * A hole that is found stays one: only the VM's own calls map anything there, and one of them is made at a time (hyp/dev/ffa.c). Nothing is
 * reserved, so nothing is to be undone. A look costs a walk, and passes a leaf, or as much as the missing table would cover.
 *
 * Lock: the taker's stage2.lock, for one step at a time.
 */
#include "core/bits.h"
#include "hyp/core/vm.h"
#include "hyp/mem/handover.h"

void handover_place_begin(struct handover_place *p, const struct vm *vm, uint64_t pages) {
  p->align = pages * PAGE_SIZE >= SZ_2M ? SZ_2M : PAGE_SIZE;
  p->bytes = pages * PAGE_SIZE;
  p->base = p->at = align_up(stage2_window(&vm->s2).v, p->align);
}

/* One leaf, or one gap, is passed. */
static void look(const struct stage2 *s2, struct handover_place *p) {
  struct pt_leaf leaf;
  err_t err = pt_lookup(&s2->pt, p->at, &leaf);
  uint64_t size = (uint64_t)1 << (PAGE_SHIFT + 9 * (3 - leaf.level));
  p->at = align_down(p->at, size) + size;
  if (err == ERR_OK)
    p->base = p->at = align_up(p->at, p->align);
}

err_t handover_place_step(struct handover_place *p, struct vm *vm) {
  struct stage2 *s2 = &vm->s2;
  err_t err = ERR_AGAIN;
  spin_lock(&s2->lock);
  for (unsigned i = 0; i < HANDOVER_STEP_PAGES && err == ERR_AGAIN; i++) {
    if (!stage2_is_window_range(s2, ipa(p->base), p->bytes))
      err = ERR_NOSPC;
    else if (p->at - p->base >= p->bytes)
      err = ERR_OK;
    else
      look(s2, p);
  }
  spin_unlock(&s2->lock);
  return err;
}
