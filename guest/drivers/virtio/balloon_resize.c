/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Following the device's target, num_pages, a step at a time (virtio 1.2, 5.5.6.1).
 *
 * `asked` is the device's: its target has changed and nobody has looked. `resize` is the thread's: the target is to be met. `declined` is
 * who runs out of memory's: what was taken out is not to be given again at once. It ends with the next question, and a question that comes
 * while memory is short is kept; and it does not hinder frames on their way out.
 */
#include "core/atomic.h"
#include "guest/drivers/virtio/balloon_priv.h"

void balloon_ask(void) {
  atomic_store_release(&balloon.asked, true);
}

void balloon_decline(void) {
  atomic_store_relaxed(&balloon.declined, true);
}

bool balloon_has_to_resize(void) {
  return balloon.resize;
}

void balloon_tell_actual(void) {
  virtio_config_write32(balloon.device, offsetof(struct virtio_balloon_config, actual), (uint32_t)balloon_inside());
}

static void tell_actual(void) {
  vlock_acquire(&balloon.lock);
  if (balloon.device)
    balloon_tell_actual();
  vlock_release(&balloon.lock);
}

static bool read_target(uint64_t *target) {
  uint32_t pages = 0;
  vlock_acquire(&balloon.lock);
  bool live = balloon.device != NULL;
  if (live)
    virtio_config_read(balloon.device, offsetof(struct virtio_balloon_config, num_pages), &pages, sizeof(pages));
  vlock_release(&balloon.lock);
  *target = pages;
  return live;
}

static void take_question(void) {
  if (!atomic_exchange(&balloon.asked, false))
    return;
  atomic_store_relaxed(&balloon.declined, false);
  balloon.resize = true;
}

/* There is a device, and somewhere to go. */
static bool is_to_move(uint64_t *target, uint64_t have) {
  if (!balloon.resize || !read_target(target) || *target == have)
    return false;
  return *target < have || !atomic_load_relaxed(&balloon.declined);
}

bool balloon_resize_step(void) {
  uint64_t target, have = balloon_inside();
  if (balloon.orphaned)
    return false; /* what is inside is taken back before the next device is told of any */
  take_question();
  balloon.resize = is_to_move(&target, have);
  if (!balloon.resize)
    return false;
  bool moved = target > have ? balloon_inflate_some(target - have) : balloon_deflate_some(have - target);
  tell_actual();
  return moved;
}
