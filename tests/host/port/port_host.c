/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The state behind tests/host/port/port_impl.h: the arena that stands for RAM, the thread's CPU number, failed CHECKs. The arena is
 * reserved, not committed, so a test may ask for a machine with far more RAM than the build machine has.
 */
#include "core/check.h"
#include "mm/port.h"
#include <stdio.h>
#include <sys/mman.h>

#define ARENA_ALIGN SZ_2M

_Thread_local unsigned port_host_cpu;
_Thread_local unsigned port_host_irq_depth;
_Thread_local jmp_buf *port_host_check_jump;
_Thread_local jmp_buf port_host_check_buf;
uint8_t *port_host_ram;
uint64_t port_host_ram_base, port_host_ram_frames;
port_host_event_fn *port_host_event;
void (*port_host_unlocked)(void);
void (*port_host_kicked)(void);

static void *mapping;
static size_t mapping_bytes;

void port_host_die(const char *what) {
  fprintf(stderr, "host port: %s (cpu %u)\n", what, port_host_cpu);
  abort();
}

void check_failed(const char *expr, const char *file, int line) {
  if (port_host_check_jump) {
    jmp_buf *to = port_host_check_jump;
    port_host_check_jump = NULL;
    port_host_irq_depth = 0;
    longjmp(*to, 1);
  }
  fprintf(stderr, "CHECK(%s) failed at %s:%d (cpu %u)\n", expr, file, line, port_host_cpu);
  abort();
}

void port_host_ram_create(uint64_t base_pfn, uint64_t frames) {
  port_host_ram_destroy();
  mapping_bytes = (frames << PAGE_SHIFT) + ARENA_ALIGN;
  mapping = mmap(NULL, mapping_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapping == MAP_FAILED)
    port_host_die("no address space for the arena");
  port_host_ram = (uint8_t *)(((uintptr_t)mapping + ARENA_ALIGN - 1) & ~(uintptr_t)(ARENA_ALIGN - 1));
  port_host_ram_base = base_pfn;
  port_host_ram_frames = frames;
}

void port_host_ram_destroy(void) {
  if (mapping)
    munmap(mapping, mapping_bytes);
  mapping = NULL;
  port_host_ram = NULL;
  port_host_ram_frames = 0;
}
