/* SPDX-License-Identifier: BSD-2-Clause */
/* One flat image linked at 0 and run anywhere: see start.S. */

OUTPUT_ARCH(aarch64)
ENTRY(_start)

SECTIONS {
  . = 0;
  .text : { KEEP(*(.head)) *(.text .text.*) }
  .rodata : { *(.rodata .rodata.*) }
  .data : ALIGN(4096) { *(.data .data.*) . = ALIGN(16); }
  .bss : ALIGN(16) { _bss_start = .; *(.bss .bss.* COMMON) . = ALIGN(16); _bss_end = .; }
  . = ALIGN(4096);
  _image_end = .;
  _image_size = ABSOLUTE(_image_end);
  /DISCARD/ : { *(.comment) *(.note .note.*) *(.eh_frame) }
}
