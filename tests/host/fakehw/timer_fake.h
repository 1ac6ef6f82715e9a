/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef FAKEHW_TIMER_FAKE_H
#define FAKEHW_TIMER_FAKE_H

/*
 * The generic timer's registers for host tests, in the place of arch/sysreg.h (by its include guard: tests pass this file with -include): a
 * physical count that the test moves, and CNTV of the one CPU there is. What is written is told to the test.
 */

#include "fakehw/vgic_fake.h"

#define ARCH_SYSREG_H
#define CNT_CTL_ENABLE 1ull
#define CNT_CTL_IMASK 2ull
#define CNT_CTL_ISTATUS 4ull
#define SCTLR_M 1ull
uint64_t fake_sysreg(const char *name);
void fake_sysreg_write(const char *name, uint64_t value);
#define sysreg_read(reg_) fake_sysreg(#reg_)
#define sysreg_write_enc(reg_, value_) fake_sysreg_write(#reg_, value_)

#endif
