# SPDX-License-Identifier: GPL-2.0
"""Tests of console.py: each kind of fault is seen, and a sound boot is quiet."""

import unittest

from console import fault

FAULTY = """\
[    4.1] WARNING: CPU: 0 PID: 77 at mm/dmapool.c:300 dma_pool_destroy+0x1/0x2
[    4.1] WARNING: possible circular locking dependency detected
[    4.1] WARNING: inconsistent lock state
[    4.1] WARNING: suspicious RCU usage
[    4.1] BUG: kernel NULL pointer dereference, address: 0000000000000008
[    4.1] BUG: scheduling while atomic: insmod/77/0x00000002
[    4.1] BUG: sleeping function called from invalid context at mm/slab.h:400
[    4.1] BUG: KFENCE: use-after-free read in mbnic_poll+0x1/0x2
[    4.1] kernel BUG at mm/slub.c:400!
[    4.1] Oops: Oops: 0000 [#1] SMP NOPTI
[    4.1] Oops: general protection fault, probably for non-canonical address 0xdead: 0000 [#1]
[    4.1] Kernel panic - not syncing: Fatal exception
[    4.1] rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:
[    4.1] rcu: INFO: rcu_preempt self-detected stall on CPU
[    4.1] watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [insmod:77]
[    4.1] INFO: task rmmod:99 blocked for more than 120 seconds.
[    4.1] refcount_t: underflow; use-after-free.
[    4.1] UBSAN: array-index-out-of-bounds in drivers/x.c:3:4
[    4.1] DMAR: [DMA Write NO_PASID] Request device [00:01.0] fault addr 0xfffff000 [fault reason 0x05]
[    4.1] [ BUG: Invalid wait context ]
[    4.1] DMA-API: pci 0000:00:02.0: device driver has pending DMA allocations while released from device [count=1]
[    4.1] ODEBUG: free active (active state 0) object: ffff888 object type: timer_list hint: x+0x0/0x10
[    4.1] kmemleak: 8 new suspected memory leaks (see /sys/kernel/debug/kmemleak)
[    4.1] rust_kernel: panicked at rust/planted/main.rs:200:24: attempt to add with overflow
[    4.1] list_del corruption. prev->next should be ffff, but was dead
"""

SOUND = """\
[    0.0] Linux version 7.3.4+deb13-amd64 (debian-kernel@lists.debian.org)
[    0.3] DMAR: Host address width 48
[    0.3] DMAR-IR: Enabled IRQ remapping in xapic mode
[    0.0] rcu: 	RCU lockdep checking is enabled.
[    0.3] DMA-API: preallocated 65536 debug entries
[    0.3] DMA-API: debugging enabled by kernel config
[    0.4] rcu: Hierarchical SRCU implementation.
[    1.1] RAS: Correctable Errors collector initialized.
[    9.8] mbpool: loading out-of-tree module taints kernel.
[    9.8] mbpool: module verification failed: signature and/or required key missing - tainting kernel
[    9.9] mbnic 0000:00:01.0: mbpool rx0-large: bad handle 0x00000000 names no chunk; further ones are only counted
[   10.1] guest: exit status 0
"""


OURS = "_RNvMs_3abc [mbpool]"


def race(*accesses):
    """KCSAN's report of these accesses, each with its stack."""
    lines = ["[    4.1] BUG: KCSAN: data-race in f / g", "[    4.1] "]
    for access, stack in zip(accesses[::2], accesses[1::2]):
        lines += [f"[    4.1] {access} to 0xff11000005a5dea8 of 4 bytes by task 77 on cpu 1:"]
        for function in stack:
            name, *module = function.split()
            lines += [" ".join([f"[    4.1]  {name}+0xaf/0x220", *module])]
        lines += ["[    4.1] "]
    return [*lines, "[    4.1] Reported by Kernel Concurrency Sanitizer on:", "[    4.1]  f+0x1/0x2 [mbpool]"]


class Console(unittest.TestCase):
    def test_each_fault_is_seen(self):
        for line in FAULTY.splitlines():
            self.assertIsNotNone(fault(["[    1.0] before", line, "[    4.2] after"]), line)

    def test_what_a_suite_provokes_is_none(self):
        line = next(line for line in FAULTY.splitlines() if "DMAR" in line)
        self.assertIsNone(fault([line], r"DMAR: \[DMA Write .* Request device \[00:01\.0\]"))
        self.assertIsNotNone(fault([line], r"DMAR: \[DMA Write .* Request device \[00:02\.0\]"))
        self.assertIsNotNone(fault([line, "BUG: x"], "DMAR"))

    def test_a_race_counts_if_a_module_made_an_access_without_a_mark(self):
        for marked in "read (marked)", "read-write (marked, reordered)":
            self.assertIsNone(fault(race("write", ["f", OURS], "read (reordered)", ["g", OURS])))
            self.assertIsNone(fault(race(marked, [OURS], "read-write", ["f", OURS])))
            self.assertIsNotNone(fault(race(marked, ["f"], "read", [OURS])))
            self.assertIsNotNone(fault(race("write (reordered)", [OURS, "f"], marked, [OURS])))
        self.assertIsNotNone(fault(race("race at unknown origin, with read", [OURS])))
        self.assertIsNotNone(fault([*race("write", ["f"], "read", ["g"]), "BUG: x"]))
        self.assertIsNotNone(fault(race("write", ["f"], "read", ["g"])[:-2]))

    def test_a_sound_boot_is_quiet(self):
        self.assertIsNone(fault(SOUND.splitlines()))


if __name__ == "__main__":
    unittest.main()
