"""A pure computation with generators, dicts, big integers and floats.  Prints as it goes."""
import hashlib
import sys

steps = int(sys.argv[1])
h = hashlib.sha256()
words, fib, x = {}, (0, 1), 0.5


def stream():
    n = 1
    while True:
        n = n * 6364136223846793005 + 1442695040888963407 & (1 << 64) - 1
        yield n


s = stream()
print("ready", flush=True)
for i in range(steps):
    n = next(s)
    words[n % 50021] = words.get(n % 50021, 0) + i
    fib = fib[1], (fib[0] + fib[1]) % (1 << 521)
    x = 3.99 * x * (1 - x)
    if i % 5000 == 0:
        h.update(f"{n} {fib[1]} {x!r} {sum(words.values())}".encode())
        print(i, h.hexdigest()[:16], flush=True)
print("result", h.hexdigest(), len(words))
