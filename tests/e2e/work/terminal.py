"""Both ends of a pseudo-terminal (pty.openpty()) in one program: what is typed at the master comes in
lines to the slave, with an echo, and is answered; at every moment some of it is unread both ways."""
import hashlib
import os
import pty
import sys

master, slave = pty.openpty()
typed, lines, read = b"", 0, 0  # not written yet; whole lines that wait; lines that were read
waiting = total = 0  # bytes for the master, and their sum: echo and answers come in any order
digest = hashlib.sha256()


def read_master(down_to):
    global waiting, total
    while waiting > down_to:
        got = os.read(master, min(300, waiting))
        waiting -= len(got)
        total += sum(got)


for i in range(int(sys.argv[1])):
    typed += b"%d %s\n" % (i, hashlib.sha256(b"%d" % i).hexdigest()[:i % 50].encode())
    while len(typed) > 11:  # in pieces that end in the middle of a line
        piece, typed = typed[:7], typed[7:]
        os.write(master, piece)
        lines += piece.count(b"\n")
        waiting += len(piece) + piece.count(b"\n")
    while lines > 5:
        line = os.read(slave, 100)
        assert line.endswith(b"\n") and int(line.split()[0]) == read, line
        digest.update(line)
        lines, read = lines - 1, read + 1
        waiting += os.write(slave, b"got %d\n" % read) + 1
    read_master(500)
    if i % 100 == 0:
        print(i, digest.hexdigest()[:12], flush=True)
read_master(0)
print("result", digest.hexdigest(), total)
