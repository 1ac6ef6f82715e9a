/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * FF-A 1.1 memory descriptors (Arm DEN0077A, 5.12), read from a copy of what a guest has in its TX buffer and written for its RX buffer.
 *
 * Nothing in them is trusted: each offset and count is checked against the bytes that are there before anything is read through it, in 64
 * bits, so that no sum wraps. Fields that must be zero must be zero. One composite describes the region for all receivers, as the
 * specification demands of a sender. No state, no lock, no memory but the caller's.
 */
#include "hyp/dev/ffa_desc.h"
#include "core/bits.h"
#include "core/string.h"

#define ADDRESS_BITS 48u

/* True if [offset, offset + bytes) lies in `length`, 8-byte aligned as every part of a descriptor is. */
static bool fits(uint64_t offset, uint64_t bytes, uint32_t length) {
  return is_aligned(offset, 8) && offset + bytes <= length;
}

static bool is_repeated(const struct ffa_desc *d, unsigned at) {
  for (unsigned i = 0; i < at; i++)
    if (d->access[i].endpoint == d->access[at].endpoint)
      return true;
  return false;
}

static err_t read_access(const uint8_t *bytes, const struct ffa_transaction *t, struct ffa_desc *out, uint32_t *composite_offset) {
  for (unsigned i = 0; i < out->access_count; i++) {
    struct ffa_access a;
    memcpy(&a, bytes + t->access_offset + i * sizeof(a), sizeof(a));
    if (a.reserved != 0 || a.flags != 0 || (i > 0 && a.composite_offset != *composite_offset))
      return ERR_INVAL;
    if ((a.permissions & ~(FFA_DATA_MASK | FFA_INSTRUCTION_MASK)) || (a.permissions & FFA_DATA_MASK) == FFA_DATA_MASK ||
        (a.permissions & FFA_INSTRUCTION_MASK) == FFA_INSTRUCTION_MASK)
      return ERR_INVAL;
    out->access[i].endpoint = a.endpoint;
    out->access[i].permissions = a.permissions;
    *composite_offset = a.composite_offset;
    if (is_repeated(out, i))
      return ERR_INVAL;
  }
  return ERR_OK;
}

static err_t read_composite(const uint8_t *bytes, uint32_t length, uint32_t total, uint32_t at, struct ffa_desc *out) {
  struct ffa_composite c;
  if (!fits(at, sizeof(c), length))
    return ERR_INVAL;
  memcpy(&c, bytes + at, sizeof(c));
  out->composite = true;
  out->pages = c.pages;
  out->ranges = c.ranges;
  out->first_at = at + (uint32_t)sizeof(c);
  bool whole = (uint64_t)out->first_at + (uint64_t)c.ranges * sizeof(struct ffa_constituent) == total;
  return c.reserved == 0 && c.ranges > 0 && c.pages >= c.ranges && whole ? ERR_OK : ERR_INVAL;
}

err_t ffa_desc_parse(const uint8_t *bytes, uint32_t length, uint32_t total, struct ffa_desc *out) {
  struct ffa_transaction t;
  uint32_t composite_offset = 0;
  *out = (struct ffa_desc){0};
  if (length > total || length < sizeof(t))
    return ERR_INVAL;
  memcpy(&t, bytes, sizeof(t));
  if (t.access_bytes != sizeof(struct ffa_access) || t.access_count < 1 || t.access_count > FFA_DESC_ACCESS_MAX ||
      t.access_offset < sizeof(t) || !fits(t.access_offset, t.access_count * sizeof(struct ffa_access), length))
    return ERR_INVAL;
  if ((t.reserved[0] | t.reserved[1] | t.reserved[2]) != 0)
    return ERR_INVAL;
  out->sender = t.sender;
  out->attributes = t.attributes;
  out->flags = t.flags;
  out->handle = t.handle;
  out->tag = t.tag;
  out->access_count = t.access_count;
  err_t err = read_access(bytes, &t, out, &composite_offset);
  uint64_t access_end = (uint64_t)t.access_offset + t.access_count * sizeof(struct ffa_access);
  if (err != ERR_OK || composite_offset == 0)
    return err == ERR_OK && total != access_end ? ERR_INVAL : err;
  return composite_offset >= access_end ? read_composite(bytes, length, total, composite_offset, out) : ERR_INVAL;
}

err_t ffa_desc_constituent(const uint8_t *bytes, uint32_t length, uint32_t offset, struct ffa_constituent *out) {
  if (!fits(offset, sizeof(*out), length))
    return ERR_INVAL;
  memcpy(out, bytes + offset, sizeof(*out));
  if (out->reserved != 0 || out->pages == 0 || !is_aligned(out->address, PAGE_SIZE) || out->address >> ADDRESS_BITS)
    return ERR_INVAL;
  return out->address + (uint64_t)out->pages * PAGE_SIZE <= BIT(ADDRESS_BITS) ? ERR_OK : ERR_INVAL;
}

err_t ffa_desc_relinquish(const uint8_t *bytes, uint32_t length, uint16_t self, uint64_t *handle, uint32_t *flags) {
  struct ffa_relinquish r;
  uint16_t endpoint;
  if (length < sizeof(r) + sizeof(endpoint))
    return ERR_INVAL;
  memcpy(&r, bytes, sizeof(r));
  memcpy(&endpoint, bytes + sizeof(r), sizeof(endpoint));
  *handle = r.handle;
  *flags = r.flags;
  return r.endpoints == 1 && endpoint == self && !(r.flags & ~FFA_FLAG_ZERO) ? ERR_OK : ERR_INVAL;
}

uint32_t ffa_desc_response(uint8_t to[FFA_DESC_RESPONSE_BYTES], const struct ffa_desc *d, uint64_t address, uint32_t pages) {
  const uint32_t access_at = sizeof(struct ffa_transaction), composite_at = access_at + (uint32_t)sizeof(struct ffa_access);
  struct {
    struct ffa_transaction t;
    struct ffa_access a;
    struct ffa_composite c;
    struct ffa_constituent range;
  } r = {
      .t = {d->sender, d->attributes, d->flags, d->handle, d->tag, sizeof(struct ffa_access), 1, access_at, {0, 0, 0}},
      .a = {d->access[0].endpoint, d->access[0].permissions, 0, composite_at, 0},
      .c = {pages, 1, 0},
      .range = {address, pages, 0},
  };
  _Static_assert(sizeof(r) == FFA_DESC_RESPONSE_BYTES, "no padding");
  memcpy(to, &r, sizeof(r));
  return sizeof(r);
}
