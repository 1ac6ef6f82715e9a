/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * FF-A: memory given twice, taken without right, described by garbage, in fragments that never come; buffers that are nowhere, or are given
 * away themselves; two CPUs in one VM's calls, and an accomplice in another VM that takes what is being reclaimed.
 *
 * `victim=` in the boot arguments is the VM that lent us a page and shared one (its first two regions), `accomplice=` the one that takes.
 * What must be refused and is not ends the run. What is left unfinished at the end is for the hypervisor to clear away when this VM is
 * destroyed.
 */
#include "hostile_ffa.h"

#define GARBAGE 1500u
#define WILD_CALLS 6u
#define RACES 400u
#define REGIONS 40u

uint16_t self_id;
static uint64_t page_at; /* pages of ours that nobody else uses */

static void must(const char *what, int64_t got, int64_t wanted) {
  if (got == wanted)
    return;
  put_str("hostile:   ffa: ");
  put_str(what);
  put_str(": ");
  put_hex((uint64_t)got);
  put_char('\n');
  payload_verdict(1, (uint64_t)got);
  payload_off();
}

static volatile uint64_t *word(uint64_t address) {
  return (volatile uint64_t *)(address | HIGH);
}

static bool is_aborted(uint64_t address) {
  uint64_t before = guards[0].traps;
  (void)guarded((uint64_t)ops, address, 0, 0); /* the first operation is a load */
  return guards[0].traps != before;
}

/* ---- buffers ---- */

static void wrong_buffers(void) {
  uint64_t tx = ffa_ipa(ffa_tx), rx = ffa_ipa(ffa_rx);
  const uint64_t bad[][3] = {{tx + 8, rx, 1},
                             {tx, rx + 1, 1},
                             {tx, tx, 1},
                             {tx, rx, 0},
                             {tx, rx, 2},
                             {0x09000000, rx, 1},
                             {tx, 0x08000000, 1},
                             {machine.ram_end, rx, 1},
                             {tx, machine.ram_end, 1},
                             {~0ull << 12, rx, 1},
                             {tx, 1ull << 52, 1},
                             {0, rx, 1},
                             {tx, ~0ull, 1},
                             {tx | HIGH, rx, 1},
                             {tx, rx, 0xffffffffu},
                             {machine.ram_end - 8, rx, 1}};
  (void)ffa_call(FFA_RXTX_UNMAP, 0, 0, 0);
  must("a call without buffers", ffa_reclaim(1), FFA_DENIED);
  must("RX released that is not there", ffa_call(FFA_RX_RELEASE, 0, 0, 0), FFA_DENIED);
  for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
    must("a buffer that is none", ffa_call(FFA_RXTX_MAP_64, bad[i][0], bad[i][1], bad[i][2]), FFA_INVALID_PARAMETERS);
  must("buffers", ffa_map_buffers(), 0);
  must("buffers twice", ffa_call(FFA_RXTX_MAP_64, tx, rx, 1), FFA_DENIED);
  must("RX released that is empty", ffa_call(FFA_RX_RELEASE, 0, 0, 0), FFA_DENIED);
}

/* TX and RX themselves are lent away: what EL2 reads there is nothing, what it would write is refused. */
static void buffers_given_away(uint16_t to) {
  uint64_t tx_handle = 0, rx_handle = 0, none = 0;
  must("lending RX", ffa_give(FFA_MEM_LEND_32, ffa_ipa(ffa_rx), to, &rx_handle), 0);
  must("lending TX", ffa_give(FFA_MEM_LEND_32, ffa_ipa(ffa_tx), to, &tx_handle), 0);
  must("TX that was lent", ffa_send(FFA_MEM_SHARE_32, 96, 96, &none), FFA_INVALID_PARAMETERS);
  must("RELINQUISH from TX that was lent", ffa_call(FFA_MEM_RELINQUISH, 0, 0, 0), FFA_INVALID_PARAMETERS);
  must("TX back", ffa_reclaim(tx_handle), 0);
  must("RX back", ffa_reclaim(rx_handle), 0);
}

/* ---- its own memory ---- */

static void give_twice(uint16_t to) {
  static const uint32_t kinds[] = {FFA_MEM_SHARE_32, FFA_MEM_LEND_32, FFA_MEM_DONATE_32};
  for (unsigned first = 0; first < 3; first++) {
    uint64_t handle = 0, other = 0;
    *word(page_at) = first;
    must("giving", ffa_give(kinds[first], page_at, to, &handle), 0);
    for (unsigned second = 0; second < 3; second++)
      must("giving again", ffa_give(kinds[second], page_at, to, &other), FFA_DENIED);
    if (is_aborted(page_at) != (first != 0))
      must("the giver's access", (int64_t)first, -1);
    must("retrieving what is its own", ffa_retrieve(handle, machine.ram_end, FFA_DATA_RW), FFA_INVALID_PARAMETERS);
    must("relinquishing what is its own", ffa_relinquish(handle), FFA_INVALID_PARAMETERS);
    must("reclaiming", ffa_reclaim(handle), 0);
    must("reclaiming twice", ffa_reclaim(handle), FFA_INVALID_PARAMETERS);
    must("contents", (int64_t)*word(page_at), first);
  }
  must("giving to itself", ffa_give(FFA_MEM_LEND_32, page_at, self_id, &(uint64_t){0}), FFA_INVALID_PARAMETERS);
  must("giving to nobody", ffa_give(FFA_MEM_LEND_32, page_at, 31, &(uint64_t){0}), FFA_INVALID_PARAMETERS);
  must("giving a device", ffa_give(FFA_MEM_LEND_32, 0x09000000, to, &(uint64_t){0}), FFA_INVALID_PARAMETERS);
}

/* As many regions as there may be, and no more; all of them back. */
static void too_many_regions(uint16_t to) {
  uint64_t handle[REGIONS];
  unsigned count = 0;
  while (count < REGIONS && ffa_give(FFA_MEM_SHARE_32, page_at + count * SZ_4K, to, &handle[count]) == 0)
    count++;
  if (count < 8 || count >= REGIONS)
    must("regions at once", count, 16);
  must("one too many", ffa_give(FFA_MEM_SHARE_32, page_at + count * SZ_4K, to, &(uint64_t){0}), FFA_NO_MEMORY);
  say_count("regions at once:", count);
  while (count > 0)
    must("one of many back", ffa_reclaim(handle[--count]), 0);
}

static void fragments(uint16_t to) {
  struct ffa_region r = {self_id, to, FFA_DATA_RW, 0, 0, machine.scratch + 2 * SZ_2M, 1, 400};
  uint32_t length = ffa_describe(&r), total = 80 + 400 * 16;
  uint64_t handle = 0;
  must("a fragment of nothing", ffa_call(FFA_MEM_FRAG_TX, 1, self_id, 16), FFA_INVALID_PARAMETERS);
  must("beginning", ffa_send(FFA_MEM_LEND_32, total, length, &handle), FFA_AWAITS);
  must("another meanwhile", ffa_send(FFA_MEM_LEND_32, total, length, &(uint64_t){0}), FFA_BUSY);
  must("unmapping meanwhile", ffa_call(FFA_RXTX_UNMAP, 0, 0, 0), FFA_BUSY);
  must("relinquishing meanwhile", ffa_relinquish(handle), FFA_BUSY);
  must("another's fragment", ffa_call(FFA_MEM_FRAG_TX, (uint32_t)handle + 1, handle >> 32, 16), FFA_INVALID_PARAMETERS);
  must("an empty fragment", ffa_call(FFA_MEM_FRAG_TX, (uint32_t)handle, handle >> 32, 0), FFA_INVALID_PARAMETERS);
  must("a fragment too long", ffa_call(FFA_MEM_FRAG_TX, (uint32_t)handle, handle >> 32, total), FFA_INVALID_PARAMETERS);
  must("a page that is pinned is not lost", *word(page_at) == 0xdead, 0);
  must("never mind", ffa_reclaim(handle), 0);
  must("beginning again", ffa_send(FFA_MEM_LEND_32, total, ffa_describe(&r), &handle), FFA_AWAITS);
  for (unsigned i = 0; i < sizeof(ffa_tx); i++)
    ffa_tx[i] = (uint8_t)random64();
  must("a fragment of garbage", ffa_call(FFA_MEM_FRAG_TX, (uint32_t)handle, handle >> 32, 64), FFA_INVALID_PARAMETERS);
  must("nothing is left of it", ffa_reclaim(handle), FFA_INVALID_PARAMETERS);
}

/* ---- garbage ---- */

static void undo(int64_t status, uint64_t handle) {
  if (status == FFA_AWAITS || status == 0)
    (void)ffa_reclaim(handle);
}

/* A good descriptor with a few words of it spoilt. */
static void garbage(uint16_t to) {
  static const uint32_t fids[] = {FFA_MEM_SHARE_32, FFA_MEM_LEND_32, FFA_MEM_SHARE_32 | FFA_64, FFA_MEM_LEND_32 | FFA_64};
  uint64_t accepted = 0;
  for (unsigned i = 0; i < GARBAGE; i++) {
    struct ffa_region r = {self_id, to, FFA_DATA_RW, 0, 0, page_at, 1, 1 + (uint32_t)random_below(3)};
    uint32_t length = ffa_describe(&r), total = length;
    uint64_t handle = 0;
    for (uint64_t n = 1 + random_below(3); n > 0; n--)
      ((volatile uint32_t *)ffa_tx)[random_below(length / 4)] = (uint32_t)wild_value();
    if (random_below(4) == 0)
      length = (uint32_t)wild_value();
    if (random_below(4) == 0)
      total = (uint32_t)wild_value();
    int64_t s = ffa_send(fids[random_below(ARRAY_SIZE(fids))], total, length, &handle);
    accepted += s >= 0;
    undo(s, handle);
  }
  say_count("garbled descriptors that still were right:", accepted);
}

/* Every number of FF-A's, with wild registers. It may map and unmap buffers, begin regions, anything: then it is put right. */
static void wild_calls(void) {
  static uint64_t x[8];
  for (uint32_t number = FFA_NUMBER_FIRST; number <= FFA_NUMBER_LAST; number++)
    for (unsigned i = 0; i < WILD_CALLS; i++) {
      for (unsigned k = 1; k < 8; k++)
        x[k] = wild_value();
      x[0] = FFA_FAST | number | (i & 1 ? FFA_64 : 0);
      (void)guarded((uint64_t)smccc_hvc8, (uint64_t)x, 0, 0);
      if ((uint32_t)x[0] == FFA_MEM_FRAG_RX)
        (void)ffa_reclaim((uint32_t)x[1] | x[2] << 32);
    }
  must("buffers after wild calls", ffa_map_buffers(), 0);
}

/* ---- others' memory ---- */

static void all_handles(uint16_t victim) {
  uint64_t refused = 0;
  for (uint64_t vm = 0; vm < 36; vm++)
    for (uint64_t n = 0; n < 20; n++) {
      uint64_t handle = vm << 32 | n;
      if (vm == victim && (n == 1 || n == 2))
        continue; /* offered to us */
      must("a handle that is not ours", ffa_retrieve(handle, machine.ram_end, FFA_DATA_RW), FFA_INVALID_PARAMETERS);
      must("relinquishing what is not ours", ffa_relinquish(handle), FFA_INVALID_PARAMETERS);
      if (vm != self_id)
        must("reclaiming what is not ours", ffa_reclaim(handle), FFA_INVALID_PARAMETERS);
      refused++;
    }
  say_count("handles of others refused:", refused);
}

/* It may not have given it yet. */
static void await(uint64_t handle) {
  while (ffa_retrieve(handle, machine.ram_end, FFA_DATA_RW) == FFA_INVALID_PARAMETERS)
    cpu_relax();
  must("letting go", ffa_relinquish(handle), 0);
}

static void borrowed(uint64_t handle, bool shared) {
  uint64_t at = machine.ram_end + SZ_4K;
  must("to where RAM is", ffa_retrieve(handle, page_at, FFA_DATA_RW), FFA_INVALID_PARAMETERS);
  must("to the window's end", ffa_retrieve(handle, machine.ram_end + SZ_1G, FFA_DATA_RW), FFA_INVALID_PARAMETERS);
  if (shared)
    must("to execute", ffa_retrieve(handle, at, FFA_DATA_RW | FFA_INSTRUCTION_X), FFA_DENIED);
  must("borrowing", ffa_retrieve(handle, at, FFA_DATA_RW), 0);
  must("borrowing twice", ffa_retrieve(handle, at + SZ_4K, FFA_DATA_RW), FFA_DENIED);
  *word(at) = random64();
  must("sharing on", ffa_give(FFA_MEM_SHARE_32, at, (uint16_t)(handle >> 32), &(uint64_t){0}), FFA_DENIED);
  must("lending on", ffa_give(FFA_MEM_LEND_32, at, (uint16_t)(handle >> 32), &(uint64_t){0}), FFA_DENIED);
  must("donating on", ffa_give(FFA_MEM_DONATE_32, at, (uint16_t)(handle >> 32), &(uint64_t){0}), FFA_DENIED);
  must("reclaiming what is borrowed", ffa_reclaim(handle), FFA_INVALID_PARAMETERS);
  must("relinquishing", ffa_relinquish(handle), 0);
  must("relinquishing twice", ffa_relinquish(handle), FFA_INVALID_PARAMETERS);
  if (!is_aborted(at))
    must("access to what was relinquished", 0, 1);
}

/* ---- races ---- */

static uint64_t racing; /* the handle that CPU 0 gives at present; ~0: the end */

/* CPU 1: reclaims what CPU 0 gives, writes over TX, and asks for what is not its own. */
static void race_second(uint64_t unused) {
  (void)unused;
  uint64_t handle;
  for (uint64_t i = 0; (handle = __atomic_load_n(&racing, __ATOMIC_ACQUIRE)) != ~(uint64_t)0; i++) {
    (void)ffa_reclaim(handle);
    ((volatile uint64_t *)ffa_tx)[i % 12] ^= i;
    (void)ffa_call(FFA_RX_RELEASE, 0, 0, 0);
    cpu_relax();
  }
  payload_cpu_off();
}

static void race_cpus(uint16_t to) {
  uint64_t given = 0;
  racing = 0;
  if (!smp_start_high(race_second))
    return;
  for (unsigned i = 0; i < RACES; i++) {
    uint64_t handle = 0;
    int64_t s = ffa_give(FFA_MEM_LEND_32, page_at, to, &handle);
    given += s == 0;
    __atomic_store_n(&racing, handle, __ATOMIC_RELEASE);
    cpu_relax();
    if (s >= 0)
      while (ffa_reclaim(handle) == FFA_BUSY)
        cpu_relax();
  }
  __atomic_store_n(&racing, ~(uint64_t)0, __ATOMIC_RELEASE);
  smp_wait_off();
  must("the page after a race", ffa_give(FFA_MEM_LEND_32, page_at, to, &racing), 0);
  must("and back", ffa_reclaim(racing), 0);
  say_count("given in a race of two CPUs:", given);
}

/* What the accomplice has it lets go of again; a donation that it has taken is gone. */
static bool comes_back(uint64_t handle) {
  int64_t s;
  while ((s = ffa_reclaim(handle)) == FFA_DENIED || s == FFA_BUSY)
    cpu_relax();
  return s == 0;
}

/* A page that both have: [0] what is being given, [1] somebody listens. */
static volatile uint64_t *open_mailbox(uint16_t to) {
  volatile uint64_t *mailbox = word(page_at - SZ_4K);
  mailbox[0] = mailbox[1] = 0;
  must("the mailbox", ffa_give(FFA_MEM_SHARE_32, page_at - SZ_4K, to, &(uint64_t){0}), 0);
  while (mailbox[1] == 0)
    cpu_relax();
  return mailbox;
}

static void race_accomplice(uint16_t to) {
  static const uint32_t kinds[] = {FFA_MEM_SHARE_32, FFA_MEM_LEND_32, FFA_MEM_LEND_32, FFA_MEM_DONATE_32};
  volatile uint64_t *mailbox = open_mailbox(to);
  uint64_t at = page_at, back = 0, gone = 0;
  for (unsigned i = 0; i < RACES; i++) {
    uint64_t handle = 0;
    uint32_t kind = kinds[i % 4];
    must("giving to the accomplice", ffa_give(kind, at, to, &handle), 0);
    mailbox[0] = handle;
    for (uint64_t n = random_below(400); n > 0; n--)
      cpu_relax();
    if (comes_back(handle)) {
      back++;
      continue;
    }
    if (kind != FFA_MEM_DONATE_32 || !is_aborted(at))
      must("reclaiming from the accomplice", kind, 0);
    gone++;
    at += SZ_4K;
  }
  mailbox[0] = ACCOMPLICE_END;
  say_count("given, and back again:", back);
  say_count("given, and taken:", gone);
}

/* ---- the stage ---- */

void stage_ffa(void) {
  uint64_t id[8] = {FFA_ID_GET};
  uint16_t other = hostile_victim ? hostile_victim : hostile_accomplice;
  if (!machine.sluice || !other)
    return;
  smccc_hvc8(id);
  self_id = (uint16_t)id[2];
  page_at = machine.ram_end - SZ_2M + SZ_4K;
  wrong_buffers();
  buffers_given_away(other);
  give_twice(other);
  too_many_regions(other);
  fragments(other);
  garbage(other);
  wild_calls();
  all_handles(hostile_victim);
  if (hostile_victim) {
    await((uint64_t)hostile_victim << 32 | 2);
    borrowed((uint64_t)hostile_victim << 32 | 1, true);
    borrowed((uint64_t)hostile_victim << 32 | 2, false);
  }
  race_cpus(other);
}

/* After which memory of ours is elsewhere, and much is unfinished. */
void stage_ffa_end(void) {
  struct ffa_region r = {self_id, hostile_accomplice, FFA_DATA_RW, 0, 0, machine.scratch + 2 * SZ_2M, 1, 400};
  uint32_t total = 80 + 400 * 16;
  if (!hostile_accomplice)
    return;
  race_accomplice(hostile_accomplice);
  must("keeping what is borrowed", ffa_retrieve((uint64_t)hostile_victim << 32 | 1, machine.ram_end + SZ_4K, FFA_DATA_RW), 0);
  for (unsigned i = 0; i < 8; i++)
    must("left under way", ffa_give(FFA_MEM_LEND_32, machine.scratch + SZ_2M + i * SZ_4K, hostile_victim, &(uint64_t){0}), 0);
  must("left unfinished", ffa_send(FFA_MEM_LEND_32, total, ffa_describe(&r), &(uint64_t){0}), FFA_AWAITS);
}
