/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HYP_CORE_VM_H
#define HYP_CORE_VM_H

/*
 * A virtual machine: its stage 2, vCPUs and devices. Created from a vm_config, destroyed in steps, every frame given back.
 *
 * Life:  vm_create -> PAUSED -> vm_start -> RUNNING <-> PAUSED -> vm_destroy -> DYING -> (steps) -> freed
 * SYSTEM_OFF makes it OFF (memory kept for a look, until destroyed or restarted).
 */

#include "arch/lock.h"
#include "core/err.h"
#include "core/types.h"
#include "hyp/core/cost.h"
#include "hyp/core/vcpu.h"
#include "hyp/core/work.h"
#include "hyp/dev/vgic.h"
#include "hyp/dev/virtio/virtio.h"
#include "hyp/dev/vuart.h"
#include "hyp/mem/age.h"
#include "hyp/mem/managed.h"
#include "hyp/mem/policyd.h"
#include "hyp/mem/quota.h"
#include "hyp/mem/stage2.h"

#define VMS_MAX 32u /* at once; ids are 1..VMS_MAX */
#define VM_NAME_MAX 32u
#define VM_RAM_BASE 0x40000000ull

/* What a scenario says about one VM. Images stay where the scenario lies in RAM. */
struct vm_config {
  char name[VM_NAME_MAX];
  uint64_t memory_bytes; /* a multiple of 2 MiB, at least 4 MiB */
  uint64_t window_bytes; /* above RAM, for what other VMs hand over; a multiple of 2 MiB */
  unsigned vcpus;        /* 1..VCPUS_MAX */
  const void *image;     /* arm64 Image */
  uint64_t image_bytes;
  const void *initrd; /* NULL: none */
  uint64_t initrd_bytes;
  const char *bootargs; /* never NULL */
  uint64_t affinity;    /* bit per CPU; 0: any */
  uint64_t virtio;      /* bit per word of SCENARIO_VIRTIO */
  uint64_t balloon;     /* bit per word of SCENARIO_BALLOON_FEATURES */
  struct vm_quota quota;
  uint32_t weight;        /* scheduler weight, 1..1000, default 100 */
  uint32_t memory_weight; /* for policies, likewise */
  bool autostart;         /* started at boot; else by the monitor's `start` */
  bool trap_stage1_faults;
  bool force_4k;      /* never map a 2 MiB block */
  bool console_quiet; /* its output is kept for `expect`, but not shown unless it has the focus */
};

enum vm_state {
  VM_PAUSED = 0,
  VM_RUNNING,
  VM_OFF,
  VM_DYING
};

enum vm_verdict {
  VERDICT_NONE = 0,
  VERDICT_PASSED,
  VERDICT_FAILED
};

/* Where its life is going; vm.c drives it there in steps. */
enum vm_goal {
  GOAL_NONE = 0,
  GOAL_RUN,
  GOAL_PAUSE,
  GOAL_OFF,
  GOAL_RESTART,
  GOAL_DESTROY
};

struct vm {
  uint16_t id;         /* 1.., also its owner_t in the frame table */
  enum vm_state state; /* vms_lock */
  struct vm_config config;
  struct stage2 s2;
  struct vm_cost cost;
  unsigned vcpu_count;
  struct vcpu *vcpus[VCPUS_MAX];
  uint64_t counter_offset; /* CNTVOFF_EL2: the VM's count starts at 0 when it starts */
  struct vgic vgic;
  struct vuart vuart;
  struct virtio_device *virtio[VIRTIO_SLOTS];   /* NULL: nothing there; constant after creation */
  struct handover_table *handover;              /* regions it gives; NULL: none yet; s2.lock */
  struct managed_seat seat[MANAGED_RANGES_MAX]; /* its ranges of managed memory; constant while it can run */
  unsigned seats;
  struct ffa *ffa;     /* its FF-A buffers and the call in progress; NULL: none yet */
  struct work life;    /* drives `goal` */
  enum vm_goal goal;   /* vms_lock */
  bool stopping;       /* no vCPU may be started: set before the first is stopped; atomic */
  bool loaded;         /* images are in its RAM; work only */
  bool flushed;        /* no TLB holds anything of it any more; work only */
  bool announced;      /* its entry time has been printed */
  bool sampled;        /* the sampler has told its name */
  uint64_t load_done;  /* bytes of image and initrd written so far; work only */
  uint64_t entered_at; /* CNTPCT when its first vCPU was first entered */
  ipa_t initrd, dtb;
  enum vm_verdict verdict;
  uint64_t verdict_value;
  uint32_t unknown_traps; /* for rate-limited logging */
  uint64_t quota_passed;  /* times that it passed the high mark; s2.lock */
  struct age age;         /* ageing work only */
  struct policy_state policy;
  struct vm_quota quota;          /* s2.lock */
  uint64_t wait_since;            /* CNTPCT since when vCPUs of it have waited for memory; 0: none does; atomic */
  uint32_t wait_episodes;         /* times that it began; atomic */
  uint64_t wait_asked, wait_back; /* counts as it began: exhaust_tried() */
  bool device_waits;              /* one of its devices wants a frame: exhaust_device_waits(); atomic */
};

extern struct spinlock vms_lock;

/* NULL if there is none. The pointer stays valid while the caller, on EL2 with interrupts masked, does not run a step of vm_destroy. */
struct vm *vm_by_id(unsigned id);
struct vm *vm_by_name(const char *name);
/* Visit ids 1..VMS_MAX. */
#define for_each_vm(vm_)                                                                                                                   \
  for (unsigned vm_id__ = 1; vm_id__ <= VMS_MAX; vm_id__++)                                                                                \
    if (((vm_) = vm_by_id(vm_id__)) != NULL)

/* The caches of VMs, vCPUs and views; once, after the memory core. ERR_NOMEM. */
MUST_CHECK err_t vm_init(void);

/*
 * Make a VM as `config` says, PAUSED, images not loaded yet; `config` is copied. ERR_INVAL, ERR_EXIST (name), ERR_NOSPC (VMS_MAX),
 * ERR_NOMEM; on error nothing is left. Loading follows in vm_start's first steps.
 */
MUST_CHECK err_t vm_create(const struct vm_config *config, struct vm **out);
/*
 * A VM that never runs, with RAM and window of `config` alone: no vCPU, device or image; what it is a party to, it is as any other. Errors
 * as vm_create(). vm_destroy_bare() is a step of its end: true when it is gone. Both on CPU 0.
 */
MUST_CHECK err_t vm_create_bare(const struct vm_config *config, struct vm **out);
MUST_CHECK bool vm_destroy_bare(struct vm *vm);
/*
 * Load images, generate the DTB, power on vCPU 0 (first start) or resume. ERR_BUSY when DYING. ERR_IO if an image is no Image; ERR_RANGE if
 * it does not fit; ERR_NOMEM.
 */
MUST_CHECK err_t vm_start(struct vm *vm);
MUST_CHECK err_t vm_pause(struct vm *vm);
/* Begin destruction; its steps run as EL2 work. vm_by_name() does not find it any more. */
MUST_CHECK err_t vm_destroy(struct vm *vm);
/* Memory zeroed anew, images loaded anew, vCPU 0 from the start. Runs as EL2 work. */
MUST_CHECK err_t vm_restart(struct vm *vm);
/* PSCI SYSTEM_OFF / SYSTEM_RESET from the current vCPU. */
void vm_system_off(struct vm *vm);
void vm_system_reset(struct vm *vm);
/* From an exit of the current vCPU (no frame for its fault, a line that was waited for): pause until somebody starts it again. */
void vm_pause_self(struct vm *vm);

#endif
