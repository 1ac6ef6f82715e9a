/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef ABI_HANDOVER_DEV_H
#define ABI_HANDOVER_DEV_H

/*
 * /dev/handover of our guest kernel: a process's pages to another VM and back, by ioctl(2); what was taken is reached by mmap(2) of the
 * device, whose offsets are those of the window. All calls take a struct handover_dev; fields that are not named below are not looked at.
 */

#include <stdint.h>

#define HANDOVER_DEV_PATH "/dev/handover"
#define HANDOVER_DEV_PAGES_MAX 512u /* of one region */

#define HANDOVER_DEV_INFO 0x4800u /* out: vm (own id), offset (bytes of the window), free_pages, given_pages, adopted_pages */
#define HANDOVER_DEV_GIVE                                                                                                                  \
  0x4801u /* kind, vm, address, pages; out: handle, ipa of the first page. Anonymous memory, which is made if it is not there */
#define HANDOVER_DEV_RECLAIM 0x4802u    /* handle */
#define HANDOVER_DEV_TAKE 0x4803u       /* kind, handle, offset, pages */
#define HANDOVER_DEV_RELINQUISH 0x4804u /* handle */
#define HANDOVER_DEV_ADOPT                                                                                                                 \
  0x4805u /* pages that were donated and lie at the end of the window become the kernel's own; nothing of the window is mapped */

enum handover_dev_kind {
  HANDOVER_DEV_SHARE = 0,
  HANDOVER_DEV_LEND,
  HANDOVER_DEV_DONATE /* the pages leave the process, and the kernel that gave them, for good */
};

struct handover_dev {
  uint64_t address, handle, offset, ipa;
  uint64_t free_pages, given_pages, adopted_pages;
  uint32_t pages;
  uint16_t vm, kind;
};

#endif
