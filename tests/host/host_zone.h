/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TESTS_HOST_HOST_ZONE_H
#define TESTS_HOST_HOST_ZONE_H

/* One zone on the host: the memory core over so many free frames, its table beside them. */

#include "mm/frame.h"
#include "mm/page_alloc.h"
#include "mm/port.h"

/* `frames`, a multiple of 1024. Replaces the last zone. Its first frame. */
pfn_t host_zone_create(uint64_t frames);

#endif
