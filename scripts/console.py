# SPDX-License-Identifier: GPL-2.0
"""Finds in a console's log what tells of a fault in the kernel. console.py LOG: prints the first such line, and fails.

What a test expects is a refusal, an error code, a counter, and not such a line. The exception is DMA that an IOMMU is
to stop: the suite that has a card do that names the lines that it provokes. And of the data races that KCSAN reports those
count that are a module's.
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

# In a report of KCSAN: an access, and a function on its stack, with the module that it is of.
ACCESS = re.compile(r" to 0x[0-9a-f]+ of \d+ bytes by ")
FUNCTION = re.compile(r"\+0x[0-9a-f]+/0x[0-9a-f]+( \[\w+\])?$")


def race_elsewhere(lines):
    """Whether these begin with KCSAN's report of a race that is no module's.

    It is a module's if a function of a module made one of the two accesses, and did not mark it as one that may race.
    What a function of the kernel's does when a module has called it is not: the scheduler races with itself below anyone.
    Nor is what a module reads with a mark and the kernel writes without one: mempool_free() is in such reports, too.
    """
    report = list(itertools.takewhile(lambda line: "Reported by Kernel Concurrency Sanitizer" not in line, lines))
    if "BUG: KCSAN: " not in lines[0] or len(report) == len(lines):
        return False
    plain = False
    for line in report:
        if ACCESS.search(line):
            plain = "(marked" not in line
        elif plain and (function := FUNCTION.search(line.rstrip())):
            if function[1]:
                return False
            plain = False
    return True


def fault(lines, provoked=None):
    """The first faulty line and what stands about it, or None. Lines that `provoked` matches are none."""
    for at, line in enumerate(lines):
        if FAULTS.search(line) and not (provoked and re.search(provoked, line)) and not race_elsewhere(lines[at:]):
            return line.strip(), lines[max(0, at - 3) : at + 30]
    return None


if __name__ == "__main__":
    if found := fault(pathlib.Path(sys.argv[1]).read_text(errors="replace").replace("\r", "").split("\n")):
        sys.exit(found[0])
