/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef ABI_SCENARIO_H
#define ABI_SCENARIO_H

/*
 * The scenario binding: names of the nodes and properties of a scenario's device tree. docs/scenario.md says what each means.
 * The parser refuses every name that is not here, so this list is the whole language.
 */

#define SCENARIO_COMPATIBLE "sluice,scenario"
#define SCENARIO_VM_COMPATIBLE "sluice,vm"

/* Nodes */
#define SCN_HYPERVISOR "hypervisor"
#define SCN_IMAGES "images"
#define SCN_VMS "vms"
#define SCN_TIMELINE "timeline"
#define SCN_MANAGED "managed"

/* Any node */
#define SCN_COMPATIBLE "compatible"
#define SCN_PHANDLE "phandle"
#define SCN_LINUX_PHANDLE "linux,phandle"

/* Root: what the launcher on the host reads; EL2 checks the form and otherwise leaves them alone */
#define SCN_DESCRIPTION "description"
#define SCN_MACHINE_CPUS "sluice,machine-cpus"
#define SCN_MACHINE_MEMORY "sluice,machine-memory-mib"
#define SCN_MACHINE_CPU "sluice,machine-cpu"
#define SCN_MACHINE_NODES "sluice,machine-nodes"
#define SCN_TIMEOUT "sluice,timeout-s"

/* /hypervisor */
#define SCN_TRACE "trace"
#define SCN_TRACE_RECORDS "trace-records"
#define SCN_FEATURES_OFF "features-off"
#define SCN_VMID_BITS "vmid-bits"
#define SCN_SLICE_US "slice-us"
#define SCN_CONSOLE_QUIET "console-quiet" /* a VM's as well */
#define SCN_MEASURE_MASKED "measure-masked"
#define SCN_MEASURE_EL2 "measure-el2"
#define SCN_ZEROED_POOL "zeroed-pool-mib"
#define SCN_SAMPLE_MS "sample-ms"
#define SCN_POLICY "policy"
#define SCN_POLICY_PERIOD "policy-period-ms"
#define SCN_HANDOVER_TEST "handover-self-test"

/* /images/<name> */
#define SCN_DATA "data"

/* /vms/<name> */
#define SCN_MEMORY "memory-mib"
#define SCN_VCPUS "vcpus"
#define SCN_IMAGE "image"
#define SCN_INITRD "initrd"
#define SCN_BOOTARGS "bootargs"
#define SCN_AFFINITY "cpu-affinity"
#define SCN_WEIGHT "weight"
#define SCN_NO_AUTOSTART "no-autostart"
#define SCN_TRAP_S1 "trap-stage1-faults"
#define SCN_FORCE_4K "force-4k"
#define SCN_VIRTIO "virtio"
#define SCN_QUOTA_MIN "quota-min-mib"
#define SCN_QUOTA_LOW "quota-low-mib"
#define SCN_QUOTA_HIGH "quota-high-mib"
#define SCN_QUOTA_MAX "quota-max-mib"
#define SCN_MEMORY_WEIGHT "memory-weight"
#define SCN_BALLOON_FEATURES "balloon-features"
#define SCN_WINDOW "handover-window-mib"

/* /managed/<range> */
#define SCN_SIZE "size-mib"
#define SCN_MEMBERS "members"
#define SCN_MEMBER_QUOTA "member-quota-mib"
#define SCN_TRANSFER "transfer"
#define SCN_PREFER "prefer"
#define SCN_ACCESSED_BY "accessed-by"
#define SCN_READ_DUP "read-duplication"
#define SCN_NO_MIGRATE "no-migrate"
#define SCN_PREFETCH "prefetch-percent"
#define SCN_THRASH_EVENTS "thrash-events"
#define SCN_THRASH_THROTTLES "thrash-throttles"
#define SCN_THRASH_LAPSE "thrash-lapse-us"
#define SCN_THRASH_NAP "thrash-nap-us"
#define SCN_PIN "thrash-pin-ms"

/* /timeline/<step> */
#define SCN_AFTER_MS "after-ms"
#define SCN_WITHIN_MS "within-ms"
#define SCN_RUN "run"
#define SCN_EXPECT "expect"
#define SCN_EXPECT_NOT "expect-not"
#define SCN_EXPECT_VERDICT "expect-verdict"

/* Words of `features-off`, in the order of the HYP_FEAT_* bits. */
#define SCENARIO_FEATURES                                                                                                                  \
  { "vmid16", "tlbi-range", "ttl", "fwb", "hafdbs", "bbm2", "dic", "idc" }

/* Words of `virtio`: the number of a device is that of its slot. */
#define SCENARIO_VIRTIO                                                                                                                    \
  { "console", "rng", "balloon" }

/*
 * Words of `balloon-features`; "none" for a list without any of them. Without the property: SCENARIO_BALLOON_DEFAULT (stats,
 * deflate-on-oom, reporting, ranges).
 */
#define SCENARIO_BALLOON_DEFAULT 0x36u
#define SCENARIO_BALLOON_FEATURES                                                                                                          \
  { "must-tell-host", "stats", "deflate-on-oom", "poison", "reporting", "ranges", "none" }

/* Words of `transfer`: how a page of managed memory goes from one guest to another. */
#define SCENARIO_TRANSFERS                                                                                                                 \
  { "copy", "move" }

/* Limits */
#define SCENARIO_IMAGES_MAX 16u
#define SCENARIO_STEPS_MAX 64u
#define SCENARIO_STRINGS_MAX 16u /* in one list of a step */
#define SCENARIO_TRACE_RECORDS_MAX 0x400000u

#endif
