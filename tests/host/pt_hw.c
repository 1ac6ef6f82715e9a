/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The hardware side of the page-table tests: walker, TLB, break-before-make. It shares no code, no constant and no helper with mm/. The
 * one thing it takes from the tests' world is where physical memory lies on the host.
 */
#include "pt_hw.h"
#include "mm/port.h"
#include <stdarg.h>
#include <stdio.h>

void hw_die(const char *format, ...) {
  va_list args;
  va_start(args, format);
  fputs("hardware: ", stderr);
  vfprintf(stderr, format, args);
  fputc('\n', stderr);
  va_end(args);
  abort();
}

static uint64_t field(uint64_t value, unsigned hi, unsigned lo) {
  return value >> lo & ((2ull << (hi - lo)) - 1);
}

static uint64_t span(unsigned level) {
  static const uint64_t bytes[] = {1ull << 39, 1ull << 30, 1ull << 21, 1ull << 12};
  return bytes[level];
}

static uint64_t read_desc(uint64_t address) {
  uint64_t value;
  memcpy(&value, (const char *)port_frame_ptr((pfn_t){address >> 12}) + (address & 0xff8), sizeof(value));
  return value;
}

/*
 * D8.3.1: VMSAv8-64 table descriptor, 4 KiB granule, 48-bit addresses. Bits the architecture ignores must be 0 too: nobody means to set
 * them.
 */
static void check_table_desc(uint64_t desc, uint64_t ia) {
  if (field(desc, 11, 2) || field(desc, 63, 48))
    hw_die("table descriptor %#llx at %#llx has bits set outside its address", (unsigned long long)desc, (unsigned long long)ia);
}

static void check_res0(uint64_t desc, unsigned hi, unsigned lo, const char *what) {
  if (field(desc, hi, lo))
    hw_die("%s: descriptor %#llx has bits [%u:%u] set", what, (unsigned long long)desc, hi, lo);
}

static enum hw_memory stage2_memory(const struct hw_regime *r, uint64_t desc) {
  uint64_t memattr = field(desc, 5, 2);
  if (memattr == 0)
    return HW_DEVICE;
  if (memattr == 5)
    return HW_NC;
  if (memattr != (r->fwb ? 6 : 15))
    hw_die("MemAttr %#llx", (unsigned long long)memattr);
  return HW_WB;
}

static void decode_stage2(const struct hw_regime *r, uint64_t desc, struct hw_leaf *leaf) {
  check_res0(desc, 11, 11, "stage 2");
  check_res0(desc, 53, 53, "stage 2 without XNX");
  leaf->memory = stage2_memory(r, desc);
  leaf->r = field(desc, 6, 6);
  leaf->w = field(desc, 7, 7);
  leaf->x = !field(desc, 54, 54);
}

static void decode_stage1(const struct hw_regime *r, uint64_t desc, struct hw_leaf *leaf) {
  static const enum hw_memory mair[8] = {HW_DEVICE, HW_WB, HW_NC}; /* 0x44ff00 */
  unsigned index = (unsigned)field(desc, 4, 2);
  if (index > 2)
    hw_die("AttrIndx %u", index);
  check_res0(desc, 5, 5, "NS outside Secure state");
  leaf->memory = mair[index];
  leaf->r = true;
  leaf->w = !field(desc, 7, 7);
  leaf->ux = !field(desc, 54, 54);
  if (r->stage == HW_EL2) {
    check_res0(desc, 11, 11, "nG with one address range");
    check_res0(desc, 53, 53, "PXN in EL2");
    if (!field(desc, 6, 6))
      hw_die("AP[1] is RES1 at EL2");
    leaf->x = leaf->ux;
    leaf->ux = false;
    return;
  }
  leaf->user = field(desc, 6, 6);
  leaf->global = !field(desc, 11, 11);
  leaf->x = !field(desc, 53, 53);
}

static void decode_leaf(const struct hw_regime *r, uint64_t ia, unsigned level, uint64_t desc, struct hw_leaf *leaf) {
  unsigned low = level == 1 ? 30 : level == 2 ? 21 : 12;
  *leaf = (struct hw_leaf){.ia = ia & ~(span(level) - 1), .size = span(level), .level = level, .desc = desc};
  if (level < 3)
    check_res0(desc, low - 1, 12, "block"); /* nT, bit 16, is not used */
  check_res0(desc, 50, 48, "leaf");
  check_res0(desc, 63, 59, "leaf");
  if (!r->dbm)
    check_res0(desc, 51, 51, "no DBM");
  if (!r->contig)
    check_res0(desc, 52, 52, "no contiguous hint");
  leaf->out = field(desc, 47, low) << low;
  leaf->af = field(desc, 10, 10);
  leaf->contig = field(desc, 52, 52);
  if (r->stage == HW_STAGE2)
    decode_stage2(r, desc, leaf);
  else
    decode_stage1(r, desc, leaf);
  if (leaf->memory != HW_DEVICE && field(desc, 9, 8) != 3)
    hw_die("Normal memory that is not inner shareable");
  if (leaf->memory == HW_DEVICE && (leaf->x || leaf->ux))
    hw_die("device memory is executable");
}

static void walk_cache_add(struct hw *hw, uint64_t ia, unsigned level, uint64_t table) {
  struct hw_walk_entry e = {ia & ~(span(level) - 1), span(level), table};
  for (unsigned i = 0; i < hw->walk_count; i++)
    if (hw->walk[i].ia == e.ia && hw->walk[i].size == e.size && hw->walk[i].table == table)
      return;
  if (hw->walk_count == HW_WALK_ENTRIES)
    hw->walk[rand() % (int)HW_WALK_ENTRIES] = e;
  else
    hw->walk[hw->walk_count++] = e;
}

static bool walk(const struct hw_regime *r, struct hw *hw, uint64_t ia, struct hw_leaf *leaf) {
  uint64_t base = r->root;
  if (ia >> r->ia_bits)
    hw_die("input address %#llx out of range", (unsigned long long)ia);
  for (unsigned level = r->start_level;; level++) {
    uint64_t index = ia / span(level);
    if (level != r->start_level)
      index %= 512;
    uint64_t desc = read_desc(base + index * 8);
    if ((desc & 1) == 0)
      return false;
    if (level < 3 && (desc & 2)) {
      check_table_desc(desc, ia);
      base = field(desc, 47, 12) << 12;
      if (hw)
        walk_cache_add(hw, ia, level, base);
      continue;
    }
    if (level == 0 || (level == 3 && !(desc & 2)))
      hw_die("reserved descriptor %#llx at level %u", (unsigned long long)desc, level);
    decode_leaf(r, ia, level, desc, leaf);
    return true;
  }
}

bool hw_walk(const struct hw_regime *regime, uint64_t ia, struct hw_leaf *leaf) {
  return walk(regime, NULL, ia, leaf);
}

bool hw_reaches(const struct hw_regime *regime, uint64_t ia, uint64_t entry) {
  uint64_t base = regime->root;
  for (unsigned level = regime->start_level;; level++) {
    uint64_t index = ia / span(level), address = base + (level == regime->start_level ? index : index % 512) * 8;
    uint64_t desc = read_desc(address);
    if (address == entry)
      return true;
    if ((desc & 3) != 3 || level == 3)
      return false;
    base = field(desc, 47, 12) << 12;
  }
}

/* ---- TLB ---- */

static struct hw_tlb_entry entry_of(const struct hw_leaf *leaf) {
  uint64_t size = leaf->contig ? 16 * leaf->size : leaf->size, ia = leaf->ia & ~(size - 1);
  return (struct hw_tlb_entry){.ia = ia,
                               .size = size,
                               .out = leaf->out - (leaf->ia - ia),
                               .leaf_size = leaf->size,
                               .r = leaf->r,
                               .w = leaf->w,
                               .x = leaf->x,
                               .user = leaf->user,
                               .ux = leaf->ux};
}

static bool covers(const struct hw_tlb_entry *e, uint64_t ia) {
  return ia - e->ia < e->size;
}

static bool same(const struct hw_tlb_entry *a, const struct hw_tlb_entry *b) {
  return a->ia == b->ia && a->size == b->size && a->out == b->out && a->leaf_size == b->leaf_size && a->w == b->w && a->x == b->x &&
         a->r == b->r && a->user == b->user && a->ux == b->ux;
}

static void tlb_add(struct hw *hw, struct hw_tlb_entry e) {
  for (unsigned i = 0; i < hw->tlb_count; i++)
    if (same(&hw->tlb[i], &e))
      return;
  if (hw->tlb_count == HW_TLB_ENTRIES)
    hw->tlb[rand() % (int)HW_TLB_ENTRIES] = e;
  else
    hw->tlb[hw->tlb_count++] = e;
}

static void fill(struct hw *hw, const struct hw_leaf *leaf) {
  struct hw_tlb_entry e;
  memset(&e, 0, sizeof(e));
  e = entry_of(leaf);
  if (leaf->af) /* D8.4.4: an entry whose AF is 0 is never cached */
    tlb_add(hw, e);
}

void hw_speculate(struct hw *hw, uint64_t ia) {
  struct hw_leaf leaf;
  if (walk(&hw->regime, hw, ia, &leaf))
    fill(hw, &leaf);
}

bool hw_access(struct hw *hw, uint64_t ia, struct hw_tlb_entry *out) {
  struct hw_leaf leaf;
  for (unsigned i = 0; i < hw->tlb_count; i++)
    if (covers(&hw->tlb[i], ia)) {
      *out = hw->tlb[i];
      return true;
    }
  if (!walk(&hw->regime, hw, ia, &leaf))
    return false;
  *out = entry_of(&leaf);
  fill(hw, &leaf);
  return true;
}

static bool overlap(uint64_t a, uint64_t a_size, uint64_t b, uint64_t b_size) {
  return a < b + b_size && b < a + a_size;
}

void hw_flush(struct hw *hw, uint64_t ia, uint64_t size, unsigned level, bool tables) {
  hw->flushes++;
  if (level < 1 || level > 3)
    hw_die("flush of level %u", level);
  for (unsigned i = hw->tlb_count; i-- > 0;) {
    const struct hw_tlb_entry *e = &hw->tlb[i];
    if (overlap(e->ia, e->size, ia, size) && (tables || e->leaf_size == span(level)))
      hw->tlb[i] = hw->tlb[--hw->tlb_count];
  }
  for (unsigned i = hw->walk_count; tables && i-- > 0;)
    if (overlap(hw->walk[i].ia, hw->walk[i].size, ia, size))
      hw->walk[i] = hw->walk[--hw->walk_count];
}

/*
 * D8.14.1: valid to valid without a break only if permissions, AF, DBM or software bits change; D8.14.2: with level 2, also leaf to table.
 */
static void check_pair(const struct hw *hw, unsigned level, uint64_t old, uint64_t desc) {
  bool old_table = level < 3 && (old & 2), new_table = level < 3 && (desc & 2);
  uint64_t soft = 3ull << 6 | 1ull << 10 | 1ull << 51 | 3ull << 53 | 0xfull << 55;
  if (!(old & 1) || !(desc & 1) || (hw->regime.bbm2 && old_table != new_table))
    return;
  if (old_table || new_table ? old != desc : (old ^ desc) & ~soft)
    hw_die("no break between %#llx and %#llx at level %u", (unsigned long long)old, (unsigned long long)desc, level);
}

void hw_check_make(const struct hw *hw, uint64_t ia, unsigned level, uint64_t old, uint64_t desc) {
  struct hw_leaf leaf;
  bool table = level < 3 && (desc & 2);
  check_pair(hw, level, old, desc);
  if (!(desc & 1) || hw->regime.bbm2)
    return;
  if (!table)
    decode_leaf(&hw->regime, ia, level, desc, &leaf);
  for (unsigned i = 0; i < hw->tlb_count; i++) {
    const struct hw_tlb_entry *e = &hw->tlb[i];
    if (!overlap(e->ia, e->size, ia, span(level)))
      continue;
    if (table || e->leaf_size != leaf.size || e->size != (leaf.contig ? 16 * leaf.size : leaf.size) || e->out + (ia - e->ia) != leaf.out)
      hw_die("a TLB holds another translation of %#llx than the one being made", (unsigned long long)ia);
  }
  for (unsigned i = 0; i < hw->walk_count; i++)
    if (hw->walk[i].ia == ia && hw->walk[i].size == span(level) && (!table || hw->walk[i].table != field(desc, 47, 12) << 12))
      hw_die("a walk cache holds another table for %#llx than the one being made", (unsigned long long)ia);
}

void hw_check_forgotten(const struct hw *hw, uint64_t ia, uint64_t size) {
  for (unsigned i = 0; i < hw->tlb_count; i++)
    if (overlap(hw->tlb[i].ia, hw->tlb[i].size, ia, size))
      hw_die("%#llx was handed back while a TLB holds it", (unsigned long long)ia);
}

void hw_check_table_forgotten(const struct hw *hw, uint64_t table) {
  for (unsigned i = 0; i < hw->walk_count; i++)
    if (hw->walk[i].table == table)
      hw_die("table %#llx was freed while a walk cache points to it", (unsigned long long)table);
}

/* ---- Everything there is ---- */

/*
 * D8.7.1: a run is 16 entries, all valid, all with the hint, contiguous outputs, one set of attributes; AF and hardware's dirty state may
 * differ.
 */
static void check_run(const struct hw_regime *r, uint64_t first, unsigned level) {
  uint64_t base = read_desc(first), differ = 1ull << 10 | (r->dbm ? 1ull << 7 : 0);
  if (base & (15ull * span(level)))
    hw_die("contiguous run %#llx is not aligned to its size", (unsigned long long)base);
  for (unsigned i = 0; i < 16; i++) {
    uint64_t desc = read_desc(first + 8 * i);
    if ((desc & ~differ) != ((base & ~differ) + i * span(level)))
      hw_die("contiguous run at level %u: entry %u is %#llx, the first %#llx", level, i, (unsigned long long)desc,
             (unsigned long long)base);
  }
}

struct sweep {
  const struct hw_regime *regime;
  hw_leaf_fn *fn;
  void *ctx;
  unsigned tables;
  unsigned empty; /* of level 3 */
};

static void sweep_table(struct sweep *s, uint64_t table, unsigned entries, unsigned level, uint64_t ia) {
  unsigned valid = 0;
  for (unsigned i = 0; i < entries; i++) {
    uint64_t desc = read_desc(table + 8 * i), at = ia + i * span(level);
    struct hw_leaf leaf;
    if (!(desc & 1))
      continue;
    valid++;
    if (level < 3 && (desc & 2)) {
      s->tables++;
      sweep_table(s, field(desc, 47, 12) << 12, 512, level + 1, at);
      continue;
    }
    if (!hw_walk(s->regime, at, &leaf))
      hw_die("a leaf that the walk does not find");
    if (leaf.contig && i % 16 == 0)
      check_run(s->regime, table + 8 * i, level);
    if (leaf.contig && !(read_desc(table + 8 * (i & ~15u)) & 1ull << 52))
      hw_die("contiguous hint in a run whose first entry has none");
    s->fn(s->ctx, &leaf);
  }
  if (level == 3 && valid == 0)
    s->empty++;
  if (level != s->regime->start_level && valid == 0 && (level != 3 || s->empty > s->regime->may_keep))
    hw_die("an empty table at level %u for %#llx was kept", level, (unsigned long long)ia);
}

unsigned hw_for_each_leaf(const struct hw_regime *regime, hw_leaf_fn *fn, void *ctx) {
  struct sweep s = {.regime = regime, .fn = fn, .ctx = ctx, .tables = regime->root_tables};
  sweep_table(&s, regime->root, (unsigned)(1u << (regime->ia_bits - (39 - 9 * regime->start_level))), regime->start_level, 0);
  return s.tables;
}
