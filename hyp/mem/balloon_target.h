/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HYP_MEM_BALLOON_TARGET_H
#define HYP_MEM_BALLOON_TARGET_H

/*
 * What memory policies may ask of a VM's balloon, and what they may know of it. The device itself is hyp/dev/virtio/balloon.c, which
 * implements this; everything that a guest says here is its word only: policies treat it as a hint.
 */

#include "core/types.h"

struct vm;

/*
 * Ask the guest of `vm` to give back all but `frames_to_keep` of its memory: it inflates or deflates towards that when it gets to it. More
 * than the VM's memory means all of it (deflate wholly). The request stays until the next; it survives a reset of the device, not one of
 * the VM. False, and nothing done, if the VM has no balloon. From EL2 work, vm->s2.lock not held.
 */
bool balloon_set_target(struct vm *vm, uint64_t frames_to_keep);

/* A balloon as it is now; all in frames of 4 KiB. */
struct balloon_state {
  bool present;          /* the VM has the device */
  bool driven;           /* a driver has set DRIVER_OK */
  uint64_t keep;         /* the last target asked for: frames the VM should keep; its whole memory if none was */
  uint64_t actual;       /* frames that are in the balloon, as the device counts them, not as the guest says */
  uint64_t reported;     /* frames ever given back by free-page reporting */
  bool stats_valid;      /* the guest has answered at least once */
  uint64_t stats_at;     /* CNTPCT of its last answer */
  uint64_t free_frames;  /* VIRTIO_BALLOON_S_MEMFREE; the guest's word */
  uint64_t avail_frames; /* VIRTIO_BALLOON_S_AVAIL */
  uint64_t total_frames; /* VIRTIO_BALLOON_S_MEMTOT */
  uint64_t major_faults; /* VIRTIO_BALLOON_S_MAJFLT, a count */
};

/* A glimpse, any CPU; all zero with `present` false if the VM has no balloon. */
void balloon_read(const struct vm *vm, struct balloon_state *out);

/*
 * Ask the guest for new statistics. False if the VM has no balloon or its driver does not offer them; the answer shows in balloon_read().
 */
bool balloon_ask_stats(struct vm *vm);

#endif
