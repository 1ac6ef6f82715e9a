/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * The two-stage walk, VA -> IPA -> PA, with every descriptor on the way: for the monitor's `walk` and for reports.
 *
 * Stage 1 is the guest's, so its tables are read as a guest's memory and believed in nothing: geometry comes from TCR_EL1 (any T0SZ and
 * T1SZ with the 4 KiB granule; others are named and left), each descriptor's address goes through stage 2, and a walk has at most four
 * steps. Stage 2 is ours: the engine lists its descriptors under the table's lock; printing happens after the lock is let go.
 * Nothing is changed and nothing populated.
 */

#include "arch/sysreg.h"
#include "hyp/core/cpu.h"
#include "hyp/core/vm.h"
#include "hyp/ctl/console.h"
#include "hyp/ctl/ctl.h"
#include "hyp/ctl/trace.h"
#include "mm/frame.h"

#define DESC_VALID BIT(0)
#define DESC_TABLE BIT(1) /* levels 0..2; a page at level 3 */
#define DESC_ADDRESS GENMASK(47, 12)
#define TRACE_DEPTH 4096u /* records of each ring that are searched for the last change */

/* Stage-1 leaf attributes (Arm ARM D8.3.2) */
#define DESC_AP_EL0 BIT(6)
#define DESC_AP_RO BIT(7)
#define DESC_AF BIT(10)
#define DESC_NG BIT(11)
#define DESC_PXN BIT(53)
#define DESC_UXN BIT(54)

#define ULL(x_) ((unsigned long long)(x_))

struct stage1 {
  uint64_t sctlr, tcr, ttbr[2], mair;
};

struct half {
  bool upper;
  unsigned bits; /* of input address */
  bool disabled, tbi, granule_4k;
  uint64_t table; /* ipa of the first */
};

static struct stage1 stage1_of(const struct vcpu *v) {
  if (this_cpu()->current != v)
    return (struct stage1){v->el1.sctlr_el1, v->el1.tcr_el1, {v->el1.ttbr0_el1, v->el1.ttbr1_el1}, v->el1.mair_el1};
  return (struct stage1){
      sysreg_read(sctlr_el1), sysreg_read(tcr_el1), {sysreg_read(ttbr0_el1), sysreg_read(ttbr1_el1)}, sysreg_read(mair_el1)};
}

/* Bit 55 chooses the half (Arm ARM D8.2.1). TG0 and TG1 encode the 4 KiB granule differently. */
static struct half half_of(const struct stage1 *s, uint64_t address) {
  bool upper = address & BIT(55);
  return (struct half){
      .upper = upper,
      .bits = 64 - (unsigned)(upper ? bits_get(s->tcr, 21, 16) : bits_get(s->tcr, 5, 0)),
      .disabled = s->tcr & (upper ? TCR_EPD1 : TCR_EPD0),
      .tbi = s->tcr & (upper ? BIT(38) : BIT(37)),
      .granule_4k = upper ? bits_get(s->tcr, 31, 30) == 2 : bits_get(s->tcr, 15, 14) == 0,
      .table = s->ttbr[upper] & GENMASK(47, 1),
  };
}

static unsigned level_shift(unsigned level) {
  return 39 - 9 * level;
}

static unsigned start_level(unsigned bits) {
  return 4 - (bits - PAGE_SHIFT + 8) / 9;
}

/* Every bit above the range must be a copy of bit 55, the tag byte apart. */
static bool is_canonical(const struct half *h, uint64_t address) {
  uint64_t high = GENMASK(h->tbi ? 55 : 63, h->bits);
  return (address & high) == (h->upper ? high : 0);
}

static const char *why_no_walk(const struct half *h, uint64_t address) {
  if (h->disabled)
    return "walks are disabled (EPD)";
  if (!h->granule_4k)
    return "the granule is not 4 KiB: not supported here";
  if (h->bits < 25 || h->bits > 48)
    return "TxSZ is out of range";
  return is_canonical(h, address) ? NULL : "not an address of either half";
}

static const char *descriptor_kind(uint64_t desc, unsigned level) {
  if (!(desc & DESC_VALID))
    return "invalid";
  if (level == 3)
    return desc & DESC_TABLE ? "page" : "reserved";
  return desc & DESC_TABLE ? "table" : level == 0 ? "reserved" : "block";
}

static bool is_leaf(uint64_t desc, unsigned level) {
  return level == 3 ? (desc & 3) == 3 : level > 0 && (desc & 3) == 1;
}

static void print_stage1_leaf(const struct stage1 *s, uint64_t desc) {
  unsigned attr = (unsigned)bits_get(desc, 4, 2);
  bool el0 = desc & DESC_AP_EL0, ro = desc & DESC_AP_RO;
  hyp_printf("       EL1 r%c%c EL0 %c%c%c%s%s attr %u (MAIR 0x%02llx)\n", ro ? '-' : 'w', desc & DESC_PXN ? '-' : 'x', el0 ? 'r' : '-',
             el0 && !ro ? 'w' : '-', desc & DESC_UXN ? '-' : 'x', desc & DESC_AF ? " AF" : " no AF", desc & DESC_NG ? " nG" : "", attr,
             ULL(bits_get(s->mair, attr * 8 + 7, attr * 8)));
}

/* One descriptor: read it through stage 2 and print it. False if it cannot be read. */
static bool stage1_step(struct vm *vm, unsigned level, uint64_t at, unsigned index, uint64_t *desc) {
  pa_t where;
  if (stage2_lookup(&vm->s2, ipa(at), &where) != ERR_OK || stage2_read(&vm->s2, desc, ipa(at), sizeof *desc) != ERR_OK) {
    hyp_printf("  S1 L%u[%3u] at ipa 0x%llx: nothing is there in stage 2\n", level, index, ULL(at));
    return false;
  }
  hyp_printf("  S1 L%u[%3u] at ipa 0x%llx pa 0x%llx: %016llx %s\n", level, index, ULL(at), ULL(where.v), ULL(*desc),
             descriptor_kind(*desc, level));
  return true;
}

static bool walk_tables(struct vm *vm, const struct stage1 *s, const struct half *h, uint64_t address, uint64_t *out) {
  uint64_t table = h->table, in = address & GENMASK(h->bits - 1, 0), desc;
  for (unsigned level = start_level(h->bits); level <= 3; level++) {
    unsigned index = (unsigned)(in >> level_shift(level)) & 0x1ff;
    if (!stage1_step(vm, level, table + 8ull * index, index, &desc))
      return false;
    if (is_leaf(desc, level)) {
      uint64_t offset = GENMASK(level_shift(level) - 1, 0);
      print_stage1_leaf(s, desc);
      *out = (desc & DESC_ADDRESS & ~offset) | (address & offset);
      return true;
    }
    if ((desc & 3) != 3)
      return false;
    table = desc & DESC_ADDRESS;
  }
  return false;
}

static bool walk_stage1(const struct vcpu *v, va_t address, uint64_t *out) {
  struct vm *vm = v->vm;
  struct stage1 s = stage1_of(v);
  struct half h = half_of(&s, address.v);
  if (!(s.sctlr & SCTLR_M)) {
    hyp_printf("walk %s 0x%llx: stage 1 is off, so this is the IPA\n", vm->config.name, ULL(address.v));
    *out = address.v;
    return true;
  }
  hyp_printf("walk %s 0x%llx: TTBR%u_EL1 %llx, %u bits, ASID %llu\n", vm->config.name, ULL(address.v), h.upper, ULL(s.ttbr[h.upper]),
             h.bits, ULL(bits_get(s.ttbr[s.tcr & TCR_A1 ? 1 : 0], 63, 48)));
  const char *why = why_no_walk(&h, address.v);
  bool found = !why && walk_tables(vm, &s, &h, address.v, out);
  if (found)
    hyp_printf("  = ipa 0x%llx\n", ULL(*out));
  else
    hyp_printf("  = stage-1 fault%s%s\n", why ? ": " : "", why ? why : "");
  return found;
}

bool report_walk_stage1(struct vm *vm, va_t address, uint64_t *out) {
  return walk_stage1(vm->vcpus[0], address, out);
}

/* --- stage 2 --- */

static bool wrote_entry(const struct trace_record *r, uint64_t entry, uint64_t unused) {
  (void)unused;
  return r->type == TRACE_PTE_WRITE && r->arg[0] == entry;
}

static void print_last_change(pa_t entry) {
  const struct trace_record *r = trace_find_last(wrote_entry, entry.v, 0, TRACE_DEPTH);
  if (r)
    hyp_printf("       last written by CPU %u at tick %llu: %llx -> %llx\n", r->cpu, ULL(r->time), ULL(r->arg[1]), ULL(r->arg[2]));
}

void report_frame(pfn_t f) {
  if (!frame_is_valid(f)) {
    hyp_printf("       pa 0x%llx is not in the frame table\n", ULL(pfn_pa(f).v));
    return;
  }
  const struct frame *frame = frame_of(f);
  hyp_printf("       frame 0x%llx: %s, owner %u, order %u, rmap 0x%llx\n", ULL(f.v), frame_state_name(frame_state(f)), frame->owner,
             frame->order, ULL(frame->rmap));
}

static void print_stage2_leaf(struct vm *vm, ipa_t address, const struct pt_step *step) {
  uint64_t offset = GENMASK(level_shift(step->level) - 1, 0), out = (step->desc & DESC_ADDRESS & ~offset) | (address.v & offset);
  pt_prot_t prot = pt_prot_s2(&vm->s2.pt, step->desc);
  hyp_printf("  = pa 0x%llx, %c%c%c%s, VMID %u\n", ULL(out), prot & PT_R ? 'r' : '-', prot & PT_W ? 'w' : '-', prot & PT_X ? 'x' : '-',
             prot & PT_OLD ? " no AF" : "", vmid_value(&vm->s2.vmid));
  report_frame(pa_pfn(pa(out)));
}

void report_walk_stage2(struct vm *vm, ipa_t address) {
  struct pt_step steps[4];
  bool ram = stage2_is_ram(&vm->s2, address), managed = stage2_is_managed(&vm->s2, address);
  spin_lock(&vm->s2.lock);
  bool given = stage2_is_given(&vm->s2, address.v, 1);
  unsigned count = pt_walk_steps(&vm->s2.pt, address.v, steps);
  spin_unlock(&vm->s2.lock);
  for (unsigned i = 0; i < count; i++)
    hyp_printf("  S2 L%u at pa 0x%llx: %016llx %s\n", steps[i].level, ULL(steps[i].entry.v), ULL(steps[i].desc),
               descriptor_kind(steps[i].desc, steps[i].level));
  if (count > 0)
    print_last_change(steps[count - 1].entry);
  if (count > 0 && is_leaf(steps[count - 1].desc, steps[count - 1].level))
    print_stage2_leaf(vm, address, &steps[count - 1]);
  else
    hyp_printf("  = %s\n", given     ? "lent or given to another VM"
                           : ram     ? "not populated: RAM that nobody has touched"
                           : managed ? "managed memory that this VM has not mapped now"
                                     : "no RAM here");
}

void report_walk_vcpu(const struct vcpu *v, va_t address) {
  uint64_t out;
  if (walk_stage1(v, address, &out))
    report_walk_stage2(v->vm, ipa(out));
}
