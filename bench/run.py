#!/usr/bin/env python3
"""make bench: the figures that Godwit promises, beside what the machine can do.

Floor and measure alternate in one run, PAIRS times each (three times as often
where it takes but milliseconds).  Of what copies much memory, floor and
measure alike, the better of two in a row counts: the first touch of free
memory of a virtual machine costs several times the copy, and that would measure the host; a row shows the
median of each and the median of the paired ratios (or differences).

Environment: B (build folder), BENCH_DIR (where images go, default /dev/shm),
BENCH_PAIRS (default 9, at least 7 for figures that count), BENCH_MIB (default
1024), BENCH_ROWS (comma-separated beginnings of the names of groups of rows: small,
large, preload, threads, live, incremental, short, compress, downtime:64, downtime:1024, downtime:4096, bulk,
slower; default all).  What migration needs is told in migrate.py.
Writes the same rows to B/bench.json, and a picture of them to B/bench.svg.  Exit 0 also when a goal is missed:
this is a measurement, no test; exit 1 when something did not work at all.
"""
import contextlib
import ctypes
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time

from measure import (MIB, PAIRS, PATIENCE, READ, ROWS, SMALL_PAIRS, WRITE, Control, Criu, Failed, Godwit, Running,
                     Subject, Table, end_children, machine, ms, program, run)
import chart
import images
from migrate import MigrateRows, groups


class Bench:
    """One method per group of rows."""

    def __init__(self, where):
        self.where = where
        self.godwit = Godwit(where)
        criu = Criu(where)
        self.criu = criu if criu.works() else None
        self.table = Table(self.criu)
        self.tools = [self.godwit] + ([self.criu] if self.criu else [])
        self.images = images.ImageRows(where, self.table)
        self.migrate = MigrateRows(where, self.table, self.criu)

    def peer(self, results):
        return results[self.criu.name] if self.criu else None

    def small_checkpoint(self):
        """Wall and pause, beside those of stopping the program and no more."""
        s = Subject(self.where, 0, 1)
        floors = {"wall": [], "pause": []}
        walls = {t.name: [] for t in self.tools}
        pauses = {t.name: [] for t in self.tools}
        for _ in range(SMALL_PAIRS):
            pause, wall, _ = s.pause_during([program("bench/stop"), s.pid])
            floors["wall"].append(ms(wall))
            floors["pause"].append(ms(pause))
            for t in self.tools:
                t.forget()
                pause, wall, _ = s.pause_during(t.checkpoint(s))
                walls[t.name].append(ms(wall))
                pauses[t.name].append(ms(pause))
        s.end()
        self.table.add("small: checkpoint, wall", walls["godwit"], floors["wall"], 5,
                       criu=self.peer(walls))
        self.table.add("small: checkpoint, pause", pauses["godwit"], floors["pause"], 2,
                       criu=self.peer(pauses))

    def small_restart(self):
        """To the next output; floor: the first output of a fresh start."""
        times = {t.name: [] for t in self.tools}
        floors = []
        subjects = self.put_to_sleep(0)
        for _ in range(SMALL_PAIRS):
            fresh = Control(os.path.join(self.where, "control-fresh"))
            r = Running([program("bench/subject"), "0", "1", fresh.path], fresh)
            floors.append(ms(r.ns))
            r.end()
            for t in self.tools:
                r = Running(t.restart(subjects[t.name]), subjects[t.name].control)
                times[t.name].append(ms(r.ns))
                r.end()
        self.table.add("small: restart to next output", times["godwit"], floors, 5,
                       criu=self.peer(times))
        self.wake_none(subjects)

    def put_to_sleep(self, mib):
        """One subject and one image for each tool; the subjects are gone."""
        subjects = {}
        for t in self.tools:
            s = Subject(self.where, mib, 1)
            s.sum = s.control.sum() if mib else 0
            t.forget()
            run(t.checkpoint(s, kill=True))
            s.proc.wait()
            subjects[t.name] = s
        return subjects

    def wake_none(self, subjects):
        for t in self.tools:
            subjects[t.name].proc.stdout.close()
            t.forget()

    def large_checkpoint(self):
        """Pause while all is copied; floor: the subject's own write() of it."""
        s = Subject(self.where, MIB, 1)
        plain = os.path.join(self.where, "plain")
        for threads, goal in ((2, 1.1), (1, 1.4)):
            how = f"copying with {threads}"
            floors, memory, pauses = [], [], {t.name: [] for t in self.tools}
            for _ in range(PAIRS):
                floors.append(ms(s.control.floor(WRITE, plain)))
                os.unlink(plain)
                for t in self.tools:
                    best = []
                    for _ in range(2):
                        t.forget()
                        pause, _, kib = s.pause_during(t.checkpoint(s, threads=threads))
                        best.append(ms(pause))
                        if t is self.godwit:
                            memory.append(kib / 1024)
                    pauses[t.name].append(min(best))
                    t.forget()
            self.table.add(f"{MIB} MiB: checkpoint, pause, {how}", pauses["godwit"], floors,
                           goal, criu=self.peer(pauses), ratio_goal=True)
            self.table.add(f"{MIB} MiB: checkpoint, memory, {how}", [max(memory)], [], 16,
                           "MiB")
        self.two_beside_one(s)
        s.end()

    def two_beside_one(self, s):
        """Pause with two copying threads; floor: the same with one."""
        took = {1: [], 2: []}
        for _ in range(PAIRS):
            for threads, values in took.items():
                best = []
                for _ in range(2):
                    self.godwit.forget()
                    best.append(ms(s.pause_during(self.godwit.checkpoint(s, threads=threads))[0]))
                values.append(min(best))
            self.godwit.forget()
        self.table.add(f"{MIB} MiB: pause, two threads beside one", took[2], took[1], 0.65, ratio_goal=True)

    def preloaded(self):
        """A program with libckpt.so that takes no checkpoint; floor: the same without."""
        for kind in ("cpu", "malloc", "syscall", "pthread"):
            took = {"": [], program("libckpt.so"): []}
            for i in range(3 * PAIRS):
                for preload in sorted(took, reverse=i % 2):
                    env = dict(os.environ, **({"LD_PRELOAD": preload} if preload else {}))
                    out = subprocess.run([program("bench/loops"), kind], env=env, stdout=subprocess.PIPE, text=True,
                                         check=True, timeout=PATIENCE)
                    took[preload].append(ms(int(out.stdout)))
            self.table.add(f"preloaded: {kind} loop", took[program("libckpt.so")], took[""], 1.01, ratio_goal=True)

    def large_restart(self):
        """To the next output; floor: read() of the image to fresh memory, by
        the restarted program itself.  Its memory is compared each time."""
        floors, memory, times = [], [], {t.name: [] for t in self.tools}
        subjects = self.put_to_sleep(MIB)
        for _ in range(PAIRS):
            for t in self.tools:
                s, best = subjects[t.name], []
                for is_last in (False, True):
                    r = Running(t.restart(s), s.control)
                    best.append(ms(r.ns))
                    if s.control.sum() != s.sum:
                        raise Failed(f"{t.name}: the memory is not what it was")
                    if t is self.godwit and is_last:
                        floors.append(ms(s.control.floor(READ, t.image)))
                    kib = r.end()
                    if t is self.godwit:
                        memory.append(kib / 1024)
                times[t.name].append(min(best))
        self.table.add(f"{MIB} MiB: restart to next output", times["godwit"], floors, 1.1,
                       criu=self.peer(times), ratio_goal=True)
        self.table.add(f"{MIB} MiB: restart, helper's memory", [max(memory)], [], 16, "MiB")
        self.wake_none(subjects)

    def threads(self, n, goal):
        """What n threads add to the pause; floor: what they add to a mere stop."""
        one, many = Subject(self.where, 0, 1), Subject(self.where, 0, n)
        floors, memory, more = [], [], {t.name: [] for t in self.tools}
        for _ in range(SMALL_PAIRS):
            pause = {}
            for s, other in ((one, many), (many, one)):
                with other.asleep():
                    pause[s] = s.pause_during([program("bench/stop"), s.pid])[0]
            floors.append(ms(pause[many] - pause[one]))
            for t in self.tools:
                for s, other in ((one, many), (many, one)):
                    t.forget()
                    with other.asleep():
                        pause[s], _, kib = s.pause_during(t.checkpoint(s))
                more[t.name].append(ms(pause[many] - pause[one]))
                if t is self.godwit:
                    memory.append(kib / 1024)
        one.end()
        many.end()
        self.table.add(f"{n} threads: pause beyond one thread's", more["godwit"], floors, goal,
                       criu=self.peer(more))
        self.table.add(f"{n} threads: checkpoint, own memory", [max(memory)], [], 16, "MiB")

    def live(self, mib, goals):
        """Pause while the memory is copied beside the program; floor: a mere stop."""
        s = Subject(self.where, mib, 1)
        for rate, goal in goals:
            s.control.write_at(rate)
            what = f"writing {rate} MB/s" if rate else "idle"
            floors, pauses, slower, memory = [], [], [], []
            for _ in range(PAIRS):
                floors.append(ms(s.pause_during([program("bench/stop"), s.pid])[0]))
                self.godwit.forget()
                usual = s.speed()
                began, samples = time.monotonic(), s.control.get(8)
                pause, _, kib = s.pause_during(self.godwit.checkpoint(s) + ["--pause=live"])
                during = (s.control.get(8) - samples) / (time.monotonic() - began)
                pauses.append(ms(pause))
                slower.append(max(0.0, 100 * (1 - during / usual)))
                memory.append(kib / 1024)
            self.table.add(f"{mib} MiB: live, pause, {what}", pauses, floors, goal)
            self.table.add(f"{mib} MiB: live, program slower, {what}", slower, [], 10, "%")
            self.table.add(f"{mib} MiB: live, own memory, {what}", [max(memory)], [], 16, "MiB")
        s.end()

    def incremental(self, mib):
        """A hundredth of the pages written to; floor: a complete checkpoint."""
        s = Subject(self.where, mib, 1)
        parent, child = (os.path.join(self.where, n) for n in ("parent", "child"))
        pages = mib * 256
        floors, walls, pauses, first, armed = [], [], [], [], []

        def checkpoint(image, *options):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(image)
            return s.pause_during([program("godwit"), "checkpoint", s.pid, "-o", image, *options])

        for _ in range(PAIRS):
            floors.append(ms(min(checkpoint(child)[1] for _ in range(2))))
            # What follows stands on this one; the live one ends the tracking before.
            checkpoint(child, "--pause=live")
            usual = s.control.touch(pages // 100, 100)
            first.append(ms(checkpoint(parent, "--incremental")[1]))
            armed.append((s.control.touch(pages // 100, 100) - usual) / (pages // 100))
            pause, wall, _ = checkpoint(child, "--incremental")
            walls.append(ms(wall))
            pauses.append(ms(pause))
        goal = statistics.median(0.02 * f for f in floors) + 5
        self.table.add(f"{mib} MiB: incremental of 1 %, wall", walls, floors, round(goal, 1))
        self.table.add(f"{mib} MiB: incremental of 1 %, pause", pauses, floors, round(goal, 1))
        self.table.add(f"{mib} MiB: the first of them, wall", first, floors, 1.2, ratio_goal=True)
        self.table.add("a tracked page, first write, longer by", [a / 1000 for a in armed], [], 2, "us")
        s.end()
        for image in (parent, child):
            os.unlink(image)

    def all(self):
        for name, method, arguments in (
                ("small", self.small_checkpoint, ()), ("small", self.small_restart, ()),
                ("large", self.large_checkpoint, ()), ("large", self.large_restart, ()),
                ("preload", self.preloaded, ()),
                ("threads", self.threads, (100, 2)), ("threads", self.threads, (1000, 20)),
                ("live", self.live, (MIB, ((0, 5), (10, 5), (100, 10)))),
                ("live", self.live, (4 * MIB, ((0, 10), (100, 30)))),
                ("incremental", self.incremental, (4 * MIB,))) + images.groups(self.images) + groups(self.migrate):
            if self.table.wanted(name):
                method(*arguments)


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what was started is ended, too
    # Orphans of a killed step come to us, and go with us.
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
    base = os.environ.get("BENCH_DIR", "/dev/shm" if os.path.isdir("/dev/shm") else "/tmp")
    with tempfile.TemporaryDirectory(prefix="godwit-bench-", dir=base) as where:
        here = machine(where)
        print("{date}, Linux {kernel}, {cpu}, {cores} cores, load {load}, {file_system}, "
              "{pairs} pairs, uid {uid}".format(**here))
        if here["load"] > here["cores"] / 2:
            print("the machine is busy: the figures are of that machine, too")
        try:
            bench = Bench(where)
            bench.all()
        except (Failed, subprocess.TimeoutExpired) as e:
            print(f"bench: {e}", file=sys.stderr)
            return 1
        finally:
            end_children()
    try:
        with open(program("bench.json"), "w", encoding="utf-8") as f:
            json.dump({"machine": here, "rows": bench.table.rows}, f, indent=1)
            f.write("\n")
        chart.main(program("bench.json"), program("bench.svg"))
    except OSError as e:
        print(f"bench: the figures are not kept: {e}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
