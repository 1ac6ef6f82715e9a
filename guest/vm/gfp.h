/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef GUEST_VM_GFP_H
#define GUEST_VM_GFP_H

/*
 * How far the guest kernel's requests for memory go, under Linux's names for them.
 *
 *   GFP_ATOMIC            at once or not at all, from the reserve as well
 *   GFP_NOWAIT            at once, not from the reserve
 *   GFP_KERNEL            memory may be reclaimed for it, and blocks moved: no lock is held. Like the next, from half of the reserve as well: what the
 *                         kernel needs to go on (tables, VMAs, tasks) is to be had although processes have taken all that they may have
 *   GFP_KERNEL_LOCKED     memory may be reclaimed for it, but nothing moves: mmap_lock or an object's lock is held, which a move would have
 *                         to find free (guest/vm/migrate.c). Linux's locks sleep and are dropped around the wait; these spin
 *   GFP_HIGHUSER_MOVABLE  a user's page, wherever a page can be moved from; made under mmap_lock
 */

#include "mm/page_alloc.h"

#define GFP_ATOMIC ALLOC_ATOMIC
#define GFP_NOWAIT 0u
#define GFP_KERNEL (ALLOC_HIGH | ALLOC_MAY_COMPACT | ALLOC_MAY_RECLAIM)
#define GFP_KERNEL_LOCKED (ALLOC_HIGH | ALLOC_MAY_RECLAIM)
#define GFP_HIGHUSER_MOVABLE (ALLOC_MOVABLE | ALLOC_MAY_RECLAIM)

#endif
