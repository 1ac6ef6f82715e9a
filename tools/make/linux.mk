# SPDX-License-Identifier: BSD-2-Clause
#
# Debian's own Linux for arm64 as a guest: its kernel as it is (tools/setup linux puts it under build/deps/linux), and an initramfs of a busybox, the kernel's
# virtio modules and dts/linux/init. These scenarios are not among those that `make` builds and `make test` runs: fetching the kernel is 60 MB.

LINUX_SCENARIOS := linux
LINUX_DEPS := $(DEPS)/linux
LINUX_INITRAMFS := $(BUILD)/linux/initramfs.cpio

.PHONY: test-linux
test-linux: ## test: Debian's unmodified Linux as a guest, with and without icount (fetches 60 MB) [PYTEST TEST_JOBS]
	$(call build_then,test linux,all $(LINUX_SCENARIOS:%=$(BUILD)/dts/%.dtb))
	$(Q)$(PYTHON) -m pytest -n $(TEST_JOBS) $(PYTEST) tests/qemu/linux

$(LINUX_SCENARIOS:%=$(BUILD)/dts/%.dtb): $(BUILD)/linux/Image $(LINUX_INITRAMFS)

$(LINUX_DEPS)/Image:
	$(Q)tools/setup linux

# /incbin/ names are relative to $(BUILD)
$(BUILD)/linux/Image: $(LINUX_DEPS)/Image
	$(Q)mkdir -p $(@D) && ln -sf $(abspath $<) $@

$(LINUX_INITRAMFS): dts/linux/init $(LINUX_DEPS)/Image
	$(call say,CPIO,$@)
	$(Q)rm -rf $(@D)/root && mkdir -p $(addprefix $(@D)/root/,bin proc sys dev)
	$(Q)cp $(LINUX_DEPS)/*.ko $(@D)/root/ && cp $(LINUX_DEPS)/busybox $(@D)/root/bin/ && cp $< $(@D)/root/
	$(Q)find $(@D)/root -exec touch -h -d @0 {} +
	$(Q)cd $(@D)/root && find . -mindepth 1 | LC_ALL=C sort | cpio --quiet --reproducible -R 0:0 -H newc -o > $(abspath $@)
