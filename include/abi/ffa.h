/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef ABI_FFA_H
#define ABI_FFA_H

/*
 * Firmware Framework for Arm A-profile 1.1 (Arm DEN0077A): what its memory management needs. Function ids, status codes, and the
 * descriptors that lie in TX and RX buffers. Little-endian, at the offsets of the specification's tables (5.16 to 5.19 and 16.1 of 1.1
 * REL0).
 *
 *      0                48                   48 + 16 * n            composite_offset + 16
 *   +------------------+--------------------+- - -+---------------+-----------------------------+
 *   | transaction      | access to it, of n |     | composite     | constituents: address,pages |
 *   +------------------+--------------------+- - -+---------------+-----------------------------+
 */

#include <stdint.h>

#define FFA_VERSION_1_1 0x00010001u

#define FFA_ERROR 0x84000060u
#define FFA_SUCCESS_32 0x84000061u
#define FFA_VERSION 0x84000063u
#define FFA_FEATURES 0x84000064u
#define FFA_RX_RELEASE 0x84000065u
#define FFA_RXTX_MAP_32 0x84000066u
#define FFA_RXTX_MAP_64 0xc4000066u
#define FFA_RXTX_UNMAP 0x84000067u
#define FFA_PARTITION_INFO_GET 0x84000068u
#define FFA_ID_GET 0x84000069u
#define FFA_MEM_DONATE_32 0x84000071u
#define FFA_MEM_LEND_32 0x84000072u
#define FFA_MEM_SHARE_32 0x84000073u
#define FFA_MEM_RETRIEVE_REQ_32 0x84000074u
#define FFA_MEM_RETRIEVE_RESP 0x84000075u
#define FFA_MEM_RELINQUISH 0x84000076u
#define FFA_MEM_RECLAIM 0x84000077u
#define FFA_MEM_FRAG_RX 0x8400007au
#define FFA_MEM_FRAG_TX 0x8400007bu
#define FFA_64 0x40000000u /* SMC64 twin of DONATE, LEND, SHARE, RETRIEVE_REQ */

/* The range of ids that is FF-A's: fast calls of the standard services. */
#define FFA_FAST 0x84000000u
#define FFA_NUMBER_FIRST 0x60u
#define FFA_NUMBER_LAST 0xefu

enum ffa_status {
  FFA_NOT_SUPPORTED = -1,
  FFA_INVALID_PARAMETERS = -2,
  FFA_NO_MEMORY = -3,
  FFA_BUSY = -4,
  FFA_INTERRUPTED = -5,
  FFA_DENIED = -6,
  FFA_RETRY = -7,
  FFA_ABORTED = -8,
  FFA_NO_DATA = -9
};

/* Memory region attributes: Normal, write-back, inner shareable is the only one offered. */
#define FFA_ATTR_NORMAL_WB_INNER 0x2fu

/* Permissions of one endpoint. */
#define FFA_DATA_MASK 0x3u
#define FFA_DATA_UNSPECIFIED 0x0u
#define FFA_DATA_RO 0x1u
#define FFA_DATA_RW 0x2u
#define FFA_INSTRUCTION_MASK 0xcu
#define FFA_INSTRUCTION_UNSPECIFIED 0x0u
#define FFA_INSTRUCTION_XN 0x4u
#define FFA_INSTRUCTION_X 0x8u

/* Flags of a transaction, of RELINQUISH and of RECLAIM. */
#define FFA_FLAG_ZERO 0x1u
#define FFA_FLAG_ZERO_AFTER 0x4u /* RETRIEVE_REQ: when it is relinquished */
#define FFA_FLAG_TYPE_MASK 0x18u /* RETRIEVE_REQ: what the receiver expects; 0: it does not say */
#define FFA_FLAG_TYPE_SHARE 0x08u
#define FFA_FLAG_TYPE_LEND 0x10u
#define FFA_FLAG_TYPE_DONATE 0x18u

struct ffa_transaction {
  uint16_t sender;
  uint16_t attributes;
  uint32_t flags;
  uint64_t handle; /* 0 when sent */
  uint64_t tag;
  uint32_t access_bytes; /* of one struct ffa_access */
  uint32_t access_count;
  uint32_t access_offset;
  uint32_t reserved[3];
};

struct ffa_access {
  uint16_t endpoint;
  uint8_t permissions;
  uint8_t flags;
  uint32_t composite_offset; /* from the transaction's start */
  uint64_t reserved;
};

struct ffa_composite {
  uint32_t pages;
  uint32_t ranges;
  uint64_t reserved;
};

struct ffa_constituent {
  uint64_t address;
  uint32_t pages;
  uint32_t reserved;
};

/* FFA_PARTITION_INFO_GET: a flag, what RX has of each partition, and one of its properties. */
#define FFA_PARTITION_COUNT_ONLY 0x1u
#define FFA_PARTITION_AARCH64 0x100u

struct ffa_partition_info {
  uint16_t id;
  uint16_t contexts; /* vCPUs */
  uint32_t properties;
  uint32_t uuid[4];
};

/* FFA_MEM_RELINQUISH, in the TX buffer; endpoint ids follow. */
struct ffa_relinquish {
  uint64_t handle;
  uint32_t flags;
  uint32_t endpoints;
};

_Static_assert(sizeof(struct ffa_transaction) == 48 && sizeof(struct ffa_access) == 16, "DEN0077A tables 5.16, 5.19");
_Static_assert(sizeof(struct ffa_composite) == 16 && sizeof(struct ffa_constituent) == 16, "DEN0077A tables 5.13, 5.14");
_Static_assert(sizeof(struct ffa_partition_info) == 24, "DEN0077A table 6.1");
_Static_assert(sizeof(struct ffa_relinquish) == 16, "DEN0077A table 16.25");

#endif
