/* SPDX-License-Identifier: BSD-2-Clause */

/*
 * ESR_ELx in words (Arm ARM D17.2.37). Pure: syndrome in, text out. Fields that an exception class does not define are not
 * mentioned; a class that is not known is given by number.
 */

#include "arch/esr.h"
#include "core/format.h"
#include "core/string.h"
#include "hyp/ctl/ctl.h"

static const char *class_name(unsigned ec) {
  switch (ec) {
  case ESR_EC_UNKNOWN:
    return "unknown instruction";
  case ESR_EC_WFX:
    return "WFI or WFE";
  case ESR_EC_FP:
    return "FP or SIMD";
  case ESR_EC_PAUTH:
    return "pointer authentication";
  case ESR_EC_ILLEGAL:
    return "illegal execution state";
  case ESR_EC_SVC64:
    return "SVC";
  case ESR_EC_HVC64:
    return "HVC";
  case ESR_EC_SMC64:
    return "SMC";
  case ESR_EC_SYSREG:
    return "system register";
  case ESR_EC_SVE:
    return "SVE";
  case ESR_EC_IABT_LOWER:
    return "instruction abort from a lower EL";
  case ESR_EC_IABT_SAME:
    return "instruction abort";
  case ESR_EC_PC_ALIGN:
    return "PC alignment";
  case ESR_EC_DABT_LOWER:
    return "data abort from a lower EL";
  case ESR_EC_DABT_SAME:
    return "data abort";
  case ESR_EC_SP_ALIGN:
    return "SP alignment";
  case ESR_EC_FPE64:
    return "FP exception";
  case ESR_EC_SERROR:
    return "SError";
  case ESR_EC_BRK64:
    return "BRK";
  default:
    return NULL;
  }
}

static const char *fault_name(unsigned fsc) {
  static const char *const by_type[] = {"address size fault", "translation fault", "access flag fault", "permission fault"};
  if (fsc < 0x10)
    return by_type[fsc >> 2];
  if (fsc == ESR_FSC_EXTERNAL)
    return "external abort";
  if (fsc >= ESR_FSC_EXTERNAL_WALK && fsc < 0x18)
    return "external abort on a table walk";
  if (fsc == ESR_FSC_ALIGNMENT)
    return "alignment fault";
  return fsc == ESR_FSC_TLB_CONFLICT ? "TLB conflict" : "other fault";
}

static bool has_level(unsigned fsc) {
  return fsc < 0x10 || (fsc >= ESR_FSC_EXTERNAL_WALK && fsc < 0x18);
}

static bool is_data_abort(unsigned ec) {
  return ec == ESR_EC_DABT_LOWER || ec == ESR_EC_DABT_SAME;
}

static bool is_abort(unsigned ec) {
  return is_data_abort(ec) || ec == ESR_EC_IABT_LOWER || ec == ESR_EC_IABT_SAME;
}

struct text {
  char *to;
  size_t at;
};

static void add(struct text *t, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void add(struct text *t, const char *fmt, ...) {
  va_list args;
  va_start(args, fmt);
  if (t->at < ESR_TEXT_MAX)
    t->at += (size_t)format_v(t->to + t->at, ESR_TEXT_MAX - t->at, fmt, args);
  va_end(args);
}

static void add_access(struct text *t, uint64_t esr) {
  add(t, ", %s", esr & ESR_CM ? "cache maintenance" : esr & ESR_WnR ? "write" : "read");
  if (esr & ESR_ISV)
    add(t, " of %u byte%s %s x%u", esr_access_bytes(esr), esr_access_bytes(esr) == 1 ? "" : "s", esr & ESR_WnR ? "from" : "to",
        esr_srt(esr));
}

static void add_abort(struct text *t, uint64_t esr) {
  unsigned fsc = esr_fsc(esr);
  add(t, ": %s", fault_name(fsc));
  if (has_level(fsc))
    add(t, ", level %u", esr_fsc_level(esr));
  if (is_data_abort(esr_ec(esr)))
    add_access(t, esr);
  if (esr & ESR_S1PTW)
    add(t, ", on a stage-1 walk");
  if (esr & ESR_FnV)
    add(t, ", FAR not valid");
}

static void add_sysreg(struct text *t, uint64_t esr) {
  uint32_t id = esr_sysreg_id(esr);
  add(t, ": %s S%u_%u_C%u_C%u_%u, x%u", esr_sysreg_is_read(esr) ? "read of" : "write to", id >> 14 & 3, id >> 11 & 7, id >> 7 & 15,
      id >> 3 & 15, id & 7, esr_sysreg_rt(esr));
}

const char *esr_describe(uint64_t esr, char to[ESR_TEXT_MAX]) {
  struct text t = {to, 0};
  const char *name = class_name(esr_ec(esr));
  if (name)
    add(&t, "%s", name);
  else
    add(&t, "exception class 0x%02x", esr_ec(esr));
  if (is_abort(esr_ec(esr)))
    add_abort(&t, esr);
  else if (esr_ec(esr) == ESR_EC_SYSREG)
    add_sysreg(&t, esr);
  else if (esr & ESR_ISS_MASK)
    add(&t, ", ISS 0x%llx", (unsigned long long)(esr & ESR_ISS_MASK));
  return to;
}
