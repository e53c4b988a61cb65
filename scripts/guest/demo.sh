# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# The guest's side of scripts/demo. Each "== word" is a step that the other side waits for.

set -e
word() { sed -n "s/.*mbpool\.$1=\([^ ]*\).*/\1/p" /proc/cmdline; }
host=$(word host) guest=$(word guest)

insmod /mbpool.ko
insmod /mbnic.ko
interface=$(ls /sys/bus/pci/drivers/mbnic/0000:*/net)
ip address add "$guest/24" dev "$interface"
ip link set "$interface" up
ping -q -c 1 -W 10 "$host" >/dev/null
echo '== ready'

nc.openbsd -d -l 5001 >/tmp/bulk &
echo '== listening'
wait $!
echo "sha256 $(sha256sum </tmp/bulk | cut -d' ' -f1)"
echo '== received'

nc.openbsd -d -l 5003 >/dev/null
nc.openbsd -N "$host" 5002 </tmp/bulk

echo '== pools'
bash /explain.sh "$interface"
echo '== done'
