# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Fault injection, in the guest of a kernel that has it: from here on whoever sets his fail-nth has an allocation fail. Sourced.

# Any allocation may fail, whether or not it could sleep, and of whatever size; without a stack trace for each.
for kind in failslab fail_page_alloc; do
	echo 0 >/sys/kernel/debug/$kind/verbose
	echo N >/sys/kernel/debug/$kind/ignore-gfp-wait
done
echo N >/sys/kernel/debug/fail_page_alloc/ignore-gfp-highmem
echo 0 >/sys/kernel/debug/fail_page_alloc/min-order

# But for what kmemleak allocates to know what was: each allocation would be two.
for cache in /sys/kernel/slab/*/; do
	[[ $cache = */kmemleak_* ]] || echo 1 >"$cache/failslab"
done
echo Y >/sys/kernel/debug/failslab/cache-filter
