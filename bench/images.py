"""Rows of make bench about how an image is made: by a snapshot, and compressed."""
import os
import statistics

from measure import MIB, PAIRS, Subject, ms, program


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


def groups(rows):
    """For Bench.all()."""
    return (("short", rows.short, (MIB,)),)
