/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HYP_DEV_VIRTIO_BALLOON_H
#define HYP_DEV_VIRTIO_BALLOON_H

/*
 * A memory balloon (virtio 1.2, 5.5). What a VM's balloon is asked for and how it stands: hyp/mem/balloon_target.h, which balloon.c
 * implements; here is what the monitor shows besides.
 */

#include "abi/virtio.h"
#include "core/err.h"
#include "core/types.h"
#include "hyp/mem/reclaim.h"

struct vm;
struct virtio_device;

MUST_CHECK err_t virtio_balloon_create(struct vm *vm, unsigned slot);
void virtio_balloon_destroy(struct virtio_device *d);

/* Features that a scenario may name (SCENARIO_BALLOON_FEATURES), by bits of vm_config.balloon. */
uint64_t virtio_balloon_features(uint64_t words);

/* Why the target is not met. */
enum balloon_stand {
  BALLOON_DONE = 0,     /* it is */
  BALLOON_STOPPED,      /* the VM does not run */
  BALLOON_NO_DRIVER,    /* no driver has set DRIVER_OK */
  BALLOON_NEEDS_RESET,  /* the driver broke the rules and has not reset the device yet */
  BALLOON_MOVES,        /* pages came or went within the last BALLOON_PATIENCE_MS */
  BALLOON_SAYS_NO_MORE, /* the guest answers, but nothing moves: it has no more to give, or took some back */
  BALLOON_SILENT        /* the guest does not answer */
};
#define BALLOON_PATIENCE_MS 100u

/* A glimpse for people. Times are CNTPCT; frames of 4 KiB. */
struct balloon_report {
  uint64_t features; /* negotiated */
  uint64_t offered;  /* to the next driver */
  bool declines_reports;
  uint32_t target, said; /* num_pages and actual of the configuration space: the latter is the guest's word */
  uint32_t poison;
  enum balloon_stand stand;
  uint64_t waiting_ms; /* since something moved, the guest answered or the target was set: what `stand` calls for */
  uint64_t chains;     /* served so far, of all queues */
  struct reclaim_sum inflated, reported;
  uint64_t ignored_reports; /* frames reported while the guest poisons its free pages, or reports are declined */
  uint32_t stats_known;     /* bit per enum balloon_stat_tag */
  uint64_t stats[BALLOON_S_TAGS];
};

/*
 * What it offers, as bits of vm_config.balloon, to the next driver that negotiates: the present one keeps what it has, till it, or the VM,
 * is reset. And whether it takes what is reported to it: if not, reports are answered, and the memory stays. Both hold as long as the VM.
 * False if it has no balloon.
 */
bool virtio_balloon_offer(struct vm *vm, uint64_t words);
bool virtio_balloon_take_reports(struct vm *vm, bool take);

/* False if the VM has no balloon. */
bool virtio_balloon_report(struct vm *vm, struct balloon_report *out);

#endif
