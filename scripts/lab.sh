# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2034 # those who source this use what it sets
#
# What the lab's scripts share: where things are, and how a long step is run. Sourced, never run.
#
# The lab lives in a cache outside the checkout. Each piece of it is a directory whose name holds a
# hash of what it was made from; it is made under a temporary name and renamed when it is complete,
# so a directory that has its name is whole, and a killed run leaves only litter that the next one
# sweeps away. Whoever makes a piece holds the cache's lock.

set -euo pipefail

LAB_TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
LAB_SCRIPTS=$LAB_TOP/scripts
LAB_CACHE=$(realpath -m "${MBPOOL_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/mbpool}")
LAB_LOGS=$LAB_CACHE/log
LAB_SERIES=$(<"$LAB_SCRIPTS/kernel-series")
LAB_SUITE=trixie
LAB_MIRROR=${MBPOOL_MIRROR:-http://deb.debian.org/debian}

# A hash of files and words: short, and enough to tell one input from another.
lab_key() { sha256sum "$@" | cut -d' ' -f1 | sha256sum | cut -c1-12; }

LAB_ROOT=$LAB_CACHE/root-$(lab_key "$LAB_SCRIPTS"/{provision-root,root-packages})
lab_kernel_key() { lab_key "$LAB_SCRIPTS"/{provision-root,root-packages,provision-kernel,kernel-series} "${@/#/$LAB_SCRIPTS/}"; }
LAB_STOCK=$LAB_CACHE/kernel-$LAB_SERIES-$(lab_kernel_key)
# These are there if somebody asked for them.
LAB_RT=$LAB_CACHE/rt-$LAB_SERIES-$(lab_kernel_key)
LAB_DEBUG=$LAB_CACHE/debug-$LAB_SERIES-$(lab_kernel_key provision-debug machine.config debug.config)
LAB_KCSAN=$LAB_CACHE/kcsan-$LAB_SERIES-$(lab_kernel_key provision-debug machine.config kcsan.config)
LAB_UML=${LAB_UML:-$LAB_CACHE/uml-$LAB_SERIES-$(lab_kernel_key provision-uml)}
LAB_VALGRIND=$LAB_CACHE/valgrind-$(lab_key "$LAB_SCRIPTS"/{provision-root,root-packages,provision-valgrind})

# Outputs of this checkout: a second checkout has its own, and so has each kernel that the modules are built for.
LAB_OUT=$LAB_CACHE/out/$(basename "$LAB_TOP")-$(sha256sum <<<"$LAB_TOP" | cut -c1-8)
LAB_CARGO=$LAB_OUT/cargo

# The kernel that modules are built for and that the VM boots.
case ${MBPOOL_KERNEL:-stock} in
stock) LAB_KERNEL=$LAB_STOCK ;;
debug) LAB_KERNEL=$LAB_DEBUG LAB_OUT=$LAB_OUT/debug ;;
kcsan) LAB_KERNEL=$LAB_KCSAN LAB_OUT=$LAB_OUT/kcsan ;;
rt) LAB_KERNEL=$LAB_RT LAB_OUT=$LAB_OUT/rt ;;
*) printf 'MBPOOL_KERNEL=%s: there are stock, debug, kcsan and rt\n' "$MBPOOL_KERNEL" >&2; exit 1 ;;
esac

say() { printf '%s\n' "$*"; }
die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }

# lab_step TITLE USUAL LOG COMMAND...: runs COMMAND with its output in LOG, and shows that it is
# alive: a moving line on a terminal, a line each half minute elsewhere. When it fails, the end of the log is
# printed, and where the rest is.
lab_step() {
	local title=$1 usual=$2 log=$LAB_LOGS/$3 start=$SECONDS pid rc=0 tick=0
	shift 3
	mkdir -p "$LAB_LOGS"
	say "==> $title (usually $usual)"
	# A process group of its own, so that all of it ends with this script.
	set -m
	"$@" >"$log" 2>&1 </dev/null &
	pid=$!
	set +m
	trap 'kill -- "-$pid" 2>/dev/null; exit 130' INT TERM HUP
	while kill -0 "$pid" 2>/dev/null; do
		sleep 0.5
		tick=$((tick + 1))
		if [ -t 1 ]; then
			printf '\r\033[K    %3d s  %.*s' $((SECONDS - start)) 60 "$(tail -n 1 "$log" | tr -d '\r')"
		elif [ $((tick % 60)) = 0 ]; then
			say "    ... $((SECONDS - start)) s: $(tail -n 1 "$log" | cut -c1-100)"
		fi
	done
	wait "$pid" || rc=$?
	trap - INT TERM HUP
	[ ! -t 1 ] || printf '\r\033[K'
	if [ "$rc" != 0 ]; then
		say "    FAILED after $((SECONDS - start)) s. The last lines of $log:" >&2
		tail -n 25 "$log" | sed 's/^/    | /' >&2
		return "$rc"
	fi
	say "    done in $((SECONDS - start)) s"
}
