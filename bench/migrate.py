"""The rows of `make bench` on migration, from this machine to itself.

The subject measures its downtime by itself: its page (control.h) is a shared mapping of a
file, so that it has the same one before and after, and CLOCK_MONOTONIC is the same, too.
The destination is a `godwit serve` on loopback (TLS), or a `godwit receive` behind a
pipe in the place of ssh.  It stays the same subject all the time, moved again and again.

One machine stands for two here: the subject, the source's and the destination's
godwit share its cores.  Where that would count, in the rows "slower", the subject
has one core for itself and both godwits the other one, as if the destination's work
were the source's, too: on two hosts it is less.  In all other rows they run where
they like.
"""
import contextlib
import json
import os
import shutil
import statistics
import subprocess
import time

from measure import (MIB, PAIRS, PATIENCE, Failed, Subject, end_process, ms, program, wait_for)

# name, option, goals: MB/s that are written -> ms
MODES = (
    ("total", "--mode=total", {}),
    ("pre-copy", "--mode=pre-copy", {0: 10, 100: 30}),
    ("post-copy", "--mode=post-copy", {}),
)
RATES = (0, 10, 100)


def on_cores(cores):
    """For Popen: where there are two cores at all."""
    here = os.sched_getaffinity(0)
    if cores is None or not cores <= here:
        return None
    return lambda: os.sched_setaffinity(0, cores)


class ByTls:
    """godwit serve on loopback."""

    name = "TLS"

    def __init__(self, where, cores=None, options=("--new-ids",)):
        self.key = os.path.join(where, "key")
        self.env = dict(os.environ, GODWIT_STATE=os.path.join(where, "state"))
        if not os.path.exists(self.key):
            subprocess.run([program("godwit"), "key", self.key], check=True,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.log_path = os.path.join(where, "serve.log")
        with open(self.log_path, "wb") as log:
            self.proc = subprocess.Popen(
                [program("godwit"), "serve", "--listen", "127.0.0.1:0", "--key", self.key,
                 *options], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log,
                env=self.env, preexec_fn=on_cores(cores))
        wait_for("godwit serve", lambda: "listening on" in self.log())
        self.port = self.log().split("listening on")[1].split()[0].rsplit(":", 1)[1]

    def log(self):
        with open(self.log_path, encoding="utf-8") as f:
            return f.read()

    def words(self):
        return [f"tls://127.0.0.1:{self.port}", "--key", self.key]

    def end(self):
        self.proc.terminate()
        self.proc.wait()


class ByPipe:
    """godwit receive, as ssh would start it."""

    name = "a pipe"

    def __init__(self, where, _cores=None):
        self.env = dict(os.environ, GODWIT_STATE=os.path.join(where, "state"))
        self.script = os.path.join(where, "no-ssh")
        with open(self.script, "w", encoding="ascii") as f:
            f.write('#!/bin/sh\nfor last; do :; done\nexec sh -c "$last"\n')
        os.chmod(self.script, 0o700)

    def log(self):
        return ""

    def words(self):
        return ["here", "--ssh", self.script, "--remote-godwit", program("godwit")]

    def end(self):
        pass


class Moved:
    """A subject that is moved again and again."""

    def __init__(self, where, mib):
        self.subject = Subject(where, mib, 1)
        self.control = self.subject.control
        self.control.order_reset()
        self.first = True

    def pid(self):
        return self.control.get(328)

    def move(self, to, option, cores=None):
        """One hop; what godwit says of it, and what the subject has seen."""
        c, pid = self.control, self.pid()
        c.order_reset()
        usual, began, samples = self.subject.speed(), time.monotonic(), c.get(8)
        p = subprocess.run([program("godwit"), "migrate", str(pid), option, "--json", *to.words()],
                           capture_output=True, text=True, env=to.env, timeout=PATIENCE,
                           preexec_fn=on_cores(cores), check=False)
        took, readings = time.monotonic() - began, c.get(8) - samples
        if p.returncode:
            raise Failed(f"godwit migrate {option}: {p.stderr.strip()}\n{to.log()}")
        wait_for("sign of life", lambda: c.get(8) > samples + readings + 1000)
        said = json.loads(p.stdout)
        said["downtime"] = c.longest()
        # While it ran; the command's start and end count as well.
        during = readings / max(took - c.longest() / 1e9, 1e-9)
        said["slower"] = max(0.0, 100 * (1 - during / usual))
        c.order_reset()
        if self.pid() == pid and self.first:
            raise Failed("it is where it was")
        if self.first:
            self.subject.proc.wait()
            self.first = False
        if "doing pre-copy" in p.stderr and "post" in option:
            raise NotBuilt
        after = self.subject.speed()
        said["slower_after"] = max(0.0, 100 * (1 - after / usual))
        return said

    def pin(self, cores):
        if on_cores(cores):
            os.sched_setaffinity(self.pid(), cores)

    def end(self):
        if self.first:
            self.subject.end()
        else:
            end_process(self.pid())
            self.subject.proc.stdout.close()


class NotBuilt(Exception):
    """This godwit has no such mode."""


def rate_of(said):
    """Bytes of memory in a nanosecond, in the first round, or all of a total copy."""
    if said["rounds"]:
        return said["rounds"][0]["bytes"] / said["rounds"][0]["ns"]
    return said["memory"]["sent"] / said["phases"]["transfer_ns"]


class MigrateRows:
    """One method for each group of rows."""

    def __init__(self, where, table, criu):
        self.where, self.table = where, table
        if criu and criu.works():
            self.no_criu = "criu: its page server and lazy pages are not measured by this bench"
        else:
            self.no_criu = "criu's page server and lazy pages: " + (
                "criu does not work here" if shutil.which("criu") else "no criu on the PATH")
        self.said_so = False

    def downtime(self, mib, pairs):
        """As the subject sees it; floor: that of --mode=total."""
        if not self.said_so:
            print(self.no_criu)
            self.said_so = True
        moved, to = Moved(self.where, mib), ByTls(self.where)
        total, modes = moved.control.sum(), list(MODES)
        for rate in RATES:
            seen = {m[0]: [] for m in modes}
            moved.control.write_at(rate)
            for _ in range(pairs):
                for mode in tuple(modes):
                    try:
                        seen[mode[0]].append(ms(moved.move(to, mode[1])["downtime"]))
                    except NotBuilt:
                        print(f"{mode[0]}: not in this godwit")
                        modes.remove(mode)
            what = f"writing {rate} MB/s" if rate else "idle"
            for name, _, goals in modes:
                self.table.add(f"{mib} MiB: downtime, {name}, {what}", seen[name],
                               [] if name == "total" else seen["total"], goals.get(rate))
            moved.control.write_at(0)
            if not rate and moved.control.sum() != total:
                raise Failed("the memory is not what it was")
        moved.end()
        to.end()

    def bulk(self, mib):
        """MB/s of memory in the bulk phase; floor: a plain stream of as much."""
        plain = os.path.join(self.where, "plain")
        with open(plain, "wb") as f:
            for _ in range(mib):
                f.write(os.urandom(1 << 20))
        for way, floor in ((ByTls, self.stream), (ByPipe, self.cat)):
            moved, to = Moved(self.where, mib), way(self.where)
            for mode, option, nap in (("total", "--mode=total", 0),
                                      ("pre-copy of one that sleeps", "--mode=pre-copy", 100),
                                      ("pre-copy of one that computes", "--mode=pre-copy", 0)):
                rates, floors = [], []
                moved.control.nap_for(nap)
                for _ in range(PAIRS):
                    # One that computes goes on to use a core: so it does beside the floor.
                    with moved_asleep(moved) if mode == "total" else contextlib.nullcontext():
                        floors.append(1000 * (mib << 20) / min(floor(mib, plain) for _ in range(2)))
                    rates.append(1000 * max(rate_of(moved.move(to, option)) for _ in range(2)))
                self.table.add(f"{mib} MiB: bulk, {mode}, by {way.name}", rates, floors, 0.9, "MB/s",
                               ratio_goal=True, at_least=True)
            moved.control.nap_for(0)
            moved.end()
            to.end()
        os.unlink(plain)

    def stream(self, mib, _plain):
        """ns of a TLS stream of OpenSSL's between two processes."""
        out = subprocess.run([program("bench/stream"), str(mib)], capture_output=True, text=True,
                             timeout=PATIENCE, check=True).stdout
        return int(out)

    def cat(self, _mib, plain):
        """ns of cat through a pipe."""
        began = time.monotonic_ns()
        with subprocess.Popen(["cat", plain], stdout=subprocess.PIPE) as first:
            subprocess.run(["cat"], stdin=first.stdout, stdout=subprocess.DEVNULL, check=True,
                           timeout=PATIENCE)
        return time.monotonic_ns() - began

    def slower(self, mib, rates):
        """How much slower its own work is meanwhile, and afterwards."""
        if len(os.sched_getaffinity(0)) < 2:
            print("program slower: not measured with one core")
            return
        moved, to = Moved(self.where, mib), ByTls(self.where, {1})
        moved.pin({0})
        for rate in rates:
            moved.control.write_at(rate)
            said = [moved.move(to, "--mode=pre-copy", {1}) for _ in range(PAIRS)]
            what = f"writing {rate} MB/s" if rate else "idle"
            self.table.add(f"{mib} MiB: slower while pre-copied, {what}",
                           [s["slower"] for s in said], [], 10, "%")
            self.table.add(f"{mib} MiB: slower afterwards, {what}",
                           [s["slower_after"] for s in said], [], 1, "%")
        moved.end()
        to.end()


@contextlib.contextmanager
def moved_asleep(moved):
    os.kill(moved.pid(), 19)
    try:
        yield
    finally:
        os.kill(moved.pid(), 18)


def groups(rows):
    """For Bench.all()."""
    return (
        ("downtime:64", rows.downtime, (64, PAIRS)),
        (f"downtime:{MIB}", rows.downtime, (MIB, PAIRS)),
        (f"downtime:{4 * MIB}", rows.downtime, (4 * MIB, max(3, PAIRS // 2))),
        ("bulk", rows.bulk, (MIB,)),
        ("slower", rows.slower, (MIB, (0, 100))),
    )
