/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * FF-A 1.1, discovery: which calls are offered, and which partitions there are. A partition is a VM, whoever it is; none has a service with
 * a UUID of its own, so only the nil UUID, which asks for all, names any.
 *
 * Lock: vms_lock while VMs are counted; whoever ffa_enter() let in has RX.
 */
#include "core/compiler.h"
#include "hyp/core/vm.h"
#include "hyp/dev/ffa_priv.h"

int64_t ffa_features(struct vcpu *v) {
  static const uint32_t offered[] = {
      FFA_ERROR,
      FFA_SUCCESS_32,
      FFA_VERSION,
      FFA_FEATURES,
      FFA_RX_RELEASE,
      FFA_RXTX_MAP_32,
      FFA_RXTX_MAP_64,
      FFA_RXTX_UNMAP,
      FFA_PARTITION_INFO_GET,
      FFA_ID_GET,
      FFA_MEM_DONATE_32,
      FFA_MEM_LEND_32,
      FFA_MEM_SHARE_32,
      FFA_MEM_DONATE_32 | FFA_64,
      FFA_MEM_LEND_32 | FFA_64,
      FFA_MEM_SHARE_32 | FFA_64,
      FFA_MEM_RETRIEVE_REQ_32,
      FFA_MEM_RETRIEVE_REQ_32 | FFA_64,
      FFA_MEM_RETRIEVE_RESP,
      FFA_MEM_RELINQUISH,
      FFA_MEM_RECLAIM,
      FFA_MEM_FRAG_TX,
  };
  for (unsigned i = 0; i < ARRAY_SIZE(offered); i++)
    if (offered[i] == (uint32_t)v->x[1])
      return ffa_succeed(v, 0, 0); /* RXTX_MAP: buffers of 4 KiB; memory calls: descriptors in TX only */
  return ffa_refuse(v, FFA_NOT_SUPPORTED);
}

/* All partitions, into `to` unless it is NULL; their count. */
static uint32_t list(struct ffa_partition_info *to) {
  const struct vm *vm;
  uint32_t count = 0;
  _Static_assert(VMS_MAX * sizeof(*to) <= PAGE_SIZE, "they fit in RX");
  spin_lock(&vms_lock);
  for_each_vm(vm) if (vm->state != VM_DYING) {
    if (to)
      to[count] = (struct ffa_partition_info){.id = vm->id, .contexts = (uint16_t)vm->vcpu_count, .properties = FFA_PARTITION_AARCH64};
    count++;
  }
  spin_unlock(&vms_lock);
  return count;
}

static int64_t tell(struct vcpu *v, struct ffa *f) {
  if (f->rx_full)
    return ffa_refuse(v, FFA_BUSY);
  uint32_t count = list((struct ffa_partition_info *)(void *)f->copy);
  err_t err = stage2_write(&v->vm->s2, f->rx, f->copy, count * sizeof(struct ffa_partition_info));
  if (err != ERR_OK)
    return ffa_refuse(v, ffa_status_of(err));
  f->rx_full = true;
  return ffa_succeed(v, count, sizeof(struct ffa_partition_info));
}

int64_t ffa_partition_info(struct vcpu *v) {
  uint32_t uuid = (uint32_t)(v->x[1] | v->x[2] | v->x[3] | v->x[4]), flags = (uint32_t)v->x[5];
  if (uuid != 0 || (flags & ~FFA_PARTITION_COUNT_ONLY))
    return ffa_refuse(v, FFA_INVALID_PARAMETERS);
  if (flags & FFA_PARTITION_COUNT_ONLY)
    return ffa_succeed(v, list(NULL), 0);
  struct ffa *f = ffa_enter(v);
  if (!f)
    return (int64_t)v->x[0];
  int64_t x0 = tell(v, f);
  ffa_leave(f);
  return x0;
}
