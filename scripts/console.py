# SPDX-License-Identifier: GPL-2.0
"""Finds in a console's log what tells of a fault in the kernel. console.py LOG: prints the first such line, and fails.

What a test expects is a refusal, an error code, a counter, and not such a line. The exception is DMA that an IOMMU is
to stop: the suite that has a card do that names the lines that it provokes. And a data race counts if a module is on
one of the two stacks: the kernel races with itself too.
"""

import itertools
import pathlib
import re
import sys

FAULTS = re.compile(
    r"WARNING: |BUG: |kernel BUG at|\bOops\b|Kernel panic|general protection fault|Unable to handle kernel"
    r"|possible (?:circular|recursive) locking|inconsistent lock state|possible irq lock inversion|bad unlock balance|Invalid wait context"
    r"|suspicious RCU usage|\blockdep\b(?! checking is enabled)"
    r"|rcu: INFO: .*(?:stall|self-detected)|detected (?:expedited )?stalls on|soft lockup|hard LOCKUP|blocked for more than \d+ seconds"
    r"|sleeping function called|scheduling while atomic|refcount_t: |UBSAN: |KASAN: |KFENCE: |ODEBUG: |kmemleak: \d+ new|panicked at |list_(?:add|del) corruption"
    r"|DMAR: \[.*(?:[Ff]ault|DMA (?:Read|Write))|DMA-API: (?!preallocated|debugging enabled)|Slab corruption|Out of memory: "
)


IN_A_MODULE = re.compile(r"\+0x[0-9a-f]+/0x[0-9a-f]+ \[\w+\]")


def is_the_kernels_race(lines):
    """Whether these begin with a report of KCSAN in which no module is."""
    if "BUG: KCSAN: " not in lines[0]:
        return False
    report = itertools.takewhile(lambda line: "Reported by Kernel Concurrency Sanitizer" not in line, lines)
    return not any(map(IN_A_MODULE.search, report))


def fault(lines, provoked=None):
    """The first faulty line and what stands about it, or None. Lines that `provoked` matches are none."""
    for at, line in enumerate(lines):
        if FAULTS.search(line) and not (provoked and re.search(provoked, line)) and not is_the_kernels_race(lines[at:]):
            return line.strip(), lines[max(0, at - 3) : at + 30]
    return None


if __name__ == "__main__":
    if found := fault(pathlib.Path(sys.argv[1]).read_text(errors="replace").replace("\r", "").split("\n")):
        sys.exit(found[0])
