/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The taker does what the giver asks, one order at a time; both look at one page of the giver's, which is the first thing that was ever
 * shared.
 */
#include "handover.h"

struct mailbox *mailbox;

int64_t order(struct order what) {
  mailbox->order = what;
  uint64_t n = mailbox->asked + 1;
  __atomic_store_n(&mailbox->asked, n, __ATOMIC_RELEASE);
  while (__atomic_load_n(&mailbox->done, __ATOMIC_ACQUIRE) != n)
    let_other_run();
  return mailbox->result;
}

static int64_t carry_out(const struct order *o) {
  struct ffa_constituent range = {o->address, 1, 0};
  uint64_t handle;
  switch (o->op) {
  case ORDER_RETRIEVE:
    mailbox->place = o->address;
    return ffa_retrieve(o->handle, &mailbox->place, (uint32_t)o->pages, (uint8_t)o->permissions);
  case ORDER_RELINQUISH:
    return ffa_relinquish(o->handle, (uint32_t)o->permissions);
  case ORDER_SUM:
    return (int64_t)sum(o->address, o->pages);
  case ORDER_FILL:
    fill(o->address, o->pages, 0, o->handle);
    return 0;
  case ORDER_GIVE:
    return ffa_give(FFA_MEM_SHARE_32, &range, 1, FFA_DATA_RW, 0, &handle);
  case ORDER_TOUCH:
    return !(o->permissions ? touch_write(o->address) : touch(o->address));
  }
  return 0;
}

void obey(void) {
  for (uint64_t n = 1;; n++) {
    while (__atomic_load_n(&mailbox->asked, __ATOMIC_ACQUIRE) != n)
      let_other_run();
    struct order o = mailbox->order;
    mailbox->result = carry_out(&o);
    mailbox->ticks = ffa_last_ticks();
    __atomic_store_n(&mailbox->done, n, __ATOMIC_RELEASE);
    if (o.op == ORDER_END)
      return;
  }
}
