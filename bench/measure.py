"""What the rows of a measurement are made of: the subject and its page, commands that are
timed, programs to compare with, the table.  See run.py."""
import contextlib
import datetime
import mmap
import os
import shutil
import signal
import statistics
import struct
import subprocess
import sys
import time

B = os.path.abspath(os.environ.get("B", "build"))
PAIRS = int(os.environ.get("BENCH_PAIRS", "9"))
SMALL_PAIRS = 3 * PAIRS  # of what takes milliseconds: cheap, and noisier
MIB = int(os.environ.get("BENCH_MIB", "1024"))
ROWS = [r for r in os.environ.get("BENCH_ROWS", "").split(",") if r]
PATIENCE = 120  # seconds for any single step

# struct control, bench/control.h
RESET, WRITE, READ, SUM, QUIT, TOUCH, FORK = 1, 2, 3, 4, 5, 6, 7


def program(name):
    return os.path.join(B, name)


class Failed(Exception):
    pass


def wait_for(what, condition):
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            raise Failed(f"no {what} within {PATIENCE} s")
        time.sleep(0.0005)


class Control:
    """The page shared with the subject."""

    def __init__(self, path):
        self.path = path
        with open(path, "wb") as f:
            f.write(bytes(4096))
        with open(path, "r+b") as f:
            self.page = mmap.mmap(f.fileno(), 4096)

    def get(self, offset):
        return struct.unpack_from("<Q", self.page, offset)[0]

    def clear(self):
        self.page[0:8] = bytes(8)

    def order_reset(self):
        self.order(RESET)

    def order(self, number, path=b""):
        self.page[48:48 + len(path) + 1] = path + b"\0"
        self.page[0:8] = struct.pack("<Q", number)
        wait_for("answer of the subject", lambda: self.get(0) == 0)
        if self.get(40):
            raise Failed(f"{path}: {os.strerror(self.get(40))}")

    def floor(self, number, path):
        """Nanoseconds of a plain write() or read(): the better of two in a row."""
        took = []
        for _ in range(2):
            if number == WRITE:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)
            self.order(number, os.fsencode(path))
            took.append(self.get(24))
        return min(took)

    def write_at(self, mb_per_s):
        """From now on the subject writes to its memory; 0 ends it."""
        self.page[304:312] = struct.pack("<Q", mb_per_s * 1000 * 1000)

    def nap_for(self, us):
        """From now on the subject sleeps between two readings; 0: it computes again."""
        self.page[336:344] = struct.pack("<Q", us)

    def touch(self, count, step):
        """ns for a write to every step-th page."""
        self.page[312:328] = struct.pack("<QQ", count, step)
        self.order(TOUCH)
        return self.get(24)

    def fork(self):
        """ns of its own fork()."""
        self.order(FORK)
        return self.get(24)

    def longest(self):
        return self.get(16)

    def sum(self):
        self.order(SUM)
        return self.get(32)


class Subject:
    """A running bench/subject.c."""

    def __init__(self, where, mib, threads):
        self.control = Control(os.path.join(where, f"control-{mib}-{threads}"))
        self.proc = subprocess.Popen(
            [program("bench/subject"), str(mib), str(threads), self.control.path],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        if not self.proc.stdout.read(1):
            raise Failed("the subject did not start")
        self.pid = str(self.proc.pid)
        self.pipe = os.fstat(self.proc.stdout.fileno()).st_ino

    @contextlib.contextmanager
    def asleep(self):
        """Out of the way while something else is measured."""
        os.kill(self.proc.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.proc.pid, signal.SIGCONT)

    def pause_during(self, command):
        """Longest gap in ns that the subject saw, and what spawn measured."""
        self.control.order(RESET)
        wall, kib = run(command)
        before = self.control.get(8)
        wait_for("sign of life", lambda: self.control.get(8) > before + 1000)
        return self.control.longest(), wall, kib

    def speed(self):
        """Readings of the clock in a second, while nobody disturbs."""
        began, samples = time.monotonic(), self.control.get(8)
        time.sleep(0.2)
        return (self.control.get(8) - samples) / (time.monotonic() - began)

    def end(self):
        self.proc.kill()
        self.proc.wait()
        self.proc.stdout.close()


def spawn_line(mode, command):
    return [program("bench/spawn"), mode] + command


def run(command):
    """(ns, KiB) of a command that must succeed."""
    out = subprocess.run(spawn_line("wall", command), capture_output=True, text=True,
                         timeout=PATIENCE)
    lines = out.stdout.split("\n")
    if out.returncode or len(lines) < 2 or lines[0].split()[1] != "0":
        raise Failed(f"{' '.join(command)}: {out.stdout.strip()} {out.stderr.strip()}")
    return int(lines[0].split()[0]), int(lines[1])


class Running:
    """A program started (or restarted), known by its first output."""

    def __init__(self, command, control):
        self.control = control
        control.clear()
        self.proc = subprocess.Popen(spawn_line("output", command), stdout=subprocess.PIPE,
                                     stderr=subprocess.PIPE, text=True)
        line = self.proc.stdout.readline().split()
        if len(line) != 2:
            self.proc.kill()
            raise Failed(f"{' '.join(command)}: {self.proc.stderr.read().strip()}")
        self.ns = int(line[0])

    def end(self):
        """Tells it to quit; KiB of the largest helper process."""
        self.control.page[0:8] = struct.pack("<Q", QUIT)
        out, _ = self.proc.communicate(timeout=PATIENCE)
        return int(out.split()[0])


class Godwit:
    name = "godwit"

    def __init__(self, where):
        self.image = os.path.join(where, "image")

    def forget(self):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.image)

    def checkpoint(self, subject, kill=False, threads=None):
        return [program("godwit"), "checkpoint", subject.pid, "-o", self.image] + (
            ["--kill"] if kill else []) + (["--threads", str(threads)] if threads else [])

    def restart(self, _subject):
        return [program("godwit"), "restart", self.image]


class Criu:
    name = "criu"

    def __init__(self, where):
        self.path = shutil.which("criu")
        self.image = os.path.join(where, "criu-image")

    def works(self):
        return bool(self.path) and os.geteuid() == 0 and subprocess.run(
            [self.path, "check"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            check=False).returncode == 0

    def forget(self):
        shutil.rmtree(self.image, ignore_errors=True)
        os.mkdir(self.image, 0o700)

    def checkpoint(self, subject, kill=False, threads=None):
        """It copies with one thread, always."""
        return [self.path, "dump", "-t", subject.pid, "-D", self.image, "--shell-job", "-v0"] + (
            [] if kill else ["-R"])

    def restart(self, subject):
        return [self.path, "restore", "-D", self.image, "--shell-job", "-v0",
                "--inherit-fd", f"fd[1]:pipe:[{subject.pipe}]"]


def ms(ns):
    return ns / 1e6


class Table:
    """The rows, printed as they come."""

    columns = "%-44s %10s %10s %7s  %-9s %-7s %s"

    def __init__(self, has_criu):
        self.rows = []
        self.no_peer = "-" if has_criu else "not here"
        print(self.columns % ("measure", "godwit", "floor", "ratio", "goal", "reached", "criu"))

    def wanted(self, name):
        return not ROWS or any(name.startswith(r) for r in ROWS)

    def add(self, name, values, floors, goal, unit="ms", criu=None, ratio_goal=False,
            at_least=False):
        value, floor = statistics.median(values), statistics.median(floors) if floors else None
        ratio = None
        if ratio_goal:
            ratio = statistics.median(v / f for v, f in zip(values, floors))
        got = ratio if ratio_goal else value
        reached = None if goal is None else got >= goal if at_least else got <= goal
        peer = statistics.median(criu) if criu else None
        self.rows.append({"measure": name, "value": value, "floor": floor, "ratio": ratio,
                          "goal": goal, "goal_is": "ratio" if ratio_goal else unit,
                          "at_least": at_least, "unit": unit, "reached": reached, "criu": peer,
                          "values": values, "floors": floors})
        print(self.columns % (
            name, f"{value:.2f} {unit}", "-" if floor is None else f"{floor:.2f} {unit}",
            f"{ratio:.2f}" if ratio_goal else "-",
            "-" if goal is None else
            f"{'>=' if at_least else '<='} {goal:g} {'x' if ratio_goal else unit}",
            "-" if goal is None else "yes" if reached else "NO",
            self.no_peer if peer is None else f"{peer:.2f} {unit}"))
        sys.stdout.flush()


def end_process(pid):
    """One that may not be a child of ours."""
    with contextlib.suppress(OSError):
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def end_children():
    """Ends every process that is a child of ours by now, and what it leaves to us."""
    me, end = os.getpid(), time.monotonic() + 10
    while time.monotonic() < end:
        with open(f"/proc/{me}/task/{me}/children", encoding="ascii") as f:
            pids = f.read().split()
        if not pids:
            return
        for pid in pids:
            with contextlib.suppress(OSError):
                os.kill(int(pid), signal.SIGKILL)
                os.waitpid(int(pid), 0)


def machine(where):
    cpu = "unknown CPU"
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as f:
        for line in f:
            if line.startswith("model name"):
                cpu = line.split(":", 1)[1].strip()
                break
    fs = subprocess.run(["stat", "-f", "-c", "%T", where], capture_output=True, text=True,
                        check=False).stdout.strip()
    return {"date": datetime.date.today().isoformat(), "kernel": os.uname().release, "cpu": cpu,
            "cores": len(os.sched_getaffinity(0)), "load": round(os.getloadavg()[0], 1),
            "file_system": fs or "unknown", "pairs": PAIRS, "uid": os.geteuid()}
