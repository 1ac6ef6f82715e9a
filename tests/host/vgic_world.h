/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TESTS_HOST_VGIC_WORLD_H
#define TESTS_HOST_VGIC_WORLD_H

/* A VM whose virtual GIC and its model go through the same steps, on two CPUs. */

#include "fakehw/vgic_fake.h" /* before any header that it replaces */

#include "gic_model.h"
#include "hyp/core/vcpu.h"
#include "hyp/core/vm.h"

#define WORLD_CPUS 2
#define WORLD_VCPUS 3

struct world {
  struct gic_model model;
  struct vm vm;
  struct vcpu vcpus[WORLD_VCPUS];
  int loaded[WORLD_CPUS];                                         /* vCPU on each CPU, -1: none */
  bool timer[WORLD_VCPUS];                                        /* the virtual timer asks */
  bool timer_told[WORLD_VCPUS];                                   /* and, the vCPU being on no CPU, its deadline was acted on */
  unsigned handling[WORLD_VCPUS][64], depth[WORLD_VCPUS];         /* acknowledged and not dropped */
  unsigned dropped[WORLD_VCPUS][256], dropped_count[WORLD_VCPUS]; /* EOImode = 1: dropped and not deactivated */
  bool open[WORLD_VCPUS];                                         /* PSTATE.I is clear: what is signalled is taken at once */
  bool eoimode1;
};

extern struct world world;

void world_reset(unsigned vcpus, unsigned lrs, bool eoimode1);
void world_load(unsigned cpu, unsigned vcpu);
void world_unload(unsigned cpu);
int world_any_loaded(void);
bool world_is_running_something(unsigned vcpu, bool spi);

/* What devices and guests do; register writes come from any loaded vCPU. */
void world_set_line(unsigned vcpu, unsigned intid, bool level);
void world_set_timer(unsigned vcpu, bool asks);
void world_write_bits(unsigned vcpu, bool spi, unsigned group, uint32_t value);
void world_write_priority(unsigned vcpu, bool spi, unsigned index, uint8_t priority);
void world_write_config(unsigned spi, bool edge);
void world_write_route(unsigned spi, uint64_t affinity);
void world_enable_group(bool enabled);
void world_send_sgi(unsigned vcpu, uint64_t sgi1r);
void world_set_pmr(unsigned vcpu, uint8_t pmr, bool group_enabled);
/* PSTATE.I. Taking an interrupt sets it, and it stays. */
void world_mask(unsigned vcpu, bool masked);
bool world_acknowledge(unsigned vcpu);
void world_end(unsigned vcpu);

/* Let EL2 do what it was asked to: requests, maintenance interrupts, timers. */
void world_settle(void);
void world_compare(unsigned seed, unsigned step);

#endif
