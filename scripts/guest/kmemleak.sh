# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Looking for what was left behind, in the guest of a kernel that has kmemleak and DMA_API_DEBUG on. Sourced.

KMEMLEAK=/sys/kernel/debug/kmemleak

# What is there now is not to be told of.
kmemleak_clear() {
	echo scan >"$KMEMLEAK"
	echo clear >"$KMEMLEAK"
}

# Prints what has no pointer to it any more. What is younger than five seconds is not looked at, and a stale copy of a
# pointer, on a stack or in a register, hides a leak from one scan and rarely from the next. Where it had no memory for its
# own books it has switched itself off, and would say nothing.
kmemleak_scan() {
	sleep 6
	echo scan >"$KMEMLEAK" || echo 'kmemleak is off'
	sleep 1
	echo scan >"$KMEMLEAK"
	cat "$KMEMLEAK"
}

nothing_leaked() { [ -z "$(kmemleak_scan | tee /dev/stderr)" ]; }

# The list of mappings, too, ends when there is no memory for it.
nothing_mapped() {
	[ "$(</sys/kernel/debug/dma-api/disabled)" = N ]
	! grep -E '^(faux_driver mbpool|mbpool_test|mbnic|mbedu) ' /sys/kernel/debug/dma-api/dump
}
