"""How far long work is, on a terminal: progress.py SCENARIO.  Run by progress.t.

The work is long since each read of a file takes a while (tests/faulty/inject.c).
"""
import os
import re
import signal
import sys

from terminal import LIMIT, SUBJECTS, GODWIT, Shell, image_of, status

FAULTY = os.path.join(os.environ["B"], "faulty", "godwit")
LINE = r"godwit: \d+\.\d of \d+\.\d MiB, \d+ MiB/s, \d+ s left"
CTL = os.getcwd() + "/ctl"


def make_image():
    """A program of 64 MiB, in ./myckpt, that ends as soon as it is restarted."""
    os.mkdir(CTL)
    image_of(f"{SUBJECTS}/big_memory {CTL} 64", "ready")
    open(f"{CTL}/release", "w").close()


def command(words, what="slow"):
    return f"GODWIT_INJECT=data:1+:{what} {FAULTY} {words}"


def on_the_screen(sh):
    """The lines that are to be seen in the end."""
    lines = [""]
    for part in re.split("(\r\n|\n|\r)", sh.raw):
        if part == "\r":
            column = 0
        elif part in ("\r\n", "\n"):
            lines.append("")
            column = 0
        else:
            column = locals().get("column", 0)
            lines[-1] = lines[-1][:column] + part + lines[-1][column + len(part):]
            column += len(part)
    return lines


def shown(words, last, what="slow", want=0):
    """The line comes, and is gone when the work is done."""
    sh = Shell()
    sh.send(command(words, what) + "\n")
    sh.expect(LINE)
    sh.expect(last)
    sh.expect("PROMPT> ")
    status(sh, want)
    left = [s for s in on_the_screen(sh) if "s left" in s]
    if left:
        raise SystemExit(f"the line was left behind: {left}")
    return sh


def never_shown(line, last="(?m)^END"):
    sh = Shell()
    sh.send(line + "; echo E''ND\n")
    sh.expect(last)
    if re.search(LINE, sh.raw):
        raise SystemExit(f"the line was shown: {sh.raw!r}")
    return sh


def verify():
    make_image()
    shown("verify myckpt", "good: 1 thread")


def flatten():
    make_image()
    shown("flatten myckpt -o flat", "'flat' is complete")


def restart(option, what="slow"):
    make_image()
    shown(f"restart {option} myckpt", r"ok\n", what)


def restart_new():
    restart("--new-ids")


def restart_same():
    restart("--same-ids")


def restart_compressed():
    os.mkdir(CTL)
    image_of(f"{SUBJECTS}/big_memory {CTL} 64", "ready", option="--compress")
    open(f"{CTL}/release", "w").close()
    shown("restart myckpt", r"ok\n", "slower")


def damaged():
    """The error stands alone on its line."""
    make_image()
    with open("myckpt", "r+b") as f:
        f.seek(60 << 20)
        f.write(b"\1" * 100)
    for words in ("verify myckpt", "restart myckpt"):
        sh = shown(words, "(?m)godwit: .*checksum", want=5)
        if not any(re.match("godwit: (verify|restart): .*checksum", s) for s in on_the_screen(sh)):
            raise SystemExit(f"the message is not to be seen: {on_the_screen(sh)}")


def quiet():
    make_image()
    for words in ("verify -q myckpt", "flatten -q myckpt -o flat", "restart -q myckpt"):
        never_shown(command(words))


def elsewhere():
    """Not where stderr is no terminal."""
    make_image()
    for words in ("verify myckpt", "restart myckpt"):
        never_shown(command(words) + " 2>err")
        if os.path.getsize("err"):
            raise SystemExit("there is something in the file: " + open("err").read())


def in_the_background():
    make_image()
    for words in ("verify myckpt", "restart myckpt"):
        never_shown(command(words) + " & wait")


if __name__ == "__main__":
    signal.alarm(int(LIMIT * 2))
    globals()[sys.argv[1]]()
