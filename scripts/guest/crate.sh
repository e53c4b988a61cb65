# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# The guest's side of suites/crate.vm.

. /ktap.sh

refused() { ! "$@"; }
logged() { dmesg | grep -F "$1"; }
holds() { [ -e /sys/module/mbpool/holders/my_driver ]; }
bound() { ls -d /sys/bus/pci/drivers/my_driver/0000:*; }
unknown_symbols() { [ "$(dmesg | grep -c 'my_driver: Unknown symbol _R.*mbpool')" -gt 0 ]; }

ktap_begin 12
check 'without mbpool.ko the driver is refused' refused insmod /my_driver.ko
dmesg -c >/dev/null
check 'mbpool.ko loads' insmod /mbpool.ko
check 'a driver of another API version is refused' refused insmod /stale.ko
check 'because of unknown symbols' unknown_symbols
check 'the driver loads' insmod /my_driver.ko
check 'it is bound to its device' bound
check 'a buffer went to the card and came back' logged 'my_driver: got 2048 bytes back'
check 'mbpool knows its user' holds
check 'mbpool cannot be unloaded below it' refused rmmod mbpool
check 'the driver is unloaded' rmmod my_driver
check 'no chunk was left behind' refused logged 'leaked'
check 'mbpool is unloaded then' rmmod mbpool
ktap_end
