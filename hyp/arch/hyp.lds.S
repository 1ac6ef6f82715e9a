/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The hypervisor's image. Linked where QEMU's Linux loader puts it (RAM base + 2 MiB), so that symbols need no offset in gdb; loaded
 * anywhere else that is 2 MiB aligned, start.S applies the relative relocations first.
 *
 *   text   RX      rodata R      data + bss RW      stacks RW with a guard page under each
 */
#include "hyp/arch/offsets.h"

OUTPUT_ARCH(aarch64)
ENTRY(image_head)

PHDRS {
  text PT_LOAD FLAGS(5);
  rodata PT_LOAD FLAGS(4);
  data PT_LOAD FLAGS(6);
}

SECTIONS {
  . = 0x40200000;
  image_start = .;
  .text : {
    *(.head.text)
    /* fills what the vectors' alignment to 2 KiB would leave empty */
    *copy.S.o(.text) *fp_registers.S.o(.text) *vgic_lr_access.S.o(.text)
    *(.vectors)
    *(.text .text.*)
  } :text
  . = ALIGN(4096);
  text_end = .;
  .rodata : {
    *(.rodata .rodata.*)
    /* POLICY() */
    . = ALIGN(8);
    __start_policies = .;
    KEEP(*(policies))
    __stop_policies = .;
  } :rodata
  /* libfdt asks for the stack protector's word through it. */
  .got : { *(.got .got.plt) } :rodata
  /* Made from a first link without them (tools/relocations, tools/symbols): last, so that they move nothing that they speak of. */
  .tables : {
    . = ALIGN(8);
    relr_start = .;
    KEEP(*(.relr))
    relr_end = .;
    *(.symbols)
  } :rodata
  . = ALIGN(4096);
  rodata_end = .;
  .data : {
    *(.data .data.*)
    . = ALIGN(16);
  } :data
  data_end = .;
  .bss (NOLOAD) : {
    bss_start = .;
    *(.bss .bss.* COMMON)
    . = ALIGN(64);
    bss_end = .;
  } :data
  . = ALIGN(4096);
  /* Not cleared at start: tables and stacks clear themselves. */
  .noinit (NOLOAD) : {
    *(.noinit .noinit.*)
    . = ALIGN(4096);
  } :data
  image_end = .;
  image_bytes = ABSOLUTE(image_end - image_start);
  /DISCARD/ : { *(.comment) *(.note.*) *(.eh_frame*) *(.ARM.attributes) }
}
ASSERT(image_end - image_start <= 0x200000, "the image must fit its 2 MiB window")
ASSERT(bss_end - image_start <= 0x100000, "the tiny code model reaches 1 MiB")
