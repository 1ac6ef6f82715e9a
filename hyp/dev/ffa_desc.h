/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HYP_DEV_FFA_DESC_H
#define HYP_DEV_FFA_DESC_H

/*
 * Reading and writing FF-A 1.1 memory descriptors. Pure: bytes in, values out; what the bytes say of anybody's memory is judged elsewhere
 * (hyp/mem/handover.c). `bytes` points to a copy that its author cannot change any more.
 */

#include "abi/ffa.h"
#include "core/err.h"
#include "core/types.h"

#define FFA_DESC_ACCESS_MAX 4u

struct ffa_desc {
  uint16_t sender;
  uint16_t attributes;
  uint32_t flags;
  uint64_t handle, tag;
  unsigned access_count; /* 1..FFA_DESC_ACCESS_MAX */
  struct {
    uint16_t endpoint;
    uint8_t permissions;
  } access[FFA_DESC_ACCESS_MAX];
  bool composite;    /* there is one; else the next three are 0 */
  uint32_t pages;    /* that the constituents say they have together */
  uint32_t ranges;   /* constituents in all fragments */
  uint32_t first_at; /* offset of the first */
};

/*
 * The first fragment, `length` of `total` bytes, of DONATE, LEND, SHARE or RETRIEVE_REQ. ERR_INVAL: lengths, offsets, counts or reserved
 * fields do not fit together, endpoints that stand twice, or composites that differ. All of the fixed parts must lie in the first fragment.
 */
MUST_CHECK err_t ffa_desc_parse(const uint8_t *bytes, uint32_t length, uint32_t total, struct ffa_desc *out);

/*
 * Constituent at `offset`. ERR_INVAL: it does not lie in `length`, is not of 4 KiB pages, empty, beyond 2^48, or its reserved field is not
 * zero.
 */
MUST_CHECK err_t ffa_desc_constituent(const uint8_t *bytes, uint32_t length, uint32_t offset, struct ffa_constituent *out);

/* RELINQUISH by `self`: ERR_INVAL unless it names exactly that endpoint, with flags that are known. */
MUST_CHECK err_t ffa_desc_relinquish(const uint8_t *bytes, uint32_t length, uint16_t self, uint64_t *handle, uint32_t *flags);

/* What RETRIEVE_RESP has in RX: one receiver, one range. Returns its length. */
#define FFA_DESC_RESPONSE_BYTES 96u
uint32_t ffa_desc_response(uint8_t to[FFA_DESC_RESPONSE_BYTES], const struct ffa_desc *d, uint64_t address, uint32_t pages);

#endif
