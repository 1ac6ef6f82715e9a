/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Waiting for memory, and quotas, in a world of three VMs with four vCPUs each that fault, are paused, get interrupts, frames and quotas at
 * random. After every tick an oracle that knows nothing of the code's order of work says who must have been let go and who not: frames and
 * quota for each, those that wait longest first, interrupts only where they are open, nobody forgotten.
 */
// sources: hyp/mem/exhaust.c hyp/mem/quota.c
// cflags: -include tests/host/fakehw/vgic_fake.h
#include "fakehw/vgic_fake.h" /* before any header that it replaces */

#include "arch/sysreg.h"
#include "core/bits.h"
#include "hyp/core/sched.h"
#include "hyp/core/vm.h"
#include "hyp/ctl/console.h"
#include "hyp/ctl/trace.h"
#include "hyp/mem/exhaust.h"
#include "hyp/mem/managed.h"
#include "hyp/mem/policyd.h"
#include "hyp/mem/quota.h"
#include "mm/page_alloc.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define VMS 3u
#define VCPUS 4u
#define STEPS 200000u
#define MEMORY (64 * SZ_1M)
#define SHARED_PAGE 0x40000000ull /* one that VMs have populated from the start */

static struct vm vm[VMS];
static struct vcpu vcpus[VMS][VCPUS];
static uint64_t now, spare, lines;
static struct work *queued;
static uint64_t seed;

static unsigned any(unsigned below) {
  seed = seed * 6364136223846793005ull + 1442695040888963407ull;
  return (unsigned)(seed >> 33) % below;
}

/* ---- the world ---- */

struct vm *vm_by_id(unsigned id) {
  return id >= 1 && id <= VMS ? &vm[id - 1] : NULL;
}

uint64_t page_spare_frames(void) {
  return spare;
}

void page_drain_local(void) {
}

static uint64_t duplicates; /* of managed memory */

uint64_t managed_shed(uint64_t frames) {
  uint64_t got = frames < duplicates ? frames : duplicates;
  duplicates -= got;
  spare += got;
  return got;
}

static struct vm *pressed;
static unsigned presses, traced[TRACE_TYPES];
uint64_t trace_mask = BIT(TRACE_GROUP_POLICY);

void trace_write(enum trace_type type, uint16_t vmid, uint64_t a0, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4) {
  (void)vmid, (void)a0, (void)a1, (void)a2, (void)a3, (void)a4;
  traced[type]++;
}

void policyd_pressure(struct vm *of, uint64_t frames) {
  assert_true(frames > 0);
  pressed = of;
  presses++;
}

uint64_t policyd_asked_frames(void) {
  return presses * 512;
}

bool page_drain_others(void) {
  return false;
}

static unsigned retries, looks;

void virtio_retry(struct vm *of) {
  assert_false(of->device_waits);
  retries++;
}

static struct vcpu *comes; /* another CPU's, which begins to wait while somebody looks at the clock */

uint64_t time_now(void) {
  struct vcpu *v = comes;
  comes = NULL;
  if (v)
    exhaust_wait(v, 0x41000000, ERR_NOMEM);
  return now;
}

uint64_t time_from_ms(uint64_t ms) {
  return ms * 1000;
}

uint64_t time_to_us(uint64_t ticks) {
  return ticks;
}

void work_wake(struct work *w) {
  queued = w;
}

void hyp_printf(const char *fmt, ...) {
  lines += fmt != NULL;
}

err_t stage2_lookup(struct stage2 *s2, ipa_t a, pa_t *out) {
  (void)s2;
  looks++;
  *out = pa(0);
  return a.v == SHARED_PAGE ? ERR_OK : ERR_NOENT;
}

bool sched_wake_memwait(struct vcpu *v) {
  if (v->state != VCPU_MEMWAIT)
    return false;
  v->state = VCPU_READY;
  return true;
}

/* What the scheduler does with one that asked to wait. */
static void leave(struct vcpu *v) {
  assert_true(v->requests & VCPU_REQ_MEMWAIT);
  v->requests &= ~VCPU_REQ_MEMWAIT;
  v->state = VCPU_MEMWAIT;
}

static void wait_for(struct vcpu *v, uint64_t at, err_t why) {
  v->state = VCPU_RUNNING;
  exhaust_wait(v, at, why);
  leave(v);
}

/* One tick, in however many steps, none of which may look at many; true if there will be another. */
static bool tick(void) {
  if (!queued)
    return false;
  struct work *w = queued;
  enum work_result r = WORK_MORE;
  queued = NULL;
  while (r == WORK_MORE) {
    looks = 0;
    r = w->step(w);
    assert_true(looks <= 8);
  }
  if (r != WORK_DONE && !queued) {
    assert_int_equal(w->wake_at, now + 1000);
    queued = w;
  }
  return queued != NULL;
}

static int reset(void **state) {
  (void)state;
  memset(vm, 0, sizeof(vm));
  memset(vcpus, 0, sizeof(vcpus));
  now = 1000;
  spare = lines = duplicates = 0;
  queued = NULL;
  pressed = NULL;
  presses = exhaust_open = retries = 0;
  memset(traced, 0, sizeof(traced));
  seed = 7;
  for (unsigned i = 0; i < VMS; i++) {
    vm[i].id = (uint16_t)(i + 1);
    vm[i].config.memory_bytes = MEMORY;
    vm[i].vcpu_count = VCPUS;
    vm[i].s2.vm = &vm[i];
    vm[i].s2.ram_base = ipa(VM_RAM_BASE);
    vm[i].s2.ram_bytes = MEMORY;
    vm[i].quota = quota_none(MEMORY);
    quota_arm(&vm[i].s2);
    for (unsigned j = 0; j < VCPUS; j++) {
      vm[i].vcpus[j] = &vcpus[i][j];
      vcpus[i][j] = (struct vcpu){.vm = &vm[i], .id = j, .state = VCPU_RUNNING};
      vcpus[i][j].vtimer.cntp_deadline = vcpus[i][j].vtimer.cntv_deadline = VTIMER_NEVER;
    }
  }
  exhaust_init();
  return 0;
}

/* ---- one thing at a time ---- */

static void test_waits_until_there_is_a_frame(void **state) {
  (void)state;
  wait_for(&vcpus[0][0], 0x41000000, ERR_NOMEM);
  assert_int_equal(exhaust_waiters(&vm[0]).memory, 1);
  for (unsigned i = 0; i < 10; i++, now += 1000)
    assert_true(tick());
  assert_int_equal(vcpus[0][0].state, VCPU_MEMWAIT);
  spare = 1;
  assert_true(tick());
  assert_int_equal(vcpus[0][0].state, VCPU_READY);
  assert_int_equal(exhaust_waiters(&vm[0]).memory, 0);
  assert_false(tick()); /* nobody waits: EL2 has peace again */
  assert_int_equal(lines, 2);
}

/* Copies that others have go before anybody waits; they are no help against a quota. */
static void test_duplicates_go_first(void **state) {
  (void)state;
  duplicates = 3;
  exhaust_wait(&vcpus[0][0], 0x41000000, ERR_NOMEM);
  assert_int_equal(vcpus[0][0].wait_reason, WAIT_NONE);
  assert_int_equal(vcpus[0][0].requests & VCPU_REQ_MEMWAIT, 0);
  assert_true(spare == 3 && lines == 0 && !queued);
  spare = 0;
  wait_for(&vcpus[0][0], 0x41000000, ERR_NOMEM);
  assert_int_equal(exhaust_waiters(&vm[0]).memory, 1);
  duplicates = 3;
  wait_for(&vcpus[1][0], 0x41000000, ERR_NOSPC);
  assert_int_equal(exhaust_waiters(&vm[1]).quota, 1);
  assert_int_equal(duplicates, 3);
}

/* In the moment in which the VM's episode of waiting is told to be over: it goes on, and is over once. */
static void test_one_begins_as_the_last_is_let_go(void **state) {
  (void)state;
  wait_for(&vcpus[0][0], 0x41000000, ERR_NOMEM);
  spare = 1;
  now += 1000;
  assert_true(tick());
  assert_int_equal(vcpus[0][0].state, VCPU_READY);
  spare = 0;
  now += 1000;
  comes = &vcpus[0][1];
  assert_true(tick());
  assert_null(comes);
  leave(&vcpus[0][1]);
  assert_int_equal(traced[TRACE_MEMORY_BACK], 0);
  assert_true(tick());
  assert_int_not_equal(vm[0].wait_since, 0);
  spare = 1;
  assert_true(tick());
  assert_false(tick());
  assert_int_equal(vm[0].wait_since, 0);
  assert_int_equal(traced[TRACE_MEMORY_BACK], 1);
  assert_int_equal(lines, 2);
}

static void test_longest_first_and_no_more_than_frames(void **state) {
  (void)state;
  for (unsigned i = VMS; i-- > 0; now++)
    wait_for(&vcpus[i][1], 0x41000000, ERR_NOMEM);
  spare = 2;
  (void)tick();
  assert_int_equal(vcpus[2][1].state, VCPU_READY);
  assert_int_equal(vcpus[1][1].state, VCPU_READY);
  assert_int_equal(vcpus[0][1].state, VCPU_MEMWAIT);
}

/* More than a step looks at: all get their turn, in order, and frames are counted over the steps. */
static void test_many_wait(void **state) {
  (void)state;
  for (unsigned n = 0; n < VMS * VCPUS; n++, now++)
    wait_for(&vcpus[n % VMS][n / VMS], 0x41000000, ERR_NOMEM);
  spare = 10;
  (void)tick();
  for (unsigned n = 0; n < VMS * VCPUS; n++)
    assert_int_equal(vcpus[n % VMS][n / VMS].state, n < 10 ? VCPU_READY : VCPU_MEMWAIT);
  assert_int_equal(exhaust_waiters(&vm[0]).memory + exhaust_waiters(&vm[1]).memory + exhaust_waiters(&vm[2]).memory, VMS * VCPUS - 10);
}

/* Who comes while others are looked at is the next look's: else there might be no end to one. */
static void test_one_that_comes_meanwhile(void **state) {
  (void)state;
  for (unsigned n = 0; n < 9; n++)
    wait_for(&vcpus[n % VMS][n / VMS], 0x41000000, ERR_NOMEM);
  spare = 100;
  assert_int_equal(queued->step(queued), WORK_MORE);
  now++;
  wait_for(&vcpus[0][0], 0x41000000, ERR_NOMEM);
  assert_int_equal(queued->step(queued), WORK_WAIT);
  assert_int_equal(vcpus[0][0].state, VCPU_MEMWAIT);
  (void)tick();
  assert_int_equal(vcpus[0][0].state, VCPU_READY);
}

/* A device asks again when there is a frame for it, behind the vCPUs; its quota is nobody else's business. */
static void test_a_device_waits(void **state) {
  (void)state;
  exhaust_device_waits(&vm[1]);
  assert_true(exhaust_waiters(&vm[1]).device);
  assert_true(tick());
  assert_int_equal(retries, 0);
  assert_ptr_equal(pressed, &vm[1]);
  wait_for(&vcpus[0][0], 0x41000000, ERR_NOMEM);
  spare = 1;
  assert_true(tick());
  assert_int_equal(retries, 0);
  assert_int_equal(vcpus[0][0].state, VCPU_READY);
  presses = 0;
  vm[1].s2.populated_frames = vm[1].quota.max;
  assert_true(tick());
  assert_int_equal(retries + presses, 0);
  assert_false(exhaust_waiters(&vm[1]).device); /* for no memory that others could give */
  vm[1].s2.populated_frames = 0;
  queued = NULL;
  exhaust_memory_back(3); /* at once */
  assert_non_null(queued);
  assert_true(tick());
  assert_int_equal(retries, 1);
  assert_false(tick());
}

static void test_views_need_more(void **state) {
  (void)state;
  vcpus[0][0].views = (struct view_pair *)&vm;
  wait_for(&vcpus[0][0], SHARED_PAGE, ERR_NOMEM);
  spare = 1;
  (void)tick();
  assert_int_equal(vcpus[0][0].state, VCPU_MEMWAIT);
  spare = 64;
  (void)tick();
  assert_int_equal(vcpus[0][0].state, VCPU_READY);
}

static void test_a_page_somebody_else_brought(void **state) {
  (void)state;
  wait_for(&vcpus[0][0], SHARED_PAGE, ERR_NOMEM);
  (void)tick();
  assert_int_equal(vcpus[0][0].state, VCPU_READY);
}

static void test_interrupts_only_where_they_are_open(void **state) {
  (void)state;
  vcpus[0][0].el1.spsr_el2 = PSR_I;
  wait_for(&vcpus[0][0], 0x41000000, ERR_NOMEM);
  vcpus[0][0].requests |= VCPU_REQ_VGIC;
  (void)tick();
  assert_int_equal(vcpus[0][0].state, VCPU_MEMWAIT);
  vcpus[0][0].el1.spsr_el2 = 0;
  (void)tick();
  assert_int_equal(vcpus[0][0].state, VCPU_READY);
  vcpus[0][0].requests = 0;
  uint64_t since = vcpus[0][0].wait_at;
  now += 500;
  wait_for(&vcpus[0][0], 0x41000000, ERR_NOMEM); /* the same wait goes on: its place in the queue is kept */
  assert_int_equal(vcpus[0][0].wait_at, since);
  assert_int_equal(vcpus[0][0].wait_count, 1);
  vcpus[0][0].vtimer.cntv_deadline = now + 1;
  (void)tick();
  assert_int_equal(vcpus[0][0].state, VCPU_MEMWAIT);
  now += 1000;
  (void)tick();
  assert_int_equal(vcpus[0][0].state, VCPU_READY);
}

static void test_a_stopped_vcpu_keeps_nobody_awake(void **state) {
  (void)state;
  wait_for(&vcpus[0][0], 0x41000000, ERR_NOMEM);
  vcpus[0][0].state = VCPU_PAUSED;
  spare = 100;
  assert_false(tick());
  assert_int_equal(vcpus[0][0].state, VCPU_PAUSED);
}

/* ---- quotas ---- */

static void populate(struct vm *of, uint64_t frames) {
  of->s2.populated_frames += frames;
}

static void test_marks_of_a_quota(void **state) {
  (void)state;
  const uint64_t mib = SZ_1M >> PAGE_SHIFT;
  struct vm_quota q = {4 * mib, 8 * mib, 16 * mib, 32 * mib};
  assert_int_equal(quota_set(&vm[0], &q), ERR_OK);
  assert_int_equal(vm[0].s2.notice_frames, 16 * mib);
  populate(&vm[0], 16 * mib);
  assert_int_equal(quota_notice(&vm[0].s2, 0), ERR_OK);
  assert_int_equal(vm[0].s2.notice_frames, 32 * mib);
  assert_int_equal(vm[0].quota_passed, 1);
  populate(&vm[0], 16 * mib - 1);
  assert_true(quota_has_room(&vm[0]));
  assert_int_equal(quota_notice(&vm[0].s2, 0), ERR_OK);
  assert_int_equal(quota_notice(&vm[0].s2, 1), ERR_NOSPC);
  populate(&vm[0], 1);
  assert_false(quota_has_room(&vm[0]));
  assert_int_equal(quota_notice(&vm[0].s2, 0), ERR_NOSPC);
  vm[0].s2.populated_frames = 16 * mib;
  quota_arm(&vm[0].s2);
  assert_int_equal(vm[0].s2.notice_frames, 16 * mib);
}

/* Release, balloon, donation: frames leave by stage2_frames_left(), whoever takes them. */
static void test_frames_that_leave_are_noticed(void **state) {
  (void)state;
  const uint64_t mib = SZ_1M >> PAGE_SHIFT;
  struct vm_quota q = {0, 0, 16 * mib, 32 * mib};
  assert_int_equal(quota_set(&vm[0], &q), ERR_OK);
  queued = NULL;
  populate(&vm[0], 16 * mib);
  assert_int_equal(quota_notice(&vm[0].s2, 0), ERR_OK);
  assert_ptr_equal(pressed, &vm[0]); /* the policy is told that it passes high */
  populate(&vm[0], 2);
  stage2_frames_left(&vm[0].s2, 1);
  assert_int_equal(vm[0].s2.notice_frames, 32 * mib); /* still above */
  stage2_count(&vm[0].s2, VM_RAM_BASE, -1);
  assert_int_equal(vm[0].s2.notice_frames, 16 * mib);
  assert_null(queued); /* nobody waits: nobody is troubled */
  wait_for(&vcpus[1][0], 0x41000000, ERR_NOMEM);
  assert_true(tick());
  queued = NULL;
  stage2_frames_left(&vm[0].s2, 3);
  assert_non_null(queued); /* at once, not at the next tick */
  assert_int_equal(exhaust_tried(&vm[1]).back, 3);
  assert_int_equal(vm[0].s2.populated_frames, 16 * mib - 3);
}

/* Balloons are asked as long as somebody waits for a frame; a quota that is used up is nobody else's business. */
static void test_the_policy_is_pressed(void **state) {
  (void)state;
  wait_for(&vcpus[0][0], 0x41000000, ERR_NOSPC);
  (void)tick();
  assert_int_equal(presses, 0);
  wait_for(&vcpus[1][0], 0x41000000, ERR_NOMEM);
  assert_ptr_equal(pressed, &vm[1]); /* before it parks */
  for (unsigned i = 1; i < 5; i++) {
    assert_int_equal(presses, i);
    assert_int_equal(exhaust_tried(&vm[1]).asked, i * 512);
    now += 1000;
    (void)tick();
  }
  spare = 2;
  (void)tick();
  assert_int_equal(presses, 5);
  assert_int_equal(traced[TRACE_MEMORY_WAIT], 2);
  assert_int_equal(traced[TRACE_MEMORY_BACK], 0);
  (void)tick();
  assert_int_equal(traced[TRACE_MEMORY_BACK], 2);
}

static void test_quotas_out_of_order(void **state) {
  (void)state;
  const uint64_t mib = SZ_1M >> PAGE_SHIFT;
  struct vm_quota good = {2 * mib, 4 * mib, 8 * mib, 64 * mib}, q;
  assert_true(quota_is_sane(&good, MEMORY));
  for (unsigned i = 0; i < 4; i++) {
    q = good;
    uint64_t *marks[] = {&q.min, &q.low, &q.high, &q.max};
    *marks[i] = i == 3 ? 65 * mib : *marks[i + 1] + 1;
    assert_int_equal(quota_set(&vm[0], &q), ERR_INVAL);
  }
  q = (struct vm_quota){0, 0, mib, mib};
  assert_false(quota_is_sane(&q, MEMORY));
  assert_int_equal(vm[0].quota.max, 64 * mib); /* nothing changed */
}

static void test_a_higher_quota_lets_go(void **state) {
  (void)state;
  struct vm_quota q = vm[0].quota;
  q.high = q.max = 1024;
  assert_int_equal(quota_set(&vm[0], &q), ERR_OK);
  populate(&vm[0], 1024);
  spare = 1000;
  wait_for(&vcpus[0][0], 0x41000000, ERR_NOSPC);
  (void)tick();
  assert_int_equal(vcpus[0][0].state, VCPU_MEMWAIT);
  assert_int_equal(exhaust_waiters(&vm[0]).quota, 1);
  q.max = 2048;
  queued = NULL;
  assert_int_equal(quota_set(&vm[0], &q), ERR_OK);
  assert_non_null(queued); /* at once, not at the next tick */
  (void)tick();
  assert_int_equal(vcpus[0][0].state, VCPU_READY);
}

/* ---- at random, against the oracle ---- */

static bool older(const struct vcpu *a, const struct vcpu *b) {
  return a->wait_at != b->wait_at ? a->wait_at < b->wait_at : a->vm->id != b->vm->id ? a->vm->id < b->vm->id : a->id < b->id;
}

/* Who gets a frame: the oldest again and again, by selection. */
static void judge(bool waited[VMS][VCPUS]) {
  uint64_t left = spare;
  bool done[VMS][VCPUS] = {{false}};
  for (;;) {
    struct vcpu *oldest = NULL;
    for (unsigned i = 0; i < VMS; i++)
      for (unsigned j = 0; j < VCPUS; j++)
        if (waited[i][j] && !done[i][j] && (!oldest || older(&vcpus[i][j], oldest)))
          oldest = &vcpus[i][j];
    if (!oldest)
      return;
    done[oldest->vm->id - 1][oldest->id] = true;
    bool room = oldest->vm->s2.populated_frames < oldest->vm->quota.max, goes = oldest->wait_ipa == SHARED_PAGE;
    if (!goes && left > 0 && room) {
      left--;
      goes = true;
    }
    bool interrupt = !(oldest->el1.spsr_el2 & PSR_I) && (oldest->requests & VCPU_REQ_VGIC);
    assert_int_equal(oldest->state == VCPU_READY, goes || interrupt);
    assert_int_equal(oldest->wait_goes_on, !goes && interrupt);
  }
}

static void tick_and_judge(void) {
  bool waited[VMS][VCPUS], somebody = false;
  for (unsigned i = 0; i < VMS; i++)
    for (unsigned j = 0; j < VCPUS; j++)
      somebody |= waited[i][j] = vcpus[i][j].state == VCPU_MEMWAIT;
  assert_true(!somebody || queued); /* nobody who waits is forgotten */
  now += 1000;
  (void)tick();
  judge(waited);
}

static void one_event(struct vcpu *v) {
  switch (any(8)) {
  case 0:
  case 1:
    if (v->state == VCPU_READY || v->state == VCPU_RUNNING) {
      v->requests &= ~VCPU_REQ_VGIC;
      v->el1.spsr_el2 = any(2) ? PSR_I : 0;
      wait_for(v, any(8) == 0 ? SHARED_PAGE : 0x41000000ull + any(3) * PAGE_SIZE, any(3) ? ERR_NOMEM : ERR_NOSPC);
    }
    break;
  case 2:
    spare = any(6);
    break;
  case 3:
    v->requests |= VCPU_REQ_VGIC;
    break;
  case 4:
    if (v->state == VCPU_MEMWAIT)
      v->state = any(2) ? VCPU_PAUSED : VCPU_OFF;
    else if (v->state == VCPU_PAUSED || v->state == VCPU_OFF) {
      v->wait_reason = WAIT_NONE; /* as resuming and resetting do */
      v->wait_goes_on = false;
      v->state = VCPU_READY;
    }
    break;
  case 5:
    v->vm->s2.populated_frames = v->vm->quota.max - any(2);
    break;
  default:
    now += any(1500);
    tick_and_judge();
  }
}

static void test_random(void **state) {
  (void)state;
  for (unsigned i = 0; i < STEPS; i++)
    one_event(&vcpus[any(VMS)][any(VCPUS)]);
  spare = 1000;
  for (unsigned i = 0; i < VMS; i++)
    vm[i].s2.populated_frames = 0;
  for (unsigned i = 0; i < 3; i++)
    tick_and_judge();
  assert_false(tick());
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup(test_waits_until_there_is_a_frame, reset),
      cmocka_unit_test_setup(test_duplicates_go_first, reset),
      cmocka_unit_test_setup(test_one_begins_as_the_last_is_let_go, reset),
      cmocka_unit_test_setup(test_longest_first_and_no_more_than_frames, reset),
      cmocka_unit_test_setup(test_many_wait, reset),
      cmocka_unit_test_setup(test_one_that_comes_meanwhile, reset),
      cmocka_unit_test_setup(test_a_device_waits, reset),
      cmocka_unit_test_setup(test_views_need_more, reset),
      cmocka_unit_test_setup(test_a_page_somebody_else_brought, reset),
      cmocka_unit_test_setup(test_interrupts_only_where_they_are_open, reset),
      cmocka_unit_test_setup(test_a_stopped_vcpu_keeps_nobody_awake, reset),
      cmocka_unit_test_setup(test_marks_of_a_quota, reset),
      cmocka_unit_test_setup(test_frames_that_leave_are_noticed, reset),
      cmocka_unit_test_setup(test_the_policy_is_pressed, reset),
      cmocka_unit_test_setup(test_quotas_out_of_order, reset),
      cmocka_unit_test_setup(test_a_higher_quota_lets_go, reset),
      cmocka_unit_test_setup(test_random, reset),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
