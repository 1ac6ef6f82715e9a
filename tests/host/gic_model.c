/* SPDX-License-Identifier: BSD-2-Clause */
#include "gic_model.h"
#include <string.h>

void model_reset(struct gic_model *m, unsigned vcpus) {
  memset(m, 0, sizeof(*m));
  m->vcpus = vcpus;
  for (unsigned c = 0; c < vcpus; c++)
    for (unsigned i = 0; i < 16; i++)
      m->cpu[c].priv[i].edge = true;
}

struct model_irq *model_irq(struct gic_model *m, unsigned vcpu, unsigned intid) {
  return intid < 32 ? &m->cpu[vcpu].priv[intid] : &m->spi[intid - 32];
}

bool model_pending(const struct model_irq *irq) {
  return irq->latch || (irq->line && !irq->edge);
}

static bool is_deliverable(struct gic_model *m, unsigned vcpu, unsigned intid) {
  const struct model_irq *irq = model_irq(m, vcpu, intid);
  return m->enabled && irq->enabled && !irq->active && model_pending(irq) && (intid < 32 || m->route[intid - 32] == vcpu);
}

static unsigned running(const struct model_cpu *c) {
  unsigned least = 0x100;
  for (unsigned i = 0; i < c->depth; i++)
    if (c->running[i] < least)
      least = c->running[i];
  return least;
}

unsigned model_highest_pending(struct gic_model *m, unsigned vcpu) {
  unsigned best = 0x100;
  for (unsigned intid = 0; intid < 32 + MODEL_SPIS; intid++)
    if (is_deliverable(m, vcpu, intid) && model_irq(m, vcpu, intid)->priority < best)
      best = model_irq(m, vcpu, intid)->priority;
  return best;
}

unsigned model_signalled(struct gic_model *m, unsigned vcpu) {
  struct model_cpu *c = &m->cpu[vcpu];
  unsigned best = model_highest_pending(m, vcpu);
  return c->group_enabled && best < c->pmr && best < running(c) ? best : 0x100;
}

bool model_may_acknowledge(struct gic_model *m, unsigned vcpu, unsigned intid) {
  if (intid >= 32 + MODEL_SPIS || !is_deliverable(m, vcpu, intid))
    return false;
  return model_irq(m, vcpu, intid)->priority == model_signalled(m, vcpu);
}

void model_acknowledge(struct gic_model *m, unsigned vcpu, unsigned intid) {
  struct model_irq *irq = model_irq(m, vcpu, intid);
  struct model_cpu *c = &m->cpu[vcpu];
  irq->active = true;
  irq->latch = false;
  c->running[c->depth++] = irq->priority;
}

/* The most urgent running priority goes. */
void model_drop(struct gic_model *m, unsigned vcpu) {
  struct model_cpu *c = &m->cpu[vcpu];
  unsigned least = running(c), i = 0;
  while (c->running[i] != least)
    i++;
  c->running[i] = c->running[--c->depth];
}

void model_deactivate(struct gic_model *m, unsigned vcpu, unsigned intid) {
  model_irq(m, vcpu, intid)->active = false;
}

void model_set_line(struct gic_model *m, unsigned vcpu, unsigned intid, bool level) {
  struct model_irq *irq = model_irq(m, vcpu, intid);
  irq->line = level;
  if (level && irq->edge)
    irq->latch = true;
}
