/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Managed ranges. The hypervisor says in the device tree where they lie in this guest's physical addresses, outside RAM; which guest holds
 * a page of one is its business, and an access takes as long as it takes. To this kernel a range is a device's memory: it maps it for
 * processes and never looks into it itself. Owns one vm_file for each, constant after boot, so there is no lock. Refuses ranges that meet
 * RAM or do not begin at a page.
 */
#include "guest/drivers/managed.h"

#include "core/bits.h"
#include "core/string.h"
#include "guest/arch/machine.h"
#include "guest/kernel/console.h"
#include "guest/vm/mm_types.h"

#define PREFIX "/dev/managed/"

struct managed {
  struct vm_file file;
  struct vm_window window;
  char path[sizeof PREFIX + MACHINE_MANAGED_NAME_MAX];
};

static struct managed ranges[MACHINE_MANAGED_MAX];
static unsigned range_count;

static void keep(struct vm_file *file) {
  (void)file;
}

/* Nobody asks: a file with a window is only mapped as it is. */
static err_t read_page(struct vm_file *file, uint64_t pgoff, void *to) {
  (void)file, (void)pgoff, (void)to;
  return ERR_IO;
}

static const struct vm_file_ops ops = {.read_page = read_page, .get = keep, .put = keep};

static bool meets_ram(const struct machine *m, const struct machine_managed *range) {
  for (unsigned i = 0; i < m->ram_count; i++)
    if (range->base.v < pfn_pa(m->ram[i].end).v && pfn_pa(m->ram[i].start).v < range->base.v + range->bytes)
      return true;
  return false;
}

static bool is_sound(const struct machine *m, const struct machine_managed *range) {
  return range->bytes != 0 && is_aligned(range->base.v | range->bytes, PAGE_SIZE) && range->base.v + range->bytes > range->base.v &&
         !meets_ram(m, range);
}

void managed_init(const struct machine *m) {
  for (unsigned i = 0; i < m->managed_count; i++) {
    const struct machine_managed *from = &m->managed[i];
    struct managed *to = &ranges[range_count];
    if (!is_sound(m, from)) {
      kprintf("managed %s at %lx: no such range\n", from->name, from->base.v);
      continue;
    }
    strlcpy(to->path, PREFIX, sizeof to->path);
    strlcpy(to->path + sizeof PREFIX - 1, from->name, sizeof to->path - (sizeof PREFIX - 1));
    to->window = (struct vm_window){.start = from->base, .bytes = from->bytes};
    to->file = (struct vm_file){.ops = &ops, .name = to->path, .window = &to->window};
    range_count++;
  }
}

struct vm_file *managed_find(const char *path) {
  for (unsigned i = 0; i < range_count; i++)
    if (strcmp(ranges[i].path, path) == 0)
      return &ranges[i].file;
  return NULL;
}
