#!/usr/bin/python3
"""A Python program that takes part in its checkpoints, by ctypes.

    python3 examples/takes_part.py                                   as ever
    LD_PRELOAD=$PWD/build/libckpt.so python3 examples/takes_part.py  makes ./myckpt
    build/myrestart myckpt                                           goes on from there
"""
import ctypes
import os
import random

SAVED, RESTARTED, FAILED = 0, 1, -1


def checkpoint():
    """SAVED, RESTARTED, or FAILED, also where there is no libckpt.so."""
    try:
        return ctypes.CDLL(None).godwit_lib_checkpoint()
    except AttributeError:
        return FAILED


squares = {n: n * n for n in range(1000)}  # what took long to compute
random.seed(1)
what = checkpoint()
if what == RESTARTED:
    random.seed(os.urandom(16))  # many copies may run: none shall draw what another draws
print({SAVED: "saved", RESTARTED: "restarted", FAILED: "no checkpoint"}[what],
      squares[999], random.randrange(10 ** 9), flush=True)
