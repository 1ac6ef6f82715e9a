/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The VMID allocator (the scheme of Linux's arm64 ASID allocator; Arm ARM D8.13.3 for what VMIDs tag).
 *
 * Owned here: the generation, the set of VMIDs given in it, and per CPU which tag is active and which one a rollover found active
 * (reserved). Invariant: of all VMs that run or have entries in some TLB that counts, no two hold the same VMID. An entry stops counting
 * when its CPU clears its TLB, which it does (`flush_pending`) before it takes up any VMID of a new generation.
 *
 * The fast path takes no lock. It wins or loses against a rollover by one compare-and-swap of the CPU's active tag: a rollover takes that
 * tag away (exchange with 0), so either it sees the new tag and reserves it, or the fast path finds 0 and goes the slow way.
 *
 * Lock: vmid_lock for everything but `active`. Refused: fewer VMIDs than CPUs, where a rollover could leave none to give.
 */
#include "hyp/mem/vmid.h"
#include "core/bits.h"
#include "core/check.h"
#include "mm/port.h"

#define VMID_SHIFT 16u
#define VMID_BITS_MAX 16u
#define WORD_BITS 64u

/* `active` when a CPU runs no guest: of a generation that never is, but not 0, which says "taken away by a rollover". */
#define TAG_IDLE (~(uint64_t)0)

static struct port_lock vmid_lock;
static unsigned vmid_count;                            /* 2^bits; constant */
static unsigned vmid_cpus;                             /* constant */
static uint64_t generation;                            /* written under vmid_lock, read by anybody */
static unsigned next_search;                           /* vmid_lock */
static uint64_t given[BIT(VMID_BITS_MAX) / WORD_BITS]; /* VMIDs of this generation; vmid_lock */

static struct {
  uint64_t active;    /* atomic */
  uint64_t reserved;  /* vmid_lock */
  bool flush_pending; /* vmid_lock */
} per_cpu[PORT_CPUS_MAX];

static bool is_current(uint64_t tag) {
  return tag >> VMID_SHIFT == atomic_load_relaxed(&generation);
}

static uint16_t tag_vmid(uint64_t tag) {
  return (uint16_t)tag;
}

static void mark_given(unsigned vmid) {
  given[vmid / WORD_BITS] |= BIT(vmid % WORD_BITS);
}

static void clear_given(void) {
  for (unsigned i = 0; i < ARRAY_SIZE(given); i++)
    given[i] = 0;
  mark_given(0);
}

void vmid_init(unsigned bits, unsigned cpu_total) {
  CHECK(bits >= 1 && bits <= VMID_BITS_MAX && cpu_total <= PORT_CPUS_MAX && BIT(bits) - 1 > cpu_total);
  vmid_count = (unsigned)BIT(bits);
  vmid_cpus = cpu_total;
  generation = 1;
  next_search = 1;
  clear_given();
  for (unsigned i = 0; i < PORT_CPUS_MAX; i++) {
    per_cpu[i].active = TAG_IDLE;
    per_cpu[i].reserved = 0;
    per_cpu[i].flush_pending = false;
  }
}

uint64_t vmid_generation(void) {
  return atomic_load_relaxed(&generation);
}

/* ---- The slow path, under vmid_lock ---- */

/* First VMID not given in [from, vmid_count); vmid_count: none. */
static unsigned find_free(unsigned from) {
  for (unsigned word = from / WORD_BITS; word * WORD_BITS < vmid_count; word++) {
    uint64_t free = ~given[word];
    if (word == from / WORD_BITS)
      free &= ~(uint64_t)0 << from % WORD_BITS;
    if (free != 0) {
      unsigned vmid = word * WORD_BITS + bits_ffs(free);
      return vmid < vmid_count ? vmid : vmid_count;
    }
  }
  return vmid_count;
}

/*
 * A new generation: all VMIDs are free but those that a CPU may be running right now. A CPU whose tag was taken by an earlier rollover and
 * that has not been here since still runs what was reserved then.
 */
static void roll_over(void) {
  atomic_store_relaxed(&generation, generation + 1);
  clear_given();
  for (unsigned i = 0; i < vmid_cpus; i++) {
    uint64_t tag = atomic_exchange(&per_cpu[i].active, 0);
    if (tag == 0)
      tag = per_cpu[i].reserved;
    if (tag == TAG_IDLE)
      tag = 0;
    per_cpu[i].reserved = tag;
    per_cpu[i].flush_pending = true;
    mark_given(tag_vmid(tag));
  }
  next_search = 1;
}

/* If `tag` was running somewhere when the generation changed, its VMID lives on as `renewed`, for every CPU that reserved it. */
static bool renew_reserved(uint64_t tag, uint64_t renewed) {
  bool found = false;
  for (unsigned i = 0; i < vmid_cpus; i++) {
    if (per_cpu[i].reserved != tag)
      continue;
    per_cpu[i].reserved = renewed;
    found = true;
  }
  return found;
}

static uint64_t new_tag(uint64_t old) {
  uint64_t renewed = generation << VMID_SHIFT | tag_vmid(old);
  if (old != 0 && renew_reserved(old, renewed))
    return renewed;
  unsigned vmid = find_free(next_search);
  if (vmid == vmid_count) {
    roll_over();
    vmid = find_free(next_search);
  }
  CHECK(vmid < vmid_count);
  mark_given(vmid);
  next_search = vmid + 1;
  return generation << VMID_SHIFT | vmid;
}

static NOINLINE bool activate_slow(struct vmid *v, unsigned cpu) {
  port_flags_t flags = port_irq_save();
  port_lock_acquire(&vmid_lock);
  if (!is_current(v->tag))
    atomic_store_relaxed(&v->tag, new_tag(v->tag));
  bool flush = per_cpu[cpu].flush_pending;
  per_cpu[cpu].flush_pending = false;
  atomic_store_release(&per_cpu[cpu].active, v->tag);
  port_lock_release(&vmid_lock);
  port_irq_restore(flags);
  return flush;
}

bool vmid_activate(struct vmid *v, unsigned cpu) {
  uint64_t tag = atomic_load_relaxed(&v->tag), active = atomic_load_relaxed(&per_cpu[cpu].active);
  if (likely(active != 0 && is_current(tag) && (active == tag || atomic_cas(&per_cpu[cpu].active, &active, tag))))
    return false;
  return activate_slow(v, cpu);
}

void vmid_deactivate(unsigned cpu) {
  /* Not over a 0: the rollover's mark must make the next activation look for a pending flush. */
  uint64_t active = atomic_load_relaxed(&per_cpu[cpu].active);
  while (active != 0 && !atomic_cas(&per_cpu[cpu].active, &active, TAG_IDLE))
    ;
}
