/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Frames on their way into the zeroed pool. Holds no lock and no state; interrupts stay masked, so the core asks for a few frames at a
 * time.
 */
#include "hyp/arch/cleanse.h"
#include "mm/port.h"

void port_cleanse_frames(pfn_t f, uint64_t frames) {
  cleanse_lines(port_frame_ptr(f), frames << PAGE_SHIFT);
  cleanse_icache();
}
