# SPDX-License-Identifier: BSD-2-Clause
#
# Sluice: every entry point is here. `make help` lists them.
#
#   tools/make/toolchain.mk   compilers, flags, how a command is shown
#   tools/make/image.mk       hypervisor, guest kernel, user programs, initramfs, bench payload, device trees
#   tools/make/host.mk        host tests, fuzzers, mutants

MAKEFLAGS += --no-builtin-rules --no-builtin-variables
.DELETE_ON_ERROR:
.SUFFIXES:
.DEFAULT_GOAL := all

BUILD ?= build
DEPS := build/deps
SCENARIO ?=
CPUS ?=
MEM ?=
CPU ?=
TIMEOUT ?=

include tools/make/toolchain.mk
include tools/make/image.mk
include tools/make/host.mk

PYTHON := /usr/bin/python3

.PHONY: all
all: images dtbs ## Build the hypervisor, the guest kernel with its user programs, and every scenario

.PHONY: clean
clean: ## Remove everything that was built (build/)
	$(Q)rm -rf build
