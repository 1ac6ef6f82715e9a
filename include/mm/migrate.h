/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef MM_MIGRATE_H
#define MM_MIGRATE_H

/*
 * Moving one block of memory to another place while its owner uses it.
 *
 * The core knows which frames are movable and where there is room; only the owner knows who can see a frame. So a move is a
 * conversation with it, in four steps that follow one another at once, on one CPU, interrupts masked:
 *
 *     core                         owner (struct migrate_ops)
 *     takes a free block `to`
 *                                  freeze   takes its lock, makes sure that `from` is what it was thought to be, makes it
 *                                           unreachable (break, TLBI: Arm ARM D8.14.1); may refuse, then nothing changed
 *     `from` becomes MOVING,
 *     `to` takes over its state
 *                                  move     copies the contents, points every mapping at `to`; cannot fail
 *                                  thaw     drops its lock: whoever faulted in the window tries again
 *     gives `from` to the buddy
 *
 * Lock order: the owner's lock, taken by freeze, comes before the core's (include/mm/page_alloc.h), which are not held across the calls.
 */

#include "core/err.h"
#include "core/types.h"
#include "mm/frame.h"

struct migrate_ops {
  /*
   * Lock out every access to the block that `from` heads, of 2^order frames, owned by `owner` at `rmap` when last looked at: that was
   * without a lock, so the owner checks under its own that this still holds. ERR_NOENT: it is gone or another's now; ERR_BUSY: not
   * now (in use by the owner itself); ERR_PERM: never. On success the owner's lock stays held until thaw, and what of the entry is the
   * owner's (state, order, pins, rmap) stands still.
   */
  err_t (*freeze)(pfn_t from, unsigned order, owner_t owner, uint64_t rmap);
  /* Copy the contents and let every mapping lead to `to`, whose entry is complete already (state, owner, rmap, refs, private, order). */
  void (*move)(pfn_t from, pfn_t to, unsigned order);
  /*
   * The end of what freeze began. `at` is where the block is now: `to`, or still `from` if the core called the move off (a pin, found under
   * the lock): then the owner makes it reachable again where it was.
   */
  void (*thaw)(pfn_t at, unsigned order, owner_t owner);
};

/* The home's table; before the first move, once. With none, everything is MOVE_UNMOVABLE. */
void migrate_set_ops(const struct migrate_ops *ops);

enum move_result {
  MOVE_DONE,
  MOVE_GONE,      /* freed, split or given away before it could be frozen: no harm, look again */
  MOVE_PINNED,    /* frame->pins */
  MOVE_UNMOVABLE, /* allocated as unmovable, in a state that does not move, or the owner answered ERR_PERM */
  MOVE_BUSY,      /* the owner answered ERR_BUSY; also a frame in a per-CPU list */
  MOVE_NO_ROOM,   /* no free block of this order where one was looked for */
  MOVE_RESULTS
};
const char *move_result_name(enum move_result r);

/*
 * What can be said, without a lock, of the block headed by `from`: MOVE_DONE if it looks movable, else why not. A glimpse; frame_move()
 * asks again.
 */
enum move_result frame_movable(pfn_t from);

/*
 * Move the block headed by `from`, of 2^order frames, to `to`: a block of the same order that the caller has from the allocator
 * (state CACHED). On MOVE_DONE `from` is free (in the buddy, not in a per-CPU list) and `to` is the owner's; else nothing changed and
 * `to` is still the caller's. Reports MM_EVENT_FRAME_MOVE.
 */
MUST_CHECK enum move_result frame_move(pfn_t from, unsigned order, pfn_t to);

#endif
