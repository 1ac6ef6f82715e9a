/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The guest's half of a fault as trace calls. Between entry and return of one fault, events of the memory core (allocation, descriptor
 * write) are passed on; which of the VM layer's ways served the fault is read from the counters it keeps, so the VM layer knows nothing of
 * all this.
 */
#include "guest/kernel/trace.h"

#include "abi/guest_trace.h"
#include "abi/hypercall.h"
#include "guest/drivers/psci.h"
#include "guest/kernel/task.h"
#include "guest/vm/vm.h"
#include "mm/port.h"

bool guest_trace_on;
uint32_t guest_trace_mask;

/* Counters at the entry of the fault each CPU is in. The kernel is not preempted, so the return is on the same CPU. */
static uint64_t faults_before[CPUS_MAX][FAULT_KINDS];
static bool in_fault[CPUS_MAX];

#define TRACED_EVENTS (1u << MM_EVENT_PTE_WRITE | 1u << MM_EVENT_FRAME_ALLOC | 1u << MM_EVENT_TABLE_ALLOC)

void trace_init(bool on) {
  guest_trace_on = on && sluice_present();
  guest_trace_mask = guest_trace_on ? TRACED_EVENTS : 0;
}

/* SMCCC passes x1..x3 through smccc_call(); the fourth value needs x4. */
static void emit(enum guest_trace_tag tag, uint64_t a, uint64_t b, uint64_t c) {
  register uint64_t x0 __asm__("x0") = SLUICE_HVC_TRACE;
  register uint64_t x1 __asm__("x1") = tag;
  register uint64_t x2 __asm__("x2") = a;
  register uint64_t x3 __asm__("x3") = b;
  register uint64_t x4 __asm__("x4") = c;
  __asm__ volatile("hvc #0"
                   : "+r"(x0), "+r"(x1), "+r"(x2), "+r"(x3), "+r"(x4)
                   :
                   : "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13", "x14", "x15", "x16", "x17", "memory");
}

void guest_trace_event(enum mm_event event, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e) {
  (void)d, (void)e;
  if (!in_fault[port_cpu()])
    return;
  switch (event) {
  case MM_EVENT_PTE_WRITE:
    emit(GUEST_TRACE_SET_PTE, a, b, c);
    break;
  case MM_EVENT_FRAME_ALLOC:
    emit(GUEST_TRACE_ALLOC_PAGE, a, b, 0);
    break;
  case MM_EVENT_TABLE_ALLOC:
    emit(GUEST_TRACE_TABLE_ALLOC, a, b, c);
    break;
  default:
    break;
  }
}

static void emit_vma(uint64_t addr) {
  struct vm_region r = {0};
  while (mm_next_region(current_task()->mm, &r)) {
    if (addr < r.start || addr >= r.end)
      continue;
    emit(GUEST_TRACE_FIND_VMA, r.start, r.end, r.flags);
    return;
  }
  emit(GUEST_TRACE_FIND_VMA, 0, 0, 0);
}

void trace_fault_entry(uint64_t far, uint64_t esr, uint64_t pc) {
  struct mm_stats stats;
  unsigned cpu = port_cpu();
  mm_read_stats(current_task()->mm, &stats);
  for (unsigned k = 0; k < FAULT_KINDS; k++)
    faults_before[cpu][k] = stats.faults[k];
  emit(GUEST_TRACE_FAULT_ENTRY, far, esr, pc);
  emit_vma(far);
  in_fault[cpu] = true;
}

static void emit_kind(enum fault_kind kind, uint64_t far) {
  switch (kind) {
  case FAULT_ZERO_PAGE:
    emit(GUEST_TRACE_ZERO_PAGE, far, 0, 0);
    break;
  case FAULT_ANON:
    emit(GUEST_TRACE_ANONYMOUS_PAGE, far, 0, 0);
    break;
  case FAULT_COW_ZERO:
  case FAULT_COW_COPY:
  case FAULT_COW_REUSE:
    emit(GUEST_TRACE_WP_PAGE, far, kind - FAULT_COW_ZERO, 0);
    break;
  case FAULT_FILE:
    emit(GUEST_TRACE_FILEMAP_FAULT, far, 0, 0);
    break;
  case FAULT_SHARED:
    emit(GUEST_TRACE_SHMEM_FAULT, far, 0, 0);
    break;
  default:
    break;
  }
}

void trace_fault_return(uint64_t far, unsigned result) {
  struct mm_stats stats;
  unsigned cpu = port_cpu();
  in_fault[cpu] = false;
  mm_read_stats(current_task()->mm, &stats);
  for (unsigned k = 0; k < FAULT_KINDS; k++)
    if (stats.faults[k] != faults_before[cpu][k])
      emit_kind((enum fault_kind)k, far);
  emit(GUEST_TRACE_FAULT_RETURN, far, result, 0);
}
