/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HYP_MEM_HANDOVER_PRIV_H
#define HYP_MEM_HANDOVER_PRIV_H

/* Inside the hand-over: what handover.c has for the sides of giver and borrower and for the end of a VM. */

#include "hyp/mem/handover.h"

#define HANDOVER_OWNER_SHIFT 32u /* a handle: the VM id of the giver, and below this the number of the region */

struct handover_parties {
  struct vm *owner, *borrower;
  struct handover *h;
  struct handover_borrower *b;
};

/* The giver's region of that handle, in any state; NULL if there is none. Its lock is held. */
struct handover *handover_find(struct vm *owner, uint64_t handle);
/* The borrower of that id, unless it is GONE; NULL. As above. */
struct handover_borrower *handover_find_borrower(struct handover *h, unsigned vm_id);
/* Does anybody but the giver have it mapped, or is about to? As above. */
bool handover_is_borrowed(const struct handover *h);
void handover_forget(struct handover *h);

/* Both VMs locked and the region found, or ERR_NOENT and nothing locked. */
MUST_CHECK err_t handover_lock_parties(struct handover_parties *p, unsigned borrower_id, uint64_t handle);
void handover_unlock_parties(const struct handover_parties *p);
/* `step` with both locked; ERR_NOENT, or what it returns. */
MUST_CHECK err_t handover_as_borrower(struct vm *borrower, uint64_t handle, err_t (*step)(const struct handover_parties *));

/* Steps of a borrower, parties locked: see handover_transfer() and handover_unmap(). */
MUST_CHECK err_t handover_transfer_step(const struct handover_parties *p);
MUST_CHECK err_t handover_unmap_step(const struct handover_parties *p);

/* Does any VM have a table? Without one nothing is under way anywhere. */
bool handover_any(void);
/* The end of `vm`'s table; nothing is in it. */
void handover_close(struct vm *vm);

#endif
