/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef ABI_TRACE_H
#define ABI_TRACE_H

/*
 * The trace as it stands in memory: one area, a header page and a ring per CPU. Host tools read it from the file behind QEMU's RAM,
 * live or afterwards. Little-endian, fixed layout; TRACE_ABI_VERSION changes with it.
 *
 *   area:  struct trace_header                      4 KiB, found by its magic at a 4 KiB boundary
 *          ring of CPU 0: records_per_ring records
 *          ring of CPU 1: ...
 *
 * A record's `seq` counts per ring from 0 and is written last (release); slot = seq % records_per_ring. Records of one CPU are in order;
 * across CPUs, order by `time`, then by the per-table sequence number that PTE records carry (CNTVCT resolves only 16 instructions under
 * icount).
 */

#include <stdint.h>

#define TRACE_MAGIC 0x4543415254434c53ull /* "SLCTRACE" */
#define TRACE_ABI_VERSION 1u
#define TRACE_RINGS_MAX 64u

/* Groups that a scenario or the monitor switches on: bit numbers of the trace mask. */
enum trace_group {
  TRACE_GROUP_FAULT = 0, /* stage-2 and forwarded stage-1 faults */
  TRACE_GROUP_PT,        /* descriptor writes, barriers, TLBIs, VMIDs */
  TRACE_GROUP_FRAME,     /* frame state changes and moves */
  TRACE_GROUP_EXIT,      /* exits and hypercalls */
  TRACE_GROUP_SCHED,     /* vCPU switches */
  TRACE_GROUP_IRQ,       /* injections */
  TRACE_GROUP_VM,        /* life cycle */
  TRACE_GROUP_GUEST,     /* SLUICE_HVC_TRACE */
  TRACE_GROUP_SAMPLE,    /* who has how much memory, every sample-ms */
  TRACE_GROUP_POLICY,    /* targets of balloons, and who waits for memory */
  TRACE_GROUP_MANAGED,   /* pages of managed memory */
  TRACE_GROUPS
};

/* Their names in scenarios, in the monitor and in tools, by number. */
#define TRACE_GROUP_NAMES                                                                                                                  \
  { "fault", "pt", "frame", "exit", "sched", "irq", "vm", "guest", "sample", "policy", "managed" }

enum trace_type {
  TRACE_NONE = 0,
  /* PT: `vmid` is the translation regime's: 0 for EL2's own stage 1. */
  TRACE_PTE_WRITE, /* a0 entry pa, a1 old, a2 new, a3 ia | level, a4 table set id << 32 | per-table seq */
  TRACE_DSB,       /* a0: 0 ISHST, 1 ISH */
  TRACE_ISB,
  TRACE_TLBI, /* a0: enum trace_tlbi, a1: operand: ia for address ops, a2: bytes covered, a3: level hint or 0; vmid: the VMID in VTTBR_EL2 then */
  TRACE_VTTBR,       /* a0: VTTBR_EL2 written */
  TRACE_VMID,        /* a0: vm id, a1: generation, a2: VMID given; rollover: a3 = 1 */
  TRACE_TABLE_ALLOC, /* a0: pfn, a1: level, a2: ia */
  TRACE_TABLE_FREE,  /* a0: pfn */
  /* FAULT */
  TRACE_S2_FAULT, /* a0: ipa, a1: esr, a2: far, a3: pc, a4: what was done (enum trace_fault_result) */
  TRACE_S1_FAULT, /* a0: far, a1: esr, a2: elr, a3: spsr, a4: forwarded to (vector address) */
  TRACE_S1_OTHER, /* any other exception seen by trap-stage1-faults: a0: offset in the vector table, a1: esr, a2: elr */
  /* FRAME */
  TRACE_FRAME_STATE, /* a0: pfn, a1: order, a2: old, beyond the last when freed, a3: new | owner << 8 */
  TRACE_FRAME_MOVE,  /* a0: from, a1: to, a2: order */
  /* EXIT */
  TRACE_EXIT, /* a0: esr, a1: pc, a2: far, a3: hpfar */
  TRACE_HVC,  /* a0: function id, a1: x1, a2: x2, a3: result */
  /* SCHED */
  TRACE_SWITCH, /* a0: from vm << 16 | vcpu (~0: idle), a1: to */
  TRACE_WFI,
  /* IRQ */
  TRACE_INJECT, /* a0: intid, a1: target vcpu */
  /* VM */
  TRACE_VM_CREATE, /* a0: vm id */
  TRACE_VM_DESTROY,
  TRACE_CPU_ON, /* a0: vcpu, a1: entry */
  /* GUEST */
  TRACE_GUEST, /* a0..a3: x1..x4 of the call */
  /*
   * SAMPLE: a0: what it is about | number of the sample << 32; two counts to a word, the first in its low half; frames unless said
   * otherwise
   */
  TRACE_SAMPLE_ZONE,   /* a0: zone; a1: managed, free; a2: in per-CPU lists, zeroed; a3: min, low watermark; a4: node */
  TRACE_SAMPLE_ORDERS, /* a0: zone | first order << 16; a1..a4: free blocks of eight orders from that on */
  TRACE_SAMPLE_NAME,   /* a0: vm id; a1..a4: its name, filled up with NUL */
  TRACE_SAMPLE_VM, /* a0: vm id; a1: assigned, resident; a2: ballooned, ever reported; a3: shared, lent; a4: quota max, vCPUs that wait for memory */
  TRACE_SAMPLE_EVENTS, /* a0: vm id; counts: a1: stage-2 faults by 4 KiB, by 2 MiB; a2: stage-1 faults, waits for memory; a3: pages moved, tables; a4: exits */
  TRACE_SAMPLE_MARK,   /* a0: enum trace_mark, number of the sample that follows; a1..a4: its name, cut or filled up with NUL */
  TRACE_SAMPLE_POLICY, /* a0: vm id; a1: working set, what its balloon was asked to leave it; ~0: not known; a2: EL2's instructions for it, a3: its own; ~0: not measured; a4: frames it gave back, TLBIs */
  /* POLICY: two to a word as above, frames */
  TRACE_TARGET, /* a0: vm id; a1: target before, now; a2: resident, not in the balloon; a3: working set or ~0, its vCPUs that wait for a frame */
  TRACE_MEMORY_WAIT, /* a0: vm << 16 | vcpu; a1: ipa; a2: enum memory_wait; a3: frames to spare */
  TRACE_MEMORY_BACK, /* a0: vm id: none of its vCPUs waits any more; a1: ticks since the first began to; a2: frames asked of others by then */
  /*
   * MANAGED: a0: range << 40 | offset of the first of 64 pages; a1: which of them; a2: location they were at (faults: the member's); a3:
   * location they go to, or are mapped from; a4: member
   */
  TRACE_MANAGED_FAULT, /* the page that was asked for */
  TRACE_MANAGED_PREFETCH,
  TRACE_MANAGED_MIGRATE,
  TRACE_MANAGED_DUPLICATE,
  TRACE_MANAGED_COLLAPSE, /* copies that are no more */
  TRACE_MANAGED_EVICT,
  TRACE_MANAGED_THROTTLE,
  TRACE_MANAGED_PIN,
  TRACE_TYPES
};

enum trace_tlbi {
  TRACE_TLBI_IPAS2E1IS = 0,
  TRACE_TLBI_RIPAS2E1IS,
  TRACE_TLBI_VMALLE1IS,
  TRACE_TLBI_VMALLS12E1IS,
  TRACE_TLBI_ALLE1IS,
  TRACE_TLBI_VAE2IS,
  TRACE_TLBI_ALLE2IS,
  TRACE_TLBI_VMALLE1, /* local: this CPU only */
  TRACE_IC_IALLUIS
};

enum trace_fault_result {
  TRACE_FAULT_MAPPED_4K = 0,
  TRACE_FAULT_MAPPED_2M,
  TRACE_FAULT_SPURIOUS, /* mapped meanwhile: retried */
  TRACE_FAULT_MMIO,
  TRACE_FAULT_REFLECTED, /* external abort injected */
  TRACE_FAULT_NOMEM,
  TRACE_FAULT_REARMED, /* the two views of trap-stage1-faults */
  TRACE_FAULT_MANAGED  /* in managed memory */
};

/* What the reader of a plot wants to see in it. */
enum trace_mark {
  TRACE_MARK_STEP = 0, /* a step of the timeline begins its commands */
  TRACE_MARK_MEMMAP    /* `memmap` begins to look */
};

struct trace_record {
  uint64_t seq;  /* per ring, from 0; ~0 while the slot is being written */
  uint64_t time; /* CNTPCT */
  uint16_t type; /* enum trace_type */
  uint16_t vmid;
  uint16_t vm; /* VM whose vCPU is on this CPU; 0: none */
  uint8_t vcpu;
  uint8_t cpu;
  uint64_t arg[5];
};

struct trace_header {
  uint64_t magic;
  uint32_t version;
  uint32_t record_bytes;
  uint32_t rings;
  uint32_t records_per_ring;
  uint64_t ring_bytes;
  uint64_t mask;           /* groups that are on */
  uint64_t counter_hz;     /* CNTFRQ */
  uint64_t area_pa;        /* of this header */
  uint64_t frame_table_pa; /* struct frame[], for tools that look at memory */
  uint64_t frame_base_pfn;
  uint64_t frame_count;
  struct {
    uint64_t written; /* records ever written */
    uint64_t lost;    /* overwritten before anybody read them: written - records_per_ring when positive */
  } ring[TRACE_RINGS_MAX];
};

_Static_assert(sizeof(struct trace_record) == 64, "one cache line");
_Static_assert(sizeof(struct trace_header) <= 4096, "one page");

#endif
