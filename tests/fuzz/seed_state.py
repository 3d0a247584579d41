#!/usr/bin/python3
"""Makes a seed of the targets state and plan from an image: its GODWIT notes, and
of each thread's xsave area no more than the first 576 bytes.

    seed_state.py IMAGE tests/fuzz/corpus/state/NAME
"""
import struct
import sys

XSTATE = 576

image = open(sys.argv[1], "rb").read()
data_size, notes_size = struct.unpack_from("<QQ", image, 104)
notes = image[4096 + data_size:4096 + data_size + notes_size]
at, out = 0, b""
while at < len(notes):
    namesz, descsz, kind = struct.unpack_from("<III", notes, at)
    name = at + 12
    desc = name + (namesz + 3 & ~3)
    end = desc + (descsz + 3 & ~3)
    owner = notes[name:name + namesz - 1]
    # CPU tells the layout of the whole area.
    if owner == b"GODWIT" and kind != 0x47440010:
        note = bytearray(notes[at:end])
        if kind == 0x47440001:  # SYSTEM: xstate_size is the last field but one
            struct.pack_into("<I", note, desc - at + descsz - 12, XSTATE)
        out += note
    elif owner == b"LINUX" and kind == 0x202:
        out += struct.pack("<III", namesz, XSTATE, kind) + notes[name:desc + XSTATE]
    at = end
with open(sys.argv[2], "wb") as f:
    f.write(out)
