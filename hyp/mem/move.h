/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HYP_MEM_MOVE_H
#define HYP_MEM_MOVE_H

/* Frames of running VMs change places: what EL2 answers when the memory core moves one (include/mm/migrate.h). */

#include "core/err.h"
#include "core/types.h"
#include "mm/migrate.h"

struct stage2;

#define OWNER_FRAGMENTER ((owner_t)(OWNERS_MAX - 1)) /* memory that the `fragment` command holds: no VM's */

/* Tell the core how VMs' frames are moved. Once, at boot, before the first VM. */
void move_init(void);

/*
 * Move what backs the page of RAM at `a` to another frame, any the allocator has. A block there is split first. MOVE_GONE if nothing is
 * backed; ERR_NOMEM of either kind is MOVE_NO_ROOM.
 */
MUST_CHECK enum move_result move_page(struct stage2 *s2, ipa_t a);

#endif
