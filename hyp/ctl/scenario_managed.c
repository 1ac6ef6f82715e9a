/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * What /managed/<range> means. VMs are named there by strings, and /vms may come later in the blob: a range is checked by itself when it
 * has been read, and against the VMs when everything has.
 *
 * Refuses a member that traps its stage-1 faults, since its views show RAM only; a member named twice; and words for who is no member.
 */

#include "core/bits.h"
#include "core/string.h"
#include "hyp/ctl/scenario_parse.h"

static err_t check_name(struct parser *p, const char *name) {
  if (strlen(name) >= MANAGED_NAME_MAX)
    return parse_fail(p, "a range's name has at most %u characters", MANAGED_NAME_MAX - 1);
  for (const char *c = name; *c; c++)
    if (*c <= ' ' || *c > '~' || *c == '@' || *c == '/')
      return parse_fail(p, "not a name for a range");
  for (unsigned i = 0; i < p->s->ranges; i++)
    if (strcmp(p->s->range[i].config.name, name) == 0)
      return parse_fail(p, "two ranges have this name");
  return ERR_OK;
}

static err_t check_transfer(struct parser *p, bool *move) {
  static const char *const words[] = SCENARIO_TRANSFERS;
  const char *word = p->raw.range.transfer;
  int index = word ? scenario_word_index(words, ARRAY_SIZE(words), word) : 0;
  *move = index == 1;
  return index < 0 ? parse_fail(p, SCN_TRANSFER ": unknown word \"%s\"", word) : ERR_OK;
}

/* One number for all, or one for each. */
static err_t check_quotas(struct parser *p, struct managed_config *c) {
  const struct span *cells = &p->raw.range.quota;
  unsigned count = cells->bytes / 4;
  if (count > 1 && count != c->members)
    return parse_fail(p, SCN_MEMBER_QUOTA ": %u numbers for %u members", count, c->members);
  for (unsigned i = 0; i < c->members; i++) {
    uint32_t mib = count == 0 ? p->raw.range.size_mib : be32(cells->data + (count > 1 ? 4 * i : 0));
    c->quota_frames[i] = min_u64(mib * SZ_1M, c->bytes) / PAGE_SIZE;
  }
  return ERR_OK;
}

static void fill_policy(struct managed_policy *to, const struct raw_range *raw) {
  *to = (struct managed_policy){
      .preferred = LOCATION_NONE,
      .read_dup = raw->read_dup,
      .no_migrate = raw->no_migrate,
      .prefetch_percent = (uint8_t)raw->prefetch,
      .thrash_events = (uint8_t)raw->events,
      .thrash_throttles = (uint8_t)raw->throttles,
      .lapse_us = raw->lapse_us,
      .nap_us = raw->nap_us,
      .pin_us = raw->pin_ms * 1000,
  };
}

static err_t check_numbers(struct parser *p) {
  const struct raw_range *raw = &p->raw.range;
  if (raw->size_mib % 2)
    return parse_fail(p, SCN_SIZE ": %u is odd, a range comes in steps of 2 MiB", raw->size_mib);
  if (scenario_string_count(&raw->members) < 2)
    return parse_fail(p, SCN_MEMBERS ": one VM alone shares nothing");
  if (raw->nap_us >= raw->lapse_us)
    return parse_fail(p, SCN_THRASH_NAP ": %u is not less than " SCN_THRASH_LAPSE ", %u", raw->nap_us, raw->lapse_us);
  return ERR_OK;
}

err_t check_range(struct parser *p) {
  struct scenario *s = p->s;
  const char *name = p->name[p->depth - 1];
  if (s->ranges == MANAGED_RANGES_MAX)
    return parse_fail(p, "more than %u ranges", MANAGED_RANGES_MAX);
  struct scenario_range *r = &s->range[s->ranges];
  struct managed_config *c = &r->config;
  err_t e = check_name(p, name);
  if (e == ERR_OK)
    e = check_numbers(p);
  if (e == ERR_OK)
    e = check_transfer(p, &c->move);
  if (e != ERR_OK)
    return e;
  strlcpy(c->name, name, sizeof c->name);
  c->bytes = p->raw.range.size_mib * SZ_1M;
  c->members = scenario_string_count(&p->raw.range.members);
  fill_policy(&c->policy, &p->raw.range);
  r->prefer = p->raw.range.prefer;
  r->members = p->raw.range.members;
  r->accessed_by = p->raw.range.accessed_by;
  s->ranges++;
  return check_quotas(p, c);
}

/* --- when all VMs are known. Errors name the node by hand, since none is open any more --- */

static err_t resolve_member(struct parser *p, struct managed_config *c, unsigned index, const char *name) {
  int vm = scenario_find_vm(p->s, name, strlen(name));
  if (vm < 0)
    return parse_fail(p, "/" SCN_MANAGED "/%s: " SCN_MEMBERS ": there is no VM `%s`", c->name, name);
  if (p->s->vm[vm].config.trap_stage1_faults)
    return parse_fail(p, "/" SCN_MANAGED "/%s: " SCN_MEMBERS ": `%s` has " SCN_TRAP_S1 ", whose views show RAM only", c->name, name);
  for (unsigned i = 0; i < index; i++)
    if (strcmp(c->member[i], name) == 0)
      return parse_fail(p, "/" SCN_MANAGED "/%s: " SCN_MEMBERS ": `%s` is given twice", c->name, name);
  strlcpy(c->member[index], name, sizeof c->member[index]);
  return ERR_OK;
}

/* The location of a member, or 0. */
static unsigned location_named(const struct managed_config *c, const char *name) {
  for (unsigned i = 0; i < c->members; i++)
    if (strcmp(c->member[i], name) == 0)
      return i + 1;
  return 0;
}

static err_t not_a_member(struct parser *p, const struct managed_config *c, const char *property, const char *name) {
  return parse_fail(p, "/" SCN_MANAGED "/%s: %s: `%s` is no member", c->name, property, name);
}

err_t resolve_range(struct parser *p, struct scenario_range *r) {
  struct managed_config *c = &r->config;
  uint32_t at = 0;
  unsigned index = 0, location = 0;
  for (const char *name; (name = scenario_next_string(&r->members, &at)) != NULL; index++) {
    err_t e = resolve_member(p, c, index, name);
    if (e != ERR_OK)
      return e;
  }
  at = 0;
  for (const char *name; (name = scenario_next_string(&r->accessed_by, &at)) != NULL; c->policy.accessed_by |= (uint8_t)BIT(location))
    if ((location = location_named(c, name)) == 0)
      return not_a_member(p, c, SCN_ACCESSED_BY, name);
  if (r->prefer && (location = location_named(c, r->prefer)) == 0)
    return not_a_member(p, c, SCN_PREFER, r->prefer);
  if (r->prefer)
    c->policy.preferred = (uint8_t)location;
  return ERR_OK;
}
