"""Programs that draw a whole screen: screens.py SCENARIO PROGRAM.  Run by screens.t.

Each is cut in one terminal and restarted in another of another size: there it draws
its screen anew, takes keys, and leaves the terminal as it found it.
"""
import os
import re
import signal
import sys

from terminal import LIMIT, RESTART, Shell, image_of, settings, status

SMALL = "stty rows 24 cols 80; "
ESC = "\x1b"
STYLE = rf"(?:{ESC}(?:\[[0-9;]*[mK]|\(B))*"  # colours and the like


def restarted():
    """The image in a new, larger terminal, and the settings that this had."""
    sh = Shell()
    sh.send("stty rows 33 cols 99\n")
    sh.expect("PROMPT> ")
    before = settings(sh)
    sh.expect("PROMPT> ")
    sh.send(RESTART + "\n")
    return sh, before


def ended(sh, before):
    sh.expect("PROMPT> ")
    status(sh, 0)
    if settings(sh) != before:
        raise SystemExit("the settings of the terminal were changed")


def editor(program):
    """Cut in the middle of a word: it is finished, undone, done again and written."""
    lines = [f"line {n} of many\n" for n in range(1, 101)]
    with open("text", "w") as f:
        f.writelines(lines)
    image_of(f"{SMALL}TERM=xterm {program} -N -u NONE -i NONE text", "line 23 of many", [
        (":set number\r", rf"23 {STYLE}line 23 of many"),
        ("Gotyped bef", "typed bef"),
    ])
    sh, before = restarted()
    # Of 33 rows 32 are text: what was above the small terminal's is there as well.
    sh.expect(rf"70 {STYLE}line 70 of many")
    sh.expect(rf"101 {STYLE}typed bef")
    sh.send("ore and after" + ESC)
    sh.expect("and after")
    sh.send("u")
    sh.expect("1 line less")
    sh.send("\x12")  # Ctrl-R
    sh.expect("1 more line")
    sh.send(":1,3d\r")
    sh.expect("3 fewer lines")
    sh.send(":wq\r")
    ended(sh, before)
    with open("text") as f:
        if f.readlines() != lines[3:] + ["typed before and after\n"]:
            raise SystemExit("the file was not written as it should be")
    if os.path.exists(".text.swp"):
        raise SystemExit("the swap file is still there")


def monitor(program):
    """It fills the new terminal's width, looks at processes again, and hears its keys."""
    image_of(f"{SMALL}HOME=/nonexistent TERM=xterm {program} -d 0.3", r"top - [^\0]*top - ")
    sh, before = restarted()
    for _ in range(2):
        sh.expect("top - ")
        head = sh.expect(rf"  PID USER.*COMMAND *{STYLE}\n")[0]
        if len(re.sub(STYLE, "", head)) != 99 + 1:
            raise SystemExit(f"not as wide as the terminal: {head!r}")
    # One key at a time: what comes together is one command to top.
    for key, seen in (("h", "Help for Interactive Commands"), ("q", "top - "), ("q", "PROMPT> $")):
        sh.send(key)
        sh.expect(seen)
    sh.send("\n")
    ended(sh, before)


if __name__ == "__main__":
    signal.alarm(int(LIMIT * 2.5))
    globals()[sys.argv[1]](sys.argv[2])
