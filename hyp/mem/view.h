/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HYP_MEM_VIEW_H
#define HYP_MEM_VIEW_H

/*
 * `trap-stage1-faults`: EL2 sees every exception a guest takes to its own EL1, before the guest's vector runs, with the guest's state
 * intact. Two views of stage 2 per vCPU, see view.c.
 */

#include "core/err.h"
#include "core/types.h"
#include "hyp/mem/vmid.h"
#include "mm/pgtable.h"

struct vcpu;

enum view_kind {
  VIEW_ARMED = 0, /* the vector page does not execute: entering an exception traps */
  VIEW_OPEN,      /* only the vector page executes: leaving it traps */
  VIEW_KINDS
};

struct view {
  struct pt pt;
  struct vmid vmid;
};

struct view_pair {
  struct view view[VIEW_KINDS];
  enum view_kind active;
  uint64_t vbar;        /* VBAR_EL1 as last seen */
  uint64_t vector_page; /* IPA of the page it names; ~0: none */
};

/* The cache of pairs; once, after the memory core. ERR_NOMEM. */
MUST_CHECK err_t view_init_cache(void);
/* Give `v` its pair of views. ERR_NOMEM. */
MUST_CHECK err_t view_init(struct vcpu *v);
/* Take them down in steps, after the VM's TLB entries are gone; ERR_AGAIN while there is more. */
MUST_CHECK err_t view_destroy_step(struct vcpu *v);
/* Forget every TLB entry of both views; no vCPU of the VM runs any more. */
void view_flush(struct vcpu *v);

/*
 * Any other stage-2 fault of the current vCPU on RAM at `at`, when it has views. ERR_PERM: it has handed that memory over. Without a frame
 * it waits for one, which is no error here.
 */
MUST_CHECK err_t view_fault(struct vcpu *v, uint64_t esr, ipa_t at);
/* A fetch that the current view of the current vCPU does not allow: the vectors are entered, or left. */
void view_fetch_denied(struct vcpu *v);
/* The guest may have moved its vectors: at every exit. */
void view_refresh(struct vcpu *v);
/* The tables and VMID this vCPU runs on now. */
struct view *view_active(struct vcpu *v);
/*
 * Drop [start, start + bytes), rounded to 2 MiB, from both views of `v`, running or not: the VM's stage 2 is about to lose it or to change
 * it. What is touched again is mirrored again. The VM's stage2.lock must be held.
 */
void view_forget(struct vcpu *v, ipa_t start, uint64_t bytes);

#endif
