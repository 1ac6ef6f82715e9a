/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef ABI_VIRTIO_H
#define ABI_VIRTIO_H

/*
 * Virtio 1.2 (OASIS, 1 July 2022) as far as Sluice speaks it: the register map of virtio-mmio version 2 (4.2.2), split virtqueues (2.7),
 * and the devices console (5.3), entropy (5.4) and memory balloon (5.5). All fields little-endian. The hypervisor is the device, the guest
 * kernel the driver.
 */

#include <stdint.h>

/* Registers, by offset in the device's page (4.2.2). */
#define VIRTIO_MMIO_MAGIC 0x000u
#define VIRTIO_MMIO_VERSION 0x004u
#define VIRTIO_MMIO_DEVICE_ID 0x008u
#define VIRTIO_MMIO_VENDOR_ID 0x00cu
#define VIRTIO_MMIO_DEVICE_FEATURES 0x010u
#define VIRTIO_MMIO_DEVICE_FEATURES_SEL 0x014u
#define VIRTIO_MMIO_DRIVER_FEATURES 0x020u
#define VIRTIO_MMIO_DRIVER_FEATURES_SEL 0x024u
#define VIRTIO_MMIO_QUEUE_SEL 0x030u
#define VIRTIO_MMIO_QUEUE_NUM_MAX 0x034u
#define VIRTIO_MMIO_QUEUE_NUM 0x038u
#define VIRTIO_MMIO_QUEUE_READY 0x044u
#define VIRTIO_MMIO_QUEUE_NOTIFY 0x050u
#define VIRTIO_MMIO_INTERRUPT_STATUS 0x060u
#define VIRTIO_MMIO_INTERRUPT_ACK 0x064u
#define VIRTIO_MMIO_STATUS 0x070u
#define VIRTIO_MMIO_QUEUE_DESC_LOW 0x080u
#define VIRTIO_MMIO_QUEUE_DESC_HIGH 0x084u
#define VIRTIO_MMIO_QUEUE_DRIVER_LOW 0x090u
#define VIRTIO_MMIO_QUEUE_DRIVER_HIGH 0x094u
#define VIRTIO_MMIO_QUEUE_DEVICE_LOW 0x0a0u
#define VIRTIO_MMIO_QUEUE_DEVICE_HIGH 0x0a4u
#define VIRTIO_MMIO_SHM_SEL 0x0acu
#define VIRTIO_MMIO_SHM_LEN_LOW 0x0b0u
#define VIRTIO_MMIO_SHM_LEN_HIGH 0x0b4u
#define VIRTIO_MMIO_SHM_BASE_LOW 0x0b8u
#define VIRTIO_MMIO_SHM_BASE_HIGH 0x0bcu
#define VIRTIO_MMIO_QUEUE_RESET 0x0c0u
#define VIRTIO_MMIO_CONFIG_GENERATION 0x0fcu
#define VIRTIO_MMIO_CONFIG 0x100u

#define VIRTIO_MMIO_MAGIC_VALUE 0x74726976u /* "virt" */
#define VIRTIO_MMIO_VERSION_VALUE 2u
#define VIRTIO_VENDOR_ID 0x43554c53u /* "SLUC" */

#define VIRTIO_INTERRUPT_USED 0x1u
#define VIRTIO_INTERRUPT_CONFIG 0x2u

/* Device status (2.1). */
#define VIRTIO_STATUS_ACKNOWLEDGE 0x01u
#define VIRTIO_STATUS_DRIVER 0x02u
#define VIRTIO_STATUS_DRIVER_OK 0x04u
#define VIRTIO_STATUS_FEATURES_OK 0x08u
#define VIRTIO_STATUS_NEEDS_RESET 0x40u
#define VIRTIO_STATUS_FAILED 0x80u

/* Device ids (5). */
#define VIRTIO_ID_CONSOLE 3u
#define VIRTIO_ID_RNG 4u
#define VIRTIO_ID_BALLOON 5u

/* Features of every device (6), as bit numbers. */
#define VIRTIO_F_INDIRECT_DESC 28
#define VIRTIO_F_EVENT_IDX 29
#define VIRTIO_F_VERSION_1 32
#define VIRTIO_F_RING_RESET 40

/* Split virtqueue (2.7). */
#define VIRTQ_DESC_F_NEXT 1u
#define VIRTQ_DESC_F_WRITE 2u
#define VIRTQ_DESC_F_INDIRECT 4u
#define VIRTQ_AVAIL_F_NO_INTERRUPT 1u
#define VIRTQ_USED_F_NO_NOTIFY 1u

struct virtq_desc {
  uint64_t addr; /* IPA */
  uint32_t len;
  uint16_t flags;
  uint16_t next;
};

struct virtq_used_elem {
  uint32_t id;
  uint32_t len;
};

/* Available ring: flags, idx, ring[num], used_event. Used ring: flags, idx, ring[num], avail_event. */
#define VIRTQ_DESC_BYTES(num_) (16u * (num_))
#define VIRTQ_AVAIL_BYTES(num_) (6u + 2u * (num_))
#define VIRTQ_USED_BYTES(num_) (6u + 8u * (num_))

/* Console (5.3). */
#define VIRTIO_CONSOLE_QUEUE_RX 0u
#define VIRTIO_CONSOLE_QUEUE_TX 1u

/* Memory balloon (5.5). */
#define VIRTIO_BALLOON_F_MUST_TELL_HOST 0
#define VIRTIO_BALLOON_F_STATS_VQ 1
#define VIRTIO_BALLOON_F_DEFLATE_ON_OOM 2
#define VIRTIO_BALLOON_F_FREE_PAGE_HINT 3
#define VIRTIO_BALLOON_F_PAGE_POISON 4
#define VIRTIO_BALLOON_F_REPORTING 5
/*
 * Ours, among the bits left to device types (2.2: 50 to 127): inflate and deflate queues carry ranges, struct balloon_range each, in place
 * of page numbers. `num_pages` and `actual` still count 4 KiB pages. Without it the device is the standard one.
 */
#define VIRTIO_BALLOON_F_SLUICE_RANGES 60

#define VIRTIO_BALLOON_PFN_SHIFT 12u
struct balloon_range {
  uint64_t addr;  /* IPA, 4 KiB aligned */
  uint64_t bytes; /* a multiple of 4 KiB, not 0 */
};

struct virtio_balloon_config {
  uint32_t num_pages; /* what the device asks for */
  uint32_t actual;    /* what the driver has given */
  uint32_t free_page_hint_cmd_id;
  uint32_t poison_val;
};

/* Queues come in this order; those whose feature is not offered are left out (5.5.2). */
enum balloon_queue {
  BALLOON_QUEUE_INFLATE = 0,
  BALLOON_QUEUE_DEFLATE,
  BALLOON_QUEUE_STATS,
  BALLOON_QUEUE_FREE_PAGE,
  BALLOON_QUEUE_REPORTING,
  BALLOON_QUEUES
};

/* Statistics (5.5.6.4): tag and value, packed. */
enum balloon_stat_tag {
  BALLOON_S_SWAP_IN = 0,
  BALLOON_S_SWAP_OUT,
  BALLOON_S_MAJFLT,
  BALLOON_S_MINFLT,
  BALLOON_S_MEMFREE,
  BALLOON_S_MEMTOT,
  BALLOON_S_AVAIL,
  BALLOON_S_CACHES,
  BALLOON_S_HTLB_PGALLOC,
  BALLOON_S_HTLB_PGFAIL,
  BALLOON_S_TAGS
};
struct balloon_stat {
  uint16_t tag;
  uint64_t value;
} __attribute__((packed));

#endif
