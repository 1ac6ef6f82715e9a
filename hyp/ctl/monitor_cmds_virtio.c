/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Virtio devices: `virtio` shows how those of all VMs stand, `virtio VM` those of one. Which a VM has is decided when it is made: `virtio
 * VM WORD...`, for one that does not exist, says it anew for the next `create`, in the words of the scenario's property.
 */
#include "abi/scenario.h"
#include "abi/virtio.h"
#include "core/bits.h"
#include "core/string.h"
#include "hyp/core/vm.h"
#include "hyp/ctl/console.h"
#include "hyp/ctl/monitor.h"
#include "hyp/ctl/scenario.h"
#include "hyp/dev/virtio/virtio.h"

static const char *const words[] = SCENARIO_VIRTIO;

/* ---- how they stand ---- */

static const char *stand_of(const struct virtio_device *d) {
  if (d->status & VIRTIO_STATUS_NEEDS_RESET)
    return "needs a reset";
  if (d->status & VIRTIO_STATUS_FAILED)
    return "the driver has given up";
  if (d->status & VIRTIO_STATUS_DRIVER_OK)
    return d->starved ? "waits for memory" : "in use";
  return d->status ? "the driver is coming up" : "no driver";
}

static void print_queue(const struct virtio_device *d, unsigned i) {
  const struct virtqueue *q = &d->queue[i];
  hyp_printf("virtio: %s: %s: queue %u of %u: %u taken, %u used of the last 65536%s\n", d->vm->config.name, d->ops->name, i, q->num,
             q->next_avail, q->next_used, d->starved >> i & 1 ? "; waits for memory" : "");
}

static void print_device(struct virtio_device *d) {
  spin_lock(&d->lock);
  hyp_printf("sluice: virtio: %s: %s: %s; features %#llx, rules broken %u times\n", d->vm->config.name, d->ops->name, stand_of(d),
             (unsigned long long)d->features, d->breaks);
  for (unsigned i = 0; i < d->ops->queues; i++)
    if (d->queue[i].ready)
      print_queue(d, i);
  spin_unlock(&d->lock);
}

static void print_devices(const struct vm *vm) {
  for (unsigned i = 0; i < VIRTIO_SLOTS; i++)
    if (vm->virtio[i])
      print_device(vm->virtio[i]);
  if (vm->config.virtio == 0)
    hyp_printf("sluice: virtio: %s: no devices\n", vm->config.name);
}

/* One VM in a step. state[0]: the last one. */
static enum work_result print_all(struct session *s) {
  const struct vm *vm = vm_by_id((unsigned)++s->state[0]);
  if (vm)
    print_devices(vm);
  return s->state[0] < VMS_MAX ? WORK_MORE : WORK_DONE;
}

/* ---- which there are to be ---- */

/* False after session_fail(). */
static bool read_words(struct session *s, uint64_t *mask) {
  *mask = 0;
  if (s->argc == 3 && strcmp(s->argv[2], "none") == 0)
    return true;
  for (unsigned i = 2; i < s->argc; i++) {
    int word = scenario_word_index(words, ARRAY_SIZE(words), s->argv[i]);
    if (word < 0) {
      session_fail(s, "`%s`: console, rng, balloon, or none?", s->argv[i]);
      return false;
    }
    *mask |= BIT(word);
  }
  return true;
}

static enum work_result change(struct session *s) {
  uint64_t mask;
  int index = scenario_find_vm(s->scenario, s->argv[1], strlen(s->argv[1]));
  if (index < 0)
    return session_fail_done(s, "the scenario has no VM `%s`", s->argv[1]);
  if (vm_by_name(s->argv[1]))
    return session_fail_done(s, "%s keeps the devices that it was made with: destroy it first", s->argv[1]);
  if (read_words(s, &mask))
    scenario_set_virtio((unsigned)index, mask);
  return WORK_DONE;
}

static enum work_result cmd_virtio(struct session *s) {
  if (s->argc == 1)
    return print_all(s);
  if (s->argc > 2)
    return change(s);
  const struct vm *vm = session_vm(s, 1);
  if (vm)
    print_devices(vm);
  return WORK_DONE;
}

const struct command monitor_virtio_commands[] = {
    {"virtio", "[VM [none | console|rng|balloon...]]", "virtio devices and how they stand; other ones for a VM that is to be made",
     cmd_virtio, 0, 4},
    {0},
};
