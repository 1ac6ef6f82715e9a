/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The processor's corners: odd instructions, misaligned SP and PC, exception returns to every mode, vectors that move, debug exceptions,
 * storms of WFI and WFE.
 *
 * Each try starts from a clean state: guarded() puts PSTATE, SP and VBAR back.
 */
#include "hostile.h"

void stage_odd_instructions(void) {
  for (unsigned i = 0; i < (unsigned)((uint64_t)odds_end - (uint64_t)odds) / ODD_BYTES; i++)
    (void)guarded((uint64_t)odds + i * ODD_BYTES, wild_address(), 0, 0);
}

void stage_alignment(void) {
  for (unsigned i = 0; i < 64; i++) {
    (void)guarded((uint64_t)op_sp, (machine.scratch | HIGH) + SZ_4K + i, 0, 0);
    (void)guarded((uint64_t)op_sp, wild_value(), 0, 0);
    (void)guarded((uint64_t)op_sp + 1 + i % 3, 0, 0, 0);
    (void)guarded(wild_value() | 1, 0, 0, 0);
  }
}

/* Words that are undefined in A64, in T32 (even in an IT block) and, if their condition holds, in A32; the last one in A32 in any case. */
static void put_undefined(void) {
  uint32_t *word = (uint32_t *)code_address(0);
  for (unsigned i = 0; i < 8; i++)
    word[i] = 0xde00de00u;
  word[8] = 0xe7f000f0u;
  code_sync();
}

/* The modes that EL1 may return to: EL0 in A64 and A32, EL1t, EL1h. All else is an illegal exception return. */
static bool is_legal_mode(unsigned m) {
  return m == PSR_EL0t || m == PSR_EL1t || m == PSR_EL1h || m == 0x10;
}

/*
 * Every value of M[4:0] with the rest of SPSR random, DAIF set. A legal return must end in an exception, or it would be the end of this
 * program.
 */
void stage_exception_returns(void) {
  put_undefined();
  for (unsigned i = 0; i < 2048; i++) {
    unsigned mode = i & 0x1f;
    uint64_t spsr = (random64() & GENMASK(31, 5)) | mode | PSR_D | PSR_A | PSR_I | PSR_F;
    uint64_t pc = wild_address();
    if (is_legal_mode(mode))
      pc = i & 32 ? code_address(0) & ~HIGH : machine.ram_end + (random64() & 0x3ffffffc);
    (void)guarded((uint64_t)op_eret, spsr, pc, 0);
  }
}

static void put_vector(uint32_t *slot, uint64_t target) {
  for (unsigned i = 0; i < 4; i++)
    slot[i] = (i ? 0xf2800000u : 0xd2800000u) | i << 21 | (uint32_t)(target >> 16 * i & 0xffff) << 5; /* movz, movk x0 */
  slot[4] = 0xd61f0000u;                                                                              /* br x0 */
}

static void brk_under(uint64_t vbar) {
  sysreg_write(vbar_el1, vbar);
  isb();
  __asm__ volatile("brk #7");
}

/* VBAR_EL1 moves to another page before each exception. */
void stage_vectors(void) {
  for (unsigned page = 0; page < 8; page++) {
    uint64_t base = (machine.scratch | HIGH) + (16 + page) * SZ_4K;
    for (unsigned slot = 0; slot < 16; slot++)
      put_vector((uint32_t *)(base + slot * 128), guard_recover_address());
    for (uint64_t a = base; a < base + 2048; a += 16)
      __asm__ volatile("dc cvau, %0; dsb ish; ic ivau, %0" ::"r"(a) : "memory");
  }
  dsb(ish);
  isb();
  for (unsigned i = 0; i < 4000; i++)
    (void)guarded((uint64_t)brk_under, (machine.scratch | HIGH) + (16 + i % 8) * SZ_4K, 0, 0);
}

/* Breakpoint and watchpoint on ourselves, software step, OS lock: with the debug exceptions of EL1 allowed (MDE, KDE, PSTATE.D clear). */
static void debug_try(uint64_t mdscr, uint64_t control, uint64_t address) {
  sysreg_write(dbgbvr0_el1, address);
  sysreg_write(dbgwvr0_el1, address & ~(uint64_t)7);
  sysreg_write(dbgbcr0_el1, control);
  sysreg_write(dbgwcr0_el1, control | 0x1ff8);
  sysreg_write(oslar_el1, 0);
  sysreg_write(mdscr_el1, mdscr);
  __asm__ volatile("msr daifclr, #8\n\tisb" ::: "memory");
  ((void (*)(void))code_address(0))();
}

static void debug_off(uint64_t unused) {
  (void)unused;
  sysreg_write(mdscr_el1, 0);
  sysreg_write(dbgbcr0_el1, 0);
  sysreg_write(dbgwcr0_el1, 0);
}

void stage_debug(void) {
  code_put(0, 0xd503201fu); /* nop */
  code_sync();
  for (unsigned i = 0; i < 256; i++) {
    uint64_t mdscr = (random64() & 0xffff) | (i & 1 ? BIT(15) | BIT(13) : 0) | (i & 2);
    (void)guarded((uint64_t)debug_try, mdscr & ~(uint64_t)1, (random64() & 0x1ffff) | 0x1e7, i & 4 ? code_address(0) : wild_value());
    (void)guarded((uint64_t)debug_off, 0, 0, 0);
    (void)guarded((uint64_t)op_eret, PSR_EL1h | PSR_A | PSR_I | PSR_F | PSR_D | BIT(21), code_address(0), 0); /* SS */
  }
}

/* An expired timer makes WFI return at once, masked as it is. */
void stage_waits(void) {
  sysreg_write(cntv_cval_el0, 0);
  sysreg_write(cntv_ctl_el0, 1);
  isb();
  for (unsigned i = 0; i < 20000; i++)
    wfi();
  sysreg_write(cntv_ctl_el0, 0);
  for (unsigned i = 0; i < 20000; i++)
    __asm__ volatile("sev\n\twfe\n\tsevl\n\twfe\n\tyield" ::: "memory");
}
