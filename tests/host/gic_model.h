/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TESTS_HOST_GIC_MODEL_H
#define TESTS_HOST_GIC_MODEL_H

/*
 * What a GICv3 with one security state is by the architecture, one plain record for each interrupt and no list registers: the oracle for
 * the virtual GIC. Software-visible behaviour only (IHI 0069, 4.1 "interrupt life cycle", 4.8 priorities).
 */

#include <stdbool.h>
#include <stdint.h>

#define MODEL_VCPUS 8
#define MODEL_SPIS 64

struct model_irq {
  bool enabled, latch, line, edge, active;
  uint8_t priority;
};

struct model_cpu {
  struct model_irq priv[32];
  bool group_enabled;
  uint8_t pmr;
  unsigned running[64], depth; /* priorities acknowledged and not dropped */
};

struct gic_model {
  unsigned vcpus;
  bool enabled;
  struct model_irq spi[MODEL_SPIS];
  uint64_t route[MODEL_SPIS]; /* affinity */
  struct model_cpu cpu[MODEL_VCPUS];
};

void model_reset(struct gic_model *m, unsigned vcpus);
struct model_irq *model_irq(struct gic_model *m, unsigned vcpu, unsigned intid);
bool model_pending(const struct model_irq *irq);
/* Priority of the most urgent pending interrupt that could be, were nothing masked or running; 0x100: none. */
unsigned model_highest_pending(struct gic_model *m, unsigned vcpu);
/* Priority of the interrupt signalled to `vcpu`; 0x100: none. */
unsigned model_signalled(struct gic_model *m, unsigned vcpu);
/* May `vcpu` acknowledge `intid` now, and is nothing more urgent? */
bool model_may_acknowledge(struct gic_model *m, unsigned vcpu, unsigned intid);
void model_acknowledge(struct gic_model *m, unsigned vcpu, unsigned intid);
void model_drop(struct gic_model *m, unsigned vcpu);
void model_deactivate(struct gic_model *m, unsigned vcpu, unsigned intid);
void model_set_line(struct gic_model *m, unsigned vcpu, unsigned intid, bool level);

#endif
