/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The initramfs: an index of its regular files, made once at boot and constant afterwards, so no lock and no reference counts. The data
 * stays in the archive, whose frames are reserved; a page of it is copied out when it is faulted in.
 */
#include "guest/fs/initramfs.h"

#include "core/bits.h"
#include "core/string.h"
#include "guest/fs/cpio.h"
#include "mm/slab.h"

static struct initramfs_file *files;
static unsigned file_count;

static err_t read_page(struct vm_file *file, uint64_t pgoff, void *to) {
  const struct initramfs_file *f = container_of(file, struct initramfs_file, file);
  uint64_t start = pgoff << PAGE_SHIFT;
  if (pgoff > f->bytes >> PAGE_SHIFT || start >= f->bytes)
    return ERR_IO;
  uint64_t n = min_u64(PAGE_SIZE, f->bytes - start);
  memcpy(to, f->data + start, n);
  memset((char *)to + n, 0, PAGE_SIZE - n);
  return ERR_OK;
}

static void keep(struct vm_file *file) {
  (void)file;
}

static const struct vm_file_ops ops = {.read_page = read_page, .get = keep, .put = keep};

/* One pass over the archive: counts, and with `into`, stores. */
static err_t scan(const void *data, uint64_t bytes, struct initramfs_file *into, unsigned *count) {
  struct cpio_reader r;
  struct cpio_entry entry;
  err_t e;
  *count = 0;
  cpio_open(&r, data, bytes);
  while ((e = cpio_next(&r, &entry)) == ERR_OK) {
    if ((entry.mode & CPIO_S_IFMT) != CPIO_S_IFREG)
      continue;
    if (into != NULL)
      into[*count] = (struct initramfs_file){.file = {.ops = &ops, .name = entry.name}, .data = entry.data, .bytes = entry.bytes};
    ++*count;
  }
  return e == ERR_NOENT ? ERR_OK : e;
}

err_t initramfs_init(const void *data, uint64_t bytes) {
  unsigned count;
  err_t e = scan(data, bytes, NULL, &count);
  if (e != ERR_OK || count == 0)
    return e;
  files = mem_alloc(count * sizeof *files);
  if (files == NULL)
    return ERR_NOMEM;
  return scan(data, bytes, files, &file_count);
}

struct initramfs_file *initramfs_find(const char *path) {
  while (*path == '/')
    path++;
  for (unsigned i = file_count; i > 0; i--)
    if (strcmp(files[i - 1].file.name, path) == 0)
      return &files[i - 1];
  return NULL;
}
