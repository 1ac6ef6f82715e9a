/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Loads and stores on devices that came without a syndrome, carried out from their encoding.
 *
 * The guest could have changed the instruction between the abort and our reading it: so the address is computed from the registers and must
 * be the one that faulted, and a pair must lie within the page that was translated. Little-endian data only, as everywhere on this
 * machine's devices.
 */
#include "arch/sysreg.h"
#include "core/bits.h"
#include "hyp/core/vcpu.h"
#include "hyp/dev/dev.h"
#include "hyp/dev/insn.h"

#define ADDRESS_MASK GENMASK(55, 0) /* FAR may or may not hold the tag of an address (TBI) */

static bool uses_sp_el1(void) {
  return (vcpu_pstate() & PSR_M_MASK) == PSR_EL1h;
}

static uint64_t read_base(const struct vcpu *v, unsigned rn) {
  if (rn != 31)
    return v->x[rn];
  return uses_sp_el1() ? sysreg_read(sp_el1) : sysreg_read(sp_el0);
}

static void write_base(struct vcpu *v, unsigned rn, uint64_t value) {
  if (rn != 31)
    v->x[rn] = value;
  else if (uses_sp_el1())
    sysreg_write(sp_el1, value);
  else
    sysreg_write(sp_el0, value);
}

static bool access_one(struct vcpu *v, const struct insn_ldst *i, uint64_t at, unsigned rt, uint64_t *loaded) {
  if (!i->load)
    return dev_mmio_write(v, at, i->bytes, vcpu_reg(v, rt));
  struct mmio_result r = dev_mmio_read(v, at, i->bytes);
  *loaded = insn_ldst_extend(i, r.value);
  return r.claimed;
}

bool insn_emulate(struct vcpu *v, uint32_t insn, ipa_t at) {
  struct insn_ldst i;
  uint64_t first = 0, second = 0;
  if (!insn_decode_ldst(insn, &i))
    return false;
  uint64_t base = read_base(v, i.rn), moved = base + insn_ldst_offset(&i, vcpu_reg(v, i.rm));
  uint64_t address = i.post ? base : moved, last = (i.pair ? 2u : 1u) * i.bytes - 1u;
  if (((address ^ sysreg_read(far_el2)) & ADDRESS_MASK) || (at.v & ~PAGE_MASK) + last >= PAGE_SIZE)
    return false;
  if (!access_one(v, &i, at.v, i.rt, &first) || (i.pair && !access_one(v, &i, at.v + i.bytes, i.rt2, &second)))
    return false;
  if (i.load) {
    vcpu_set_reg(v, i.rt, first);
    if (i.pair)
      vcpu_set_reg(v, i.rt2, second);
  }
  if (i.writeback)
    write_base(v, i.rn, moved);
  vcpu_skip_instruction();
  return true;
}
