# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Looking for leaked memory, in the guest of a kernel that has kmemleak on. Sourced.

KMEMLEAK=/sys/kernel/debug/kmemleak

# What is there now is not to be told of.
kmemleak_clear() {
	echo scan >"$KMEMLEAK"
	echo clear >"$KMEMLEAK"
}

# Prints what has no pointer to it any more. What is younger than five seconds is not looked at, and a stale copy of a
# pointer, on a stack or in a register, hides a leak from one scan and rarely from the next.
kmemleak_scan() {
	sleep 6
	echo scan >"$KMEMLEAK"
	sleep 1
	echo scan >"$KMEMLEAK"
	cat "$KMEMLEAK"
}
