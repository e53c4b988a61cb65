# SPDX-License-Identifier: GPL-2.0
"""Reads KTAP (Documentation/dev-tools/ktap.rst in the kernel) and counts what passed.

It must not pass silently: a missing version line, plan or result, a result out of order, more or
fewer results than planned, a parent that says ok over a child that says not ok, or a result nobody
planned is a failure of its own, beside those that the tests report. Lines of any
other shape are commentary and kept with the next result.
"""

import re
from dataclasses import dataclass, field

VERSION = re.compile(r"^K?TAP version \d+$")
PLAN = re.compile(r"^1\.\.(\d+)(?:\s*# SKIP\b.*)?$")
RESULT = re.compile(r"^(ok|not ok) (\d+)(?: (?:- )?([^#]*))?(?:#\s*(.*))?$")


@dataclass
class Result:
    """One leaf: a test, or a fault in the report itself."""

    name: str
    status: str  # "passed", "failed" or "skipped"
    notes: list = field(default_factory=list)


class _Level:
    """A report or a nested one: its plan and what came of it."""

    def __init__(self):
        self.plan = None
        self.seen = 0
        self.leaves = []
        self.notes = []

    def bad(self):
        return any(leaf.status == "failed" for leaf in self.leaves)


def parse(lines, name="report"):
    """The leaves of one report, faults in it among them."""
    stack = []  # (indent, level)
    done = []
    pending = None  # a nested report of the last level that has ended and waits for its parent's line

    def fault(level, text):
        level.leaves.append(Result(f"{name}: {text}", "failed", level.notes))
        level.notes = []

    def close(level):
        if level.plan is None:
            fault(level, "a report without a plan")
        elif level.seen != level.plan:
            fault(level, f"{level.plan} tests planned, {level.seen} reported")

    def settle():
        """A nested report that no parent's line followed."""
        nonlocal pending
        if pending is not None:
            stack[-1][1].leaves.extend(pending.leaves)
            fault(stack[-1][1], "a nested report without its parent's result")
            pending = None

    def unwind(indent):
        """Ends the reports that are deeper than `indent`."""
        nonlocal pending
        while stack and stack[-1][0] > indent:
            settle()
            level = stack.pop()[1]
            close(level)
            if stack:
                pending = level
            else:
                done.extend(level.leaves)

    for raw in lines:
        raw = raw.rstrip()
        text = raw.lstrip(" ")
        indent = len(raw) - len(text)
        version, plan, result = VERSION.match(text), PLAN.match(text), RESULT.match(text)
        if version:
            # A report at the column of an open one begins anew: the open one ends here.
            unwind(indent - 1 if stack and any(column == indent for column, _ in stack) else indent)
            if stack:
                settle()
            stack.append((indent, _Level()))
            continue
        if not (plan or result):
            if stack and text:
                stack[-1][1].notes.append(text)
            continue
        unwind(indent)
        if not stack or stack[-1][0] != indent:
            level = stack[-1][1] if stack else None
            leaf = Result(f"{name}: outside of any report: {text}", "failed")
            (level.leaves if level else done).append(leaf)
            continue
        level = stack[-1][1]
        if plan:
            if level.plan is not None:
                fault(level, "a second plan")
            level.plan = int(plan[1])
            if level.plan == 0:
                fault(level, "a plan of no tests")
            continue
        level.seen += 1
        title = (result[3] or "").strip() or f"test {result[2]}"
        if int(result[2]) != level.seen:
            fault(level, f"result {result[2]} ({title}) where {level.seen} was due")
        skipped = re.match(r"SKIP\b", result[4] or "", re.IGNORECASE)
        status = "skipped" if skipped else "passed" if result[1] == "ok" else "failed"
        notes, level.notes = level.notes, []
        if pending is None:
            level.leaves.append(Result(title, status, notes))
            continue
        nested, pending = pending, None
        for leaf in nested.leaves:
            leaf.name = f"{title}: {leaf.name}"
        level.leaves.extend(nested.leaves)
        if status == "failed" and not nested.bad():
            level.leaves.append(Result(title, "failed", notes))
        elif status == "passed" and nested.bad():
            fault(level, f"{title} says ok over a test that failed")

    unwind(-1)
    if not done:
        done.append(Result(f"{name}: no test was reported", "failed"))
    return done
