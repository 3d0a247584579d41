"""Hashes, dicts, lists and text, until the file `stop` is there, or for so many rounds."""
import hashlib
import os
import sys

rounds = int(sys.argv[1])
n, h, table, tail = 0, hashlib.sha256(), {}, []
while n < rounds if rounds else not os.path.exists('stop'):
    n += 1
    for k in range(300):
        word = b'%d' % (n * k)
        h.update(word)
        table[k % 97, len(word)] = table.get((k % 97, len(word)), 0.0) + k / 7
        tail.append(word)
    del tail[:-5000]
    if n % 20 == 0:
        print(n, flush=True)
h.update(repr(sorted(table.items())).encode() + b''.join(tail))
print('result', n, h.hexdigest(), flush=True)
