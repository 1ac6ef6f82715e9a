/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TESTS_HOST_LAYOUTS_PRIV_H
#define TESTS_HOST_LAYOUTS_PRIV_H

/* What layouts.c and layout_aged.c share. */

#include "layouts.h"

uint64_t layout_random(struct layout *l);
/* 0 .. bound - 1; bound below 2^32. */
uint64_t layout_below(struct layout *l, uint64_t bound);
bool layout_chance(struct layout *l, uint64_t part, uint64_t of);

/* The reverse mapping of a block. */
uint64_t layout_rmap(uint32_t id);
/* A block that was allocated (CORE if unmovable, else CACHED) becomes block `id`. */
void layout_claim(struct layout *l, uint32_t id, pfn_t f, unsigned order, enum layout_mobility mobility);

void layout_make_aged(struct layout *l);

#endif
