/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HYP_CORE_VCPU_H
#define HYP_CORE_VCPU_H

/*
 * A virtual CPU. While it is `cpu->current`, its EL1 system registers, ELR_EL2 and SPSR_EL2 are live in hardware and the copies here
 * are stale; exits are handled on the spot and only a switch to another vCPU moves that state (hyp/arch/switch.c).
 * The general registers x0..x30 are always in `x` during an exit.
 */

#include "core/err.h"
#include "core/list.h"
#include "core/types.h"
#include "hyp/dev/vgic.h"
#include "hyp/dev/vtimer.h"

struct vm;
struct cpu;
struct view_pair;

#define VCPUS_MAX 8u /* per VM */

enum vcpu_state {
  VCPU_OFF = 0, /* PSCI: off */
  VCPU_READY,   /* in a run queue */
  VCPU_RUNNING, /* current on `cpu` */
  VCPU_BLOCKED, /* in WFI or CPU_SUSPEND: waits for a virtual interrupt */
  VCPU_PAUSED,  /* could run, but its VM is paused or going away */
  VCPU_MEMWAIT  /* parked at an access that found no memory: hyp/mem/exhaust.c lets it go */
};

/* Saved EL1 state, valid while the vCPU is not current anywhere. */
struct el1_state {
  uint64_t elr_el2, spsr_el2; /* where the guest was: PC and PSTATE */
  uint64_t sp_el0, sp_el1, elr_el1, spsr_el1, esr_el1, far_el1;
  uint64_t sctlr_el1, tcr_el1, ttbr0_el1, ttbr1_el1, mair_el1, amair_el1, vbar_el1, contextidr_el1;
  uint64_t afsr0_el1, afsr1_el1, tpidr_el0, tpidrro_el0, tpidr_el1, cntkctl_el1, csselr_el1, mdscr_el1, par_el1, cpacr_el1;
  uint64_t cntv_cval_el0, cntv_ctl_el0;
};

struct fp_state {
  uint64_t v[64]; /* q0..q31 */
  uint64_t fpsr, fpcr;
};

/* Asynchronous requests to a vCPU, handled before it next enters the guest. Set by anybody (atomic OR), then vcpu_kick(). */
#define VCPU_REQ_VGIC 0x1u          /* interrupts became pending in software: vgic_flush() */
#define VCPU_REQ_PAUSE 0x2u         /* leave the CPU: the VM is pausing or being destroyed */
#define VCPU_REQ_VTTBR 0x4u         /* VMID generation or view changed: reload VTTBR_EL2 */
#define VCPU_REQ_OFF 0x8u           /* stop for good: CPU_OFF, SYSTEM_OFF, SYSTEM_RESET */
#define VCPU_REQ_BLOCK 0x10u        /* by itself: wait for an interrupt */
#define VCPU_REQ_RESCHED 0x20u      /* its slice is over, or a better one is ready */
#define VCPU_REQ_WORK 0x40u         /* EL2 has work of its own to do here */
#define VCPU_REQ_SUSPEND 0x80u      /* by itself: power down until a wake-up event comes, and start anew from boot_entry */
#define VCPU_REQ_DEVICE 0x100u      /* queues are to be served on its time: virtio_resume() */
#define VCPU_REQ_MEMWAIT 0x200u     /* by itself: park until there is memory: exhaust_wait() */
#define VCPU_REQ_FFA 0x400u         /* its FF-A call is not done yet: ffa_resume() */
#define VCPU_REQ_ALWAYS 0x80000000u /* never cleared: every exit takes the long way out (it has views, or masked time is measured) */

struct vcpu {
  /* Offsets known to assembly. */
  uint64_t x[31];
  uint64_t el2_stack; /* top of the stack of `cpu`, while current */
  uint32_t requests;  /* VCPU_REQ_*; atomic */
  uint32_t id;        /* index in vm->vcpus; virtual affinity is Aff0 = id */
  struct cpu *cpu;    /* where it runs, or ran last; that CPU's rq_lock */

  struct vm *vm;
  enum vcpu_state state; /* cpu->rq_lock */
  bool powered;          /* on, in PSCI's sense; atomic. False while its VM is off */
  bool serror_pending;   /* HCR_EL2.VSE is set on its behalf */
  bool reset_pending;    /* it starts from boot_entry with x0 = boot_context when it is next loaded; constant while it can be READY */
  bool resume; /* reset_pending is that of a CPU_SUSPEND: interrupts and the virtual timer go on, and only a wake-up event ends it */
  uint64_t device_work; /* bit per queue of the VM's devices that it has to serve; atomic */
  bool wiped;           /* nothing of an earlier life is left in it; false once it has been loaded */
  ipa_t boot_entry;
  uint64_t boot_context;
  struct list_node rq_node;    /* in cpu->rq when READY */
  struct list_node sleep_node; /* in cpu->sleepers when BLOCKED with a deadline */
  uint64_t vruntime;           /* ticks of CPU time, weighted; cpu->rq_lock */
  uint64_t run_since;          /* CNTPCT at switch-in */
  uint64_t run_ticks;          /* CPU time so far */
  uint64_t affinity;           /* bit per physical CPU it may run on */

  struct el1_state el1;
  struct fp_state fp;
  struct cpu *fp_cpu; /* where its FP registers were last loaded */
  struct vgic_cpu vgic;
  struct vtimer vtimer;

  struct view_pair *views; /* trap-stage1-faults; else NULL */

  /* Of a wait for memory (exhaust.c): itself before it parks, EL2's work while it is parked. */
  uint8_t wait_reason; /* enum memory_wait; WAIT_NONE once it has been let go; atomic */
  bool wait_goes_on;   /* it was let go for an interrupt only */
  bool wait_irq;       /* an interrupt was pending as it parked */
  uint64_t wait_ipa;   /* what it wants */
  uint64_t wait_at;    /* CNTPCT since when */
  uint64_t wait_count; /* waits so far */

  uint64_t exits, s2_faults, s1_faults, s1_others; /* statistics; written while current */
};

/* Register `n` of an instruction's Rt field: 31 is XZR. */
static inline uint64_t vcpu_reg(const struct vcpu *v, unsigned n) {
  return n == 31 ? 0 : v->x[n];
}

static inline void vcpu_set_reg(struct vcpu *v, unsigned n, uint64_t value) {
  if (n != 31)
    v->x[n] = value;
}

/* PC and PSTATE of the vCPU that is current on this CPU. */
uint64_t vcpu_pc(void);
void vcpu_set_pc(uint64_t pc);
uint64_t vcpu_pstate(void);
void vcpu_skip_instruction(void); /* past a trapped 4-byte instruction */

/*
 * Something happened that `v` must see: set `requests` bits, wake it if BLOCKED, interrupt the CPU it runs on if that is another one.
 * From any CPU, no run-queue lock held.
 */
void vcpu_request(struct vcpu *v, uint32_t requests);

/*
 * Take the current vCPU off this CPU until a virtual interrupt is pending (WFI, CPU_SUSPEND). Returns at once if one is pending already.
 * The switch happens on the way out.
 */
void vcpu_block(struct vcpu *v);
/* PSCI CPU_ON: reset `v` and let it run from `entry` with x0 = context. ERR_EXIST if it is on, ERR_BUSY if it is going off. */
MUST_CHECK err_t vcpu_power_on(struct vcpu *v, ipa_t entry, uint64_t context);
/*
 * Forget all that `v` was: as it goes off, rather than when it comes on again and somebody waits for it. It is loaded nowhere; no lock
 * held.
 */
void vcpu_wipe(struct vcpu *v);
/* Carry out the reset that vcpu_power_on() asked for; the scheduler, as it loads `v`. */
void vcpu_reset(struct vcpu *v);
/*
 * PSCI CPU_SUSPEND of the current vCPU to a power-down state: it loses its registers and starts at `entry` with x0 = context at a wake-up
 * event (vgic_has_wakeup). One that is there already ends the suspend before it begins: the call returns. The switch happens on the way
 * out.
 */
void vcpu_suspend(struct vcpu *v, ipa_t entry, uint64_t context);
/* PSCI CPU_OFF of the current vCPU. The switch happens on the way out. */
void vcpu_power_off(struct vcpu *v);
/* Give the rest of the slice away (WFE trapped, yield). */
void vcpu_yield(struct vcpu *v);

/*
 * Enter an exception at the guest's EL1 (current vCPU): sets ESR_EL1, FAR_EL1, ELR_EL1, SPSR_EL1, PC and PSTATE as the Arm ARM's
 * AArch64.TakeException does.
 */
void inject_undefined(struct vcpu *v);
void inject_abort(struct vcpu *v, bool instruction, uint64_t far, unsigned fsc);
void inject_sync(struct vcpu *v, uint64_t esr, uint64_t far, bool far_valid);

#endif
