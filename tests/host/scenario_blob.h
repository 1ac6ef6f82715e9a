/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TESTS_HOST_SCENARIO_BLOB_H
#define TESTS_HOST_SCENARIO_BLOB_H

/* A good scenario as a blob, made with libfdt's writer, and edits that break it in one place. */

#include <stdbool.h>
#include <stdint.h>

#define BLOB_BYTES 65536

/* alpha (128 MiB, initrd, every option) and beta (192 MiB, defaults), two images, all hypervisor options, three steps. Returns its size. */
int blob_make_good(void *to);

/* Set (or add) a property of the node at `path`; `bytes` < 0 deletes it. The node is made if it is not there. */
void blob_set(void *blob, const char *path, const char *property, const void *data, int bytes);
void blob_set_cell(void *blob, const char *path, const char *property, uint32_t value);
void blob_set_string(void *blob, const char *path, const char *property, const char *value);

#endif
