/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef VM_HOME_IMPL_H
#define VM_HOME_IMPL_H

/* The host's side of guest/vm/home.h: flushes and cache maintenance go to the test that is linked in, which models them. */

void vmhome_flush(uint16_t asid, uint64_t start, uint64_t size, bool tables);
void vmhome_flush_mm(uint16_t asid);
void vmhome_flush_local_page(uint16_t asid, uint64_t addr);
void vmhome_flush_local_all(void);
void vmhome_sync_icache(uint64_t frame);

static inline void vm_home_tlb_flush(const struct mm_context *ctx, uint64_t start, uint64_t size, bool tables) {
  vmhome_flush(mm_context_asid(ctx), start, size, tables);
}

static inline void vm_home_tlb_flush_mm(const struct mm_context *ctx) {
  vmhome_flush_mm(mm_context_asid(ctx));
}

static inline void vm_home_tlb_flush_local_page(const struct mm_context *ctx, uint64_t addr) {
  vmhome_flush_local_page(mm_context_asid(ctx), addr);
}

static inline void vm_home_tlb_flush_local_all(void) {
  vmhome_flush_local_all();
}

static inline bool vm_home_trylock(struct port_lock *lock) {
  uint32_t ticket = atomic_load_acquire(&lock->owner);
  if (port_host_irq_depth == 0)
    port_host_die("lock tried with interrupts on");
  return __atomic_compare_exchange_n(&lock->next, &ticket, ticket + 1, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

static inline void vm_home_sync_icache(pfn_t frame) {
  vmhome_sync_icache(frame.v);
}

#endif
