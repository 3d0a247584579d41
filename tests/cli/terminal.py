"""Plays a person at a terminal: terminal.py SCENARIO.  Run by terminal.t.

Each scenario starts a program in an interactive shell on a pseudo-terminal of its
own, checkpoints it with --kill from outside, and restarts it in the shell of another
terminal.  Exit status 0 where all went as a person expects.
"""
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time

GODWIT, MYRESTART, SUBJECTS = (os.environ[k] for k in ("GODWIT", "MYRESTART", "SUBJECTS"))
COUNT = os.path.join(os.environ["B"], "count")
RESTART = MYRESTART + " myckpt"
LIMIT = float(os.environ.get("LIMIT", 20))  # seconds to wait for anything


class Shell:
    """An interactive bash on a new terminal."""

    def __init__(self):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it
            os.execve("/bin/bash", ["bash", "--norc", "--noprofile", "-i"],
                      {"PS1": "PROMPT> ", "PATH": "/usr/bin:/bin", "TERM": "dumb", "LC_ALL": "C",
                       "HISTFILE": ""})
        os.set_inheritable(self.fd, False)
        self.text = self.raw = ""
        self.expect("PROMPT> ")

    def send(self, text):
        os.write(self.fd, text.encode())

    def expect(self, regex, limit=LIMIT):
        """Waits until the regular expression appears; forgets what came up to there."""
        end = time.monotonic() + limit
        while True:
            m = re.search(regex, self.text)
            if m:
                self.text = self.text[m.end():]
                return m
            left = end - time.monotonic()
            ready = left > 0 and select.select([self.fd], [], [], left)[0]
            if not ready:
                raise SystemExit(f"no {regex!r} on the terminal; there is: {self.text!r}")
            try:
                data = os.read(self.fd, 65536).decode(errors="replace")
            except OSError:
                raise SystemExit(f"the shell is gone; there was: {self.text!r}")
            self.raw += data
            self.text += data.replace("\r", "")

    def child(self):
        """The pid of the shell's only child."""
        end = time.monotonic() + LIMIT
        while time.monotonic() < end:
            with open(f"/proc/{self.pid}/task/{self.pid}/children") as f:
                pids = f.read().split()
            if len(pids) == 1:
                return int(pids[0])
            time.sleep(0.01)
        raise SystemExit("no child")

    def close(self):
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.fd)


def image_of(command, shows, steps=(), option="--pause=copy"):
    """Starts the command in a terminal, waits until it shows something, checkpoints it.

    Before that it gets each step's keys, and shows what follows from them.
    """
    sh = Shell()
    sh.send(command + "\n")
    sh.expect(shows)
    for keys, seen in steps:
        sh.send(keys)
        sh.expect(seen)
    # The restarted program finds another terminal: this one is gone by then.
    r = subprocess.run([GODWIT, "checkpoint", str(sh.child()), "--kill", option], stdin=subprocess.DEVNULL,
                       capture_output=True, text=True, timeout=LIMIT)
    if r.returncode:
        raise SystemExit(f"checkpoint: {r.returncode} {r.stderr}")
    sh.expect("Killed")
    sh.close()


def status(sh, want):
    sh.send("echo status $?\n")
    m = sh.expect(r"status (\d+)\n")
    if int(m[1]) != want:
        raise SystemExit(f"status {m[1]}, not {want}")


def counts_on(sh):
    """Two numbers in order appear."""
    n = int(sh.expect(r"(?m)^(\d+)\n")[1])
    sh.expect(rf"(?m)^{n + 1}\n")
    return n


def ctrl_c():
    image_of(f"{COUNT} 100000 20", "(?m)^5\n")
    sh = Shell()
    sh.send(RESTART + "\n")
    assert counts_on(sh) >= 5
    sh.send("\x03")
    sh.expect("PROMPT> ")
    status(sh, 130)


def ctrl_z():
    image_of(f"{COUNT} 100000 20", "(?m)^5\n")
    sh = Shell()
    sh.send(RESTART + "\n")
    counts_on(sh)
    sh.send("\x1a")
    sh.expect("Stopped")
    sh.expect("PROMPT> ")
    sh.send("fg\n")
    counts_on(sh)
    sh.send("\x1a")
    sh.expect("Stopped")
    sh.expect("PROMPT> ")
    sh.send("bg\n")
    counts_on(sh)
    # A bare `wait` says nothing of a job that is dead by then.
    sh.send("kill %1; wait %1; echo status $?\n")
    sh.expect("Terminated")
    sh.expect("status 143\n")


def early_ctrl_z():
    """Stopped in the middle of the restart, again and again: nothing hangs."""
    image_of(f"{COUNT} 100000 20", "(?m)^5\n")
    for i in range(12):
        sh = Shell()
        sh.send(RESTART + "\n")
        sh.expect("myckpt\n")  # Ctrl-Z throws away what is not read yet
        time.sleep(i * 0.001)
        sh.send("\x1a")
        m = sh.expect(r"Stopped|(?m:^\d+\n)")
        if not m[0].startswith("Stopped"):  # it came before there was a job
            sh.send("\x1a")
            sh.expect("Stopped")
        sh.expect("PROMPT> ")
        sh.send("fg\n")
        counts_on(sh)
        sh.send("\x03")
        sh.expect("PROMPT> ")
        sh.close()


def reads_terminal(restart=RESTART):
    image_of("""bash -c 'x=1; echo up; while read -r a; do echo "<$((x++)) $a>"; done; exit 9'""", "up\n")
    sh = Shell()
    sh.send(restart + "\n")
    sh.send("hello\n")
    sh.expect("<1 hello>\n")
    sh.send("again\n")
    sh.expect("<2 again>\n")
    sh.send("\x04")
    sh.expect("PROMPT> ")
    status(sh, 9)


def editor():
    """Without lines and echo, as an editor: the new terminal is so, too, and drawn anew."""
    program = """import os, signal, sys, termios, tty
old = termios.tcgetattr(0)
signal.signal(signal.SIGWINCH, lambda *a: os.write(1, b"[draws %dx%d]" % tuple(os.get_terminal_size())))
tty.setraw(0)
os.write(1, b"up")
while (c := os.read(0, 1)) != b"q":
    os.write(1, b"<" + c + b">")
termios.tcsetattr(0, termios.TCSADRAIN, old)
os.write(1, b"bye\\n")
"""
    with open("editor.py", "w") as f:
        f.write(program)
    os.chmod("editor.py", 0o644)
    image_of("/usr/bin/python3 editor.py", "up")
    sh = Shell()
    sh.send("stty rows 33 cols 99; " + RESTART + "\n")
    sh.expect(r"\[draws 99x33\]")
    sh.send("x\x03")  # neither echoed nor a signal
    sh.expect("^<x><\x03>$")
    sh.send("q")
    sh.expect("bye\n")
    sh.expect("PROMPT> ")
    status(sh, 0)
    sh.send("stty -a | grep -o -e '.icanon' -e ' echo '\n")
    sh.expect(" icanon\n echo \n")


def pipeline():
    """In a pipeline of the shell: stdout is the pipe's, and the job is one job."""
    image_of(f"{COUNT} 40 20", "(?m)^5\n")
    sh = Shell()
    sh.send(RESTART + " | sed 's/^/n=/' | tail -n 3\n")
    sh.expect("n=38\nn=39\nn=40\n")
    sh.expect("PROMPT> ")
    image_of(f"{COUNT} 100000 20", "(?m)^5\n")
    sh.send(RESTART + " | head -n 2\n")
    sh.expect("PROMPT> ")  # the broken pipe ends it
    # The same with SIGPIPE ignored, as some parents leave it: then write() says so.
    image_of(f"trap '' PIPE; {COUNT} 100000 20", "(?m)^5\n")
    sh.send(RESTART + " | head -n 2\n")
    sh.expect("Broken pipe\n")
    sh.expect("PROMPT> ")
    sh.close()


def redirected():
    """What was a terminal becomes the file that the restarting shell gives."""
    image_of(f"{COUNT} 30 20", "(?m)^5\n")
    sh = Shell()
    sh.send(RESTART + " >file 2>&1 </dev/null; echo status $?\n")
    sh.expect("status 0\n")
    with open("file") as f:
        lines = f.read().split()
    assert lines == [str(n) for n in range(int(lines[0]), 31)], lines


def thin_parent():
    """Threads with their old ids: in namespaces of its own, behind a thin parent."""
    os.makedirs("ctl", exist_ok=True)
    image_of(f"{SUBJECTS}/ids {os.getcwd()}/ctl", "ready\n")
    sh = Shell()
    sh.send(f"{GODWIT} restart --same-ids myckpt\n")

    def ping():
        open("ctl/ping", "w").close()
        end = time.monotonic() + LIMIT
        while time.monotonic() < end:
            if not os.path.exists("ctl/ping"):
                return
            time.sleep(0.01)
        raise SystemExit("no sign of life")
    ping()
    sh.send("\x1a")
    sh.expect("Stopped")
    sh.expect("PROMPT> ")
    sh.send("fg\n")
    ping()
    open("ctl/release", "w").close()
    sh.expect("ok\n")
    sh.expect("PROMPT> ")
    status(sh, 0)
    sh.expect("PROMPT> ")
    os.unlink("ctl/release")
    sh.send(f"{GODWIT} restart --same-ids myckpt\n")
    ping()
    sh.send("\x03")
    sh.expect("PROMPT> ")
    status(sh, 130)


# Shows its group, session and window whenever it is told a line; goes on after ^Z.
ASKED = """
import os, signal, sys, threading
threading.Thread(target=signal.pause, daemon=True).start()
signal.signal(signal.SIGWINCH,
              lambda *a: os.write(1, "window {} {}\\n".format(*os.get_terminal_size(0)).encode()))
print("up", flush=True)
for line in sys.stdin:
    g = os.getpgrp()
    print(f"<{line.strip()}>", "group" if g == os.getpid() == os.tcgetpgrp(0) else "no group",
          "session" if os.getsid(0) > 0 else "no session", os.ttyname(0) == os.ttyname(1), flush=True)
print("end", flush=True)
sys.exit(7)
"""


def settings(sh):
    """As a command of the shell finds them: at its prompt the shell has its own."""
    sh.send("stty -g\n")
    return sh.expect(r"(?m)^([0-9a-f:]{20,})\n")[1]


def own_terminal():
    """In a namespace of its own it has a session, a group and a terminal of its own."""
    with open("asked.py", "w") as f:
        f.write(ASKED)
    image_of("/usr/bin/python3 asked.py", "up\n")
    sh = Shell()
    before = settings(sh)
    sh.send(f"{GODWIT} restart myckpt\n")
    sh.send("one\n")
    sh.expect("<one> group session True\n")
    sh.send("\x1a")
    sh.expect("Stopped")
    sh.expect("PROMPT> ")
    sh.send("echo a shell; fg\n")
    sh.expect("(?m)^a shell\n")
    sh.send("two\n")
    sh.expect("<two> group session True\n")
    fcntl.ioctl(sh.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 77, 0, 0))
    sh.expect("window 77 33\n")
    # In the background and forward again: nothing is taken from the shell meanwhile.
    sh.send("\x1a")
    sh.expect("PROMPT> ")
    sh.send("bg\n")
    sh.expect("PROMPT> ")
    sh.send("echo still a shell\n")
    sh.expect("(?m)^still a shell\n")
    sh.send("fg\n")
    sh.expect("asked.py|restart myckpt")
    time.sleep(0.5)  # the relay looks five times a second
    sh.send("three\n")
    sh.expect("<three> group session True\n")
    sh.send("\x04")
    sh.expect("end\n")
    sh.expect("PROMPT> ")
    status(sh, 7)
    sh.expect("PROMPT> ")
    # Killed in the worst way: the shell has its terminal all the same.
    sh.send(f"{GODWIT} restart myckpt\n")
    sh.send("four\n")
    sh.expect("<four> group session True\n")
    os.kill(sh.child(), signal.SIGKILL)
    sh.expect("Killed")
    sh.send("\n")
    if settings(sh) != before:
        raise SystemExit("the settings of the terminal were changed")


def run_job():
    """godwit run: keys, fg, bg, kill %1; the job goes on where it was."""
    line = f"{GODWIT} run -o job.ckpt --every 0.1 -- {COUNT} 100000 20"
    sh = Shell()
    sh.send(line + "\n")
    n = counts_on(sh)
    sh.send("\x1a")
    sh.expect("Stopped")
    sh.expect("PROMPT> ")
    sh.send("fg\n")
    assert counts_on(sh) > n
    sh.send("\x1a")
    sh.expect("Stopped")
    sh.expect("PROMPT> ")
    sh.send("bg\n")
    counts_on(sh)
    sh.send("kill %1; wait %1; echo status $?\n")  # to the whole group
    sh.expect("status 85\n")
    sh.close()
    sh = Shell()
    sh.send(line + "\n")
    n = counts_on(sh)
    assert n > 3, n
    sh.send("\x03")
    sh.expect("PROMPT> ")
    status(sh, 130)
    sh.send(f"{GODWIT} run -o other -- bash -c 'read a; echo \"<$a>\"; exit 3'\n")
    sh.expect("exit 3'\n")
    sh.send("typed\n")
    sh.expect("<typed>\n")
    sh.expect("PROMPT> ")
    status(sh, 3)


def run_in_the_background():
    """Brought forward while it runs, it may read from the terminal."""
    sh = Shell()
    sh.send(f"{GODWIT} run -o job.ckpt -- bash -c 'echo up; read a; echo \"<$a>\"; exit 3' &\n")
    sh.expect("up\n")
    # It has asked for input, sooner or later; the shell says so before a prompt.
    end = time.monotonic() + LIMIT
    while not re.search("Stopped", sh.text) and time.monotonic() < end:
        sh.send("\n")
        sh.expect("PROMPT> $")
        time.sleep(0.05)
        sh.send("jobs\n")
        sh.expect("(?=Stopped|Running)")
    sh.expect("Stopped")
    sh.send("fg\n")
    sh.expect("exit 3'\n")
    sh.send("typed\n")
    sh.expect("<typed>\n")
    sh.expect("PROMPT> ")
    status(sh, 3)


def stopped_and_interrupted(sh):
    """Ctrl-Z, fg and Ctrl-C while it counts."""
    counts_on(sh)
    sh.send("\x1a")
    sh.expect("Stopped")
    sh.expect("PROMPT> ")
    sh.send("fg\n")
    counts_on(sh)
    sh.send("\x03")
    sh.expect("PROMPT> ")


def run_in_a_pipeline():
    sh = Shell()
    sh.send(f"{GODWIT} run -o job.ckpt -- {COUNT} 40 5 | sed 's/^/n=/' | tail -n 2\n")
    sh.expect("n=39\nn=40\n")
    sh.expect("PROMPT> ")
    sh.send(f"{GODWIT} run -o job.ckpt -- {COUNT} 100000 20 | cat\n")
    stopped_and_interrupted(sh)
    status(sh, 130)  # all of them have got it
    sh.close()


def run_in_a_script():
    """Ctrl-C ends the script around it, too, as if godwit were not there."""
    with open("job.sh", "w") as f:
        f.write(f"{GODWIT} run -o job.ckpt -- {COUNT} 100000 20\necho not reached\n")
    sh = Shell()
    sh.send("bash job.sh\n")
    stopped_and_interrupted(sh)
    status(sh, 130)


def terminal_lost():
    """The terminal of the checkpoint command goes away in the middle: unharmed."""
    os.makedirs("ctl", exist_ok=True)
    target = subprocess.Popen([f"{SUBJECTS}/mem_runs", os.getcwd() + "/ctl"], stdin=subprocess.DEVNULL,
                              stdout=open("out", "w"))
    while "ready" not in open("out").read():
        time.sleep(0.01)
    for i in range(6):
        sh = Shell()
        sh.send(f"{GODWIT} checkpoint {target.pid}\n")
        time.sleep(0.01 + i * 0.02)
        os.close(sh.fd)
        os.waitpid(sh.pid, 0)
    open("ctl/release", "w").close()
    assert target.wait(timeout=LIMIT) == 0
    assert open("out").read().endswith("ok\n")


if __name__ == "__main__":
    signal.alarm(int(LIMIT * 2.5))
    globals()[sys.argv[1]]()
