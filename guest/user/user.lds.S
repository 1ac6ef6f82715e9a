/* SPDX-License-Identifier: BSD-2-Clause */
/* User programs: static, at 4 MiB, one segment per permission, each on its own pages. */
OUTPUT_ARCH(aarch64)
ENTRY(_start)

PHDRS
{
  text PT_LOAD FILEHDR PHDRS FLAGS(5);
  rodata PT_LOAD FLAGS(4);
  data PT_LOAD FLAGS(6);
}

SECTIONS
{
  . = 0x400000 + SIZEOF_HEADERS;
  .text : { KEEP(*(.text.start)) *(.text .text.*) } :text
  . = ALIGN(4096) + (. & 4095);
  .rodata : { *(.rodata .rodata.*) } :rodata
  . = ALIGN(4096) + (. & 4095);
  .data : { *(.data .data.*) } :data
  .bss : { *(.bss .bss.*) *(COMMON) } :data
  /DISCARD/ : { *(.comment) *(.note.*) *(.eh_frame*) }
}
