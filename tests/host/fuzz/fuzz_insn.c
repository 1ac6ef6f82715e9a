/* SPDX-License-Identifier: BSD-2-Clause */
/* Any 32 bits into the decoder of loads and stores: what it accepts must make sense, and be of the load/store group at all. */
// sources: hyp/dev/insn.c
#include "core/check.h"
#include "hyp/dev/insn.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

void check_failed(const char *expr, const char *file, int line) {
  fprintf(stderr, "CHECK(%s) at %s:%d\n", expr, file, line);
  abort();
}

/* Arm ARM C4.1: op0 [28:25] of loads and stores is x1x0; with bit 26 it would be SIMD. */
static void check_group(uint32_t insn) {
  CHECK((insn >> 25 & 0xf) == 0x4 || (insn >> 25 & 0xf) == 0xc);
}

static void check_fields(const struct insn_ldst *i) {
  CHECK(i->bytes == 1 || i->bytes == 2 || i->bytes == 4 || i->bytes == 8);
  CHECK(i->rt < 32 && i->rt2 < 32 && i->rn < 32 && i->rm < 32);
  CHECK(!i->pair || (i->bytes >= 4 && !i->indexed));
  CHECK(i->load || !i->sign);
  CHECK(!i->sign || i->bytes < 8);
  CHECK(i->bytes < 8 || i->wide);
  CHECK(!i->post || i->writeback);
  CHECK(i->offset >= -512 && i->offset <= 4095 * 8);
  CHECK(!i->indexed || ((i->option & 2) && i->shift <= 3 && !i->writeback && i->offset == 0));
  CHECK(!(i->writeback && i->rn != 31 && i->rn == i->rt));
  CHECK(!(i->pair && i->load && i->rt == i->rt2));
}

static void check_values(const struct insn_ldst *i, uint64_t value) {
  uint64_t raw = i->bytes == 8 ? value : value & (((uint64_t)1 << 8 * i->bytes) - 1), got = insn_ldst_extend(i, raw);
  uint64_t low = i->bytes == 8 ? got : got & (((uint64_t)1 << 8 * i->bytes) - 1);
  CHECK(low == raw);
  CHECK(i->wide || got <= 0xffffffff);
  (void)insn_ldst_offset(i, value);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  uint32_t insn = 0;
  uint64_t value = 0;
  struct insn_ldst i;
  memcpy(&insn, data, size < 4 ? size : 4);
  if (size > 4)
    memcpy(&value, data + 4, size - 4 < 8 ? size - 4 : 8);
  if (!insn_decode_ldst(insn, &i))
    return 0;
  check_group(insn);
  check_fields(&i);
  check_values(&i, value);
  return 0;
}
