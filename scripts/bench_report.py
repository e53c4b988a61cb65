#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""bench_report.py: tables, the Markdown page and its plots, of what bench.py measured.

A figure is the median of the boots' medians; its spread is that of the boots.
"""

import html
import json
import statistics

# What a row is compared with, in the same boot.
PEERS = {
    "pool.alloc_free/64/64": "dma_pool/64/0",
    "pool.alloc_free/256/64": "dma_pool/256/0",
    "pool.alloc_free/2048/64": "dma_pool/2048/0",
    "pool.alloc_free/256/131072": "dma_pool/256/0",
    "pool.post_take_free/64/64": "dma_pool/64/0",
    "pool.post_take_free/256/64": "dma_pool/256/0",
    "pool.post_take_free/2048/64": "dma_pool/2048/0",
    "pool.bulk64/256/64": "dma_pool/256/0",
    "reserve.alloc_free/256/64": "mempool/256/0",
    "cache.alloc_free/256/64": "page_pool_direct/4096/0",
    "cache.alloc_free/2048/64": "page_pool_direct/4096/0",
    "cache.post_take_free/256/64": "page_pool_direct/4096/0",
    "cache.post_take_free/2048/64": "page_pool_direct/4096/0",
    "cache.bulk64/256/64": "page_pool_direct/4096/0",
    "cache.bulk64/2048/64": "page_pool_direct/4096/0",
    "pool.grow.own/256/64": "dma_pool.grow.own/256/0",
}

# The drivers of the frames: who each is over, by the way of its frames.
DRIVERS = {
    "frames.copy.pool": "copied, mbpool",
    "frames.copy.array": "copied, an array of its own",
    "frames.lend.pool": "as they lie, mbpool",
    "frames.lend.pages": "as they lie, a new page each",
    "frames.lend.page_pool": "as they lie, page_pool",
}

# What each path is to cost: its row, the most that it may cost and of what: 1, or a row in the same boot.
TARGETS = [
    ("cache: post + take + free", "cache.post_take_free/256/64", 47, None),
    ("cache: the same in bulk of 64, a buffer", "cache.bulk64/256/64", 30, None),
    ("pool: alloc + free, 64 bytes", "pool.alloc_free/64/64", 88, None),
    ("pool: take(handle) alone", "pool.take/256/64", 16, None),
    ("pool: peek alone", "pool.peek/256/64", 16, None),
    ("pool: peek alone, under RCU already", "pool.peek_under/256/64", 16, None),
    ("cache: take(handle) alone", "cache.take/256/64", 16, None),
    ("cache: peek alone", "cache.peek/256/64", 16, None),
    ("reserve, not empty: alloc + free", "reserve.alloc_free/256/64", 0.6, "mempool/256/0"),
    ("growth by a page without the DMA call", "pool.grow.own/256/64", 0.5, "dma_pool.grow.own/256/0"),
    ("metadata, bytes a buffer of 2 KiB, in pages of 4 KiB", "metadata/4096/32000", 8, None),
    ("the same in pages of 64 KiB", "metadata/65536/32000", 8, None),
]

# Cost at 131,072 buffers to cost at 64.
MANY = 1.05

# What is not to be slower with two CPUs than this, of one.
ALONE, APART = "contend.cache.post_take_free/2048", 0.85

# In the plots, of those machines that have the rows.
PLOTS = {
    "a frame": [f"{name}/{size}/2048" for size in (64, 512, 1514) for name in DRIVERS],
    "a trip": [
        "cache.bulk64/256/64",
        "cache.post_take_free/256/64",
        "cache.alloc_free/256/64",
        "pool.alloc_free/256/64",
        "pool.post_take_free/256/64",
        "reserve.alloc_free/256/64",
        "page_pool_direct/4096/0",
        "page_pool_ring/4096/0",
        "dma_pool/256/0",
        "kmem_cache/256/0",
        "kmalloc/256/0",
        "mempool/256/0",
        "dma_map_single/2048/0",
    ],
}

OURS = ("pool.", "cache.", "reserve.", "contend.pool", "contend.cache", "metadata", "frames.copy.pool", "frames.lend.pool")


def spread(machine, key):
    """Lowest, median and highest of the boots' medians, or None."""
    found = [boot[key][1] for boot in machine["boots"] if key in boot]
    return (min(found), statistics.median(found), max(found)) if found else None


def ratio(machine, key, other):
    """The median over the boots of one to the other in the same boot, or None."""
    found = [boot[key][1] / boot[other][1] for boot in machine["boots"] if boot.get(key) and boot.get(other) and boot[other][1]]
    return statistics.median(found) if found else None


def number(value):
    """With as many digits as mean something."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}"


def keys_of(machines):
    """All rows, in the order in which they were printed."""
    return list(dict.fromkeys(key for machine in machines for boot in machine["boots"] for key in boot if not key.startswith("clock/")))


def name_of(key):
    """As a reader wants it."""
    name, size, count = key.split("/")
    if name in DRIVERS:
        return f"{size} B, {DRIVERS[name]}"
    size = f" {size} B" if size != "0" else ""
    if name.startswith("contend."):
        return f"{name[8:]}{size}, {count} CPU{'s' if count != '1' else ''}"
    return f"{name}{size}" + (f", {int(count):,} buffers" if count not in ("0", "64") else "")


def table(rows):
    """Rows of cells as Markdown; the first is the head."""
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    lines = []
    for place, row in enumerate(rows):
        cells = [row[0].ljust(widths[0])] + [cell.rjust(width) for cell, width in zip(row[1:], widths[1:])]
        lines.append("| " + " | ".join(cells) + " |")
        if place == 0:
            lines.append("|" + "|".join("-" * (width + 1) + ("-" if at == 0 else ":") for at, width in enumerate(widths)) + "|")
    return "\n".join(lines)


def verdict(found, limit):
    """Met, or missed by how much."""
    return "met" if found <= limit + 0.05 else f"missed by {number(found - limit)} ({(found / limit - 1) * 100:.0f} %)" if limit > 0 else "missed"


def targets(machine):
    """The targets, of a machine that counts instructions."""
    rows = [("path", "measured", "target", "", "to its peer")]
    for title, key, most, of in TARGETS:
        found = spread(machine, key)
        if not found:
            continue
        limit = most * (spread(machine, of)[1] if of else 1)
        shown = number(limit) + (f" = {most} x {number(limit / most)}" if of else "")
        peer = ratio(machine, key, PEERS[key]) if key in PEERS else None
        rows.append((title, number(found[1]), shown, verdict(found[1], limit), f"{peer:.2f}" if peer else ""))
    for key in keys_of([machine]):
        if not key.endswith("/256/131072") or key.startswith(("pool.grow.alloc", "pool.grow/")):
            continue
        few = key.replace("/131072", "/64")
        found = ratio(machine, key, few)
        if found:
            rows.append((f"{key.split('/')[0]}: 131,072 buffers to 64", f"{found:.2f}", f"{MANY}", "met" if found <= MANY else "missed", ""))
    return table(rows)


def full(machine):
    """All rows of a machine."""
    rows = [("row", "lowest", "median", "highest", "to its peer")]
    for key in keys_of([machine]):
        low, median, high = spread(machine, key)
        peer = ratio(machine, key, PEERS[key]) if key in PEERS else None
        rows.append((name_of(key), number(low), number(median), number(high), f"{peer:.2f} of {name_of(PEERS[key])}" if peer else ""))
    return table(rows)


def contention(machine):
    """Two CPUs to one; for a belt, which has no one, only what it took. The best rounds: another's work on the host can
    only add."""
    rows = [("pair", "1 CPU, ns", "2 CPUs, ns", "pairs a second of a CPU, of 2 to 1")]
    best = {key: min(boot[key][0] for boot in machine["boots"]) for key in keys_of([machine])}
    for key, two in best.items():
        if key.endswith("/2"):
            one = best.get(key[:-1] + "1")
            rate = f"{one / two:.2f}" if one else ""
            rows.append((name_of(key).rsplit(",", 1)[0], number(one) if one else "", number(two), rate))
    two, one = (best.get(f"{ALONE}/{cpus}") for cpus in (2, 1))
    if not (two and one):
        return table(rows)
    return f"{table(rows)}\n\nTarget: a cache each on one pool, at least {APART}: {'met' if one / two >= APART else 'missed'}."


def frames(machine):
    """What a frame costs by length, the way it takes and the driver, and how many a second that makes of a processor that
    does an instruction a nanosecond. The ratio is to the driver over mbpool, on the same way in the same boot."""
    rows = [("frame", "lowest", "median", "highest", "a second", "to mbpool")]
    for key in sorted(keys_of([machine]), key=PLOTS["a frame"].index):
        low, median, high = spread(machine, key)
        name, rest = key.split("/", 1)
        ours = f"{name.rsplit('.', 1)[0]}.pool/{rest}"
        rate = f"{ratio(machine, key, ours):.2f}" if key != ours else ""
        rows.append((name_of(key), number(low), number(median), number(high), f"{1e9 / median:,.0f}", rate))
    return table(rows)


def section(machine):
    """The tables of one machine."""
    if machine["unit"].endswith("a frame"):
        return frames(machine)
    if machine["unit"].startswith("ns of"):
        return contention(machine)
    return full(machine)


def summary(results):
    """All tables, for a terminal."""
    parts = []
    for machine in results.values():
        parts.append(f"\n{machine['title']} ({machine['unit']})\n\n{section(machine)}")
    if "icount" in results:
        parts.append(f"\nTargets ({results['icount']['unit']})\n\n{targets(results['icount'])}")
    return "\n".join(parts)


def comparison(first, second):
    """Two results side by side: (name, results) each."""
    parts = []
    for machine in [name for name in first[1] if name in second[1]]:
        one, two = first[1][machine], second[1][machine]
        rows = [("row", first[0], second[0], "ratio")]
        for key in keys_of([one, two]):
            was, now = spread(one, key), spread(two, key)
            cells = [number(found[1]) if found else "" for found in (was, now)]
            rows.append((name_of(key), *cells, f"{now[1] / was[1]:.2f}" if was and now and was[1] else ""))
        parts.append(f"\n{one['title']} ({one['unit']})\n\n{table(rows)}")
    return "\n".join(parts)


def plot(machine, keys):
    """Horizontal bars as SVG: ours in one colour, the kernel's in another, a line for the spread of the boots."""
    bars = [(name_of(key), key.startswith(OURS), spread(machine, key)) for key in keys if spread(machine, key)]
    if not bars:
        return None
    left, width, step = 230, 520, 22
    most = max(high for _, _, (_, _, high) in bars)
    unit = (width - 70) / most
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {left + width} {len(bars) * step + 34}" font-family="sans-serif" font-size="12">',
        f"<title>{html.escape(machine['title'])}, {html.escape(machine['unit'])}</title>",
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    for at, (name, ours, (low, median, high)) in enumerate(bars):
        top = at * step + 8
        lines += [
            f'<text x="{left - 8}" y="{top + 13}" text-anchor="end">{html.escape(name)}</text>',
            f'<rect x="{left}" y="{top}" width="{median * unit:.1f}" height="{step - 6}" fill="{"#c8501e" if ours else "#8a97a6"}"/>',
            f'<path d="M{left + low * unit:.1f} {top + 8}H{left + high * unit:.1f}" stroke="black"/>',
            f'<text x="{left + high * unit + 6:.1f}" y="{top + 13}">{number(median)}</text>',
        ]
    lines += [f'<text x="{left}" y="{len(bars) * step + 26}" fill="#555">{html.escape(machine["unit"])}; orange: mbpool</text>', "</svg>"]
    return "\n".join(lines) + "\n"


def merged(directory, about, results, order):
    """All machines: those of `results`, which are about `about`, and of an earlier report those that are not among them."""
    for machine in results.values():
        machine["about"] = about
    file = directory / "results.json"
    earlier = json.loads(file.read_text()) if file.exists() else {"machines": {}}
    found = {**earlier["machines"], **results}
    return {name: found[name] for name in order if name in found}


def write(directory, about, results, touched, order):
    """The report: README.md, results.json and the plots, with what an earlier report has of machines that were not measured
    now. `touched` is what scripts/touched says."""
    directory.mkdir(parents=True, exist_ok=True)
    machines = merged(directory, about, results, order)
    directory.joinpath("results.json").write_text(json.dumps({"touched": touched, "machines": machines}, indent=1) + "\n")
    parts = [
        "<!-- SPDX-License-Identifier: GPL-2.0 -->",
        "# What it costs",
        "Written by `make bench`; [how it is measured and how to read it](../performance.rst). A figure is the median of the"
        " boots; lowest and highest are those of the boots.",
    ]
    if "icount" in machines:
        parts += ["## Targets", f"By the section Instructions, of revision {machines['icount']['about']['revision']}.", targets(machines["icount"])]
    for name, machine in machines.items():
        parts.append(f"## {machine['title']} ({machine['unit']})")
        parts.append("; ".join(f"{key} {value}" for key, value in {**machine["about"], "boots": len(machine["boots"])}.items()) + ".")
        for title, keys in PLOTS.items() if not machine["unit"].startswith("ns of") else ():
            if drawn := plot(machine, keys):
                file = f"{name}-{title.replace(' ', '-')}.svg"
                directory.joinpath(file).write_text(drawn)
                parts.append(f"![{machine['title']}: {title}]({file})")
        parts.append(section(machine))
    parts += ["## Memory touched", f"Revision {about['revision']}.", f"```\n{touched.rstrip()}\n```"]
    directory.joinpath("README.md").write_text("\n\n".join(parts) + "\n")
