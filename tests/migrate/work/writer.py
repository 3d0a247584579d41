"""Writes to redis without a pause, a connection for each batch, and repeats what was not
answered.  When the file `written` is there: reads all back, and says what redis lacks.

    writer.py ADDRESS PORT
"""
import os
import socket
import sys
import time

address, port = sys.argv[1], int(sys.argv[2])


def words(*w):
    return b'*%d\r\n' % len(w) + b''.join(b'$%d\r\n%s\r\n' % (len(x), x) for x in w)


def talk(commands, replies_end):
    with socket.create_connection((address, port), 5) as s:
        s.sendall(b''.join(words(*c) for c in commands))
        got = b''
        while not replies_end(got):
            b = s.recv(1 << 16)
            if not b:
                raise OSError('closed')
            got += b
        return got


last, n, again = {}, 0, 0
while not os.path.exists('written'):
    batch = [(b'w:%d' % (k % 4001), b'%d' % k) for k in range(n * 7, n * 7 + 200)]
    try:
        got = talk([(b'SET', k, v) for k, v in batch], lambda g: g.count(b'\r\n') == len(batch))
    except OSError:
        again += 1
        time.sleep(0.05)
        continue
    assert got == b'+OK\r\n' * len(batch), got[:100]
    last.update(batch)
    n += 1
    with open('writes', 'w') as f:
        f.write('%d\n' % n)
    time.sleep(0.03)
keys = sorted(last)
want = b'*%d\r\n' % len(keys) + b''.join(b'$%d\r\n%s\r\n' % (len(last[k]), last[k]) for k in keys)
got = talk([[b'MGET'] + keys], lambda g: len(g) >= len(want))
assert got == want, 'redis has lost what it had said OK to'
with open('last', 'wb') as f:
    f.writelines(b'SET %s %s\n' % (k, last[k]) for k in keys)
print('ok', n, 'batches,', again, 'repeated')
