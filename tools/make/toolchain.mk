# SPDX-License-Identifier: BSD-2-Clause
#
# Compilers and flags. COMPILER=gcc (default) or clang; DEBUG=1 builds at -Og; V=1 shows whole commands.

COMPILER ?= gcc
DEBUG ?= 0
V ?= 0

Q := $(if $(filter 1,$(V)),,@)
# $(call say,CC,file): the one short line that a step shows
say = $(if $(filter 1,$(V)),,@printf '  %-9s%s\n' '$(1)' '$(2)')

# An arm64 host builds with its own tools.
ifeq ($(shell uname -m),aarch64)
CROSS ?=
else
CROSS ?= aarch64-linux-gnu-
endif

ifeq ($(COMPILER),clang)
TARGET_CC := clang --target=aarch64-linux-gnu
TARGET_NOLIBC := -nostdlibinc
HOST_CC := clang
else ifeq ($(COMPILER),gcc)
TARGET_CC := $(CROSS)gcc
TARGET_NOLIBC = -nostdinc -isystem $(GCC_INCLUDE)
GCC_INCLUDE := $(shell $(CROSS)gcc -print-file-name=include 2>/dev/null)
HOST_CC := gcc
else
$(error COMPILER=$(COMPILER): know gcc and clang)
endif

TARGET_LD := $(CROSS)ld
OBJCOPY := $(CROSS)objcopy
NM := $(CROSS)nm
DTC := dtc

OPT := $(if $(filter 1,$(DEBUG)),-Og,-O2) -g

WARN := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wold-style-definition -Wundef -Wvla \
        -Wwrite-strings -Wpointer-arith -Wcast-qual -Wimplicit-fallthrough

# What both kernels and the user programs share. Armv8.0 is the base: no outlined atomics, no newer instruction by itself.
TARGET_CFLAGS := -std=c11 -ffreestanding -fno-common -fno-stack-protector -fno-pic -fno-pie -mcmodel=small -march=armv8-a \
                 -mno-outline-atomics -mgeneral-regs-only -fno-asynchronous-unwind-tables -fno-unwind-tables \
                 -fno-strict-aliasing -fno-delete-null-pointer-checks -ffunction-sections -fdata-sections
TARGET_ASFLAGS := -march=armv8-a -D__ASSEMBLY__ $(if $(filter clang,$(COMPILER)),-Wno-unused-command-line-argument)
# Alignment checking is on from the first instruction at EL2 and before the MMU at EL1.
KERNEL_CFLAGS := -mstrict-align

# A library function must not be recognised as itself and turned into a call of itself.
LIB_CFLAGS := $(if $(filter gcc,$(COMPILER)),-fno-tree-loop-distribute-patterns,-fno-builtin)

TARGET_LDFLAGS := -nostdlib -static --build-id=none -z noexecstack -z max-page-size=4096 --no-dynamic-linker --gc-sections
# newer binutils warn about RWX segments: an image is loaded flat, its own MMU tables give the permissions
TARGET_LDFLAGS += $(shell $(TARGET_LD) --help 2>/dev/null | grep -q no-warn-rwx && echo --no-warn-rwx-segments)
