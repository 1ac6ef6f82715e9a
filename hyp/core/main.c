/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Boot, in order: console, MMU, the machine's device tree, the scenario, memory, interrupts, the other CPUs, the VMs. What goes wrong is
 * said on the UART in words, and the machine is turned off by PSCI.
 */
#include "hyp/core/main.h"
#include "arch/sysreg.h"
#include "core/compiler.h"
#include "core/string.h"
#include "hyp/arch/far.h"
#include "hyp/arch/features.h"
#include "hyp/arch/fp.h"
#include "hyp/arch/mmu.h"
#include "hyp/arch/psci.h"
#include "hyp/arch/switch.h"
#include "hyp/arch/vttbr.h"
#include "hyp/arch/zero.h"
#include "hyp/core/cost.h"
#include "hyp/core/exit.h"
#include "hyp/core/masked.h"
#include "hyp/core/memory.h"
#include "hyp/core/sched.h"
#include "hyp/core/smp.h"
#include "hyp/core/vm.h"
#include "hyp/ctl/console.h"
#include "hyp/ctl/ctl.h"
#include "hyp/ctl/sample.h"
#include "hyp/ctl/trace.h"
#include "hyp/dev/virtio/rng.h"
#include "hyp/mem/age.h"
#include "hyp/mem/background.h"
#include "hyp/mem/compactd.h"
#include "hyp/mem/exhaust.h"
#include "hyp/mem/managed.h"
#include "hyp/mem/move.h"
#include "hyp/mem/policyd.h"

#define UART_FALLBACK 0x09000000ull /* QEMU virt's PL011: where to speak before the device tree has been read */
#define DEFAULT_TRACE_RECORDS 4096u

static void must(err_t err, const char *doing) {
  if (err != ERR_OK)
    ctl_boot_error("%s: %s", doing, err_name(err));
}

void boot_wrong_el(uint64_t el) {
  console_init((volatile void *)UART_FALLBACK);
  ctl_boot_error("entered at EL%u, but a hypervisor must start at EL2: run QEMU with -M virt,virtualization=on", (unsigned)el);
}

static void read_machine(const void *dtb, struct machine *m) {
  char error[MACHINE_ERROR_MAX];
  m->uart = pa(UART_FALLBACK);
  if (machine_read(dtb, m, error) != ERR_OK)
    ctl_boot_error("%s", error);
  must(machine_reserve(m, pa((uint64_t)image_start), pa(image_end_address())), "reserving the image");
  for (unsigned i = 0; i < m->ram_count; i++)
    must(mmu_extend_early(pfn_pa(m->ram[i].start), pfn_pa(m->ram[i].end)), "mapping RAM");
}

/* The scenario is what the boot loader passed as initrd; it stays where it is, images inside. */
static struct scenario *read_scenario(struct machine *m) {
  char error[SCENARIO_ERROR_MAX];
  struct scenario *s;
  uint64_t bytes = m->initrd_end.v - m->initrd_start.v;
  if (m->initrd_start.v == 0 || m->initrd_end.v <= m->initrd_start.v)
    ctl_boot_error("no scenario: pass one as initrd, for instance -initrd build/dts/two-guests.dtb");
  must(machine_reserve(m, m->initrd_start, m->initrd_end), "reserving the scenario");
  if (scenario_parse((const void *)m->initrd_start.v, bytes, machine_ram_bytes(m), m->cpu_count, &s, error) != ERR_OK)
    ctl_boot_error("%s", error);
  return s;
}

/* The trace area lies outside the allocator, so that a host tool finds it whole whatever happens to the rest. */
static void start_trace(struct machine *m, const struct hyp_options *o) {
  uint32_t records = o->trace_records ? o->trace_records : DEFAULT_TRACE_RECORDS;
  pa_t area;
  if (memory_carve(m, trace_area_bytes(m->cpu_count, records), &area) != ERR_OK)
    ctl_boot_error("trace-records: more than the machine's memory holds");
  trace_init((void *)area.v, area, m->cpu_count, records, o->trace_mask);
}

static void make_ranges(const struct scenario *s) {
  for (unsigned i = 0; i < scenario_range_count(s); i++)
    must(managed_create(scenario_range(s, i)), "managed memory");
}

static void start_vms(const struct scenario *s) {
  for (unsigned i = 0; i < scenario_vm_count(s); i++) {
    const struct vm_config *config = scenario_vm(s, i);
    struct vm *vm;
    if (!config->autostart)
      continue;
    err_t err = vm_create(config, &vm);
    if (err == ERR_OK)
      err = vm_start(vm);
    if (err != ERR_OK)
      ctl_boot_error("%s: %s", config->name, err_name(err));
  }
}

static void init_boot_cpu(const struct machine *m) {
  struct cpu *c = &cpus[0];
  cpu_init(c, 0, sysreg_read(mpidr_el1) & MPIDR_AFF_MASK, (uint8_t *)stack_top_address(0));
  gic_init(&m->gic);
  must(gic_cpu_init(c), "no redistributor for the boot CPU");
  c->online = true;
}

void hyp_main(const void *dtb) {
  static struct machine m;
  console_init((volatile void *)UART_FALLBACK);
  cache_init();
  sysreg_write(cptr_el2, CPTR_EL2_RES1); /* libfdt may use FP/SIMD now: no guest has anything there yet */
  must(mmu_enable_early(pa((uint64_t)dtb), pa(UART_FALLBACK)), "image, device tree and UART lie too far apart");
  read_machine(dtb, &m);
  virtio_rng_seed(m.rng_seed, sizeof(m.rng_seed));
  console_init((volatile void *)m.uart.v);
  if (m.numa.warning[0])
    hyp_printf("sluice: NUMA: %s\n", m.numa.warning);
  const struct scenario *s = read_scenario(&m);
  const struct hyp_options *options = scenario_options(s);
  start_trace(&m, options);
  must(memory_init(&m), "frame table");
  must(numa_set_cpu(&m, 0, sysreg_read(mpidr_el1) & MPIDR_AFF_MASK), "nodes");
  must(vm_init(), "VMs");
  trace_set_frame_table(pa((uint64_t)frame_table), frame_base_pfn, machine_frame_span(&m));
  must(memory_map_all(&m), "EL2's own tables");
  features_init(options->features_off);
  move_init();
  compactd_init();
  vmid_init(feature_vmid_bits(options->vmid_bits), m.cpu_count);
  el2_setup_controls();
  vttbr_park();
  work_init();
  background_init(options->zeroed_pool_bytes);
  exhaust_init();
  age_init();
  policyd_init(options->policy, options->policy_period_ms);
  sample_start(options->sample_ms);
  if (options->measure_masked)
    trace_mask |= TRACE_WATCH_MASKED;
  if (options->measure_el2 && !cost_start())
    hyp_printf("sluice: measure-el2: this CPU does not count instructions\n");
  sched_init(options->slice_us);
  init_boot_cpu(&m);
  vgic_cpu_setup();
  smp_start_others(&m);
  gic_enable_spi(m.uart_intid, &cpus[0]);
  irq_set_console(m.uart_intid);
  if (options->handover_self_test)
    ctl_handover_self_test();
  make_ranges(s);
  start_vms(s);
  ctl_start(s, m.interactive);
  sched_run(&cpus[0]);
}
