/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HYP_MEM_HANDOVER_FRAMES_H
#define HYP_MEM_HANDOVER_FRAMES_H

/* The steps of a hand-over over its frames; the locks of the VMs named are held. Private to handover.c, which says when each is due. */

#include "hyp/core/vm.h"
#include "hyp/mem/handover.h"

/* ERR_NOENT: RAM at left->ia that was never touched, to be populated first. Others as handover_claim(). */
MUST_CHECK err_t handover_claim_frames(struct vm *owner, struct handover *h, struct handover_range *left);
void handover_rewind(struct handover *h);
/* ERR_AGAIN while the cursor is not at the end. */
MUST_CHECK err_t handover_unpin_frames(struct handover *h);
MUST_CHECK err_t handover_give_frames(struct vm *owner, struct handover *h);
/* Contents, between one VM and the next: zeroed, or settled (stage2_settle()). */
MUST_CHECK err_t handover_settle_frames(struct handover *h, bool zero);
MUST_CHECK err_t handover_map_frames(struct vm *borrower, struct handover_borrower *b);
MUST_CHECK err_t handover_unmap_frames(struct vm *borrower, struct handover *h, struct handover_borrower *b);
/* From the front of the chain: what has been done is out of it. */
MUST_CHECK err_t handover_transfer_frames(struct vm *owner, struct vm *taker, struct handover *h, struct handover_borrower *b);
MUST_CHECK err_t handover_return_frames(struct vm *owner, struct handover *h);
MUST_CHECK err_t handover_drop_frames(struct vm *owner, struct handover *h);

#endif
