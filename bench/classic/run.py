#!/usr/bin/env python3
"""make bench-classic: the comparison of the 2010s, a native program that computes beside a CLR
program (Mono) that does input and output, each moved by --mode=total.

The native one comes in two sizes: its natural one, and that of the CLR program's
memory.  Each is started afresh, moved from this machine to itself by TLS, looked at
whether it goes on, and ended; PAIRS times in turn.  A row shows medians, and the ratio of
the CLR program to each native one.  Prints the table of docs/CLASSIC.md.

Environment: B, BENCH_DIR, BENCH_PAIRS as for run.py.
"""
import contextlib
import ctypes
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from measure import PAIRS, PATIENCE, Failed, end_children, machine, program, wait_for  # noqa: E402
from migrate import ByTls  # noqa: E402

NATURAL_MIB = 1
WARM_S = 1.5  # until the CLR program has compiled what it runs

# What is shown, and the phases of `godwit migrate --json` that it is the sum of.
ROWS = (
    ("suspension", ("suspension",)),
    ("checkpointing", ("checkpoint",)),
    ("transfer of the pages", ("transfer",)),
    ("address-space restoring", ("address_space",)),
    ("context restoring", ("context",)),
    ("checkpointing with the pages", ("checkpoint", "transfer")),
    ("address-space restoring with the pages", ("address_space", "transfer")),
)


class Program:
    """A command that says in files that it is ready, and that it is done."""

    def __init__(self, where, name, command):
        self.path = os.path.join(where, name)
        for end in ("", ".stop", ".done", ".data"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.path + end)
        self.proc = subprocess.Popen(command(self.path), stdin=subprocess.DEVNULL,
                                     stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.wait_for_file("", f"start of {name}")

    def wait_for_file(self, end, what):
        path = self.path + end
        wait_for(what, lambda: os.path.exists(path) and os.path.getsize(path))

    def stop(self):
        """It goes on over there, and nothing of it is lost."""
        with open(self.path + ".stop", "wb"):
            pass
        self.wait_for_file(".done", "end")
        with open(self.path + ".done", encoding="ascii") as f:
            if f.read() != "ok\n":
                raise Failed("the program has lost something")


def move(where, to, name, command, warm):
    """What godwit says of one migration."""
    p = Program(where, name, command)
    if warm:
        with contextlib.suppress(subprocess.TimeoutExpired):
            p.proc.wait(WARM_S)
    out = subprocess.run([program("godwit"), "migrate", str(p.proc.pid), "--mode=total", "--json",
                          *to.words()], capture_output=True, text=True, env=to.env,
                         timeout=PATIENCE, check=False)
    if out.returncode:
        p.proc.kill()
        raise Failed(f"{name}: {out.stderr.strip()}\n{to.log()}")
    p.proc.wait()
    p.stop()
    said = json.loads(out.stdout)
    m = said["memory"]
    said["own"] = m["stored"] - m["known"] - m["zero"]
    return said


def measure(where):
    """{column: [report of each move]}"""
    here = os.path.dirname(program("bench/classic/native"))
    to = ByTls(where, options=())
    clr = lambda path: ["mono", os.path.join(here, "Clr.exe"), path]  # noqa: E731

    def native(mib):
        return lambda path: [os.path.join(here, "native"), str(mib), path]

    said = {"clr": [], "natural": [], "equal": []}
    for _ in range(PAIRS):
        said["clr"].append(move(where, to, "clr", clr, True))
        said["natural"].append(move(where, to, "natural", native(NATURAL_MIB), False))
        own = said["natural"][-1]["own"] - (NATURAL_MIB << 20)
        mib = round((said["clr"][-1]["own"] - own) / (1 << 20))
        said["equal"].append(move(where, to, "equal", native(max(1, mib)), False))
    to.end()
    return said


def median(moves, phases):
    """ms"""
    return statistics.median(sum(m["phases"][p + "_ns"] for p in phases) for m in moves) / 1e6


def show(said, here):
    sent = {k: statistics.median(m["own"] for m in v) / (1 << 20)
            for k, v in said.items()}
    print("{date}, Linux {kernel}, {cpu}, {cores} cores, load {load}, {pairs} of each\n".format(**here))
    print("| phase | native, natural size | native, equal size | CLR with I/O "
          "| CLR : natural | CLR : equal |")
    print("| --- | --- | --- | --- | --- | --- |")
    print("| memory sent | " + " | ".join(f"{sent[k]:.1f} MiB" for k in ("natural", "equal", "clr"))
          + " | | |")
    for name, phases in ROWS:
        t = {k: median(v, phases) for k, v in said.items()}
        print(f"| {name} | {t['natural']:.2f} ms | {t['equal']:.2f} ms | {t['clr']:.2f} ms "
              f"| {t['clr'] / t['natural']:.2f} | {t['clr'] / t['equal']:.2f} |")


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what was started is ended, too
    if not shutil.which("mono"):
        print("bench-classic: no mono here: apt-get install mono-runtime mono-mcs", file=sys.stderr)
        return 1
    # Orphans come to us, and go with us.
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
    base = os.environ.get("BENCH_DIR", "/dev/shm" if os.path.isdir("/dev/shm") else "/tmp")
    with tempfile.TemporaryDirectory(prefix="godwit-bench-", dir=base) as where:
        try:
            here = machine(where)
            show(measure(where), here)
        except (Failed, subprocess.TimeoutExpired) as e:
            print(f"bench-classic: {e}", file=sys.stderr)
            return 1
        finally:
            end_children()
    return 0


if __name__ == "__main__":
    sys.exit(main())
