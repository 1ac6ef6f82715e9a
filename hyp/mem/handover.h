/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HYP_MEM_HANDOVER_H
#define HYP_MEM_HANDOVER_H

/*
 * Memory that goes from one VM to another without a copy: shared, lent or donated, as FF-A 1.1 understands the words. What a guest says and
 * is told stands in hyp/dev/ffa.c; here is what then happens to frames and stage 2. docs/handover.md has the picture.
 *
 *             begin       claim          send                retrieve, map           transfer
 *   (nothing) ----> GATHERING ----> SENDING ----> OPEN --------------------> OPEN ----------> the taker's (donate)
 *                    | cancel                      |  ^  relinquish, unmap    |
 *                    v                             |  +-----------------------+
 *                 (nothing) <---- RETURNING <------+ reclaim, once nobody has it mapped
 *
 * Each arrow that touches frames is a function that does HANDOVER_STEP_PAGES of them at most and returns ERR_AGAIN while there are more;
 * between two calls no lock is held and interrupts may be looked at. Whatever can fail for a region happens before its state changes: claim
 * checks and pins every page; map makes the borrower's tables, and is undone by unmap when it cannot; send, unmap and transfer cannot fail.
 *
 * Lock: a giver's table and its frames that are under way are covered by the giver's stage2.lock; a borrower's mapping of them by both
 * VMs', taken in the order of VM ids, under vms_lock while they are looked up. All functions take them themselves.
 */

#include "core/err.h"
#include "core/types.h"
#include "mm/pgtable.h"

struct vm;

#define HANDOVER_BORROWERS_MAX 4u
#define HANDOVERS_MAX 16u /* of one giver at once */
#define HANDOVER_STEP_PAGES 128u

enum handover_kind {
  HANDOVER_SHARE = 0,
  HANDOVER_LEND,
  HANDOVER_DONATE
};

enum handover_state {
  HANDOVER_NONE = 0,
  HANDOVER_GATHERING, /* frames are looked at, and pinned: the giver's as before */
  HANDOVER_SENDING,   /* they become SHARED or LENT, the giver's mapping of a loan goes */
  HANDOVER_OPEN,      /* borrowers may retrieve */
  HANDOVER_TAKEN,     /* a donation: frames become the taker's */
  HANDOVER_RETURNING  /* reclaimed: back to the giver */
};

enum borrower_state {
  BORROWER_IDLE = 0,
  BORROWER_MAPPING,
  BORROWER_MAPPED,
  BORROWER_UNMAPPING,
  BORROWER_WIPING, /* it has let go, the last of all: contents are zeroed */
  BORROWER_GONE    /* its VM died, or was restarted: whoever has its id now was not meant */
};

struct handover_borrower {
  uint16_t vm;
  uint8_t state;     /* enum borrower_state */
  bool writable : 1; /* what the giver allows */
  bool wipe : 1;     /* it has asked for contents to go when it lets go */
  pt_prot_t prot;
  uint64_t base;   /* where it has the region */
  uint64_t mapped; /* pages from `first` on that are mapped there ... */
  uint64_t gone;   /* ... but for so many that are unmapped again */
  uint32_t next;   /* head that the next step begins with */
};

/*
 * One region under way. Its frames hang together by frame.next, in the order in which they were given, each with its address in the giver
 * as rmap.
 */
struct handover {
  uint64_t handle; /* owner's VM id << 32 | count */
  uint64_t tag;
  uint64_t pages;
  uint64_t from_window; /* of these: the giver had them in its window */
  uint32_t first, last; /* frame indexes of the first and last head; FRAME_LINK_NONE */
  uint32_t cursor;      /* head that the next step begins with */
  uint32_t cursor_page; /* in it: zeroing */
  uint8_t kind, state;
  uint8_t borrowers;
  bool zero : 1;      /* contents go when it is sent, or when it comes back */
  bool unsettled : 1; /* RETURNING: that is still to be done, or caches are to be cleaned of what borrowers wrote */
  bool wipe : 1;      /* contents go when the last borrower has let go: one that had it has asked for this */
  struct handover_borrower borrower[HANDOVER_BORROWERS_MAX];
};

struct handover_table {
  uint32_t count; /* regions begun so far */
  struct handover slot[HANDOVERS_MAX];
};

_Static_assert(sizeof(struct handover_table) <= PAGE_SIZE, "one table is one frame");

struct handover_range {
  uint64_t ia, pages;
};

/* Once, after the memory core. ERR_NOMEM. */
MUST_CHECK err_t handover_init(void);
/* Give `vm` what it needs to give or borrow; idempotent. ERR_NOMEM. */
MUST_CHECK err_t handover_open(struct vm *vm);

/*
 * The giver begins: `template` says kind, tag, zero and borrowers (vm, writable). ERR_NOSPC: HANDOVERS_MAX are under way; ERR_INVAL: no
 * borrower, itself, one that does not exist or is being destroyed, or several of a donation, or zeroing of what it shares; ERR_NOMEM.
 */
MUST_CHECK err_t handover_begin(struct vm *owner, const struct handover *template, uint64_t *handle);
/*
 * Pin what lies in `left` and take it into the region; `left` is what remains. ERR_AGAIN: more to do. ERR_RANGE: not memory of a VM;
 * ERR_PERM: not its own, or under way, borrowed or given away already; ERR_NOMEM. After an error: handover_cancel().
 */
MUST_CHECK err_t handover_claim(struct vm *owner, uint64_t handle, struct handover_range *left);
/* Unpin all; ERR_AGAIN, then the region is no more. */
MUST_CHECK err_t handover_cancel(struct vm *owner, uint64_t handle);
/* All is gathered: the giver's side changes. ERR_AGAIN; ERR_NOENT. */
MUST_CHECK err_t handover_send(struct vm *owner, uint64_t handle);

/* What a receiver may learn before it takes a region; ERR_NOENT: there is none of that handle for it. */
struct handover_info {
  enum handover_kind kind;
  uint64_t tag, pages;
  bool writable, zeroed;
};
MUST_CHECK err_t handover_inquire(struct vm *borrower, uint64_t handle, struct handover_info *out);
/*
 * `borrower` takes it at `base` in its window with `prot` (PT_R, PT_W, PT_X); `wipe`: contents are zeroed when nobody has it any more.
 * ERR_NOENT; ERR_EXIST: it has it already; ERR_RANGE: not in its window; ERR_PERM: more than the giver allows, or a wipe of what is shared
 * or read only; ERR_BUSY: it is being wiped. Then handover_map() in steps: ERR_AGAIN; ERR_EXIST: something is mapped there; ERR_NOMEM;
 * after these handover_unmap(). A donation goes on with handover_transfer().
 */
MUST_CHECK err_t handover_retrieve(struct vm *borrower, uint64_t handle, uint64_t base, pt_prot_t prot, bool wipe);
MUST_CHECK err_t handover_map(struct vm *borrower, uint64_t handle);
MUST_CHECK err_t handover_transfer(struct vm *borrower, uint64_t handle);

/* A look for the place that handover_retrieve() is to be told. */
struct handover_place {
  uint64_t base;         /* bytes; once it is found: the answer */
  uint64_t at;           /* [base, at) is free */
  uint64_t bytes, align; /* wanted; a region that may hold a block is to begin at 2 MiB */
};
void handover_place_begin(struct handover_place *p, const struct vm *vm, uint64_t pages);
/* ERR_AGAIN; ERR_NOSPC: the window has no such hole. No other call of the VM may map meanwhile. */
MUST_CHECK err_t handover_place_step(struct handover_place *p, struct vm *vm);

/*
 * The borrower lets go, then handover_unmap() in steps. ERR_NOENT: it does not have it; ERR_BUSY: another of its calls is at it; ERR_PERM:
 * as above.
 */
MUST_CHECK err_t handover_relinquish(struct vm *borrower, uint64_t handle, bool wipe);
MUST_CHECK err_t handover_unmap(struct vm *borrower, uint64_t handle);

/*
 * The giver takes it back, if nobody has it mapped: ERR_NOENT; ERR_PERM: somebody has. Then handover_return() in steps: ERR_AGAIN;
 * ERR_NOMEM: no frame for a table; what is back is back, nobody can retrieve the rest, and another reclaim goes on.
 */
MUST_CHECK err_t handover_reclaim(struct vm *owner, uint64_t handle, bool zero);
MUST_CHECK err_t handover_return(struct vm *owner, uint64_t handle);

/*
 * `vm` goes, or starts anew; no vCPU of it runs any more. What it borrowed is relinquished; what it lent and shared is taken away from its
 * borrowers, with TLB maintenance, and what the loan had left unmapped is freed; a donation that its taker has begun to take is completed
 * first. ERR_AGAIN while there is more.
 */
MUST_CHECK err_t handover_leave(struct vm *vm);

#endif
