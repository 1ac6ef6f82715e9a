/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HYP_MEM_EXHAUST_H
#define HYP_MEM_EXHAUST_H

/* What happens to a vCPU whose fault finds no frame: it waits, alone, and goes on when memory is there again. */

#include "core/err.h"
#include "core/types.h"

struct vm;
struct vcpu;

/* Why a vCPU waits (vcpu->wait_reason). */
enum memory_wait {
  WAIT_NONE = 0,
  WAIT_MEMORY,  /* no frame left but EL2's reserve */
  WAIT_QUOTA,   /* its VM has all that its quota allows */
  WAIT_THROTTLE /* for no memory: its access would go on with thrashing (managed_nap.c) */
};

/* Once, at boot, after work_init(). */
void exhaust_init(void);

/*
 * The current vCPU's access to RAM at IPA `at` cannot be served: `why` is ERR_NOMEM, or ERR_NOSPC for the quota. On its way out it leaves
 * the CPU; the access is tried again when memory has come back, when somebody else has populated `at`, or after an interrupt that it could
 * take. It goes on at once if duplicates of managed memory could be given up for it. No lock held; interrupts are looked at.
 */
void exhaust_wait(struct vcpu *v, uint64_t at, err_t why);

/*
 * A device of `vm` has found no frame for a page that it is to write: virtio_retry() is called when there is one for it, behind the vCPUs
 * that wait. Nobody is parked. Any CPU; any lock held but work.c's.
 */
void exhaust_device_waits(struct vm *vm);

/* Memory has come back, or may be had now: look at once, not at the next tick. Any CPU; any lock held but work.c's. */
void exhaust_poke(void);

/* Not 0 while somebody waits; a hint. */
extern uint32_t exhaust_open;

/*
 * `frames` have left a VM and are in the allocator, or about to be: who waits looks at once. Nothing if nobody does. Any CPU; any lock held
 * but work.c's.
 */
void exhaust_memory_back(uint64_t frames);

/*
 * What has been tried for the VM whose vCPUs wait, since the first of them began to, in frames: how much others were asked for by their
 * balloons, and how much came back by whatever way. A glimpse.
 */
struct memory_tried {
  uint64_t asked, back;
};
struct memory_tried exhaust_tried(const struct vm *vm);

/* vCPUs of `vm` that wait, by reason, and whether a device does (for memory); a glimpse. */
struct memory_waiters {
  unsigned memory, quota;
  bool device;
};
struct memory_waiters exhaust_waiters(const struct vm *vm);

#endif
