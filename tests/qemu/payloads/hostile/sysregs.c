/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * System registers: an MRS and an MSR of every encoding with op0 2 and 3, and every SYS instruction (op0 1) on wild addresses.
 *
 * Writes spare what this program stands on (translation registers, SCTLR, VBAR, DAIF) and MDSCR, which has its own stage. Whatever else
 * they leave behind is put right by irq_reset() or does no harm to EL1 code without interrupts.
 */
#include "hostile.h"

#define ENCODINGS 128u /* CRm and op2 */

static uint32_t mrs_msr(bool read, unsigned op0, unsigned op1, unsigned crn, unsigned low) {
  return 0xd5000000u | (uint32_t)read << 21 | op0 << 19 | op1 << 16 | crn << 12 | low << 5; /* Rt: x0 */
}

static bool is_spared(unsigned op0, unsigned op1, unsigned crn, unsigned low) {
  unsigned crm = low >> 3, op2 = low & 7;
  if (op0 == 2)
    return op1 == 0 && crn == 0 && crm == 2 && op2 == 2; /* MDSCR_EL1 */
  if (op1 == 3)
    return (crn == 4 && crm == 2 && op2 == 1) || (machine.sluice && crn == 14 && crm == 3); /* DAIF; CNTV_*: see stage_timers */
  return op1 == 0 && (((crn == 1 || crn == 2 || crn == 12) && crm == 0 && !(crn == 1 && op2 == 2)) || crn == 10);
}

static void batch(bool read, unsigned op0, unsigned op1, unsigned crn) {
  for (unsigned low = 0; low < ENCODINGS; low++)
    code_put(low, mrs_msr(read, op0, op1, crn, low));
  code_sync();
  for (unsigned low = 0; low < ENCODINGS; low++)
    if (read || !is_spared(op0, op1, crn, low))
      (void)guarded(code_address(low), op0 == 1 ? wild_address() : wild_value(), 0, 0);
}

static void all(bool read, unsigned op0) {
  for (unsigned op1 = 0; op1 < 8; op1++)
    for (unsigned crn = 0; crn < 16; crn++)
      batch(read, op0, op1, crn);
}

void stage_sysreg_reads(void) {
  uint64_t before = guards[0].traps;
  all(true, 2);
  all(true, 3);
  say_count("not readable:", guards[0].traps - before);
}

void stage_sysreg_writes(void) {
  uint64_t before = guards[0].traps;
  all(false, 2);
  all(false, 3);
  say_count("not writable:", guards[0].traps - before);
  sysreg_write(cpacr_el1, CPACR_EL1_FPEN);
}

void stage_system_operations(void) {
  uint64_t before = guards[0].traps;
  all(false, 1);
  all(true, 1);
  say_count("refused:", guards[0].traps - before);
}
