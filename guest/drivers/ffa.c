/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * FF-A calls: see the header. Owns the RX and TX buffers, a page each, mapped once and for good.
 *
 * A descriptor is written into TX; what does not fit follows in fragments. RX is released as soon as the answer has been looked at.
 * Discovery asks for FFA_VERSION only where the PSCI conduit leads to Sluice, then FFA_FEATURES for each call that is made here.
 *
 * Lock: `ffa.lock` for buffers and calls, a leaf, interrupts masked. A call over many pages is interrupted by the hypervisor, not by us.
 * Refuses a region that retrieves elsewhere than it was asked to.
 */
#include "guest/drivers/ffa.h"

#include "arch/smccc.h"
#include "core/compiler.h"
#include "core/string.h"
#include "guest/arch/mmu.h"
#include "guest/drivers/psci.h"
#include "guest/vm/gfp.h"
#include "mm/page_alloc.h"
#include "mm/port.h"

static struct {
  struct port_lock lock;
  bool there;
  uint16_t id;
  uint8_t *tx, *rx;
} ffa;

static port_flags_t lock(void) {
  port_flags_t flags = port_irq_save();
  port_lock_acquire(&ffa.lock);
  return flags;
}

static void unlock(port_flags_t flags) {
  port_lock_release(&ffa.lock);
  port_irq_restore(flags);
}

static err_t error_of(const uint64_t x[8], uint32_t wanted) {
  if ((uint32_t)x[0] == wanted)
    return ERR_OK;
  if ((uint32_t)x[0] != FFA_ERROR)
    return (int32_t)x[0] == FFA_NOT_SUPPORTED ? ERR_UNSUPPORTED : ERR_IO;
  switch ((int32_t)x[2]) {
  case FFA_NOT_SUPPORTED:
    return ERR_UNSUPPORTED;
  case FFA_INVALID_PARAMETERS:
    return ERR_INVAL;
  case FFA_NO_MEMORY:
    return ERR_NOMEM;
  case FFA_BUSY:
    return ERR_BUSY;
  case FFA_DENIED:
    return ERR_PERM;
  default:
    return ERR_IO;
  }
}

static err_t call(uint32_t fid, uint64_t x1, uint64_t x2, uint64_t x3) {
  uint64_t x[8] = {fid, x1, x2, x3};
  smccc_hvc8(x);
  return error_of(x, FFA_SUCCESS_32);
}

/* ---- discovery ---- */

static bool has_all_calls(void) {
  static const uint32_t wanted[] = {FFA_RXTX_MAP_64,         FFA_RX_RELEASE,     FFA_MEM_SHARE_32, FFA_MEM_LEND_32, FFA_MEM_DONATE_32,
                                    FFA_MEM_RETRIEVE_REQ_32, FFA_MEM_RELINQUISH, FFA_MEM_RECLAIM,  FFA_MEM_FRAG_TX};
  for (unsigned i = 0; i < ARRAY_SIZE(wanted); i++)
    if (call(FFA_FEATURES, wanted[i], 0, 0) != ERR_OK)
      return false;
  return true;
}

static bool is_offered(void) {
  uint64_t x[8] = {FFA_VERSION, FFA_VERSION_1_1};
  if (!sluice_present())
    return false;
  smccc_hvc8(x);
  return (uint32_t)x[0] >> 16 == FFA_VERSION_1_1 >> 16 && (uint32_t)x[0] >= FFA_VERSION_1_1 && has_all_calls();
}

static err_t map_buffers(void) {
  pfn_t tx, rx;
  err_t e = page_alloc(0, GFP_KERNEL | ALLOC_RETURN_CORE, &tx);
  if (e != ERR_OK)
    return e;
  e = page_alloc(0, GFP_KERNEL | ALLOC_RETURN_CORE, &rx);
  if (e == ERR_OK) {
    ffa.tx = linear_va(pfn_pa(tx));
    ffa.rx = linear_va(pfn_pa(rx));
    e = call(FFA_RXTX_MAP_64, pfn_pa(tx).v, pfn_pa(rx).v, 1);
    if (e != ERR_OK)
      page_free(rx, 0);
  }
  if (e != ERR_OK)
    page_free(tx, 0);
  return e;
}

err_t ffa_init(void) {
  uint64_t x[8] = {FFA_ID_GET};
  if (!is_offered())
    return ERR_UNSUPPORTED;
  err_t e = map_buffers();
  if (e != ERR_OK)
    return e;
  smccc_hvc8(x);
  ffa.id = (uint16_t)x[2];
  ffa.there = true;
  return ERR_OK;
}

uint16_t ffa_id(void) {
  return ffa.there ? ffa.id : 0;
}

/* ---- descriptors ---- */

static uint32_t put_fixed(struct ffa_transaction t, uint16_t endpoint, uint8_t permissions, uint32_t pages, uint32_t ranges) {
  const uint32_t access_at = sizeof(t), composite_at = access_at + (uint32_t)sizeof(struct ffa_access);
  struct ffa_access a = {endpoint, permissions, 0, composite_at, 0};
  struct ffa_composite c = {pages, ranges, 0};
  t.access_bytes = sizeof(a);
  t.access_count = 1;
  t.access_offset = access_at;
  memcpy(ffa.tx, &t, sizeof(t));
  memcpy(ffa.tx + access_at, &a, sizeof(a));
  memcpy(ffa.tx + composite_at, &c, sizeof(c));
  return composite_at + (uint32_t)sizeof(c);
}

/* The range that begins with frame `*at`, which goes on behind it. */
static struct ffa_constituent next_range(const pfn_t *frames, unsigned count, unsigned *at) {
  unsigned first = *at;
  do
    ++*at;
  while (*at < count && frames[*at].v == frames[first].v + (*at - first));
  return (struct ffa_constituent){pfn_pa(frames[first]).v, *at - first, 0};
}

static uint32_t count_ranges(const pfn_t *frames, unsigned count) {
  uint32_t n = 0;
  for (unsigned at = 0; at < count; n++)
    (void)next_range(frames, count, &at);
  return n;
}

/* From offset `to` of TX on, as many as there is room for; the offset behind them. */
static uint32_t put_ranges(uint32_t to, const pfn_t *frames, unsigned count, unsigned *at) {
  for (; *at < count && to + sizeof(struct ffa_constituent) <= PAGE_SIZE; to += (uint32_t)sizeof(struct ffa_constituent)) {
    struct ffa_constituent c = next_range(frames, count, at);
    memcpy(ffa.tx + to, &c, sizeof(c));
  }
  return to;
}

/* ---- calls ---- */

static err_t send(uint32_t fid, uint16_t to, const pfn_t *frames, unsigned count, uint64_t *handle) {
  bool shared = fid == FFA_MEM_SHARE_32;
  struct ffa_transaction t = {.sender = ffa.id, .attributes = shared ? FFA_ATTR_NORMAL_WB_INNER : 0};
  uint32_t ranges = count_ranges(frames, count);
  uint32_t fixed = put_fixed(t, to, fid == FFA_MEM_DONATE_32 ? 0 : FFA_DATA_RW, count, ranges);
  unsigned at = 0;
  uint32_t length = put_ranges(fixed, frames, count, &at);
  uint64_t x[8] = {fid, fixed + ranges * sizeof(struct ffa_constituent), length, 0};
  smccc_hvc8(x);
  while ((uint32_t)x[0] == FFA_MEM_FRAG_RX && at < count) {
    x[0] = FFA_MEM_FRAG_TX; /* the handle stays in x1, x2 */
    x[3] = put_ranges(0, frames, count, &at);
    smccc_hvc8(x);
  }
  *handle = (uint32_t)x[2] | x[3] << 32;
  return error_of(x, FFA_SUCCESS_32);
}

err_t ffa_give(uint32_t fid, uint16_t to, const pfn_t *frames, unsigned count, uint64_t *handle) {
  if (!ffa.there)
    return ERR_UNSUPPORTED;
  port_flags_t flags = lock();
  err_t e = send(fid, to, frames, count, handle);
  unlock(flags);
  return e;
}

err_t ffa_reclaim(uint64_t handle) {
  if (!ffa.there)
    return ERR_UNSUPPORTED;
  port_flags_t flags = lock();
  err_t e = call(FFA_MEM_RECLAIM, (uint32_t)handle, handle >> 32, 0);
  unlock(flags);
  return e;
}

/* RX has what was mapped: the one range that was asked for. */
static bool is_as_asked(pa_t at, uint32_t pages) {
  struct ffa_constituent c;
  memcpy(&c, ffa.rx + sizeof(struct ffa_transaction) + sizeof(struct ffa_access) + sizeof(struct ffa_composite), sizeof(c));
  return c.address == at.v && c.pages == pages;
}

static err_t retrieve(uint64_t handle, pa_t at, uint32_t pages, uint32_t type) {
  struct ffa_transaction t = {.sender = (uint16_t)(handle >> 32), .attributes = FFA_ATTR_NORMAL_WB_INNER, .handle = handle, .flags = type};
  struct ffa_constituent c = {at.v, pages, 0};
  uint8_t permissions = FFA_DATA_RW | (type == FFA_FLAG_TYPE_DONATE ? FFA_INSTRUCTION_X : FFA_INSTRUCTION_XN);
  uint32_t length = put_fixed(t, ffa.id, permissions, pages, 1);
  memcpy(ffa.tx + length, &c, sizeof(c));
  length += (uint32_t)sizeof(c);
  uint64_t x[8] = {FFA_MEM_RETRIEVE_REQ_32, length, length, 0};
  smccc_hvc8(x);
  err_t e = error_of(x, FFA_MEM_RETRIEVE_RESP);
  if (e != ERR_OK)
    return e;
  bool right = is_as_asked(at, pages);
  e = call(FFA_RX_RELEASE, 0, 0, 0);
  return right ? e : ERR_IO;
}

err_t ffa_retrieve(uint64_t handle, pa_t at, uint32_t pages, uint32_t type) {
  if (!ffa.there)
    return ERR_UNSUPPORTED;
  port_flags_t flags = lock();
  err_t e = retrieve(handle, at, pages, type);
  unlock(flags);
  return e;
}

err_t ffa_relinquish(uint64_t handle) {
  if (!ffa.there)
    return ERR_UNSUPPORTED;
  port_flags_t flags = lock();
  struct ffa_relinquish r = {handle, 0, 1};
  memcpy(ffa.tx, &r, sizeof(r));
  memcpy(ffa.tx + sizeof(r), &ffa.id, sizeof(ffa.id));
  err_t e = call(FFA_MEM_RELINQUISH, 0, 0, 0);
  unlock(flags);
  return e;
}
