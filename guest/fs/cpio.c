/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * newc cpio. An entry is a header of fourteen hex fields, the name, the data; name and data are each padded to four bytes counted from the
 * start of the archive. Positions only ever grow and are compared by what is left, never by sums that could wrap. Owns nothing.
 *
 *   | header 110 | name, NUL | pad | data | pad | next header ...
 */
#include "guest/fs/cpio.h"

#include "core/bits.h"
#include "core/string.h"

#define HEADER_BYTES 110u
#define MAGIC_BYTES 6u
#define FIELD_BYTES 8u
#define TRAILER "TRAILER!!!"

enum field {
  FIELD_MODE = 1,
  FIELD_FILESIZE = 6,
  FIELD_NAMESIZE = 11
};

void cpio_open(struct cpio_reader *r, const void *data, uint64_t bytes) {
  *r = (struct cpio_reader){.data = data, .bytes = bytes, .pos = 0};
}

static bool hex_field(const uint8_t *header, enum field field, uint32_t *out) {
  const uint8_t *p = header + MAGIC_BYTES + (unsigned)field * FIELD_BYTES;
  uint32_t v = 0;
  for (unsigned i = 0; i < FIELD_BYTES; i++) {
    unsigned c = p[i], lower = c | 0x20u;
    if (c >= '0' && c <= '9')
      v = v << 4 | (c - '0');
    else if (lower >= 'a' && lower <= 'f')
      v = v << 4 | (lower - 'a' + 10);
    else
      return false;
  }
  *out = v;
  return true;
}

/* Where `pos` + `bytes` ends, padded to four; false if even the unpadded end lies beyond the archive. */
static bool advance(const struct cpio_reader *r, uint64_t pos, uint64_t bytes, uint64_t *out) {
  if (bytes > r->bytes - pos)
    return false;
  *out = min_u64(align_up(pos + bytes, 4), r->bytes);
  return true;
}

static const char *cut_prefix(const char *name) {
  while (name[0] == '/' || (name[0] == '.' && name[1] == '/'))
    name += name[0] == '/' ? 1 : 2;
  return name;
}

/* Archives may be followed by zeroes up to a block, or be put one after another with zeroes between. */
static void skip_zeroes(struct cpio_reader *r) {
  while (r->pos < r->bytes && r->data[r->pos] == 0)
    r->pos++;
}

static err_t parse(struct cpio_reader *r, struct cpio_entry *out) {
  const uint8_t *h = r->data + r->pos;
  uint32_t mode, file_bytes, name_bytes;
  uint64_t data_pos, next;
  if (r->bytes - r->pos < HEADER_BYTES || (memcmp(h, "070701", MAGIC_BYTES) != 0 && memcmp(h, "070702", MAGIC_BYTES) != 0))
    return ERR_INVAL;
  if (!hex_field(h, FIELD_MODE, &mode) || !hex_field(h, FIELD_FILESIZE, &file_bytes) || !hex_field(h, FIELD_NAMESIZE, &name_bytes))
    return ERR_INVAL;
  uint64_t name_pos = r->pos + HEADER_BYTES;
  if (name_bytes == 0 || name_bytes > CPIO_NAME_MAX || !advance(r, name_pos, name_bytes, &data_pos))
    return ERR_INVAL;
  if (r->data[name_pos + name_bytes - 1] != '\0' || !advance(r, data_pos, file_bytes, &next))
    return ERR_INVAL;
  *out = (struct cpio_entry){
      .name = cut_prefix((const char *)r->data + name_pos), .data = r->data + data_pos, .bytes = file_bytes, .mode = mode};
  r->pos = next;
  return ERR_OK;
}

err_t cpio_next(struct cpio_reader *r, struct cpio_entry *out) {
  skip_zeroes(r);
  if (r->pos == r->bytes)
    return ERR_NOENT;
  uint64_t before = r->pos;
  err_t e = parse(r, out);
  if (e == ERR_OK && strcmp(out->name, TRAILER) == 0)
    e = ERR_NOENT;
  if (e != ERR_OK)
    r->pos = before; /* stay, so that the answer stays */
  return e;
}
