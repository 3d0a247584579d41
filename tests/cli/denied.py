#!/usr/bin/python3
"""denied.py NUMBER errno|kill COMMAND...: runs the command under a seccomp
filter that answers system call NUMBER with EPERM, or kills the process."""
import ctypes
import os
import struct
import sys

NR, HOW, COMMAND = int(sys.argv[1]), sys.argv[2], sys.argv[3:]
ACTION = 0x80000000 if HOW == "kill" else 0x00050001  # KILL_PROCESS, ERRNO | EPERM
CODE = [  # BPF: load the number; equal? action; else allow
    (0x20, 0, 0, 0),
    (0x15, 0, 1, NR),
    (0x06, 0, 0, ACTION),
    (0x06, 0, 0, 0x7FFF0000),
]
FILTER = ctypes.create_string_buffer(b"".join(struct.pack("<HBBI", *i) for i in CODE))
PROG = ctypes.create_string_buffer(struct.pack("<H6xQ", len(CODE), ctypes.addressof(FILTER)))
prctl = ctypes.CDLL(None, use_errno=True).prctl
if prctl(38, 1, 0, 0, 0) or prctl(22, 2, PROG, 0, 0):
    sys.exit(f"denied.py: prctl: {os.strerror(ctypes.get_errno())}")
os.execv(COMMAND[0], COMMAND)
