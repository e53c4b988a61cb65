# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# explain.sh INTERFACE: what the pools of a card show in sysfs, with a word on each thing.

interface=$1
device=$(readlink -f "/sys/class/net/$interface/device")
value() { cat "$device/mbpool/$pool/$1"; }
# Shows the files named, one a line, and what they mean.
row() { printf '    %-18s %10s   %s\n' "$1" "$(value "$1")" "$2"; }

cat <<END

The card's pools: ${device#/sys/}/mbpool/pools
(the format of the kernel's own dma_pool: name, chunks that are out, all chunks, bytes of a chunk, pages)

$(sed 's/^/    /' "$device/mbpool/pools")

Each pool has a directory of its own. Take the receive pool that saw most:
END

for directory in "$device"/mbpool/rx*; do
	pool=${directory##*/}
	echo "$(value allocations) $pool"
done | sort -n >/tmp/pools
pool=$(tail -n 1 /tmp/pools | cut -d' ' -f2)

cat <<END
${device#/sys/}/mbpool/$pool/

  Its geometry: pages from dma_alloc_coherent, cut into chunks.
$(row page_size 'bytes of a page')
$(row chunks_per_page 'chunks that a page is cut into')
$(row size 'bytes of a chunk, all of them for the frame: no metadata in it')
$(row align 'each chunk begins at a multiple of this')
$(row pages 'pages that it has now')
$(row max_pages 'and may have')

  Where its chunks are now.
$(row card 'the card holds: posted, and waiting to be filled')
$(row used 'the driver holds')
$(row free 'nobody holds')
$(row high_water 'the most that were ever out at once')

  What went by. Each frame is an allocation: the driver posts a new chunk for each that the card fills.
$(row allocations 'chunks handed out')
$(row grown 'pages added')
$(row failures_atomic 'failed, where the caller could not sleep')
$(row failures_sleep 'failed, where it could')

  Handles of the card that were refused. A handle is 32 bits: page, chunk, and $(value generation_bits) bits that tell one
  trip to the card from the next. A good card has none.
$(row bad_out_of_range 'named no chunk')
$(row bad_stale 'of an earlier trip')
$(row bad_wrong_state 'of a chunk that the card does not hold')

The interface: ip -s link show $interface
$(ip -s link show "$interface" | sed 's/^/    /')

END
