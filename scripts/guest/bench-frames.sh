# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# vm: --icount --timeout 900 --append iomem=relaxed
# card:
#
# The guest's side of scripts/bench, of frames: what each costs, by driver and length.

. /nic.sh
. /frames.sh

sleep 60
insmod /mbpool.ko
for name in copy.pool copy.array lend.pool lend.pages lend.page_pool; do
	start "$name" 2048 || exit
	for length in 64 512 1514; do
		measure "$name" 2048 "$length" 5 || exit
	done
	rmmod "$module"
done
echo 'done'
