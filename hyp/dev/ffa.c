/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * FF-A 1.1 (Arm DEN0077A): who a guest is, its RX and TX buffers, and who may make a memory call now. Those calls are ffa_memory.c's; what
 * and who there is tells ffa_info.c.
 *
 * What a VM needs for it is made when it first maps buffers, and charged to it. Refused: buffers of more than one page, outside RAM, or the
 * same one twice.
 *
 * Lock: `caller` is taken by compare-and-swap and covers the rest of struct ffa; who comes second is told BUSY.
 */
#include "hyp/dev/ffa.h"
#include "core/atomic.h"
#include "hyp/core/vm.h"
#include "hyp/dev/ffa_priv.h"
#include "hyp/mem/background.h"
#include "mm/page_alloc.h"
#include "mm/port.h"
#include "mm/slab.h"

static struct slab_cache *cache;

err_t ffa_init(void) {
  return slab_create("ffa", sizeof(struct ffa), 0, &cache);
}

/* ---- set-up and buffers ---- */

/* The page for copies of TX, and the table of regions. ERR_NOMEM. */
static err_t make(struct vm *vm, struct ffa **out) {
  pfn_t f;
  struct ffa *made = slab_alloc_for(cache, vm->id, ALLOC_EFFORT);
  if (!made)
    return ERR_NOMEM;
  err_t err = handover_open(vm);
  if (err == ERR_OK)
    err = page_alloc(0, ALLOC_UNMOVABLE | ALLOC_EFFORT, &f);
  if (err != ERR_OK) {
    slab_free_for(cache, made, vm->id);
    return err;
  }
  frame_set_state(f, 0, FRAME_CORE, vm->id, 0);
  made->copy = port_frame_ptr(f);
  *out = made;
  return ERR_OK;
}

static void discard(struct vm *vm, struct ffa *f) {
  page_free(port_ptr_frame(f->copy), 0);
  slab_free_for(cache, f, vm->id);
}

void ffa_close(struct vm *vm) {
  if (vm->ffa)
    discard(vm, vm->ffa);
  vm->ffa = NULL;
}

static err_t open(struct vm *vm) {
  struct ffa *made, *expected = NULL;
  if (atomic_load_acquire(&vm->ffa))
    return ERR_OK;
  err_t err = make(vm, &made);
  if (err == ERR_OK && !__atomic_compare_exchange_n(&vm->ffa, &expected, made, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
    discard(vm, made); /* another vCPU was quicker */
  return err;
}

/* This vCPU's call is the one in progress from now on; NULL: another one is, or there are no buffers. */
static struct ffa *enter(struct vcpu *v) {
  struct vcpu *expected = NULL;
  struct ffa *f = atomic_load_acquire(&v->vm->ffa);
  if (f && __atomic_compare_exchange_n(&f->caller, &expected, v, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
    return f;
  return NULL;
}

void ffa_leave(struct ffa *f) {
  atomic_store_release(&f->caller, NULL);
}

/* As enter(), answered where that is not possible. */
struct ffa *ffa_enter(struct vcpu *v) {
  struct ffa *f = enter(v);
  if (f && f->mapped)
    return f;
  if (f)
    ffa_leave(f);
  ffa_refuse(v, f || !v->vm->ffa ? FFA_DENIED : FFA_BUSY);
  return NULL;
}

static bool is_buffer(const struct stage2 *s2, uint64_t a) {
  return a % PAGE_SIZE == 0 && stage2_is_ram_range(s2, ipa(a), PAGE_SIZE);
}

static int64_t rxtx_map(struct vcpu *v, uint64_t tx, uint64_t rx) {
  struct stage2 *s2 = &v->vm->s2;
  if (!is_buffer(s2, tx) || !is_buffer(s2, rx) || tx == rx || (uint32_t)v->x[3] != 1)
    return ffa_refuse(v, FFA_INVALID_PARAMETERS);
  if (open(v->vm) != ERR_OK)
    return ffa_refuse(v, FFA_NO_MEMORY);
  struct ffa *f = enter(v);
  if (!f)
    return ffa_refuse(v, FFA_BUSY);
  bool was = f->mapped;
  if (!was) {
    f->tx = ipa(tx);
    f->rx = ipa(rx);
    f->rx_full = false;
    f->mapped = true;
  }
  ffa_leave(f);
  return was ? ffa_refuse(v, FFA_DENIED) : ffa_succeed(v, 0, 0);
}

static int64_t rxtx_unmap(struct vcpu *v) {
  struct ffa *f = enter(v);
  if (!f)
    return ffa_refuse(v, v->vm->ffa ? FFA_BUSY : FFA_INVALID_PARAMETERS);
  bool mapped = f->mapped, idle = f->stage == STAGE_IDLE;
  f->mapped = mapped && !idle;
  ffa_leave(f);
  return !mapped ? ffa_refuse(v, FFA_INVALID_PARAMETERS) : idle ? ffa_succeed(v, 0, 0) : ffa_refuse(v, FFA_BUSY);
}

static int64_t rx_release(struct vcpu *v) {
  struct ffa *f = ffa_enter(v);
  if (!f)
    return (int64_t)v->x[0];
  bool was = f->rx_full;
  f->rx_full = false;
  ffa_leave(f);
  return was ? ffa_succeed(v, 0, 0) : ffa_refuse(v, FFA_DENIED);
}

int64_t ffa_call(struct vcpu *v, uint32_t fid) {
  switch (fid) {
  case FFA_VERSION:
    return (uint32_t)v->x[1] >> 31 ? (int64_t)FFA_NOT_SUPPORTED : FFA_VERSION_1_1;
  case FFA_FEATURES:
    return ffa_features(v);
  case FFA_PARTITION_INFO_GET:
    return ffa_partition_info(v);
  case FFA_ID_GET:
    return ffa_succeed(v, v->vm->id, 0);
  case FFA_RXTX_MAP_32:
    return rxtx_map(v, (uint32_t)v->x[1], (uint32_t)v->x[2]);
  case FFA_RXTX_MAP_64:
    return rxtx_map(v, v->x[1], v->x[2]);
  case FFA_RXTX_UNMAP:
    return rxtx_unmap(v);
  case FFA_RX_RELEASE:
    return rx_release(v);
  }
  return ffa_memory_call(v, fid);
}
