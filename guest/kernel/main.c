/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * From start.S to the idle loop: the order in which the guest kernel comes up. The boot CPU runs this on its idle task's stack. Nothing
 * can be said before the console stands, so errors before that are kept and said then.
 */
#include "arch/sysreg.h"
#include "core/bits.h"
#include "core/check.h"
#include "core/string.h"
#include "guest/arch/cpu.h"
#include "guest/arch/fp.h"
#include "guest/arch/machine.h"
#include "guest/arch/mmu.h"
#include "guest/drivers/gic.h"
#include "guest/drivers/handover.h"
#include "guest/drivers/managed.h"
#include "guest/drivers/psci.h"
#include "guest/drivers/timer.h"
#include "guest/drivers/uart.h"
#include "guest/drivers/virtio/balloon.h"
#include "guest/drivers/virtio/mmio.h"
#include "guest/fs/initramfs.h"
#include "guest/kernel/bootargs.h"
#include "guest/kernel/compactd.h"
#include "guest/kernel/console.h"
#include "guest/kernel/irq.h"
#include "guest/kernel/memory.h"
#include "guest/kernel/panic.h"
#include "guest/kernel/probe.h"
#include "guest/kernel/process.h"
#include "guest/kernel/sched.h"
#include "guest/kernel/trace.h"
#include "mm/page_alloc.h"

#define FDT_MAX_BYTES SZ_2M /* boot protocol */

_Alignas(TASK_BLOCK_BYTES) uint8_t boot_task_block[TASK_BLOCK_BYTES];
_Noreturn void kernel_main(pa_t fdt, pa_t image);

static void must(err_t e, const char *what) {
  if (e != ERR_OK)
    panic("%s: %s", what, err_name(e));
}

/* The tree may begin anywhere and reach into the next 2 MiB block. */
static err_t read_device_tree(pa_t fdt) {
  if (fdt.v == 0 || !is_aligned(fdt.v, 8))
    return ERR_INVAL;
  err_t e = mmu_boot_map(fdt, FDT_MAX_BYTES);
  return e == ERR_OK ? machine_read(&machine, linear_va(fdt), fdt, FDT_MAX_BYTES) : e;
}

static void banner(void) {
  uint64_t bytes = 0;
  for (unsigned i = 0; i < machine.ram_count; i++)
    bytes += (machine.ram[i].end.v - machine.ram[i].start.v) << PAGE_SHIFT;
  if (!bootargs.quiet)
    kprintf("%lu MiB at %lx, %u CPU%s, %u-bit ASIDs, %s\n", bytes >> 20, pfn_pa(machine.ram[0].start).v, cpu_count,
            cpu_count == 1 ? "" : "s", cpu_features.asid_bits, sluice_present() ? "under Sluice" : "on its own");
}

/* First instruction of C: what comes before the console. */
static err_t bring_up_console(pa_t fdt) {
  err_t e = read_device_tree(fdt);
  if (e == ERR_OK)
    e = memory_init(&machine);
  return e == ERR_OK ? uart_init(machine.uart) : e;
}

static void start_boot_cpu(void) {
  struct task *boot = current_task();
  task_init(boot, 0);
  task_set_name(boot, "idle/0");
  cpus[0] = (struct cpu){.id = 0, .online = 1, .mpidr = sysreg_read(mpidr_el1) & MPIDR_AFF_MASK};
  cpu_probe();
  cpu_setup_el0();
}

_Noreturn void kernel_main(pa_t fdt, pa_t image) {
  mmu_early_init(image);
  /* this CPU's task and features; libfdt may use FP from here on */
  start_boot_cpu();
  /* device tree; frame table and buddy over all RAM less what is in use, own page tables, VM layer; console */
  err_t e = bring_up_console(fdt);
  if (e != ERR_OK)
    panic("boot: %s", err_name(e)); /* without a console this only switches off */
  bootargs_parse(machine.bootargs);
  if (bootargs.poison)
    page_poison_enable(true);
  psci_init(machine.psci_present, machine.psci_smc);
  /* interrupts and time */
  must(gic_init(&machine), "interrupt controller");
  must(gic_cpu_init(), "interrupt controller of the boot CPU");
  irq_init(machine.vtimer_intid, machine.uart_intid);
  timer_cpu_init(machine.vtimer_intid);
  uart_enable_rx(machine.uart_intid);
  virtio_init();
  /* the other CPUs */
  sched_cpu_init(current_task());
  smp_boot(&machine);
  banner();
  /* files and the first process */
  must(initramfs_init(linear_va(machine.initrd_start), machine.initrd_end.v - machine.initrd_start.v), "initramfs");
  managed_init(&machine);
  handover_init(&machine);
  trace_init(bootargs.trace);
  if (bootargs.probe)
    probe_run();
  must(process_start_init(), "init");
  must(compactd_start(), "compaction");
  must(balloon_start(), "balloon");
  sched_idle();
}
