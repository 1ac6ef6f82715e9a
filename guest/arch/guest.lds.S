/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The guest kernel's image. Linked at KERNEL_BASE, loaded anywhere 2 MiB aligned. Text, rodata and data each start on a page, so
 * that each gets its own permissions; everything stays within the 2 MiB block that maps it while booting.
 */
#include "guest/arch/layout.h"

OUTPUT_ARCH(aarch64)
ENTRY(_start)

SECTIONS
{
  . = KERNEL_BASE;
  __image_start = .;
  .head.text : { *(.head.text) }
  .text : {
    . = ALIGN(2048);
    *(.text.vectors)
    *(.text .text.*)
  }
  . = ALIGN(4096);
  __text_end = .;
  .rodata : {
    *(.rodata .rodata.*)
    . = ALIGN(8);
    __extable_start = .;
    KEEP(*(.extable))
    __extable_end = .;
  }
  . = ALIGN(4096);
  __rodata_end = .;
  .data : {
    *(.data .data.*)
    *(.got .got.plt)
    . = ALIGN(4096);
  }
  __data_end = .;
  .bss (NOLOAD) : {
    __bss_start = .;
    *(.bss .bss.*)
    *(COMMON)
    . = ALIGN(16);
    __bss_end = .;
    . = ALIGN(4096);
    *(.boot_tables)
  }
  . = ALIGN(4096);
  __image_end = .;
  _image_bytes = ABSOLUTE(__image_end - __image_start);
  ASSERT(_image_bytes <= IMAGE_MAX_BYTES, "the image must fit the 2 MiB block that maps it at boot")

  /DISCARD/ : { *(.comment) *(.note.*) *(.eh_frame*) *(.interp) *(.dynamic) }
}
