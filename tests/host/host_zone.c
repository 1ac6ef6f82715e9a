/* SPDX-License-Identifier: BSD-2-Clause */
/* The zone of host_zone.h. The frame table lies behind its frames, in RAM of its own that is wholly reserved. */
#include "host_zone.h"

#define BASE_PFN 0x40000u

pfn_t host_zone_create(uint64_t frames) {
  struct mem_range ram = {pfn(BASE_PFN), pfn(BASE_PFN + frames)}, reserved = {ram.end, ram.end};
  for (uint64_t bytes = 1; (reserved.end.v - reserved.start.v) << PAGE_SHIFT < bytes; bytes = frame_table_bytes(&ram, 1))
    ram.end = reserved.end = pfn_add(reserved.end, 1u << MAX_ORDER);
  port_host_ram_create(ram.start.v, ram.end.v - ram.start.v);
  if (page_alloc_init(&ram, 1, &reserved, 1, port_frame_ptr(reserved.start)) != ERR_OK)
    port_host_die("no zone");
  return ram.start;
}
