# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# KTAP for shell scripts, in the guest (as /ktap.sh) and outside. Sourced.
#
#     . /ktap.sh
#     ktap_begin 2
#     check 'the module loads' insmod /mbpool.ko
#     check 'the name of the test' any_function argument
#     ktap_end
#
# The plan is given by hand: a script that stops early is then seen.

ktap_number=0
ktap_failed=0

# ktap_begin N: N results will follow.
ktap_begin() {
	echo 'KTAP version 1'
	echo "1..$1"
}

# result ok|'not ok' NAME: one result.
result() {
	ktap_number=$((ktap_number + 1))
	[ "$1" = ok ] || ktap_failed=$((ktap_failed + 1))
	echo "$1 $ktap_number $2"
}

# check NAME COMMAND...: passes if COMMAND does; what it printed is shown as diagnostics if not. COMMAND runs under -e,
# so a function fails at its first line that does. Bash drops -e in all that stands in a condition, so a check that
# stands in one itself (after if or !, before && or ||) cannot hold COMMAND to it, and fails.
check() {
	local name=$1 dropped output status options=$-
	shift
	set +e
	dropped=$(set -e; false; echo yes)
	output=$(set -e; "$@" 2>&1)
	status=$?
	[[ $options != *e* ]] || set -e
	if [ -n "$dropped" ]; then
		echo "# check stands in a condition"
		result 'not ok' "$name"
	elif [ "$status" = 0 ]; then
		result ok "$name"
	else
		[ -z "$output" ] || sed 's/^/# /' <<<"$output"
		echo "# $*: exit status $status"
		result 'not ok' "$name"
	fi
}

# skip NAME WHY
skip() {
	ktap_number=$((ktap_number + 1))
	echo "ok $ktap_number $1 # SKIP $2"
}

# ktap_end: the script's exit status.
ktap_end() { [ "$ktap_failed" = 0 ]; }

# ktap_of_kernel NAME: the report that module NAME wrote to the kernel log, without the log's prefixes.
ktap_of_kernel() { dmesg | sed -nE "s/^(<[0-9]+>)?(\[[^]]*\] )?$1: //p"; }
