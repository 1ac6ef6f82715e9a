/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A balloon with a driver that means ill: it gives what it still uses, what it gave before and what is no RAM of its own, takes back
 * what is not there, reports pages full of data, lies in its statistics and in the configuration space, and has a second CPU rewrite
 * rings and messages, notify, touch what is being given and reset the device while the first does the same. In the end it is asked for
 * memory, and does not answer.
 *
 * What is named is playground, or no RAM at all: the program would take its own code away else. Pages that it names nowhere must keep
 * their contents, and a device that was reset must do as it should (balloon_judged.c).
 */
#include "hostile_balloon.h"

#define ROUNDS 150u
#define RACE_ROUNDS 250u
#define PAGES_OF_A_MESSAGE 200u
#define RANGES_OF_A_MESSAGE 40u
#define TARGET_FRAMES 5888u /* what the scenario asks for in the end */
#define SILENCE_MS 120u     /* longer than the hypervisor's patience */

static bool ranges;
static uint32_t race_over;

/* --- what is named ------------------------------------------------------------------------------------------------------------ */

static uint64_t playground_page(void) {
  return BALLOON_PLAYGROUND + random_below((machine.scratch_bytes - SZ_2M) / SZ_4K) * SZ_4K;
}

/* A page that may go, or an address outside RAM. */
static uint64_t some_target(void) {
  switch (random_below(6)) {
  case 0:
    return machine.ram_end + random_below(SZ_1G);
  case 1:
    return random_below(PAYLOAD_RAM_BASE);
  case 2:
    return align_down(playground_page(), SZ_2M);
  default:
    return playground_page();
  }
}

/* It ends with RAM at most, or reaches so far that it is no range. */
static struct balloon_range some_range(void) {
  uint64_t at = some_target(), most = machine.ram_end - at;
  if (at < PAYLOAD_RAM_BASE || at >= machine.ram_end || random_below(8) == 0)
    return (struct balloon_range){at | 1, wild_value()};
  if (random_below(8) == 0)
    return (struct balloon_range){at, align_up(machine.ram_end - at + 1 + random_below(~machine.ram_end), SZ_4K)};
  return (struct balloon_range){at, random_below(32) ? align_down(random_below(min_u64(most, 2 * SZ_2M) + 1), SZ_4K) : most};
}

/* One message of whatever kind the device takes now: doubles among it. */
static uint32_t write_message(void) {
  unsigned count = 1 + (unsigned)random_below(ranges ? RANGES_OF_A_MESSAGE : PAGES_OF_A_MESSAGE);
  for (unsigned i = 0; i < count; i++) {
    if (ranges)
      ((volatile struct balloon_range *)BALLOON_MESSAGES)[i] = some_range();
    else
      ((volatile uint32_t *)BALLOON_MESSAGES)[i] = (uint32_t)(some_target() >> 12);
  }
  return count * (uint32_t)(ranges ? sizeof(struct balloon_range) : sizeof(uint32_t));
}

static void lie_in_statistics(void) {
  for (unsigned i = 0; i < 64; i++)
    ((volatile struct balloon_stat *)BALLOON_STATS_AREA)[i] = (struct balloon_stat){(uint16_t)random_below(16), wild_value()};
  balloon_offer(BALLOON_QUEUE_STATS, BALLOON_STATS_AREA + (random_below(2) ? 0 : random_below(64)),
                (uint32_t)random_below(BALLOON_STATS_BYTES - 64) + 1, random_below(8) == 0);
}

static void report_something(void) {
  uint64_t at = some_target();
  balloon_offer(BALLOON_QUEUE_REPORTING, at, at >= machine.ram_end ? (uint32_t)wild_value() | 1 : SZ_4K + (uint32_t)random_below(SZ_4K),
                random_below(8) != 0);
}

/* `actual` is the driver's to write, and `poison_val`; the rest is not; and it ends somewhere. */
static void write_space(void) {
  uint64_t at = VIRTIO_MMIO_CONFIG + random_below(32) / 4 * 4;
  if (random_below(2))
    mmio_write32(balloon_window(), at, (uint32_t)wild_value());
  else if (random_below(2))
    mmio_write64(balloon_window(), align_down(at, 8), wild_value());
  else
    mmio_write8(balloon_window(), at + random_below(4), (uint8_t)wild_value());
}

/* --- pages that are named nowhere ---------------------------------------------------------------------------------------------- */

static volatile uint64_t *kept(unsigned i) {
  return (volatile uint64_t *)(BALLOON_KEPT + i * SZ_4K);
}

static void write_kept(void) {
  for (unsigned i = 0; i < BALLOON_KEPT_PAGES; i++)
    *kept(i) = 0x6b657074 + i;
}

static void check_kept(void) {
  for (unsigned i = 0; i < BALLOON_KEPT_PAGES; i++)
    if (*kept(i) != 0x6b657074 + i)
      payload_fail("a page that was not named has lost its data", i);
}

/* --- anything ----------------------------------------------------------------------------------------------------------------- */

/* A message of the other kind must not be read as one of this. */
static void begin_somehow(void) {
  ranges = random_below(2);
  balloon_put(VIRTIO_MMIO_STATUS, 0);
  for (unsigned i = 0; i < BALLOON_MESSAGE_BYTES / 8; i++)
    ((volatile uint64_t *)BALLOON_MESSAGES)[i] = 0;
  balloon_begin(BALLOON_ALL | (ranges ? BALLOON_RANGES : 0) | (random_below(4) ? 0 : BALLOON_POISON) |
                (random_below(2) ? BIT(VIRTIO_F_EVENT_IDX) : 0));
}

static void one_step(void) {
  switch (random_below(8)) {
  case 0:
    lie_in_statistics();
    break;
  case 1:
  case 2:
    report_something();
    break;
  case 3:
    write_space();
    break;
  case 4:
    *(volatile uint64_t *)playground_page() = random_below(PAYLOAD_RAM_BASE >> 12);
    break;
  default:
    balloon_offer((unsigned)random_below(2), BALLOON_MESSAGES, write_message(), random_below(16) == 0);
  }
}

static unsigned play(unsigned rounds) {
  unsigned resets = 0;
  for (unsigned i = 0; i < rounds; i++) {
    one_step();
    if (!balloon_is_live()) {
      resets++;
      begin_somehow();
    }
    if (i % 64 == 0)
      check_kept();
  }
  return resets;
}

/* --- from two CPUs -------------------------------------------------------------------------------------------------------------- */

static uint64_t scribbler_state;

/* It has numbers of its own: the generator is the other CPU's. */
static uint64_t scribbler_random(uint64_t bound) {
  scribbler_state = scribbler_state * 6364136223846793005u + 1442695040888963407u;
  return (scribbler_state >> 33) % bound;
}

static void scribble_once(void) {
  struct balloon_rings *r = balloon_rings_of((unsigned)scribbler_random(BALLOON_QUEUES));
  uint64_t page = BALLOON_PLAYGROUND + scribbler_random(1024) * SZ_4K;
  switch (scribbler_random(8)) {
  case 0:
  case 1:
    r->desc[scribbler_random(4)] = (struct virtq_desc){page, (uint32_t)scribbler_random(BALLOON_MESSAGE_BYTES),
                                                       (uint16_t)scribbler_random(8), (uint16_t)scribbler_random(5)};
    break;
  case 2:
    r->avail[2 + scribbler_random(BALLOON_NUM)] = (uint16_t)scribbler_random(4);
    break;
  case 3:
    r->avail[1] = (uint16_t)(r->avail[1] + scribbler_random(3));
    break;
  case 4:
    balloon_put(VIRTIO_MMIO_QUEUE_NOTIFY, (uint32_t)scribbler_random(BALLOON_QUEUES));
    break;
  case 5:
    *(volatile uint64_t *)page = scribbler_random(PAYLOAD_RAM_BASE >> 12);
    break;
  case 6:
    if (scribbler_random(64) == 0)
      balloon_put(VIRTIO_MMIO_STATUS, 0);
    break;
  default:
    ((volatile uint32_t *)BALLOON_MESSAGES)[scribbler_random(PAGES_OF_A_MESSAGE)] = (uint32_t)(page >> 12);
  }
}

static void scribble(uint64_t unused) {
  (void)unused;
  while (!__atomic_load_n(&race_over, __ATOMIC_ACQUIRE)) {
    for (unsigned i = 0; i < 32; i++)
      scribble_once();
    cpu_relax();
  }
  irq_reset();
  payload_cpu_off();
}

static void race(void) {
  race_over = 0;
  begin_somehow();
  bool two = smp_start_high(scribble);
  unsigned resets = play(RACE_ROUNDS);
  __atomic_store_n(&race_over, 1, __ATOMIC_RELEASE);
  if (two)
    smp_wait_off();
  say_count("resets in a race:", resets);
}

void stage_balloon(void) {
  if (!machine.sluice || !balloon_find())
    return;
  write_kept();
  balloon_break_rules();
  balloon_judge();
  begin_somehow();
  say_count("resets:", play(ROUNDS));
  race();
  check_kept();
  balloon_judge();
  check_kept();
  balloon_put(VIRTIO_MMIO_STATUS, 0);
}

/* --- and no answer ------------------------------------------------------------------------------------------------------------- */

static uint32_t asked_for(void) {
  return mmio_read32(balloon_window(), VIRTIO_MMIO_CONFIG);
}

static void idle_ms(uint64_t ms) {
  uint64_t end = payload_ticks() + sysreg_read(cntfrq_el0) * ms / 1000;
  sysreg_write(cntv_cval_el0, end);
  sysreg_write(cntv_ctl_el0, 1);
  isb();
  while (payload_ticks() < end)
    wfi();
  irq_drain();
}

/* Until nothing is asked any more. */
void stage_balloon_silence(void) {
  if (!machine.sluice || !balloon_find())
    return;
  balloon_begin(BALLOON_ALL);
  put_str("hostile:   may be asked\n");
  while (asked_for() != TARGET_FRAMES)
    idle_ms(1);
  idle_ms(SILENCE_MS);
  put_str("hostile:   has not answered\n");
  while (asked_for() != 0)
    idle_ms(1);
  balloon_put(VIRTIO_MMIO_STATUS, 0);
}
