# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Starts and ends the virtual card. Sourced, after lab.sh.

CARD_BINARY=$CARGO_TARGET_DIR/release/mbcard
CARD_PID='' CARD_DIR='' CARD_SOCKET='' CARD_CONTROL=''

# card_start DIR OPTION...: a card with its log in DIR, ended with the script that started it. Its sockets
# are $CARD_SOCKET, for QEMU, and $CARD_CONTROL, for commands; not in DIR, since a socket's name is 108 bytes at most.
card_start() {
	local log=$1/card.log tries=600
	shift
	CARD_DIR=$(mktemp -d /tmp/mbcard.XXXXXX)
	CARD_SOCKET=$CARD_DIR/socket
	CARD_CONTROL=$CARD_DIR/control
	"$CARD_BINARY" --socket "$CARD_SOCKET" --control "$CARD_CONTROL" "$@" >"$log" 2>&1 </dev/null &
	CARD_PID=$!
	trap card_stop EXIT
	while [ ! -S "$CARD_SOCKET" ]; do
		tries=$((tries - 1))
		if [ "$tries" = 0 ] || ! kill -0 "$CARD_PID" 2>/dev/null; then
			say "the card does not start; its log $log ends with:" >&2
			tail -n 20 "$log" | sed 's/^/    | /' >&2
			return 1
		fi
		sleep 0.1
	done
}

card_stop() {
	[ -z "$CARD_PID" ] || kill "$CARD_PID" 2>/dev/null || true
	[ -z "$CARD_DIR" ] || rm -rf "$CARD_DIR"
	CARD_PID=
}
