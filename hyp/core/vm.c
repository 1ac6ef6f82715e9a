/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Virtual machines: the table of them, creation, and their life in steps.
 *
 * A VM's life is driven by one work item per VM: whoever wants something (monitor, timeline, the guest by PSCI) sets `goal` under vms_lock
 * and wakes it; the steps stop vCPUs, take memory down and load images in pieces (vm_load.c), each well under the limit for masked
 * interrupts. A later goal replaces an earlier one, but nothing replaces GOAL_DESTROY.
 *
 * Lock: vms_lock covers the table, state and goal. Everything else of a VM is either constant after creation, or belongs to its vCPUs, or
 * to its work item.
 */
#include "hyp/core/vm.h"
#include "core/check.h"
#include "core/string.h"
#include "hyp/arch/fp.h"
#include "hyp/arch/gic.h"
#include "hyp/arch/tlb.h"
#include "hyp/core/cpu.h"
#include "hyp/core/sched.h"
#include "hyp/core/vm_load.h"
#include "hyp/ctl/console.h"
#include "hyp/ctl/ctl.h"
#include "hyp/ctl/trace.h"
#include "hyp/dev/ffa.h"
#include "hyp/dev/virtio/devices.h"
#include "hyp/mem/background.h"
#include "hyp/mem/exhaust.h"
#include "hyp/mem/handover.h"
#include "hyp/mem/view.h"
#include "mm/port.h"
#include "mm/slab.h"

#define STOP_POLL_US 50u

struct spinlock vms_lock;
static struct vm *vms[VMS_MAX + 1];
static struct slab_cache *vm_cache, *vcpu_cache;

struct vm *vm_by_id(unsigned id) {
  return id >= 1 && id <= VMS_MAX ? atomic_load_acquire(&vms[id]) : NULL;
}

struct vm *vm_by_name(const char *name) {
  struct vm *vm;
  for_each_vm(vm) if (vm->goal != GOAL_DESTROY && strcmp(vm->config.name, name) == 0) return vm;
  return NULL;
}

/* ---- creation ---- */

err_t vm_init(void) {
  err_t err = slab_create("vm", sizeof(struct vm), _Alignof(struct vm), &vm_cache);
  if (err == ERR_OK)
    err = slab_create("vcpu", sizeof(struct vcpu), _Alignof(struct vcpu), &vcpu_cache);
  if (err == ERR_OK)
    err = view_init_cache();
  if (err == ERR_OK)
    err = handover_init();
  if (err == ERR_OK)
    err = ffa_init();
  return err;
}

static void free_parts(struct vm *vm) {
  virtio_devices_destroy(vm);
  for (unsigned i = 0; i < vm->vcpu_count; i++)
    slab_free_for(vcpu_cache, vm->vcpus[i], vm->id);
  slab_free_for(vm_cache, vm, vm->id);
}

static uint64_t all_cpus(void) {
  return cpu_count >= 64 ? ~(uint64_t)0 : BIT(cpu_count) - 1;
}

static void init_vcpu(struct vm *vm, struct vcpu *v, unsigned id) {
  static unsigned next_cpu;
  v->id = id;
  v->vm = vm;
  v->affinity = vm->config.affinity ? vm->config.affinity & all_cpus() : all_cpus();
  if (v->affinity == 0)
    v->affinity = all_cpus();
  do
    v->cpu = &cpus[next_cpu++ % cpu_count];
  while (!(v->affinity & BIT(v->cpu->id)));
  list_init(&v->rq_node);
  list_init(&v->sleep_node);
}

static err_t make_vcpus(struct vm *vm) {
  for (unsigned i = 0; i < vm->config.vcpus; i++) {
    struct vcpu *v = slab_alloc_for(vcpu_cache, vm->id, ALLOC_EFFORT);
    if (!v)
      return ERR_NOMEM;
    init_vcpu(vm, v, i);
    vm->vcpus[vm->vcpu_count++] = v;
  }
  return ERR_OK;
}

static err_t make_views(struct vm *vm) {
  err_t err = ERR_OK;
  for (unsigned i = 0; vm->config.trap_stage1_faults && i < vm->vcpu_count && err == ERR_OK; i++)
    err = view_init(vm->vcpus[i]);
  return err;
}

static err_t make(struct vm *vm) {
  err_t err = make_vcpus(vm);
  if (err == ERR_OK)
    err = vgic_init(vm);
  if (err == ERR_OK)
    err = stage2_init(&vm->s2, vm, vm->config.memory_bytes, vm->config.window_bytes);
  if (err == ERR_OK)
    vuart_init(vm);
  if (err == ERR_OK)
    err = virtio_devices_create(vm);
  if (err == ERR_OK)
    err = make_views(vm);
  return err;
}

static err_t claim_id(struct vm *vm, unsigned id) {
  spin_lock(&vms_lock);
  err_t err = vm_by_name(vm->config.name) ? ERR_EXIST : ERR_OK;
  if (err == ERR_OK)
    atomic_store_release(&vms[id], vm);
  spin_unlock(&vms_lock);
  return err;
}

static unsigned free_id(void) {
  for (unsigned id = 1; id <= VMS_MAX; id++)
    if (!vms[id])
      return id;
  return 0;
}

static bool config_is_sane(const struct vm_config *c) {
  return c->name[0] && c->vcpus >= 1 && c->vcpus <= VCPUS_MAX && c->memory_bytes >= 2 * SZ_2M && is_aligned(c->memory_bytes, SZ_2M) &&
         c->image && quota_is_sane(&c->quota, c->memory_bytes);
}

/*
 * True when stage 2 is empty and its tables are gone. First it is party to no hand-over, in no managed range, and no TLB holds anything of
 * it.
 */
static bool take_memory_down(struct vm *vm) {
  if (handover_leave(vm) != ERR_OK || managed_leave(vm) != ERR_OK)
    return false;
  ffa_close(vm);
  if (!vm->flushed) {
    tlb_flush_vmid(&vm->s2.pt, &vm->s2.vmid);
    for (unsigned i = 0; i < vm->vcpu_count; i++)
      view_flush(vm->vcpus[i]);
    vm->flushed = true;
  }
  for (unsigned i = 0; i < vm->vcpu_count; i++)
    if (view_destroy_step(vm->vcpus[i]) != ERR_OK)
      return false;
  return stage2_destroy_step(&vm->s2) == ERR_OK;
}

static enum work_result life_step(struct work *w);

static err_t create(const struct vm_config *config, err_t (*make_parts)(struct vm *), struct vm **out) {
  unsigned id = free_id();
  if (id == 0)
    return ERR_NOSPC;
  struct vm *vm = slab_alloc_for(vm_cache, (owner_t)id, ALLOC_EFFORT);
  if (!vm)
    return ERR_NOMEM;
  vm->id = (uint16_t)id;
  vm->config = *config;
  vm->quota = config->quota;
  vm->life.step = life_step;
  err_t err = make_parts(vm);
  if (err == ERR_OK)
    err = claim_id(vm, id);
  if (err != ERR_OK) {
    while (!take_memory_down(vm)) /* empty: few steps */
      ;
    free_parts(vm);
    return err;
  }
  managed_join(vm);
  trace(TRACE_GROUP_VM, TRACE_VM_CREATE, 0, id, 0, 0, 0, 0);
  *out = vm;
  return ERR_OK;
}

err_t vm_create(const struct vm_config *config, struct vm **out) {
  return config_is_sane(config) ? create(config, make, out) : ERR_INVAL;
}

static err_t make_bare(struct vm *vm) {
  return stage2_init(&vm->s2, vm, vm->config.memory_bytes, vm->config.window_bytes);
}

err_t vm_create_bare(const struct vm_config *config, struct vm **out) {
  return create(config, make_bare, out);
}

/* ---- goals ---- */

/* What a new wish makes of the present goal: the guest's own end is not undone by a pause, and a start after it means a start anew. */
static enum vm_goal merge_goals(const struct vm *vm, enum vm_goal wish) {
  bool ending = vm->goal == GOAL_OFF || vm->goal == GOAL_RESTART;
  if (wish == GOAL_PAUSE && (ending || vm->state == VM_OFF))
    return vm->goal;
  if (wish == GOAL_RUN && vm->goal == GOAL_OFF)
    return GOAL_RESTART;
  return wish;
}

static err_t set_goal(struct vm *vm, enum vm_goal wish) {
  spin_lock(&vms_lock);
  bool dying = vm->goal == GOAL_DESTROY;
  if (!dying)
    vm->goal = merge_goals(vm, wish);
  if (vm->goal == GOAL_DESTROY)
    vm->state = VM_DYING;
  spin_unlock(&vms_lock);
  if (!dying)
    work_wake(&vm->life);
  return dying ? ERR_BUSY : ERR_OK;
}

/* When its first instruction ran: said when the VM has gone off, so that saying it costs the boot nothing. */
static void announce_entry(struct vm *vm) {
  if (!vm->announced)
    hyp_printf("sluice: boot: vm %s entered at %lu ticks\n", vm->config.name, vm->entered_at);
  vm->announced = true;
}

/* The goal is reached, unless another was set meanwhile. */
static enum work_result reached(struct vm *vm, enum vm_goal goal, enum vm_state state, const char *what) {
  spin_lock(&vms_lock);
  bool same = vm->goal == goal;
  if (same) {
    vm->goal = GOAL_NONE;
    vm->state = state;
  }
  spin_unlock(&vms_lock);
  if (!same)
    return WORK_MORE;
  if (state == VM_OFF)
    announce_entry(vm);
  ctl_vm_event(vm, what);
  return WORK_DONE;
}

err_t vm_start(struct vm *vm) {
  return set_goal(vm, GOAL_RUN);
}

err_t vm_pause(struct vm *vm) {
  return set_goal(vm, GOAL_PAUSE);
}

err_t vm_destroy(struct vm *vm) {
  return set_goal(vm, GOAL_DESTROY);
}

err_t vm_restart(struct vm *vm) {
  return set_goal(vm, GOAL_RESTART);
}

static void stop_self(struct vm *vm, uint32_t request) {
  struct vcpu *self = this_cpu()->current;
  if (self && self->vm == vm)
    atomic_fetch_or(&self->requests, request);
}

void vm_system_off(struct vm *vm) {
  stop_self(vm, VCPU_REQ_OFF);
  (void)set_goal(vm, GOAL_OFF); /* a VM that is being destroyed stops all the same */
}

void vm_system_reset(struct vm *vm) {
  stop_self(vm, VCPU_REQ_OFF);
  (void)set_goal(vm, GOAL_RESTART);
}

void vm_pause_self(struct vm *vm) {
  stop_self(vm, VCPU_REQ_PAUSE);
  (void)set_goal(vm, GOAL_PAUSE);
}

/* ---- life, in steps ---- */

static bool stop_vcpus(struct vm *vm, bool off) {
  bool all = true;
  atomic_store_release(&vm->stopping, true);
  for (unsigned i = 0; i < vm->vcpu_count; i++) {
    if (off)
      atomic_store_release(&vm->vcpus[i]->powered, false);
    if (!sched_stop_vcpu(vm->vcpus[i], off))
      all = false;
  }
  return all;
}

/* A pause was begun and replaced by a start before it was reached. */
static bool is_pausing(const struct vm *vm) {
  for (unsigned i = 0; i < vm->vcpu_count; i++)
    if (vm->vcpus[i]->state == VCPU_PAUSED || (atomic_load_relaxed(&vm->vcpus[i]->requests) & VCPU_REQ_PAUSE))
      return true;
  return false;
}

static enum work_result wait_a_moment(struct vm *vm) {
  vm->life.wake_at = time_now() + time_from_ms(1) * STOP_POLL_US / 1000;
  return WORK_WAIT;
}

static void discard(struct vm *vm) {
  trace(TRACE_GROUP_VM, TRACE_VM_DESTROY, 0, vm->id, 0, 0, 0, 0);
  spin_lock(&vms_lock);
  atomic_store_release(&vms[vm->id], NULL);
  spin_lock(&vm->s2.lock); /* who found the VM under vms_lock, to move a frame of it, may still be about to see that it has none */
  spin_unlock(&vm->s2.lock);
  spin_unlock(&vms_lock);
  free_parts(vm);
}

static enum work_result step_destroy(struct vm *vm) {
  if (!take_memory_down(vm))
    return WORK_MORE;
  for (unsigned i = 0; i < vm->vcpu_count; i++)
    fp_reset(vm->vcpus[i]);
  ctl_vm_event(vm, "destroyed");
  work_cancel(&vm->life);
  discard(vm);
  return WORK_DONE;
}

bool vm_destroy_bare(struct vm *vm) {
  bool down = take_memory_down(vm);
  if (down)
    discard(vm);
  return down;
}

static enum work_result failed(struct vm *vm, err_t err, const char *doing) {
  hyp_printf("%s: %s: %s; the VM stays off\n", vm->config.name, doing, err_name(err));
  return reached(vm, vm->goal, VM_OFF, "failed");
}

static enum work_result step_restart(struct vm *vm) {
  if (!take_memory_down(vm))
    return WORK_MORE;
  err_t err = vgic_init(vm);
  for (unsigned i = 0; i < vm->vcpu_count; i++)
    vm->vcpus[i]->wiped = false; /* what was written to the redistributor of one that was off goes, too */
  if (err == ERR_OK)
    err = stage2_init(&vm->s2, vm, vm->config.memory_bytes, vm->config.window_bytes);
  if (err == ERR_OK)
    err = make_views(vm);
  if (err != ERR_OK)
    return failed(vm, err, "restart");
  managed_join(vm);
  vuart_init(vm);
  virtio_devices_power_on(vm);
  vm->age = (struct age){0};
  vm->policy = (struct policy_state){0};
  vm->loaded = vm->flushed = false;
  vm->load_done = 0;
  vm->verdict = VERDICT_NONE;
  vm->state = VM_PAUSED; /* as after vm_create(): no longer off, or GOAL_RUN would ask for a restart again */
  spin_lock(&vms_lock);
  if (vm->goal == GOAL_RESTART)
    vm->goal = GOAL_RUN;
  spin_unlock(&vms_lock);
  return WORK_MORE;
}

static void resume_vcpus(struct vm *vm) {
  for (unsigned i = 0; i < vm->vcpu_count; i++)
    if (vm->vcpus[i]->powered && vm->vcpus[i]->state == VCPU_PAUSED) {
      vm->vcpus[i]->wait_reason = WAIT_NONE; /* if it still finds no memory, it says so again */
      (void)sched_start_vcpu(vm->vcpus[i]);  /* no: a vCPU of this VM that runs already has turned it off meanwhile */
    }
}

static enum work_result step_run(struct vm *vm) {
  if (!vm->loaded) {
    err_t err = vm_load_step(vm);
    if (err == ERR_AGAIN)
      return WORK_MORE;
    if (err != ERR_OK)
      return failed(vm, err, "load");
    vm->loaded = true;
    vm->counter_offset = time_now();
    atomic_store_release(&vm->stopping, false);
    err = vcpu_power_on(vm->vcpus[0], vm_load_entry(vm), vm->dtb.v);
    if (err != ERR_OK)
      return failed(vm, err, "start");
  } else {
    atomic_store_release(&vm->stopping, false);
    resume_vcpus(vm);
  }
  return reached(vm, GOAL_RUN, VM_RUNNING, "started");
}

static enum work_result life_step(struct work *w) {
  struct vm *vm = container_of(w, struct vm, life);
  enum vm_goal goal = vm->goal;
  if (goal == GOAL_NONE)
    return WORK_DONE;
  if (goal == GOAL_RUN && vm->state == VM_RUNNING && !is_pausing(vm))
    return reached(vm, goal, VM_RUNNING, "started");
  if (goal == GOAL_RUN && vm->state == VM_OFF)
    vm->goal = goal = GOAL_RESTART;
  if (!stop_vcpus(vm, goal != GOAL_PAUSE && goal != GOAL_RUN))
    return wait_a_moment(vm);
  switch (goal) {
  case GOAL_RUN:
    return step_run(vm);
  case GOAL_PAUSE:
    return reached(vm, goal, VM_PAUSED, "paused");
  case GOAL_OFF:
    return reached(vm, goal, VM_OFF, "off");
  case GOAL_RESTART:
    return step_restart(vm);
  default:
    return step_destroy(vm);
  }
}
