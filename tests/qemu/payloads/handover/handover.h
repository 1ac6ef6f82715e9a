/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HANDOVER_HANDOVER_H
#define HANDOVER_HANDOVER_H

/*
 * Two guests that hand memory to each other by FF-A: `role=1` gives and decides, `role=2` takes and does what a mailbox in shared memory
 * says.
 */

#include "abi/ffa.h"
#include "core/bits.h"
#include "core/compiler.h"
#include "tests/qemu/payloads/common/payload.h"

/* --- call.c */
struct party {
  uint16_t id, peer;
  uint64_t ram_end;   /* its window begins here */
  bool both_conduits; /* calls go by HVC and SMC in turn */
};
extern struct party self;

void ffa_begin(void);        /* version, id, buffers */
bool ffa_knows(uint16_t id); /* is there such a partition? */
/* 0, or an enum ffa_status. `fid` is DONATE, LEND or SHARE; sent in as many fragments as it takes. */
int64_t ffa_give(uint32_t fid, const struct ffa_constituent *ranges, uint32_t count, uint8_t permissions, uint32_t flags, uint64_t *handle);
#define FFA_ANYWHERE 0u /* no address: the hypervisor chooses */
/* To *address, or anywhere: then that is where. */
int64_t ffa_retrieve(uint64_t handle, uint64_t *address, uint32_t pages, uint8_t permissions);
int64_t ffa_relinquish(uint64_t handle, uint32_t flags);
int64_t ffa_reclaim(uint64_t handle, uint32_t flags);
/* The call itself: x0..x7 in and out. */
void ffa_invoke(uint64_t x[8]);
uint64_t ffa_last_ticks(void); /* that the last call above spent in its hypercalls */
void *ffa_tx(void);

/* --- vectors.S and main.c: accesses that may abort */
bool touch(uint64_t address); /* false: it was aborted */
bool touch_write(uint64_t address);

/* What a region holds: each word depends on its place in the region and on `seed`. */
void fill(uint64_t address, uint64_t pages, uint64_t at_page, uint64_t seed);
uint64_t sum(uint64_t address, uint64_t pages);
uint64_t sum_filled(uint64_t pages, uint64_t seed);

/* --- mailbox.c: one page that the giver shares first */
enum order_op {
  ORDER_NONE = 0,
  ORDER_RETRIEVE,   /* handle, address, pages, permissions */
  ORDER_RELINQUISH, /* handle; flags in permissions */
  ORDER_SUM,
  ORDER_FILL,  /* address, pages, seed in handle */
  ORDER_GIVE,  /* SHARE what is at address to the giver, one page; the status */
  ORDER_TOUCH, /* 1: the access was aborted; permissions: 1 writes */
  ORDER_END
};
struct order {
  uint64_t op, handle, address, pages, permissions;
};
struct mailbox {
  uint64_t asked, done; /* counts */
  struct order order;
  int64_t result;
  uint64_t ticks;
  uint64_t place; /* of what was retrieved last */
};
extern struct mailbox *mailbox;
/* WFE traps: the hypervisor gives the CPU to whoever else wants it. */
static inline void let_other_run(void) {
  __asm__ volatile("wfe" ::: "memory");
}

int64_t order(struct order what);
void obey(void); /* the taker's life */

/* --- cases.c */
void give_all_ways(void);
/* --- bench.c */
enum bench_with {
  BENCH_PAGES = 1,
  BENCH_BLOCKS,
  BENCH_BOTH
};
void bench(uint64_t which);

#endif
