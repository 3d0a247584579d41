"""lying_zstd.py IMAGE BAD KIND: a compressed image whose table or frames lie."""
import struct
import subprocess
import sys

HEAD, FOOT, MAGIC = 0x184D2A5E, 9, 0x8F92EAB1


def compress(data):
    return subprocess.run(["zstd", "-q1", "-c"], input=data, stdout=subprocess.PIPE, check=True).stdout


def main():
    with open(sys.argv[1], "rb") as f:
        data = f.read()
    n = struct.unpack("<I", data[-9:-5])[0]
    table = len(data) - FOOT - 8 * n
    entries = [list(struct.unpack_from("<II", data, table + 8 * i)) for i in range(n)]
    frames, at = [], 0
    for packed, _ in entries:
        frames.append(data[at:at + packed])
        at += packed
    kind = sys.argv[3]
    claimed = n
    if kind == "huge_frame":
        entries[1][1] = 0xffffffff
    elif kind == "many_frames":
        claimed = 0x7fffffff
    elif kind == "no_frames":
        claimed = 0
    elif kind == "longer":
        entries[1][1] += 4096
    elif kind == "shorter":
        entries[1][1] -= 4096
    elif kind == "zero":
        entries.insert(1, [0, 0])
        claimed += 1
    elif kind == "skipped":  # zstd -d would leave it out
        frames[1] = struct.pack("<II", HEAD, len(frames[1]) - 8) + bytes(len(frames[1]) - 8)
    elif kind == "swapped":
        frames[1], frames[2] = frames[2], frames[1]
        entries[1], entries[2] = entries[2], entries[1]
    elif kind == "bomb":  # half a TiB in some MiB
        frame = compress(bytes(8 << 20))
        frames += [frame] * 65536
        entries += [[len(frame), 8 << 20]] * 65536
        claimed += 65536
    size = 8 * len(entries) + FOOT
    with open(sys.argv[2], "wb") as f:
        for frame in frames:
            f.write(frame)
        f.write(struct.pack("<II", HEAD, size))
        for e in entries:
            f.write(struct.pack("<II", *e))
        f.write(struct.pack("<IBI", claimed, 0, MAGIC))


main()
