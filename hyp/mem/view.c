/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Seeing stage-1 faults at EL2 without changing the guest.
 *
 * Hardware delivers a stage-1 fault straight to EL1. But the first thing EL1 then does is to fetch from its vector table, and stage 2
 * decides about fetches. Each vCPU has two views of the VM's memory, each with a VMID of its own, so that changing between them costs no
 * TLBI:
 *
 *            armed                          open
 *        +-------------+                +-------------+
 *        | RW X        |  exception     | RW -        |
 *        | RW X        |  ----------->  | RW -        |
 *        | RW -  vector|  fetch traps   | RW X  vector|
 *        | RW X        |  <-----------  | RW -        |
 *        +-------------+  first fetch   +-------------+
 *                         outside traps
 *
 * In the armed view the fetch at VBAR_EL1 + offset traps with ESR_EL1, FAR_EL1, ELR_EL1 and SPSR_EL1 as hardware left them: EL2 records,
 * opens, and the guest's handler runs as if nothing had been. The guest's memory itself is the VM's stage2; views only mirror its leaves.
 *
 * VBAR_EL1 is read at each exit: a guest that moves its vectors without an exit in between, or takes an exception while it executes inside
 * the vector page, escapes notice until the next exit.
 *
 * Lock: the VM's stage2.lock covers the views' tables as well as its own, so that a leaf and its mirrors go together. `active`, `vbar` and
 * `vector_page` belong to the vCPU: only the CPU that runs it changes them, under the lock where the tables must follow.
 */
#include "hyp/mem/view.h"
#include "arch/barrier.h"
#include "arch/esr.h"
#include "arch/sysreg.h"
#include "core/bits.h"
#include "core/check.h"
#include "core/string.h"
#include "hyp/arch/features.h"
#include "hyp/arch/tlb.h"
#include "hyp/arch/translate.h"
#include "hyp/arch/vttbr.h"
#include "hyp/core/vm.h"
#include "hyp/ctl/ctl.h"
#include "hyp/ctl/trace.h"
#include "hyp/mem/background.h"
#include "hyp/mem/exhaust.h"
#include "mm/page_alloc.h"
#include "mm/port.h"
#include "mm/slab.h"

#define NO_PAGE (~(uint64_t)0)
#define VECTOR_BYTES 0x800u
#define VECTOR_ENTRY_BYTES 0x80u
#define DESTROY_TABLES_PER_STEP 2u

static void tlb_flush(struct pt *pt, uint64_t ia, uint64_t size, unsigned level, bool tables) {
  const struct view *view = container_of(pt, struct view, pt);
  tlb_flush_ipa(pt, &view->vmid, ipa(ia), size, level, tables);
}

static const struct pt_ops ops = {
    .name = "stage2 view",
    .leaf = pt_leaf_s2,
    .prot = pt_prot_s2,
    .table_alloc = stage2_table_alloc,
    .table_free = stage2_table_free,
    .tlb_flush = tlb_flush,
    .publish = stage2_publish,
};

static struct slab_cache *pair_cache;

static err_t init_one(struct vcpu *v, enum view_kind kind) {
  const struct pt *main = &v->vm->s2.pt;
  uint16_t id = (uint16_t)(v->vm->id | (1 + 2 * v->id + kind) << STAGE2_ID_VIEW_SHIFT);
  pfn_t root;
  err_t err = page_alloc(main->root_order, ALLOC_UNMOVABLE | ALLOC_ZERO | ALLOC_EFFORT, &root);
  if (err != ERR_OK)
    return err;
  frame_set_state(root, main->root_order, FRAME_TABLE, v->vm->id, 0);
  return pt_init(&v->views->view[kind].pt, &ops, root, main->start_level, main->root_order, main->ia_bits, main->features, id);
}

static void free_pair(struct vcpu *v) {
  for (unsigned k = 0; k < VIEW_KINDS; k++)
    if (v->views->view[k].pt.root)
      page_free(v->views->view[k].pt.root_pfn, v->views->view[k].pt.root_order);
  slab_free_for(pair_cache, v->views, v->vm->id);
  v->views = NULL;
}

err_t view_init_cache(void) {
  return slab_create("view_pair", sizeof(struct view_pair), _Alignof(struct view_pair), &pair_cache);
}

err_t view_init(struct vcpu *v) {
  err_t err;
  v->views = slab_alloc_for(pair_cache, v->vm->id, ALLOC_EFFORT);
  if (!v->views)
    return ERR_NOMEM;
  v->views->vbar = NO_PAGE;
  v->views->vector_page = NO_PAGE;
  err = init_one(v, VIEW_ARMED);
  if (err == ERR_OK)
    err = init_one(v, VIEW_OPEN);
  if (err != ERR_OK)
    free_pair(v);
  return err;
}

err_t view_destroy_step(struct vcpu *v) {
  if (!v->views)
    return ERR_OK;
  for (unsigned k = 0; k < VIEW_KINDS; k++)
    if (pt_destroy(&v->views->view[k].pt, DESTROY_TABLES_PER_STEP, NULL, NULL) != ERR_OK)
      return ERR_AGAIN;
  free_pair(v);
  return ERR_OK;
}

void view_flush(struct vcpu *v) {
  for (unsigned k = 0; v->views && k < VIEW_KINDS; k++)
    tlb_flush_vmid(&v->views->view[k].pt, &v->views->view[k].vmid);
}

struct view *view_active(struct vcpu *v) {
  return &v->views->view[v->views->active];
}

static void activate(struct vcpu *v, enum view_kind kind) {
  v->views->active = kind;
  vttbr_load(v);
}

/* ---- mirroring ---- */

static pt_prot_t prot_for(const struct view_pair *p, enum view_kind kind, uint64_t page) {
  bool is_vector = page == p->vector_page;
  return PT_R | PT_W | (is_vector == (kind == VIEW_OPEN) ? PT_X : 0);
}

static bool block_holds_vector(const struct view_pair *p, uint64_t at) {
  return p->vector_page != NO_PAGE && p->vector_page / SZ_2M == at / SZ_2M;
}

/* What `leaf` of the VM's stage 2 says of `at`, in one view: as a block if it is one and the vectors are elsewhere. */
static err_t mirror_leaf(const struct view_pair *p, struct pt *pt, enum view_kind kind, uint64_t at, const struct pt_leaf *leaf) {
  uint64_t page = align_down(at, PAGE_SIZE);
  uint64_t out = align_down(leaf->out.v, PAGE_SIZE);
  if (leaf->level == 2 && !block_holds_vector(p, at)) {
    uint64_t block = align_down(at, SZ_2M);
    err_t err = pt_map_leaf(pt, block, pa(out - (page - block)), 2, prot_for(p, kind, block));
    if (err != ERR_EXIST)
      return err;
  }
  err_t err = pt_map_leaf(pt, page, pa(out), 3, prot_for(p, kind, page));
  return err == ERR_EXIST ? ERR_OK : err;
}

/* Copy the leaf of the VM's stage 2 that covers `at`, if there is one, into the active view. */
static err_t mirror(struct vcpu *v, uint64_t at) {
  struct view_pair *p = v->views;
  struct pt_leaf leaf;
  spin_lock(&v->vm->s2.lock);
  err_t err = pt_lookup(&v->vm->s2.pt, at, &leaf);
  if (err == ERR_OK)
    err = mirror_leaf(p, &p->view[p->active].pt, p->active, at, &leaf);
  spin_unlock(&v->vm->s2.lock);
  return err;
}

void view_forget(struct vcpu *v, ipa_t start, uint64_t bytes) {
  uint64_t from = align_down(start.v, SZ_2M), end = align_up(start.v + bytes, SZ_2M);
  for (unsigned k = 0; v->views && k < VIEW_KINDS; k++) {
    err_t err = pt_unmap(&v->views->view[k].pt, from, end - from, NULL, NULL);
    CHECK(err == ERR_OK); /* no leaf is larger than 2 MiB, so none is split */
  }
}

/* ---- where the vectors are ---- */

/* The page is mapped anew in both views on its next touch, with what is then right for it. */
static void forget_page(struct vcpu *v, uint64_t page) {
  if (page != NO_PAGE)
    view_forget(v, ipa(page), PAGE_SIZE);
}

static void move_vectors(struct vcpu *v, uint64_t vbar, uint64_t page) {
  struct view_pair *p = v->views;
  uint64_t old = p->vector_page;
  p->vbar = vbar;
  if (page == old)
    return;
  spin_lock(&v->vm->s2.lock);
  forget_page(v, old);
  forget_page(v, page);
  p->vector_page = page;
  spin_unlock(&v->vm->s2.lock);
}

void view_refresh(struct vcpu *v) {
  uint64_t vbar = sysreg_read(vbar_el1), at;
  if (!translate_el1_read(vbar, &at))
    return; /* its tables are not in the view yet, or it has none for this address: nothing to learn */
  uint64_t page = stage2_is_ram(&v->vm->s2, ipa(at)) ? align_down(at, PAGE_SIZE) : NO_PAGE;
  if (vbar != v->views->vbar || page != v->views->vector_page)
    move_vectors(v, vbar, page);
}

/* ---- the trap itself ---- */

static bool is_abort(uint64_t esr_el1) {
  unsigned ec = esr_ec(esr_el1);
  return ec == ESR_EC_DABT_LOWER || ec == ESR_EC_DABT_SAME || ec == ESR_EC_IABT_LOWER || ec == ESR_EC_IABT_SAME;
}

/* Offsets 0x000, 0x200, 0x400, 0x600 are synchronous; the others interrupts and SErrors. */
static void record(struct vcpu *v, uint64_t offset) {
  uint64_t esr = sysreg_read(esr_el1);
  uint16_t vmid = vmid_value(&view_active(v)->vmid);
  if ((offset & 0x180) == 0 && is_abort(esr)) {
    v->s1_faults++;
    trace(TRACE_GROUP_FAULT, TRACE_S1_FAULT, vmid, sysreg_read(far_el1), esr, sysreg_read(elr_el1), sysreg_read(spsr_el1), vcpu_pc());
  } else {
    v->s1_others++;
    trace(TRACE_GROUP_FAULT, TRACE_S1_OTHER, vmid, offset, esr, sysreg_read(elr_el1), 0, 0);
  }
}

void view_fetch_denied(struct vcpu *v) {
  struct view_pair *p = v->views;
  uint64_t offset = vcpu_pc() - p->vbar;
  if (p->active == VIEW_OPEN) {
    activate(v, VIEW_ARMED);
    return;
  }
  if (offset < VECTOR_BYTES && offset % VECTOR_ENTRY_BYTES == 0)
    record(v, offset);
  activate(v, VIEW_OPEN);
}

err_t view_fault(struct vcpu *v, uint64_t esr, ipa_t at) {
  err_t err = mirror(v, at.v);
  if (err == ERR_NOENT) {
    v->s2_faults++;
    err = stage2_populate(&v->vm->s2, at);
    if (err == ERR_OK)
      err = mirror(v, at.v);
  }
  if (err == ERR_PERM)
    return err;
  trace(TRACE_GROUP_FAULT, TRACE_S2_FAULT, vmid_value(&view_active(v)->vmid), at.v, esr, sysreg_read(far_el2), vcpu_pc(),
        err == ERR_OK ? TRACE_FAULT_MAPPED_4K : TRACE_FAULT_NOMEM);
  if (err != ERR_OK)
    exhaust_wait(v, at.v, err);
  return ERR_OK;
}
