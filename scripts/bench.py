#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""bench.py: builds the modules, boots the machines and collects the rows that mbpool_bench.ko prints. Runs in the root;
scripts/bench is the command."""

import argparse
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
import bench_report  # noqa: E402

SCRIPTS = pathlib.Path(__file__).resolve().parent
TOP = SCRIPTS.parent
OUT = pathlib.Path(os.environ.get("LAB_OUT", "")) / "bench"
KERNEL = os.environ.get("KDIR", "")

ROW = re.compile(r"^row (\S+) size=(\d+) (buffers|cpus)=(\d+) min=(\d+) median=(\d+) max=(\d+) loop=\d+$")
CLOCK = re.compile(r"^clock instructions=(\d+) min=\d+ median=(\d+) max=\d+$")
METADATA = re.compile(r"^metadata page_size=(\d+) buffers=(\d+) each=(\d+)$")

# A processor of which each instruction of the kernel's counts as one. The model `max` has fast string instructions, so
# the kernel clears memory with one instruction, which counts once a byte.
CPU = "qemu64"


# Where a tree has what modules; the drivers are for the stock kernel alone.
DRIVERS = ["mbnic", "mbnic_plain"]
MODULES = {"mbpool": "rust/mbpool", "mbpool_bench": "rust/bench", "mbnic": "samples/mbnic", "mbnic_plain": "rust/bench/plain"}


def build(tree, name):
    """Builds the modules of a tree, for the stock kernel and for User Mode Linux: the directory that holds them."""
    flavours = {"stock": (["-C", KERNEL], MODULES)}
    if pathlib.Path("/uml/linux").exists():
        # A module of User Mode Linux lies anywhere in 64 bits.
        words = ["-C", "/uml/source", "ARCH=um", "CC=gcc-14", "RUSTFLAGS_MODULE=-Crelocation-model=static -Ccode-model=large"]
        flavours["uml"] = (words, ["mbpool", "mbpool_bench"])
    for flavour, (words, modules) in flavours.items():
        out = OUT / name / flavour
        for module in modules:
            part = MODULES[module]
            # Not all revisions have all.
            if not pathlib.Path(tree, part, "Kbuild").exists():
                continue
            (out / part).mkdir(parents=True, exist_ok=True)
            extra = [] if module == "mbpool" else [f"KBUILD_EXTRA_SYMBOLS={out}/{MODULES['mbpool']}/Module.symvers"]
            command = ["make", "--no-print-directory", "-s", *words, f"M={tree}/{part}", f"MO={out}/{part}", *extra]
            with (out / f"{module}.log").open("w") as log:
                if subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, check=False).returncode:
                    sys.exit(f"bench: {tree} does not build for {flavour}; see {log.name}")
    return OUT / name


def files(out, *modules):
    """The files of modules that were built there."""
    return [out / MODULES[module] / f"{module}.ko" for module in modules]


def vm(options, idle, parameters):
    """A boot of the stock kernel in QEMU."""

    def boot(built):
        with tempfile.NamedTemporaryFile("w", prefix="mbpool-bench.") as words:
            words.write(f"{idle} {parameters}\n")
            words.flush()
            command = [SCRIPTS / "vm", "--cpu", CPU, *options, "--timeout", "900", "--file", f"{words.name}:bench.args"]
            return run([*command, SCRIPTS / "guest/bench.sh", *files(built / "stock", "mbpool", "mbpool_bench")], 960)

    return boot


def card(options):
    """A boot of the stock kernel with the virtual card."""

    def boot(built):
        with tempfile.TemporaryDirectory(prefix="mbpool-bench.") as results:
            command = [SCRIPTS / "run-guest", SCRIPTS / "guest/bench-frames.sh", "--cpu", CPU, *options]
            for ko in files(built / "stock", "mbpool", *DRIVERS):
                command += ["--file", f"{ko}:{ko.name}"]
            return run(command, 960, dict(os.environ, RESULTS=results, IOMMU=""))

    return boot


def uml(options, parameters):
    """A boot of User Mode Linux."""

    def boot(built):
        both = built / "uml-modules"
        both.mkdir(exist_ok=True)
        for ko in files(built / "uml", "mbpool", "mbpool_bench"):
            (both / ko.name).write_bytes(ko.read_bytes())
        command = ["/uml/linux", "mem=1G", "root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro", "quiet", "con=null"]
        command += ["con0=null,fd:1", *options, f"init={SCRIPTS}/guest/bench-uml", "--", str(both), *parameters.split()]
        return run(command, 300)

    return boot


def run(command, limit, env=None):
    """What a machine said, or the end."""
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=limit, check=False, env=env
        )
    except subprocess.TimeoutExpired:
        sys.exit(f"bench: {command[0]} did not end within {limit} s")
    lines = done.stdout.replace("\r", "").split("\n")
    if "done" not in lines:
        sys.exit("bench: a machine did not come to the end:\n" + "\n".join((lines + done.stderr.split("\n"))[-30:]))
    return lines


# An idle guest's minute passes at once under icount: the kernel's own self-tests are over then.
MACHINES = {
    "icount": ("Instructions", vm(["--icount"], 60, ""), "instructions"),
    "icount-noinit": ("Instructions, init_on_alloc=0", vm(["--icount", "--append", "init_on_alloc=0"], 60, ""), "instructions"),
    "uml": ("User Mode Linux, init_on_alloc=1", uml(["init_on_alloc=1"], "iterations=10000"), "ns"),
    "uml-noinit": ("User Mode Linux, init_on_alloc=0", uml(["init_on_alloc=0"], "iterations=10000"), "ns"),
    "frames": ("Frames up the stack", card([]), "instructions a frame"),
    "frames-noinit": ("Frames up the stack, init_on_alloc=0", card(["--append", "init_on_alloc=0"]), "instructions a frame"),
    "contend": ("Two CPUs, emulated", vm(["--cpus", "2"], 20, "contend=1 iterations=4000 rounds=151"), "ns of an emulator"),
}


def parse(lines):
    """The rows of one boot: name/size/count -> [min, median, max], in instructions or nanoseconds."""
    rows = {}
    for line in lines:
        if found := ROW.match(line):
            name, size, _, count, *costs = found.groups()
            rows[f"{name}/{size}/{count}"] = [int(cost) / 1000 for cost in costs]
        elif found := CLOCK.match(line):
            rows["clock/0/0"] = [int(found[1]), int(found[2]) / 1000, 0]
        elif found := METADATA.match(line):
            rows[f"metadata/{found[1]}/{found[2]}"] = [int(found[3]) / 1000] * 3
    # What is the pool's own of a growth: without the DMA call and without an allocation that does not grow.
    page = rows.get("grow.dma_alloc_coherent/4096/0")
    for key in [key for key in rows if key.split("/")[0] in ("pool.grow", "dma_pool.grow")]:
        name, rest = key.split("/", 1)
        alloc = rows[f"{name}.alloc/{rest}"]
        rows[f"{name}.own/{rest}"] = [rows[key][1] - page[1] - alloc[1]] * 3
    return rows


def measure(built, names, boots):
    """All machines: name -> rows of each boot."""
    results = {}
    for name in names:
        title, boot, unit = MACHINES[name]
        if unit.endswith("a frame") and not all(file.exists() for file in files(built / "stock", *DRIVERS)):
            print(f"==> {title}: not in this revision", flush=True)
            continue
        results[name] = {"title": title, "unit": unit, "boots": []}
        for number in range(boots):
            print(f"==> {title}: boot {number + 1} of {boots}", flush=True)
            rows = parse(boot(built))
            results[name]["boots"].append(rows)
            if unit != "instructions":
                continue
            expected, found, _ = rows["clock/0/0"]
            print(f"    a loop of {expected} instructions takes {found:.3f} ns each time")
            if abs(found - expected) > 0.01:
                sys.exit("bench: the clock of the machine does not count instructions")
    return results


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--boots", type=int, default=3)
    parser.add_argument("--machine", action="append", choices=MACHINES)
    parser.add_argument("--tree", action="append", default=[])
    parser.add_argument("--revision", default="unknown")
    parser.add_argument("--out", type=pathlib.Path, default=TOP / "Documentation/performance")
    parser.add_argument("--table", action="store_true")
    args = parser.parse_args()
    names = args.machine or list(MACHINES)
    if any(name.startswith("frames") for name in names):
        subprocess.run(["cargo", "build", "--release", "--quiet"], cwd=TOP / "tools", check=True)

    if args.tree:
        trees = [tree.split("=", 1) for tree in args.tree]
        built = [(name, build(tree, pathlib.Path(tree).name)) for name, tree in trees]
        results = [(name, measure(at, names, args.boots)) for name, at in built]
        print(bench_report.comparison(*results))
        return
    results = measure(build(TOP, "checkout"), names, args.boots)
    OUT.joinpath("last.json").write_text(json.dumps(results, indent=1))
    print(bench_report.summary(results))
    if not args.table:
        about = {
            "revision": args.revision,
            "kernel": pathlib.Path("/kernel/release").read_text().strip(),
            "cpu": CPU,
            "qemu": subprocess.run(["qemu-system-x86_64", "--version"], capture_output=True, text=True, check=True).stdout.split("\n")[0],
            "host": next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "unknown"),
        }
        touched = subprocess.run([SCRIPTS / "touched"], capture_output=True, text=True, check=True).stdout
        bench_report.write(args.out, about, results, touched, MACHINES)
        print(f"written: {args.out}")


if __name__ == "__main__":
    main()
