# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# The sample driver and the card's lab registers (Documentation/mbcard.rst) for suites in the guest; want
# iomem=relaxed on the kernel's command line. Sourced, after ktap.sh.

LAB=$((0x4000))

# load PARAMETER...: loads the driver; $device is the card's directory in sysfs, $interface its interface.
load() {
	insmod /mbnic.ko "$@" && find_device
}

find_device() {
	device=$(readlink -f /sys/bus/pci/drivers/mbnic/0000:*)
	[ -d "$device/net" ] || return 1
	interface=$(ls "$device/net")
	registers=$(($(cut -d' ' -f1 "$device/resource" | head -n 1)))
}

# up ADDRESS: the interface with an address, and its peer, from which the card's datagrams come.
up() {
	ip link set "$interface" up &&
		ip address replace "$1/24" dev "$interface" &&
		ip neighbour replace 10.9.8.3 lladdr 02:00:00:00:00:03 dev "$interface" &&
		sysctl -q -w "net.ipv4.conf.$interface.rp_filter=0"
}

# poke OFFSET VALUE, peek OFFSET: a register of the card.
poke() { busybox devmem $((registers + $1)) 32 "$2"; }
peek() { echo $(($(busybox devmem $((registers + $1)) 32))); }

counter() { cat "/sys/class/net/$interface/statistics/$1"; }
pool() { cat "$device/mbpool/$1/$2"; }
queue() { cat "/sys/class/net/$interface/queues/rx-$1/mbnic/$2"; }

# The card has had no buffer for so many frames.
no_buffer() { ethtool -S "$interface" | sed -n 's/^ *rx_no_buffer: //p'; }

# datagrams FRAMES LENGTH RATE: the card receives so many, as from 10.9.8.3, to 10.9.8.2.
datagrams() {
	poke $((LAB + 0x24)) $((0x0a090802)) &&
		poke $((LAB + 0x20)) "$3" &&
		poke $((LAB + 0x1c)) $(($1 | $2 << 16))
}

# listen FILE: a process that writes what datagrams hold into FILE; its number is $reader, and there is one at a
# time. Of a process that was stopped the socket goes on to take what comes.
listen() {
	killall -q -KILL nc.openbsd || true
	wait_for 0 grep -c ':4D42 .*:4D42 ' /proc/net/udp || return
	nc.openbsd -u -d -p 19778 -s 10.9.8.2 10.9.8.3 19778 </dev/null >"$1" 2>/dev/null &
	# shellcheck disable=SC2034 # for who sources this
	reader=$!
	wait_for 1 grep -c ':4D42 .*:4D42 ' /proc/net/udp
}

# wait_for WANT COMMAND...: until COMMAND prints WANT.
wait_for() {
	local want=$1 got=
	shift
	for _ in $(seq 600); do
		got=$("$@")
		[ "$got" = "$want" ] && return
		sleep 0.05
	done
	echo "$*: $got, not $want"
	return 1
}

size_of() { stat -c %s "$1"; }

# fetch FILE FRAMES: so many datagrams of $LENGTH come, and what they hold is in FILE.
fetch() {
	listen "$1" && datagrams "$2" "$LENGTH" 2000 &&
		wait_for "$(($2 * (LENGTH - 42)))" size_of "$1" &&
		kill "$reader"
}

# expected NUMBER: the bytes after the headers of a made frame with that number, of seed 0, in hex.
expected() {
	local state=$((($1 * 0x9e3779b9 & 0xffffffff) | 1))
	printf '00000000%08x' "$1"
	for _ in $(seq $((LENGTH - 50))); do
		state=$((state ^ (state << 13 & 0xffffffff)))
		state=$((state ^ state >> 17))
		state=$((state ^ (state << 5 & 0xffffffff)))
		printf '%02x' $((state & 0xff))
	done
	echo
}

# one FILE NUMBER: the bytes of the datagram of that number in a file of them.
one() { tail -c +$(($2 * (LENGTH - 42) + 1)) "$1" | head -c $((LENGTH - 42)) | xxd -p | tr -d '\n'; }

# is_made FILE NUMBER: each byte of it is as the card made it.
is_made() {
	local bytes
	bytes=$(one "$1" "$2")
	[ "$bytes" = "$(expected "$2")" ] || { echo "$bytes"; expected "$2"; return 1; }
}
