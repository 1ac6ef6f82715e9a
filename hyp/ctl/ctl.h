/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HYP_CTL_CTL_H
#define HYP_CTL_CTL_H

/* How boot and exits reach the control side: scenario, monitor, timeline, reports. */

#include "core/err.h"
#include "core/types.h"

struct vm;
struct vcpu;
struct vm_config;
struct policy;
struct managed_config;

/* Options of the hypervisor node of a scenario. */
struct hyp_options {
  uint64_t trace_mask;         /* bit per enum trace_group */
  uint32_t trace_records;      /* per CPU ring; 0: default */
  uint32_t features_off;       /* HYP_FEAT_* (hyp/arch/features.h) */
  unsigned vmid_bits;          /* 0: as the hardware; else fewer, for tests */
  uint32_t slice_us;           /* time slice, default 10000 */
  bool console_quiet;          /* guests' output is kept, not shown */
  bool measure_masked;         /* keep cpu->masked_max */
  bool handover_self_test;     /* before the first VM is made */
  bool measure_el2;            /* keep vm->cost */
  uint64_t zeroed_pool_bytes;  /* 0: none */
  uint32_t sample_ms;          /* between two samples of memory; 0: none are taken */
  const struct policy *policy; /* who should have how much memory; NULL: nothing is said */
  uint32_t policy_period_ms;   /* 0: the policy's own */
};

#define SCENARIO_VMS_MAX 32u
#define SCENARIO_ERROR_MAX 160u

/* A scenario, parsed. Strings and images point into the blob, which must stay. */
struct scenario;

/*
 * Check and parse the whole blob before anything is done with it. On error, `error` says in one line what is wrong and where
 * ("/vms/alpha: memory 3 GiB, but the machine has 1 GiB"), and nothing is kept. `ram_bytes` and `machine_cpus` are what the machine has.
 */
MUST_CHECK err_t scenario_parse(const void *blob, uint64_t bytes, uint64_t ram_bytes, unsigned machine_cpus, struct scenario **out,
                                char error[SCENARIO_ERROR_MAX]);
const struct hyp_options *scenario_options(const struct scenario *s);
unsigned scenario_vm_count(const struct scenario *s);
const struct vm_config *scenario_vm(const struct scenario *s, unsigned index);
unsigned scenario_range_count(const struct scenario *s);
const struct managed_config *scenario_range(const struct scenario *s, unsigned index);
/*
 * Start the timeline and the monitor (both are EL2 work). With `interactive` (boot found the word in the hypervisor's own /chosen/bootargs)
 * the monitor shows its prompt and the end of the timeline does not end the machine.
 */
void ctl_start(const struct scenario *s, bool interactive);

/*
 * Walk all transitions of ownership between two VMs that never run, and say so in one line; a boot error if one goes wrong. No VM exists
 * yet.
 */
void ctl_handover_self_test(void);

/*
 * A VM changed state or gave its verdict: says so in one line ("sluice: alpha: <what>"), and timeline steps that wait for it look again.
 * vms_lock may be held. `what` is "created", "started", "paused", "off", "reset", "destroyed" (the last one while vm->id is still its own)
 * or "verdict".
 */
void ctl_vm_event(struct vm *vm, const char *what);

/*
 * Everything is over: the last line says "sluice: verdict: PASS", or "sluice: verdict: FAIL (<reason>)"; then PSCI SYSTEM_OFF. Any CPU; if
 * two come, the first one's verdict stands. ctl_finish(0) passes, any other status is the reason.
 */
NORETURN void ctl_finish(int status);
NORETURN void ctl_fail(const char *fmt, ...) PRINTF_LIKE(1, 2);
/* Boot cannot go on: "sluice: error: <text>", then as ctl_fail. */
NORETURN void ctl_boot_error(const char *fmt, ...) PRINTF_LIKE(1, 2);

/* Report and stop the machine; never returns. `esr`.. are EL2's own exception registers. */
NORETURN void report_el2_exception(const uint64_t *x31, uint64_t esr, uint64_t elr, uint64_t far, uint64_t spsr, uint64_t sp);
/* A guest exit that EL2 answers but that deserves a line (rate limited): unhandled abort, undefined register. */
void report_guest_trap(struct vcpu *v, const char *what, uint64_t esr, uint64_t far, uint64_t ipa);
/* A VM is no more, its id may be another's. */
void report_forget(const struct vm *vm);
/*
 * The same in two halves, for the monitor's steps: stage 1 (false if it ends in a fault, else `*out` is the IPA), then stage 2 of an IPA.
 */
bool report_walk_stage1(struct vm *vm, va_t address, uint64_t *out);
void report_walk_stage2(struct vm *vm, ipa_t address);

/*
 * VA -> IPA -> PA with every descriptor, for a vCPU's stage 1, into the console. Its translation registers are read from hardware if it is
 * current on this CPU, else from its saved state: pause the VM first if another CPU has it.
 */
void report_walk_vcpu(const struct vcpu *v, va_t address);
/* State, owner and reverse mapping of a frame, whatever it is. */
void report_frame(pfn_t f);

/* ESR_ELx in words: "data abort from a lower EL: translation fault, level 3, write of 4 bytes from x2". Always terminates; returns `to`. */
#define ESR_TEXT_MAX 160u
const char *esr_describe(uint64_t esr, char to[ESR_TEXT_MAX]);
/* "name+0x1c" of an address in EL2's text if a symbol table is linked, else "0x..." */
#define SYMBOL_TEXT_MAX 64u
const char *symbol_describe(uint64_t address, char to[SYMBOL_TEXT_MAX]);

#endif
