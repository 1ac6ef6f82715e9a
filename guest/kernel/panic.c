/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The end: reports of broken invariants and of exceptions the kernel should not have taken. Output goes out whoever holds the console.
 * Under Sluice the VM's verdict becomes "failed" before the machine is switched off.
 */
#include "guest/kernel/panic.h"

#include "arch/esr.h"
#include "core/atomic.h"
#include "core/check.h"
#include "core/format.h"
#include "guest/arch/trap_frame.h"
#include "guest/drivers/psci.h"
#include "guest/kernel/console.h"
#include "guest/kernel/poweroff.h"
#include "guest/kernel/task.h"

#define BACKTRACE_MAX 16u
#define PANIC_VERDICT 0xdeadu

static const char *class_name(unsigned ec) {
  switch (ec) {
  case ESR_EC_UNKNOWN:
    return "undefined instruction";
  case ESR_EC_FP:
    return "FP/SIMD access";
  case ESR_EC_ILLEGAL:
    return "illegal execution state";
  case ESR_EC_SYSREG:
    return "system register access";
  case ESR_EC_IABT_LOWER:
  case ESR_EC_IABT_SAME:
    return "instruction abort";
  case ESR_EC_PC_ALIGN:
    return "misaligned PC";
  case ESR_EC_DABT_LOWER:
  case ESR_EC_DABT_SAME:
    return "data abort";
  case ESR_EC_SP_ALIGN:
    return "misaligned SP";
  case ESR_EC_SERROR:
    return "SError";
  case ESR_EC_BRK64:
    return "BRK";
  default:
    return "exception";
  }
}

static const char *status_name(uint64_t esr) {
  switch (esr_fsc(esr)) {
  case ESR_FSC_EXTERNAL:
    return "external abort";
  case ESR_FSC_ALIGNMENT:
    return "alignment fault";
  case ESR_FSC_TLB_CONFLICT:
    return "TLB conflict";
  default:
    break;
  }
  switch (esr_fsc_type(esr)) {
  case ESR_FSC_ADDR_SIZE:
    return "address size fault";
  case ESR_FSC_TRANSLATION:
    return "translation fault";
  case ESR_FSC_ACCESS_FLAG:
    return "access flag fault";
  case ESR_FSC_PERMISSION:
    return "permission fault";
  case ESR_FSC_EXTERNAL_WALK:
    return "external abort on a walk";
  default:
    return "other fault";
  }
}

/* The status codes that say where the walk ended (Arm ARM D17.2.37). */
static bool has_level(uint64_t esr) {
  return esr_fsc_type(esr) <= ESR_FSC_PERMISSION || esr_fsc_type(esr) == ESR_FSC_EXTERNAL_WALK;
}

const char *esr_describe(uint64_t esr, char *to, uint64_t cap) {
  unsigned ec = esr_ec(esr);
  bool data = ec == ESR_EC_DABT_LOWER || ec == ESR_EC_DABT_SAME, fetch = ec == ESR_EC_IABT_LOWER || ec == ESR_EC_IABT_SAME;
  const char *access = fetch ? "fetch" : esr & ESR_WnR ? "write" : "read";
  if ((data || fetch) && has_level(esr))
    format(to, cap, "%s: %s on %s, level %u", class_name(ec), status_name(esr), access, esr_fsc_level(esr));
  else if (data || fetch)
    format(to, cap, "%s: %s on %s", class_name(ec), status_name(esr), access);
  else
    format(to, cap, "%s (EC 0x%x)", class_name(ec), ec);
  return to;
}

void print_registers(const struct trap_frame *f) {
  for (unsigned i = 0; i < 30; i += 3)
    kprintf_more("  x%-2u %016lx  x%-2u %016lx  x%-2u %016lx\n", i, f->x[i], i + 1, f->x[i + 1], i + 2, f->x[i + 2]);
  kprintf_more("  lr  %016lx  pc  %016lx  spsr %lx\n", f->x[30], f->elr, f->spsr);
}

/* Frame records (AAPCS64 6.2.3), as long as they stay on this task's stack. */
static void backtrace(const uint64_t *fp) {
  uint64_t low = (uint64_t)current_task(), high = low + TASK_BLOCK_BYTES;
  for (unsigned i = 0; i < BACKTRACE_MAX && (uint64_t)fp >= low && (uint64_t)fp + 16 <= high && ((uint64_t)fp & 15) == 0; i++) {
    kprintf_more("  called from %016lx\n", fp[1]);
    fp = (const uint64_t *)fp[0];
  }
}

static void begin(void) {
  static uint32_t once;
  if (atomic_exchange(&once, 1u) != 0)
    for (;;)
      wfi();
  console_break_lock();
}

static NORETURN void finish(const uint64_t *fp) {
  const struct task *t = current_task();
  kprintf_more("  on CPU %u, task %u (%s)\n", t->cpu, t->pid, t->name);
  backtrace(fp);
  report_verdict(PANIC_VERDICT);
  psci_system_off();
}

void panic(const char *fmt, ...) {
  char text[192];
  va_list args;
  va_start(args, fmt);
  begin();
  format_v(text, sizeof text, fmt, args);
  va_end(args);
  kprintf("panic: %s\n", text);
  finish(__builtin_frame_address(0));
}

void panic_exception(const char *what, const struct trap_frame *f, uint64_t esr, uint64_t far) {
  char text[96];
  begin();
  kprintf("panic: %s: %s\n", what, esr_describe(esr, text, sizeof text));
  kprintf_more("  ESR %lx  FAR %016lx\n", esr, far);
  print_registers(f);
  finish((const uint64_t *)f->x[29]);
}

void check_failed(const char *expr, const char *file, int line) {
  panic("CHECK(%s) failed at %s:%d", expr, file, line);
}
