# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# What a frame costs from the card up the stack, with the sample driver over a pool (mbnic.ko) and over its own
# buffers (mbnic_plain.ko). Sourced, after nic.sh. Wants one processor.
#
# While the card's interrupts are masked it fills all of a ring with frames; then all of them come up at once, so how fast
# the card is does not matter. The frames are of no protocol that the stack knows, so it drops them, in the poll. The
# driver is polled by a thread of NAPI's, and the scheduler counts what that one has run, and what the workers have, who look
# after a pool: with -icount in instructions.

# Registers: the vectors that are masked, and the frames that group 0 has received.
INT_MASK=$((0x30)) RX_FRAMES=$((0x1008))

# ran: the nanoseconds that these threads have run.
ran() {
	local sum=0 dir name time
	for dir in /proc/[0-9]*; do
		read -r name 2>/dev/null <"$dir/comm" || continue
		case $name in
		napi/* | kworker/*) read -r time _ <"$dir/schedstat" && sum=$((sum + time)) ;;
		esac
	done
	echo "$sum"
}

# The driver of each name, by the way its frames take, and what its buffers are.
driver_of() {
	case $1 in
	copy.pool) echo mbnic ;;
	copy.array) echo mbnic_plain ;;
	lend.pool) echo mbnic zerocopy=1 ;;
	lend.pages) echo mbnic_plain zerocopy=1 ;;
	lend.page_pool) echo mbnic_plain zerocopy=1 page_pool=1 ;;
	esac
}

# start NAME RING: that driver, with one group and so many buffers; its module is $module.
start() {
	local parameters
	read -r module parameters <<<"$(driver_of "$1")"
	# shellcheck disable=SC2086 # words
	insmod "/$module.ko" groups=1 ring="$2" low=0 $parameters && find_device && up 10.9.8.2 &&
		echo 1 >"/sys/class/net/${interface:?}/threaded"
}

# round FRAMES LENGTH: at most as many frames as the ring has places. Prints what they cost together.
round() {
	local held=$(($(peek $RX_FRAMES) + $1)) received before
	poke $INT_MASK $((0x3ff)) && poke $((LAB + 0x24)) 0 && poke $((LAB + 0x20)) 0 &&
		poke $((LAB + 0x1c)) $(($1 | $2 << 16)) && wait_for "$held" peek $RX_FRAMES >&2 || return
	received=$(($(counter rx_packets) + $1)) before=$(ran)
	poke $INT_MASK 0 && wait_for "$received" counter rx_packets >&2 || return
	# The pool sees within 10 ms what is home.
	sleep 0.05
	echo $(($(ran) - before))
}

# measure NAME RING LENGTH ROUNDS: a row of what a frame costs, in thousandths of a nanosecond.
measure() {
	local costs
	# What a pool grows by it has after the first.
	round "$2" "$3" >/dev/null && round "$2" "$3" >/dev/null || return
	costs=$(for _ in $(seq "$4"); do round "$2" "$3" || return; done | sort -n) || return
	awk -v name="$1" -v size="$3" -v ring="$2" '
		{ cost[NR] = $1 * 1000 / ring }
		END { printf "row frames.%s size=%d buffers=%d min=%d median=%d max=%d loop=0\n", \
			name, size, ring, cost[1], cost[int((NR + 1) / 2)], cost[NR] }' <<<"$costs"
}
