/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * EL2's own reads and writes of a VM's RAM, by intermediate physical address.
 *
 * A page that is written and not there is populated first, as a guest's store would do it; one that is read and not there is zeroes, and
 * stays away. The answer to an address outside RAM is ERR_RANGE, and nothing of the range is touched.
 *
 * Lock: s2->lock is held for each page's copy, since the frame may be moved by any CPU when it is not; populating happens outside it.
 */
#include "core/atomic.h"
#include "core/bits.h"
#include "core/string.h"
#include "hyp/arch/cleanse.h"
#include "hyp/arch/features.h"
#include "hyp/mem/stage2.h"

err_t stage2_lookup(struct stage2 *s2, ipa_t a, pa_t *out) {
  struct pt_leaf leaf;
  spin_lock(&s2->lock);
  err_t err = pt_lookup(&s2->pt, a.v, &leaf);
  spin_unlock(&s2->lock);
  if (err == ERR_OK)
    *out = leaf.out;
  return err;
}

static uint64_t piece(uint64_t address, uint64_t bytes) {
  return min_u64(bytes, PAGE_SIZE - address % PAGE_SIZE);
}

static err_t write_mapped(struct stage2 *s2, ipa_t to, const void *from, uint64_t bytes) {
  struct pt_leaf leaf;
  spin_lock(&s2->lock);
  err_t err = pt_lookup(&s2->pt, to.v, &leaf);
  if (err == ERR_OK) {
    memcpy((void *)leaf.out.v, from, bytes);
    if (features.needs_clean || !feature_on(HYP_FEAT_IDC)) /* what is written may be code: to the PoU at least */
      cache_clean_poc((void *)leaf.out.v, bytes);
  }
  spin_unlock(&s2->lock);
  return err;
}

static err_t write_piece(struct stage2 *s2, ipa_t to, const void *from, uint64_t bytes) {
  err_t err;
  while ((err = write_mapped(s2, to, from, bytes)) == ERR_NOENT) {
    err = stage2_populate(s2, to);
    if (err != ERR_OK)
      break;
  }
  return err;
}

/* Zeroes where nothing is backed. */
static void read_piece(struct stage2 *s2, void *to, ipa_t from, uint64_t bytes) {
  struct pt_leaf leaf;
  spin_lock(&s2->lock);
  if (pt_lookup(&s2->pt, from.v, &leaf) == ERR_OK)
    memcpy(to, (const void *)leaf.out.v, bytes);
  else
    memset(to, 0, bytes);
  spin_unlock(&s2->lock);
}

err_t stage2_write(struct stage2 *s2, ipa_t to, const void *from, uint64_t bytes) {
  if (!stage2_is_ram_range(s2, to, bytes))
    return ERR_RANGE;
  for (uint64_t done = 0; done < bytes;) {
    uint64_t n = piece(to.v + done, bytes - done);
    err_t err = write_piece(s2, ipa(to.v + done), (const char *)from + done, n);
    if (err != ERR_OK)
      return err;
    done += n;
  }
  return ERR_OK;
}

err_t stage2_read(struct stage2 *s2, void *to, ipa_t from, uint64_t bytes) {
  if (!stage2_is_ram_range(s2, from, bytes))
    return ERR_RANGE;
  for (uint64_t done = 0; done < bytes;) {
    uint64_t n = piece(from.v + done, bytes - done);
    read_piece(s2, (char *)to + done, ipa(from.v + done), n);
    done += n;
  }
  return ERR_OK;
}

err_t stage2_load16(struct stage2 *s2, ipa_t from, uint16_t *out) {
  struct pt_leaf leaf;
  if (!is_aligned(from.v, 2))
    return ERR_INVAL;
  if (!stage2_is_ram(s2, from))
    return ERR_RANGE;
  spin_lock(&s2->lock);
  bool mapped = pt_lookup(&s2->pt, from.v, &leaf) == ERR_OK;
  *out = mapped ? atomic_load_relaxed((const uint16_t *)leaf.out.v) : 0;
  spin_unlock(&s2->lock);
  return ERR_OK;
}

static err_t store16_mapped(struct stage2 *s2, ipa_t to, uint16_t value) {
  struct pt_leaf leaf;
  spin_lock(&s2->lock);
  err_t err = pt_lookup(&s2->pt, to.v, &leaf);
  if (err == ERR_OK)
    atomic_store_release((uint16_t *)leaf.out.v, value);
  spin_unlock(&s2->lock);
  return err;
}

err_t stage2_store16(struct stage2 *s2, ipa_t to, uint16_t value) {
  if (!is_aligned(to.v, 2))
    return ERR_INVAL;
  if (!stage2_is_ram(s2, to))
    return ERR_RANGE;
  err_t err;
  while ((err = store16_mapped(s2, to, value)) == ERR_NOENT) {
    err = stage2_populate(s2, to);
    if (err != ERR_OK)
      break;
  }
  return err;
}
