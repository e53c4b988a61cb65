# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# What a shell in the VM begins with: the modules in place, and a word on where to look.

insmod /mbpool.ko && insmod /mbnic.ko || return
device=$(readlink -f /sys/bus/pci/drivers/mbnic/0000:*)
interface=$(ls "$device/net")
ip address add 10.109.98.2/24 dev "$interface"
ip link set "$interface" up
cat <<END

  The card is $interface ($device).
    cat $device/mbpool/pools   the pools' table
    ls $device/mbpool/*        a directory for each pool
    bash /explain.sh $device $interface
    ping 10.109.98.1           the host's side;  tcpdump -ni $interface &
    rmmod mbnic mbpool; dmesg | tail
  exit, or Ctrl-A X, ends the VM.

END
