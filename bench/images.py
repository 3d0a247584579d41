"""Rows of make bench about how an image is made: by a snapshot, and compressed."""
import os
import re
import shutil
import statistics
import subprocess
import time

from measure import MIB, PAIRS, PATIENCE, Failed, Subject, ms, program


class ImageRows:
    """One method per group of rows."""

    def __init__(self, where, table):
        self.where = where
        self.table = table

    def short(self, mib):
        """Pause for a snapshot; floor: the program's own fork()."""
        s = Subject(self.where, mib, 1)
        image = os.path.join(self.where, "image")
        floors, pauses = [], []
        for _ in range(2 * PAIRS):
            floors.append(ms(s.control.fork()))
            pause, _, _ = s.pause_during([program("godwit"), "checkpoint", s.pid, "-o", image,
                                          "--pause=short", "-q"])
            os.unlink(image)
            pauses.append(ms(pause))
        s.end()
        goal = statistics.median(1.5 * f + 2 for f in floors)
        self.table.add(f"{mib} MiB: short, pause", pauses, floors, round(goal, 1))


    def compress(self):
        """MiB of image a second; floor: zstd -1 -T2 of the same bytes.  A program with words,
        numbers and pointers: the subject's random bytes would say nothing."""
        if not shutil.which("zstd") or not shutil.which("python3"):
            return
        prog = subprocess.Popen(
            ["python3", "-c", "import time\nx = [(str(i), i * 0.7, {i: i % 1000}) for i in "
             "range(1200000)]\nprint('ready', flush=True)\ntime.sleep(3600)"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        plain, packed, other = (os.path.join(self.where, n) for n in ("plain", "packed", "other"))
        rates, floors = [], []
        try:
            prog.stdout.readline()
            for _ in range(PAIRS):
                said = subprocess.run(
                    [program("godwit"), "checkpoint", str(prog.pid), "-o", packed, "--compress",
                     "--threads=2", "-v"], stderr=subprocess.PIPE, text=True, timeout=PATIENCE,
                    check=False)
                took = re.search(r"godwit:   compress +([0-9.]+) ms", said.stderr)
                if said.returncode or not took:
                    raise Failed(f"--compress: {said.stderr}")
                subprocess.run(["zstd", "-dqf", packed, "-o", plain], check=True, timeout=PATIENCE)
                mib = os.path.getsize(plain) / 1048576
                began = time.monotonic()
                subprocess.run(["zstd", "-1", "-T2", "-qf", plain, "-o", other], check=True,
                               timeout=PATIENCE)
                floors.append(mib / (time.monotonic() - began))
                rates.append(mib / float(took[1]) * 1000)
        finally:
            prog.kill()
            prog.wait()
            prog.stdout.close()
            for name in (plain, packed, other):
                if os.path.exists(name):
                    os.unlink(name)
        self.table.add(f"{mib:.0f} MiB: compress, beside zstd -1 -T2", rates, floors, 0.9, "MiB/s",
                       ratio_goal=True, at_least=True)


def groups(rows):
    """For Bench.all()."""
    return (("short", rows.short, (MIB,)), ("compress", rows.compress, ()))
