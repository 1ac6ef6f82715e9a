/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Two CPUs: SGIs to everybody from both at once, CPU_ON with everything wrong, CPU_ON and CPU_OFF in a race, and a CPU that faults for
 * ever.
 *
 * The last stage leaves CPU 1 on with its entry outside RAM and its vectors nowhere: each of its fetches is an abort whose handler cannot
 * be fetched either. It never stops by itself; SYSTEM_OFF from CPU 0 has to stop it. With one CPU the stages that need CPU 1 end at once.
 */
#include "arch/smccc.h"
#include "hostile.h"

#define STORM 10000u
#define RACES 300u
#define FAULTS 20000u
#define AFFINITY_OFF 1

static uint64_t second_stack[1024] ALIGNED(16);
static struct payload_cpu_start second ALIGNED(64);
static uint32_t second_done;

/* `run` is told where it lies by its low address: CPU 1 starts by TTBR0. */
static int64_t start_second(void (*run)(uint64_t)) {
  second = (struct payload_cpu_start){(uint64_t)&second_stack[1024] & ~HIGH, run, 0};
  dsb(ish);
  return payload_cpu_on(1, (uint64_t)payload_secondary & ~HIGH, (uint64_t)&second & ~HIGH);
}

static void wait_off(void) {
  while (payload_affinity_info(1) != AFFINITY_OFF)
    cpu_relax();
}

static void (*second_high)(uint64_t);

static void enter_high(uint64_t unused) {
  (void)unused;
  gic_init_cpu(1, 27);
  run_high((void (*)(uint64_t))((uint64_t)second_high & ~HIGH), 0);
}

bool smp_start_high(void (*run)(uint64_t)) {
  second_high = run;
  return start_second((void (*)(uint64_t))((uint64_t)enter_high & ~HIGH)) == PSCI_SUCCESS;
}

void smp_wait_off(void) {
  wait_off();
}

static void storm(unsigned cpu) {
  for (unsigned i = 0; i < STORM; i++) {
    uint64_t sgi1r = random64();
    if (i & 1)
      sgi1r = (uint64_t)1 << 40 | (sgi1r & 0xf000000); /* IRM: everybody else */
    else if (i & 2)
      sgi1r = (sgi1r & 0xf000000) | 3;
    sysreg_write_enc(ICC_SGI1R_EL1, sgi1r);
    isb();
    if (i % 8 == cpu)
      irq_drain();
    if (i % 256 == 0)
      cpu_relax();
  }
  irq_drain();
}

static void storm_high(uint64_t unused) {
  (void)unused;
  storm(1);
  irq_reset();
  __atomic_store_n(&second_done, 1, __ATOMIC_RELEASE);
  payload_cpu_off();
}

/* SGI0R and ASGI1R as well: whether they are allowed is not ours to know. */
static void other_sgi(uint64_t value) {
  sysreg_write(S3_0_C12_C11_7, value); /* ICC_SGI0R_EL1 */
  sysreg_write(S3_0_C12_C11_6, value); /* ICC_ASGI1R_EL1 */
}

void stage_ipi_storm(void) {
  uint64_t before = guards[0].interrupts + guards[1].interrupts;
  bool two = smp_start_high(storm_high);
  storm(0);
  for (unsigned i = 0; i < 1000; i++)
    (void)guarded((uint64_t)other_sgi, random64(), 0, 0);
  if (two)
    wait_off();
  say_count("interrupts:", guards[0].interrupts + guards[1].interrupts - before);
}

static void off_at_once(uint64_t unused) {
  (void)unused;
}

static void wild_cpu_on(void) {
  for (unsigned i = 0; i < 500; i++) {
    uint64_t mpidr = wild_value();
    if ((mpidr & MPIDR_AFF_MASK) > 1)
      (void)payload_cpu_on(mpidr, wild_value(), wild_value());
    (void)payload_affinity_info(mpidr);
    (void)payload_cpu_on(0, wild_value(), wild_value()); /* oneself */
  }
}

/* Often without waiting for it to be off: a call says ALREADY_ON, ON_PENDING or takes effect. */
void stage_cpu_on(void) {
  uint64_t started = 0, refused = 0;
  wild_cpu_on();
  for (unsigned i = 0; i < RACES; i++) {
    int64_t answer = start_second((void (*)(uint64_t))((uint64_t)off_at_once & ~HIGH));
    started += answer == PSCI_SUCCESS;
    refused += answer == PSCI_ALREADY_ON || answer == PSCI_ON_PENDING;
    if (answer == PSCI_INVALID_PARAMETERS)
      return;
    if (i % 4 == 3)
      wait_off();
  }
  wait_off();
  say_count("started:", started);
  say_count("refused while on:", refused);
}

void stage_endless_faults(void) {
  (void)payload_cpu_on(1, machine.ram_end + SZ_1G, 0);
  for (unsigned i = 0; i < FAULTS; i++)
    (void)do_op((unsigned)random_below(op_count()), machine.ram_end + (random64() & 0xffffffff), 0);
}
