/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HYP_DEV_VIRTIO_BALLOON_PRIV_H
#define HYP_DEV_VIRTIO_BALLOON_PRIV_H

/* What the two files of the balloon share. */

#include "hyp/dev/virtio/balloon.h"
#include "hyp/dev/virtio/virtio.h"

struct virtio_balloon {
  struct virtio_device device;
  uint64_t offered;              /* to the next driver that negotiates */
  bool declines_reports;         /* they are answered, and nothing is taken */
  uint64_t frames;               /* of the VM's memory; constant, likewise the next */
  uint64_t *inside;              /* a bit per frame: the guest gave it and has not taken it back; in frames charged to the VM */
  uint64_t stale;                /* words of `inside`, from 0 on, that are to be cleared before anything is served: of a reset */
  uint64_t actual;               /* bits set in `inside` */
  uint32_t target, said, poison; /* as in the configuration space */
  /* Per queue, of the chain at its head: bytes of it that are dealt with; and of the ranges that are read at once from there on. */
  uint64_t offset[VIRTIO_QUEUES_MAX], in_ranges[VIRTIO_QUEUES_MAX];
  uint64_t chains;
  struct reclaim_sum inflated, reported;
  uint64_t ignored_reports;
  uint64_t asked_at, moved_at, said_at; /* CNTPCT: target set; `actual` changed; the guest wrote the configuration space */
  bool stats_held;                      /* a buffer of statistics waits for balloon_ask_stats() */
  uint16_t stats_head;
  uint32_t stats_known;
  uint64_t stats_at, stats[BALLOON_S_TAGS];
};

/* Take one chain, or a bounded piece of one, from the inflate, deflate or reporting queue. device.lock held. */
enum virtio_work balloon_inflate(struct virtio_balloon *b, unsigned q);
enum virtio_work balloon_deflate(struct virtio_balloon *b, unsigned q);
enum virtio_work balloon_take_report(struct virtio_balloon *b, unsigned q);

#endif
