/* SPDX-License-Identifier: BSD-2-Clause */
/* The devices of a VM come and go with it. */
#include "hyp/dev/virtio/devices.h"
#include "abi/scenario.h"
#include "core/bits.h"
#include "hyp/core/vm.h"
#include "hyp/dev/virtio/balloon.h"
#include "hyp/dev/virtio/console.h"
#include "hyp/dev/virtio/rng.h"
#include "hyp/dev/virtio/virtio.h"

/* By slot, which is the kind's number in SCENARIO_VIRTIO. */
static const struct kind {
  err_t (*create)(struct vm *vm, unsigned slot);
  void (*destroy)(struct virtio_device *d);
} kinds[] = {
    {virtio_console_create, virtio_console_destroy},
    {virtio_rng_create, virtio_rng_destroy},
    {virtio_balloon_create, virtio_balloon_destroy},
};

err_t virtio_devices_create(struct vm *vm) {
  err_t err = ERR_OK;
  for (unsigned i = 0; i < ARRAY_SIZE(kinds) && err == ERR_OK; i++)
    if (vm->config.virtio & BIT(i))
      err = kinds[i].create(vm, i);
  if (err != ERR_OK)
    virtio_devices_destroy(vm);
  return err;
}

void virtio_devices_power_on(struct vm *vm) {
  for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++)
    if (vm->virtio[i])
      virtio_power_on(vm->virtio[i]);
}

void virtio_devices_destroy(struct vm *vm) {
  for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++) {
    if (vm->virtio[i])
      kinds[i].destroy(vm->virtio[i]);
    vm->virtio[i] = NULL;
  }
}
