/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * Trace rings: one per CPU, written only by that CPU with interrupts masked, so there is no lock and no atomic read-modify-write.
 *
 * A slot's `seq` is ~0 while the slot is being written and gets its number last, so a reader on another CPU, or on the host, that sees
 * the same number before and after reading has a whole record. Rings overwrite their oldest records; who needs all of them sizes
 * the ring to the run (`trace-records`) and checks `lost`. The area is given once at boot and never freed.
 * Refuses nothing at run time: with no area the mask stays 0.
 */

#include "hyp/ctl/trace.h"

#include "arch/barrier.h"
#include "arch/sysreg.h"
#include "core/atomic.h"
#include "core/string.h"
#include "hyp/core/cpu.h"
#include "hyp/core/vm.h"

#define NOT_WRITTEN (~(uint64_t)0)

uint64_t trace_mask;

static struct trace_header *header;
static struct trace_record *records; /* ring n begins at records + (n << ring_shift) */
static unsigned ring_shift;

static unsigned shift_for(uint32_t records_per_ring) {
  unsigned shift = 6;
  while ((uint64_t)1 << shift < records_per_ring)
    shift++;
  return shift;
}

uint64_t trace_area_bytes(unsigned rings, uint32_t records_per_ring) {
  return PAGE_SIZE + rings * (sizeof(struct trace_record) << shift_for(records_per_ring));
}

void trace_write(enum trace_type type, uint16_t vmid, uint64_t a0, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4) {
  const struct cpu *c = this_cpu();
  const struct vcpu *v = c->current;
  if (c->id >= header->rings)
    return;
  uint64_t seq = header->ring[c->id].written;
  struct trace_record *r = records + ((uint64_t)c->id << ring_shift) + (seq & (BIT(ring_shift) - 1));
  atomic_store_relaxed(&r->seq, NOT_WRITTEN);
  dmb(ishst); /* the mark is seen before anything else of the slot changes (Arm ARM B2.3.7) */
  r->time = sysreg_read(cntpct_el0);
  r->type = (uint16_t)type;
  r->vmid = vmid;
  r->vm = v ? v->vm->id : 0;
  r->vcpu = v ? (uint8_t)v->id : 0;
  r->cpu = (uint8_t)c->id;
  r->arg[0] = a0;
  r->arg[1] = a1;
  r->arg[2] = a2;
  r->arg[3] = a3;
  r->arg[4] = a4;
  atomic_store_release(&r->seq, seq);
  if (seq >= BIT(ring_shift))
    header->ring[c->id].lost = seq + 1 - BIT(ring_shift);
  atomic_store_release(&header->ring[c->id].written, seq + 1);
}

void trace_init(void *area, pa_t where, unsigned rings, uint32_t records_per_ring, uint64_t mask) {
  ring_shift = shift_for(records_per_ring);
  header = area;
  records = (struct trace_record *)(void *)((char *)area + PAGE_SIZE);
  memset(header, 0, sizeof *header);
  header->version = TRACE_ABI_VERSION;
  header->record_bytes = sizeof(struct trace_record);
  header->rings = rings < TRACE_RINGS_MAX ? rings : TRACE_RINGS_MAX;
  header->records_per_ring = (uint32_t)BIT(ring_shift);
  header->ring_bytes = sizeof(struct trace_record) << ring_shift;
  header->counter_hz = sysreg_read(cntfrq_el0);
  header->area_pa = where.v;
  header->mask = mask;
  atomic_store_release(&header->magic, TRACE_MAGIC); /* last: who finds it finds the rest */
  trace_mask = (trace_mask & ~TRACE_GROUP_MASK) | mask;
}

void trace_set_frame_table(pa_t table, uint64_t base_pfn, uint64_t count) {
  if (!header)
    return;
  header->frame_table_pa = table.v;
  header->frame_base_pfn = base_pfn;
  header->frame_count = count;
}

err_t trace_set_mask(uint64_t mask) {
  if (!header)
    return ERR_NOENT;
  header->mask = mask;
  atomic_store_relaxed(&trace_mask, (trace_mask & ~TRACE_GROUP_MASK) | mask);
  return ERR_OK;
}

uint64_t trace_written(void) {
  uint64_t sum = 0;
  for (unsigned i = 0; header && i < header->rings; i++)
    sum += atomic_load_relaxed(&header->ring[i].written);
  return sum;
}

uint64_t trace_lost(void) {
  uint64_t sum = 0;
  for (unsigned i = 0; header && i < header->rings; i++)
    sum += atomic_load_relaxed(&header->ring[i].lost);
  return sum;
}

/* Newest first, down to `depth` records or as far as the ring reaches. */
static const struct trace_record *find_in_ring(unsigned ring, trace_match_fn *match, uint64_t a, uint64_t b, uint64_t depth) {
  uint64_t written = atomic_load_acquire(&header->ring[ring].written);
  depth = min_u64(depth, min_u64(written, BIT(ring_shift)));
  for (uint64_t i = 1; i <= depth; i++) {
    const struct trace_record *r = records + ((uint64_t)ring << ring_shift) + ((written - i) & (BIT(ring_shift) - 1));
    if (r->seq == written - i && match(r, a, b))
      return r;
  }
  return NULL;
}

const struct trace_record *trace_find_last(trace_match_fn *match, uint64_t a, uint64_t b, uint64_t depth) {
  const struct trace_record *last = NULL;
  for (unsigned ring = 0; header && ring < header->rings; ring++) {
    const struct trace_record *r = find_in_ring(ring, match, a, b, depth);
    if (r && (!last || r->time > last->time))
      last = r;
  }
  return last;
}
