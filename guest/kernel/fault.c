/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Exceptions from EL0 and EL1: aborts go to the VM layer, and what it refuses ends the process with a report, or, for the kernel's own
 * accesses to user memory, becomes a short copy by the exception table. Nothing a process does may get to panic_exception().
 */
#include "guest/kernel/fault.h"

#include "abi/linux.h"
#include "arch/esr.h"
#include "arch/sysreg.h"
#include "core/compiler.h"
#include "guest/arch/exception.h"
#include "guest/arch/fp.h"
#include "guest/arch/trap_frame.h"
#include "guest/kernel/bootargs.h"
#include "guest/kernel/console.h"
#include "guest/kernel/oom.h"
#include "guest/kernel/panic.h"
#include "guest/kernel/process.h"
#include "guest/kernel/task.h"
#include "guest/kernel/trace.h"
#include "guest/vm/vm.h"

struct extable_entry {
  uint64_t fault_pc, fixup;
};
extern const struct extable_entry __extable_start[], __extable_end[];

static uint64_t total_handled; /* atomic */
uint64_t fault_fixed_esr;

/* ---- Reports ---- */

static void print_regions(struct mm_struct *mm) {
  struct vm_region region = {0};
  char line[128];
  while (mm_next_region(mm, &region)) {
    vm_region_format(&region, line, sizeof line);
    kprintf_more("  %s\n", line);
  }
}

static void report_signal(const struct trap_frame *f, const char *what, uint64_t esr, uint64_t far, const char *why) {
  const struct task *t = current_task();
  char text[96];
  kprintf("pid %u (%s): %s at pc %lx, address %lx: %s (%s)\n", t->pid, t->name, what, f->elr, far, esr_describe(esr, text, sizeof text),
          why);
  print_registers(f);
  print_regions(t->mm);
}

/*
 * ESR and FAR still say what the abort said: nothing can be taken to EL1 in between. Out of memory: the access is tried again, unless the
 * process is to end, which it does before it gets there.
 */
void exception_el0_refused(struct trap_frame *f, enum vm_fault why) {
  uint64_t esr = sysreg_read(esr_el1), far = sysreg_read(far_el1);
  switch (why) {
  case VM_FAULT_OOM:
    out_of_memory(); /* either way by way of return_to_user */
    return;
  case VM_FAULT_BUS:
    report_signal(f, "SIGBUS", esr, far, vm_fault_name(why));
    process_exit(LINUX_SIGBUS);
  default:
    report_signal(f, "SIGSEGV", esr, far, vm_fault_name(why));
    process_exit(LINUX_SIGSEGV);
  }
}

uint64_t faults_handled(void) {
  return atomic_load_relaxed(&total_handled);
}

void faults_report_exit(struct task *t) {
  const uint64_t *n = t->faults;
  uint64_t handled = 0;
  task_keep_usage(t);
  for (unsigned k = FAULT_ZERO_PAGE; k <= FAULT_SPURIOUS; k++)
    handled += n[k];
  atomic_fetch_add_relaxed(&total_handled, handled);
  if (!bootargs.quiet)
    kprintf("pid %u (%s) faults: zero %lu anon %lu cow %lu file %lu segv %lu\n", t->pid, t->name, n[FAULT_ZERO_PAGE], n[FAULT_ANON],
            n[FAULT_COW_ZERO] + n[FAULT_COW_COPY] + n[FAULT_COW_REUSE], n[FAULT_FILE] + n[FAULT_SHARED], n[FAULT_SEGV]);
}

/* ---- Aborts ---- */

/*
 * Translation (0x4), access-flag (0x8) and permission (0xc) faults are the VM layer's; the rest (external, alignment, ...) is nobody's to
 * mend.
 */
static bool is_paging_fault(uint64_t esr) {
  return esr_fsc_type(esr) - ESR_FSC_TRANSLATION <= ESR_FSC_PERMISSION - ESR_FSC_TRANSLATION;
}

/* A cache maintenance instruction reports as a write, but asks for a reader's rights only. */
static unsigned fault_flags(uint64_t esr) {
  unsigned present = esr_fsc_type(esr) == ESR_FSC_PERMISSION ? FAULT_FLAG_PRESENT : 0;
  unsigned write = (unsigned)(esr >> 6 & ~(esr >> 8) & FAULT_FLAG_WRITE);
  return present | write;
}

_Static_assert(ESR_WnR >> 6 == 1 && ESR_CM >> 8 == 1 && FAULT_FLAG_WRITE == 1, "fault_flags");

static NOINLINE enum vm_fault traced_fault(uint64_t esr, uint64_t far, unsigned flags) {
  trace_fault_entry(far, esr, task_frame(current_task())->elr);
  enum vm_fault result = handle_mm_fault(current_task()->mm, far, flags);
  trace_fault_return(far, result);
  return result;
}

static ALWAYS_INLINE enum vm_fault serve(uint64_t esr, uint64_t far, unsigned flags) {
  if (unlikely(!is_paging_fault(esr)))
    return VM_FAULT_BUS;
  if (unlikely(guest_trace_on))
    return traced_fault(esr, far, flags);
  return handle_mm_fault(current_task()->mm, far, flags);
}

enum vm_fault exception_el0_data_abort(uint64_t esr, uint64_t far) {
  return serve(esr, far, fault_flags(esr));
}

enum vm_fault exception_el0_fetch_abort(uint64_t esr, uint64_t far) {
  return serve(esr, far, FAULT_FLAG_EXEC | (fault_flags(esr) & FAULT_FLAG_PRESENT));
}

static const struct extable_entry *find_fixup(uint64_t pc) {
  for (const struct extable_entry *e = __extable_start; e < __extable_end; e++)
    if (e->fault_pc == pc)
      return e;
  return NULL;
}

/* No lock is held where the kernel touches user memory, so it may wait for some to come free. */
static bool serve_kernel(struct mm_struct *mm, uint64_t far, unsigned flags) {
  enum vm_fault result;
  do
    result = handle_mm_fault(mm, far, flags);
  while (result == VM_FAULT_OOM && out_of_memory());
  return result == VM_FAULT_OK;
}

void exception_el1_sync(struct trap_frame *f, uint64_t esr, uint64_t far) {
  const struct extable_entry *fixup = esr_ec(esr) == ESR_EC_DABT_SAME ? find_fixup(f->elr) : NULL;
  struct mm_struct *mm = current_task()->mm;
  if (fixup == NULL)
    panic_exception("exception in the kernel", f, esr, far);
  if (mm != NULL && access_ok(far, 1) && is_paging_fault(esr) && serve_kernel(mm, far, fault_flags(esr)))
    return;
  fault_fixed_esr = esr;
  f->elr = fixup->fixup;
}

/* ---- Everything else from EL0 ---- */

void exception_el0_sync(struct trap_frame *f, uint64_t esr, uint64_t far) {
  switch (esr_ec(esr)) {
  case ESR_EC_FP:
    fp_trapped();
    return;
  case ESR_EC_PC_ALIGN:
  case ESR_EC_SP_ALIGN:
    report_signal(f, "SIGBUS", esr, far, "alignment");
    process_exit(LINUX_SIGBUS);
  case ESR_EC_BRK64:
    report_signal(f, "SIGTRAP", esr, f->elr, "breakpoint instruction");
    process_exit(LINUX_SIGTRAP);
  default:
    report_signal(f, "SIGILL", esr, f->elr, "not offered to EL0");
    process_exit(LINUX_SIGILL);
  }
}

/* An SError that reached EL1 from EL0 is taken to be the process's doing. */
void exception_el0_serror(struct trap_frame *f, uint64_t esr) {
  report_signal(f, "SIGBUS", esr, f->elr, "SError");
  process_exit(LINUX_SIGBUS);
}

void exception_bad(struct trap_frame *f, unsigned vector) {
  kprintf("exception through vector %u\n", vector);
  panic_exception("exception that has no handler", f, sysreg_read(esr_el1), sysreg_read(far_el1));
}
