"""Compares two stopped processes page by page: the program on its source, and what was
built of it over there.

    same_memory.py SOURCE-PID COPY-PID

Every page of every mapping must be equal, but for two things, once a thread at most: the
registered area of rseq(2), 32 bytes, where the kernel writes the processor's number;
and the thread's id, where the C library keeps it, if it has a new one.
"""
import os
import sys

PAGE = 4096
STEP = 256 * PAGE
KERNELS = ('[vvar', '[vdso]', '[vsyscall]', '[uprobes]')
PRESENT_OR_SWAPPED = 3 << 62


def maps(pid):
    """(start, end, perms, inode) of the program's own mappings."""
    with open('/proc/%s/maps' % pid) as f:
        for line in f:
            w = line.split(None, 5)
            name = w[5].strip() if len(w) > 5 else ''
            if not name.startswith(KERNELS):
                start, end = (int(x, 16) for x in w[0].split('-'))
                yield start, end, w[1], int(w[4])


def joined(v):
    """Neighbours of one kind are one: the kernel may join them or not."""
    out = []
    for start, end, perms, ino in v:
        if out and out[-1][1] == start and out[-1][2:] == [perms, ino]:
            out[-1][1] = end
        else:
            out.append([start, end, perms, ino])
    return out


def runs(pid, start, end):
    """Ranges of [start, end) that have pages of their own."""
    with open('/proc/%s/pagemap' % pid, 'rb', buffering=0) as f:
        at = start
        while at < end:
            n = min((end - at) // PAGE, 1 << 17)
            f.seek(at // PAGE * 8)
            data = memoryview(f.read(n * 8)).cast('Q')
            first = None
            for i, e in enumerate(data):
                if e & PRESENT_OR_SWAPPED:
                    first = i if first is None else first
                elif first is not None:
                    yield at + first * PAGE, at + i * PAGE
                    first = None
            if first is not None:
                yield at + first * PAGE, at + len(data) * PAGE
            at += n * PAGE


def union(a, b):
    out = []
    for start, end in sorted(list(a) + list(b)):
        if out and start <= out[-1][1]:
            out[-1][1] = max(end, out[-1][1])
        else:
            out.append([start, end])
    return out


def differing(a, b, at):
    """Addresses of the blocks of 32 bytes that differ."""
    for i in range(0, len(a), PAGE):
        if a[i:i + PAGE] == b[i:i + PAGE]:
            continue
        for k in range(i, i + PAGE, 32):
            if a[k:k + 32] != b[k:k + 32]:
                yield at + k, a[k:k + 32], b[k:k + 32]


def is_rseq(_, a, b):
    return all(int.from_bytes(x[k:k + 4], 'little') < 4096 for x in (a, b) for k in (0, 4))


def own_ids(pid):
    """Of all threads, as the program itself sees them."""
    for t in os.listdir('/proc/%s/task' % pid):
        with open('/proc/%s/task/%s/status' % (pid, t)) as f:
            yield [int(x.split()[-1]) for x in f if x.startswith('NSpid:')][0]


def is_id(_, a, b, old, new):
    odd = [k for k in range(0, 32, 4) if a[k:k + 4] != b[k:k + 4]]
    return len(odd) == 1 and all(int.from_bytes(x[odd[0]:odd[0] + 4], 'little') in ids
                                 for x, ids in ((a, old), (b, new)))


def main():
    src, dst = sys.argv[1:]
    ours, theirs = joined(maps(src)), joined(maps(dst))
    missing = [m for m in ours if m not in theirs]
    assert not missing, 'mappings that are not there: %s' % [
        '%x-%x %s' % tuple(m[:3]) for m in missing]
    threads = len(os.listdir('/proc/%s/task' % src))
    assert threads == len(os.listdir('/proc/%s/task' % dst)), 'not as many threads'
    mem = [os.open('/proc/%s/mem' % p, os.O_RDONLY) for p in (src, dst)]
    pages, odd = 0, []
    for start, end, perms, ino in ours:
        # What has no page in either is zeros in both; of a file it is the file's.
        whole = [(start, end)] if ino else union(runs(src, start, end), runs(dst, start, end))
        for lo, hi in whole:
            for at in range(lo, hi, STEP):
                n = min(STEP, hi - at)
                try:
                    a = os.pread(mem[0], n, at)
                except OSError:  # behind the end of its file
                    continue
                b = os.pread(mem[1], len(a), at)
                pages += len(a) // PAGE
                if a != b:
                    odd += differing(a, b, at)
    old, new = set(own_ids(src)), set(own_ids(dst))
    ids = [d for d in odd if is_id(*d, old, new)]
    rest = [d for d in odd if d not in ids]
    assert len(ids) <= threads and len(rest) <= threads and all(is_rseq(*d) for d in rest), \
        'differ: %s' % ['%x: %s %s' % (d[0], d[1].hex(), d[2].hex()) for d in rest[:8]]
    print('%d pages are the same, in %d mappings; %d threads' % (pages, len(ours), threads))


main()
