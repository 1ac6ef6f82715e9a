/* SPDX-License-Identifier: BSD-2-Clause */
/* print(): a small formatter into a line buffer on the stack, written by one system call. */
#include "user.h"

#define LINE_MAX 512

struct out {
  char text[LINE_MAX];
  size_t n;
};

static void put(struct out *o, char c) {
  if (o->n < LINE_MAX - 1)
    o->text[o->n++] = c;
}

static void put_padded(struct out *o, const char *s, size_t n, unsigned width, char pad) {
  for (size_t i = n; i < width; i++)
    put(o, pad);
  for (size_t i = 0; i < n; i++)
    put(o, s[i]);
}

static void put_number(struct out *o, unsigned long v, unsigned base, bool negative, unsigned width, char pad) {
  char digits[24];
  size_t at = sizeof digits;
  do {
    digits[--at] = "0123456789abcdef"[v % base];
    v /= base;
  } while (v != 0);
  if (negative)
    digits[--at] = '-';
  put_padded(o, digits + at, sizeof digits - at, width, pad);
}

struct spec {
  unsigned width;
  char pad, type;
  bool is_long;
};

/* After a '%'; returns what follows the conversion. */
static const char *parse_spec(const char *p, struct spec *s) {
  *s = (struct spec){.pad = ' '};
  if (*p == '0') {
    s->pad = '0';
    p++;
  }
  for (; *p >= '0' && *p <= '9'; p++)
    s->width = s->width * 10 + (unsigned)(*p - '0');
  for (; *p == 'l' || *p == 'z'; p++)
    s->is_long = true;
  s->type = *p;
  return *p == '\0' ? p : p + 1;
}

static void convert(struct out *o, const struct spec *s, va_list *args) {
  long v;
  const char *text;
  switch (s->type) {
  case 'd':
    v = s->is_long ? va_arg(*args, long) : va_arg(*args, int);
    put_number(o, v < 0 ? -(unsigned long)v : (unsigned long)v, 10, v < 0, s->width, s->pad);
    break;
  case 'u':
  case 'x':
    put_number(o, s->is_long ? va_arg(*args, unsigned long) : va_arg(*args, unsigned), s->type == 'u' ? 10 : 16, false, s->width, s->pad);
    break;
  case 'p':
    put_number(o, (unsigned long)va_arg(*args, void *), 16, false, s->width, s->pad);
    break;
  case 's':
    text = va_arg(*args, const char *);
    put_padded(o, text, str_len(text), s->width, ' ');
    break;
  case 'c':
    put(o, (char)va_arg(*args, int));
    break;
  default:
    put(o, s->type);
  }
}

void print(const char *fmt, ...) {
  struct out o;
  struct spec s;
  va_list args;
  o.n = 0;
  va_start(args, fmt);
  while (*fmt != '\0') {
    if (*fmt != '%') {
      put(&o, *fmt++);
      continue;
    }
    fmt = parse_spec(fmt + 1, &s);
    if (s.type != '\0')
      convert(&o, &s, &args);
  }
  va_end(args);
  sys_write(1, o.text, o.n);
}
