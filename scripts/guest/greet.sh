# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# What a shell in the VM begins with: the modules in place, and a word on where to look.

insmod /mbpool.ko && insmod /mbnic.ko || return
interface=$(ls /sys/bus/pci/drivers/mbnic/0000:*/net)
device=/sys/class/net/$interface/device
ip address add 10.109.98.2/24 dev "$interface"
ip link set "$interface" up
cat <<END

  The card is $interface. Its pools are in $device/mbpool.

    cat $device/mbpool/pools
    bash /explain.sh $interface
    ping 10.109.98.1
    tcpdump -ni $interface &
    ethtool -S $interface
    rmmod mbnic mbpool; dmesg | tail

  exit, or Ctrl-A X, ends the VM.

END
