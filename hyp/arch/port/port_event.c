/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The memory core's events as trace records. A table set with id 0 is EL2's own stage 1; any other id is a VM's stage 2 or one of its
 * vCPUs' views (hyp/mem/view.h), whose records carry the VMID that it has at that moment.
 */
#include "core/bits.h"
#include "hyp/core/vm.h"
#include "hyp/mem/view.h"
#include "mm/frame.h"
#include "mm/port.h"

static uint16_t vmid_of_table_set(uint64_t id_and_seq) {
  unsigned id = (unsigned)(id_and_seq >> 32);
  unsigned view = id >> STAGE2_ID_VIEW_SHIFT;
  struct vm *vm = vm_by_id(stage2_id_vm(id));
  if (!vm)
    return 0;
  if (view == 0)
    return vmid_value(&vm->s2.vmid);
  struct view_pair *views = vm->vcpus[(view - 1) / VIEW_KINDS]->views;
  return views ? vmid_value(&views->view[(view - 1) % VIEW_KINDS].vmid) : 0;
}

void port_event_write(enum mm_event event, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e) {
  static const uint16_t types[MM_EVENT_COUNT] = {
      [MM_EVENT_PTE_WRITE] = TRACE_PTE_WRITE,
      [MM_EVENT_DSB_ISHST] = TRACE_DSB,
      [MM_EVENT_DSB_ISH] = TRACE_DSB,
      [MM_EVENT_ISB] = TRACE_ISB,
      [MM_EVENT_TABLE_ALLOC] = TRACE_TABLE_ALLOC,
      [MM_EVENT_TABLE_FREE] = TRACE_TABLE_FREE,
      [MM_EVENT_FRAME_ALLOC] = TRACE_NONE,
      [MM_EVENT_FRAME_FREE] = TRACE_FRAME_STATE,
      [MM_EVENT_FRAME_STATE] = TRACE_FRAME_STATE,
      [MM_EVENT_FRAME_MOVE] = TRACE_FRAME_MOVE,
  };
  uint16_t vmid = event == MM_EVENT_PTE_WRITE ? vmid_of_table_set(e) : 0;
  if (event == MM_EVENT_DSB_ISH)
    a = 1;
  if (event == MM_EVENT_FRAME_FREE) { /* the state it had is not known here */
    c = FRAME_STATES;
    d = FRAME_FREE;
  }
  if (types[event] != TRACE_NONE)
    trace_write((enum trace_type)types[event], vmid, a, b, c, d, e);
}
