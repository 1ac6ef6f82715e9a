/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef ABI_GUEST_TRACE_H
#define ABI_GUEST_TRACE_H

/* Tags of SLUICE_HVC_TRACE (x1) that the guest kernel uses, and what x2..x4 hold: the steps of a stage-1 fault as EL1 takes them. */

enum guest_trace_tag {
  GUEST_TRACE_FAULT_ENTRY = 1,    /* far, esr, elr */
  GUEST_TRACE_FIND_VMA = 2,       /* vm_start, vm_end, vm_flags; 0, 0, 0: none */
  GUEST_TRACE_ALLOC_PAGE = 3,     /* pfn (of IPA space), order */
  GUEST_TRACE_SET_PTE = 4,        /* ipa of the descriptor, old, new */
  GUEST_TRACE_TABLE_ALLOC = 5,    /* pfn, level it serves, ia */
  GUEST_TRACE_ANONYMOUS_PAGE = 6, /* far: do_anonymous_page() served it with a fresh page */
  GUEST_TRACE_ZERO_PAGE = 7,      /* far: the zero page */
  GUEST_TRACE_WP_PAGE = 8,        /* far, 0 over the zero page, 1 copied, 2 reused: do_wp_page() */
  GUEST_TRACE_FILEMAP_FAULT = 9,  /* far: filemap_fault() */
  GUEST_TRACE_SHMEM_FAULT = 10,   /* far: a page of a shared object */
  GUEST_TRACE_FAULT_RETURN = 11,  /* far, enum vm_fault (0: retry the access) */
};

#endif
