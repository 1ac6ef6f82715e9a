/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The statistics queue (virtio 1.2, 5.5.6.3): one buffer goes to the device, and each time it comes back the device wants new numbers.
 *
 * Lock: balloon.lock. What this kernel has none of, swap and page cache, is left out, not said to be 0.
 */
#include "core/bits.h"
#include "guest/arch/mmu.h"
#include "guest/drivers/virtio/balloon_priv.h"

static uint64_t managed_frames(void) {
  struct buddyinfo info;
  uint64_t frames = 0;
  for (unsigned zone = 0; page_buddyinfo(zone, &info); zone++)
    frames += info.managed_frames;
  return frames;
}

void balloon_send_stats(void) {
  uint64_t free_bytes = page_free_frames() * PAGE_SIZE;
  const struct balloon_stat stats[] = {
      {BALLOON_S_MEMFREE, free_bytes}, {BALLOON_S_MEMTOT, managed_frames() * PAGE_SIZE}, {BALLOON_S_AVAIL, free_bytes}};
  const struct vq_segment segment = {linear_pa(balloon.stat), sizeof(stats)};
  for (unsigned i = 0; i < ARRAY_SIZE(stats); i++)
    balloon.stat[i] = stats[i];
  if (vq_add(balloon.stats, &segment, 1, 0, balloon.stat) == ERR_OK)
    vq_kick(balloon.stats);
}

void balloon_answer_stats(void) {
  vlock_acquire(&balloon.lock);
  if (balloon.stats && vq_get_used(balloon.stats, NULL))
    balloon_send_stats();
  vlock_release(&balloon.lock);
}
