"""Plays a person at a terminal who moves a program: terminal.py SCENARIO PID TO KEY.

Run by cli.t.  Between the two stands a relay, so that the migration can be held up where
the scenario wants it.  Exit status 0 where all went as a person expects.
"""
import fcntl
import os
import pty
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import termios
import threading
import time

GODWIT = os.environ["GODWIT"]
LIMIT = float(os.environ.get("LIMIT", 20))


class Relay:
    """Passes bytes on to a destination, slowly; no more than `allowance` from here to there."""

    def __init__(self, to, allowance):
        host, port = to.removeprefix("tls://").rsplit(":", 1)
        self.allowance, self.to = allowance, (host, int(port))
        self.held = threading.Event()
        self.go = threading.Event()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.name = "tls://127.0.0.1:%d" % self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            a = self.listener.accept()[0]
            b = socket.create_connection(self.to)
            threading.Thread(target=self.carry, args=(a, b, True), daemon=True).start()
            threading.Thread(target=self.carry, args=(b, a, False), daemon=True).start()

    def carry(self, a, b, is_limited):
        try:
            while data := a.recv(65536):
                if is_limited and self.allowance < len(data) and not self.go.is_set():
                    self.held.set()
                    self.go.wait()
                if is_limited and not self.go.is_set():
                    self.allowance -= len(data)
                    time.sleep(0.005)
                b.sendall(data)
        except OSError:
            pass
        for s in (a, b):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


class Screen:
    """What a terminal of that width shows; it knows what the status line may use."""

    def __init__(self, width):
        self.width, self.lines, self.column, self.seen = width, [""], 0, []

    def feed(self, text):
        for c in text:
            if c == "\r":
                self.seen.append(self.lines[-1].rstrip())
                self.column = 0
            elif c == "\n":
                self.lines.append("")
                self.column = 0
            else:
                assert c >= " ", f"an unexpected {c!r}"
                line = self.lines[-1].ljust(self.column)
                self.lines[-1] = line[:self.column] + c + line[self.column + 1:]
                self.column += 1
                assert not line.startswith("godwit: round") or self.column < self.width, \
                    "the status line does not fit"

    def status_lines(self):
        return [s for s in self.seen if re.match("godwit: (round|stopped|handover)", s)]


class Migration:
    def __init__(self, pid, to, key, width, *words):
        self.screen = Screen(width)
        ours, theirs = pty.openpty()
        fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
        self.fd = ours

        def session():
            os.setsid()
            fcntl.ioctl(2, termios.TIOCSCTTY, 0)

        self.process = subprocess.Popen(
            [GODWIT, "migrate", pid, to, "--key", key, *words], stdin=theirs, stdout=theirs,
            stderr=theirs, preexec_fn=session)
        os.close(theirs)

    def read(self, until):
        end = time.monotonic() + LIMIT
        while not until():
            assert time.monotonic() < end, f"waited in vain; on the screen: {self.screen.lines}"
            if not select.select([self.fd], [], [], 0.05)[0]:
                continue
            try:
                data = os.read(self.fd, 65536)
            except OSError:
                return
            # The terminal's own "\r\n" is one step, for us.
            self.screen.feed(data.decode().replace("\r\n", "\n"))

    def finish(self):
        self.read(lambda: False)
        return self.process.wait(timeout=LIMIT)


def shows(pid, to, key, width=80):
    m = Migration(pid, to, key, width)
    assert m.finish() == 0
    lines = m.screen.lines
    assert any("goes on on" in s for s in lines), lines
    assert m.screen.status_lines(), "no status line was seen"
    assert not [s for s in lines if re.match("godwit: (round|stopped|handover)", s)], lines
    return m


def narrow(pid, to, key):
    m = shows(pid, to, key, 20)
    assert max(map(len, m.screen.status_lines())) == 19


def rates(pid, to, key):
    """By a slow wire the line says how far it is."""
    r = Relay(to, 8 << 20)
    m = Migration(pid, r.name, key, 120)
    m.read(r.held.is_set)
    m.read(lambda: any(re.search(r"round 1: \d+\.\d of 64\.\d MiB, \d+ MiB/s", s)
                       for s in m.screen.seen + m.screen.lines))
    r.go.set()
    assert m.finish() == 0, m.screen.lines


def ctrl_c(pid, to, key):
    r = Relay(to, 8 << 20)
    m = Migration(pid, r.name, key, 80)
    m.read(r.held.is_set)
    m.read(lambda: m.screen.lines[-1].startswith("godwit: round 1"))
    os.write(m.fd, b"\x03")
    assert m.finish() == 1, "another status"
    lines = [s.strip() for s in m.screen.lines if s.strip()]
    assert re.fullmatch(r"godwit: migrate: interrupted: process \d+ goes on here", lines[-1]), lines
    assert not [s for s in lines if "round" in s], lines


def quiet(pid, to, key):
    m = Migration(pid, to, key, 80, "-q")
    assert m.finish() == 0
    assert "".join(m.screen.lines) == "" and not m.screen.status_lines(), m.screen.lines


if __name__ == "__main__":
    signal.alarm(int(LIMIT * 3))
    globals()[sys.argv[1]](*sys.argv[2:])
