"""numpy: products by the BLAS's threads, transforms, sorting, views, random numbers.

The matrices hold whole numbers, so that the order in which threads add does not show.
"""
import sys

import numpy as np

steps, n = int(sys.argv[1]), 240
rng = np.random.default_rng(7)
a = rng.integers(0, 1009, (n, n)).astype(float)
b = rng.integers(0, 1009, (n, n)).astype(float)
taken = 0
print("ready", np.__version__, flush=True)
for i in range(steps):
    a = (a @ b + rng.integers(0, 9, (n, n))) % 1009
    # A convolution by transforms, of small numbers: exact when rounded.
    c = np.fft.irfft(np.fft.rfft(a[0] % 10, 2 * n) * np.fft.rfft(b[:, 0] % 10, 2 * n), 2 * n)
    x = np.linalg.solve(np.eye(n) * 1e6 + a, b[0])
    taken += int(np.rint(c).sum()) + int((np.abs((np.eye(n) * 1e6 + a) @ x - b[0]) < 1e-6).sum())
    b.T[i % n] = np.sort(a[i % n])[::-1]
    if i % 20 == 0:
        print(i, int(a.sum()), taken, flush=True)
print("result", int((a * np.arange(n)).sum()), int(b.sum()), taken, rng.integers(1 << 40))
