#!/usr/bin/python3
"""Reads an image by docs/IMAGE-FORMAT.md alone and prints what is in it.

A second implementation of the page, made from its tables and not from the C
code: where the two differ, one of the three is wrong.  Standard library only,
with libxxhash for the checksums.

    read_image.py IMAGE                 exit status 0, or 5 and a message
    read_image.py IMAGE --memory PID    also compare it with a process that is
                                        as it was at the checkpoint
"""
import ctypes
import struct
import sys

BLOCK = 524288


class Bad(Exception):
    pass


def need(condition, message):
    if not condition:
        raise Bad(message)


def load_xxh3():
    try:
        lib = ctypes.CDLL("libxxhash.so.0")
        fn = lib.XXH3_64bits
    except (OSError, AttributeError):
        print("read_image.py: libxxhash.so.0 is missing", file=sys.stderr)
        sys.exit(77)
    fn.restype = ctypes.c_uint64
    fn.argtypes = [ctypes.c_char_p, ctypes.c_size_t]
    return lambda b: fn(bytes(b), len(b))


# --- section 12: compressed images ---

FRAME_MAX = 8388608


def decompress(frame, size, zstd):
    out = ctypes.create_string_buffer(size)
    need(zstd.ZSTD_findFrameCompressedSize(frame, ctypes.c_size_t(len(frame))) == len(frame) and
         zstd.ZSTD_decompress(out, ctypes.c_size_t(size), frame, ctypes.c_size_t(len(frame))) == size,
         "a frame cannot be decompressed")
    return out.raw


def plain(data):
    if data[:4] != b"\x28\xb5\x2f\xfd" or data[-4:] != struct.pack("<I", 0x8f92eab1):
        return data
    try:
        zstd = ctypes.CDLL("libzstd.so.1")
    except OSError:
        print("read_image.py: libzstd.so.1 is missing", file=sys.stderr)
        sys.exit(77)
    zstd.ZSTD_findFrameCompressedSize.restype = zstd.ZSTD_decompress.restype = ctypes.c_size_t
    n, flags = struct.unpack_from("<IB", data, len(data) - 9)
    at = len(data) - 9 - 8 * n - 8
    need(0 < n <= 1 << 27 and flags == 0 and at >= 0, "impossible list of frames")
    need(struct.unpack_from("<II", data, at) == (0x184d2a5e, 8 * n + 9), "no list of frames")
    sizes = [struct.unpack_from("<II", data, at + 8 + 8 * i) for i in range(n)]
    need(sum(packed for packed, _ in sizes) == at, "the list does not fit the frames")
    whole, at = [], 0
    for packed, size in sizes:
        need(packed and 0 < size <= FRAME_MAX, "impossible length of a frame")
        whole.append(decompress(data[at:at + packed], size, zstd))
        at += packed
    return b"".join(whole)


# --- section 10: records ---

class Record:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, n):
        need(self.at + n <= len(self.data), "a note is too short")
        self.at += n
        return self.data[self.at - n:self.at]

    def num(self, fmt):
        return struct.unpack("<" + fmt, self.take(struct.calcsize(fmt)))[0]

    def read(self, kind):
        if kind in ("u8", "u32", "u64", "i32", "i64"):
            return self.num({"u8": "B", "u32": "I", "u64": "Q", "i32": "i", "i64": "q"}[kind])
        if kind == "bool":
            v = self.num("B")
            need(v <= 1, "a bool is neither 0 nor 1")
            return bool(v)
        if kind in ("string", "blob"):
            n = self.num("I")
            if n == 0xFFFFFFFF:
                return None
            need(n <= (1 << (20 if kind == "string" else 26)), "a %s is too long" % kind)
            v = self.take(n)
            if kind == "blob":
                return v
            need(b"\0" not in v, "a string holds a NUL")
            return v.decode("utf-8", "backslashreplace")
        if isinstance(kind, int):
            return self.take(kind)
        if isinstance(kind, tuple) and kind[0] == "list":
            n = self.num("I")
            need(n <= kind[2], "a list is too long")
            return [self.read(kind[1]) for _ in range(n)]
        if isinstance(kind, tuple) and kind[0] == "times":
            return [self.read(kind[2]) for _ in range(kind[1])]
        if callable(kind):
            return kind(self)
        return {name: self.read(k) for name, k in kind}

    def end(self):
        need(self.at == len(self.data), "a note has bytes left over")


def chars(n):
    def read(r):
        v = r.take(n)
        need(v[-1] == 0, "a name without its NUL")
        return v.split(b"\0")[0].decode("utf-8", "backslashreplace")
    return read


def signal(r):
    v = r.take(128)
    signo = struct.unpack_from("<i", v)[0]
    need(1 <= signo <= 64, "a pending signal has number %d" % signo)
    return signo


FILE = [("path", "string"), ("dev", "u64"), ("ino", "u64"), ("size", "u64"), ("mtime", "i64"),
        ("build_id_len", "u32"), ("build_id", 20)]

SYSTEM = [("tool", "string"), ("time", "i64"), ("monotonic", "i64"), ("boottime", "i64"),
          ("host", "string"), ("kernel", "string"), ("machine", "string"), ("cpu", "string"),
          ("boot_id", "string"), ("xfeatures", "u64"), ("xstate_size", "u32"), ("vdso_hash", "u64")]

PROCESS = [(n, "i32") for n in ("pid", "ppid", "pgid", "sid")] + \
          [(n, "u32") for n in ("uid", "euid", "suid", "fsuid", "gid", "egid", "sgid", "fsgid")] + \
          [("comm", chars(16)), ("exe", "string"), ("exe_file", FILE),
           ("argv", ("list", "string", 1 << 20))]

MAPPING = [("start", "u64"), ("end", "u64"), ("offset", "u64"), ("prot", "u32"), ("kind", "u32"),
           ("flags", "u32"), ("file", "u32"), ("object", "u64"), ("stored", "u64"), ("name", "string")]

MAPPINGS = [(n, "u64") for n in ("start_code", "end_code", "start_data", "end_data", "start_brk", "brk",
                                 "start_stack", "arg_start", "arg_end", "env_start", "env_end")] + \
           [("auxv", "blob"), ("files", ("list", FILE, 1 << 20)), ("mappings", ("list", MAPPING, 1 << 24))]

RUNS = ("list", [("start", "u64"), ("len", "u64"), ("mapping", "u32"), ("flags", "u32")], 1 << 30)

PLACES = ("list", "u64", 1 << 30)

PARENT = [("name", "string"), ("path", "string"), ("id", "u64"), ("size", "u64"), ("time", "i64"), ("depth", "u32")]

JOB = ("list", "string", 1 << 20)

THREAD = [("tid", "i32"), ("comm", chars(16)), ("regs", 216), ("sigmask", "u64"), ("altstack_sp", "u64"),
          ("altstack_size", "u64"), ("altstack_flags", "u32"), ("robust_list", "u64"),
          ("robust_len", "u64"), ("tid_address", "u64"), ("rseq_addr", "u64"), ("rseq_len", "u32"),
          ("rseq_sig", "u32"), ("rseq_flags", "u32"), ("pending", ("list", signal, 1 << 20))]

SIGNALS = [("actions", ("times", 64, [(n, "u64") for n in ("handler", "flags", "restorer", "mask")])),
           ("pending", ("list", signal, 1 << 20))]

TIMERS = [("itimers", ("times", 3, [("value", "u64"), ("interval", "u64")]))]

SURROUNDINGS = [("cwd", "string"), ("root", "string"), ("umask", "u32"), ("personality", "u32"),
                ("no_new_privs", "u32"), ("dumpable", "u32"), ("xcomp_perm", "u64"),
                ("rlimits", ("times", 16, [("soft", "u64"), ("hard", "u64")]))]

OPTIONS = ("list", [("level", "i32"), ("name", "i32"), ("len", "u32"), ("value", 16)], 64)

PTY = [(n, "u32") for n in ("iflag", "oflag", "cflag", "lflag", "ispeed", "ospeed", "rows", "columns", "xpixel",
                            "ypixel", "modes")] + \
      [("cc", 19), ("output", "blob"), ("input", ("list", [("data", "blob"), ("end", "u32")], 4000))]


def pty(r):
    v = r.read([("is_master", "bool"), ("master", "u32")])
    if v["is_master"]:
        v.update(r.read(PTY))
        need(len(v["output"]) <= 4094 and v["modes"] <= 7, "pseudo-terminal")
        need(all(i["end"] <= 2 for i in v["input"]), "an end of a line")
    return v


OPEN_FILE = {
    1: ("regular", [("size", "u64"), ("mtime", "i64"),
                    ("locks", ("list", [("kind", "u32"), ("is_write", "bool"), ("start", "i64"),
                                        ("end", "i64")], 1 << 20))]),
    2: ("directory", []),
    3: ("device", []),
    4: ("inherited", [("like", "i32"), ("is_tty", "bool")]),
    5: ("pipe", [("pipe", "u32")]),
    6: ("eventfd", [("count", "u64"), ("semaphore", "bool")]),
    7: ("epoll", [("watches", ("list", [("fd", "i32"), ("events", "u32"), ("data", "u64")], 1 << 20))]),
    8: ("timerfd", [("clock", "i32"), ("settime", "u32"), ("ticks", "u64"), ("value", "i64"),
                    ("interval", "i64")]),
    9: ("signalfd", [("mask", "u64")]),
    10: ("unix pair", [("type", "u32"), ("peer", "u32"), ("shutdown", "u32"),
                       ("unread", ("list", "blob", 1 << 20)), ("options", OPTIONS)]),
    11: ("tcp listen", [("family", "u32"), ("backlog", "u32"), ("addr", 28), ("options", OPTIONS)]),
    12: ("kernel", []),
    13: ("fifo", [("pipe", "u32")]),
    14: ("place", []),
    15: ("udp", [("family", "u32"), ("own", 28), ("connected", "bool"), ("peer", 28),
                 ("options", OPTIONS)]),
    16: ("unix named", [("type", "u32"), ("listening", "bool"), ("backlog", "u32"), ("mode", "u32"),
                        ("name", "blob"), ("options", OPTIONS)]),
    17: ("unlinked", [("content", "u32")]),
    19: ("pseudo-terminal", pty),
    18: ("inotify", [("watches", ("list", [("wd", "i32"), ("mask", "u32"), ("path", "string")], 1 << 20))]),
}


def open_file(r):
    f = r.read([("kind", "u32"), ("flags", "u32"), ("pos", "i64"), ("dev", "u64"), ("ino", "u64"),
                ("rdev", "u64"), ("path", "string")])
    need(f["kind"] in OPEN_FILE, "a file of unknown kind %d" % f["kind"])
    name, fields = OPEN_FILE[f["kind"]]
    f.update(r.read(fields), name=name)
    return f


FILES = [("pipes", ("list", [("dev", "u64"), ("ino", "u64"), ("capacity", "u32"), ("data", "blob"),
                            ("slots", ("list", "u32", 1 << 20)), ("packets", "bool")], 1 << 20)),
         ("files", ("list", open_file, 1 << 20)),
         ("fds", ("list", [("fd", "i32"), ("file", "u32"), ("cloexec", "bool")], 1 << 20))]

CPUS = [("policy", "u32"), ("flags", "u32"), ("nice", "i32"), ("priority", "u32"), ("cpus", "blob")]

SCHEDULING = [("timerslack", "u64"), ("subreaper", "u32"), ("thp_disable", "u32"),
              ("threads", ("list", CPUS, 1 << 22))]

POSIX_TIMERS = ("list", [("id", "i32"), ("clock", "i32"), ("signal", "i32"), ("value", "u64"),
                         ("silent", "bool"), ("thread", "u32"), ("left", "i64"), ("interval", "i64")], 1 << 20)

CONTENTS = ("list", [("dev", "u64"), ("ino", "u64"), ("memfd", "bool"), ("mode", "u32"), ("seals", "u32"),
                      ("size", "u64"), ("name", "string"),
                      ("extents", ("list", [("offset", "u64"), ("data", "blob")], 1 << 20))], 1 << 20)

CPU = [("words", ("list", "u32", 64)), ("xcr0", "u64"), ("size", "u32"),
       ("parts", ("list", [("number", "u32"), ("offset", "u32"), ("length", "u32")], 30))]

FILE_SIGNALS = ("list", [("fd", "i32"), ("owner", "u32"), ("thread", "u32"), ("signal", "u32"), ("async", "bool")],
                1 << 20)

IN_FLIGHT = [("from", "i32"),
             ("messages", ("list", [("socket", "u32"), ("message", "u32"), ("files", ("list", "u32", 253)),
                                    ("creds", "u32"), ("uid", "u32"), ("gid", "u32")], 1 << 20))]

UNIX_UNREAD = ("list", [("socket", "u32"), ("messages", ("list", [("data", "blob"), ("sender", "u32")], 1 << 20))],
               1 << 20)

TERMINAL = [("iflag", "u32"), ("oflag", "u32"), ("lflag", "u32"), ("cc", 19)]

SETTINGS = [("oom_score_adj", "i32"), ("coredump_filter", "u32"), ("lock_future", "u32"), ("mdwe", "u32"),
            ("threads", ("list", [("timerslack", "u64"), ("death_signal", "u32"), ("securebits", "u32"),
                                  ("ioprio", "u32"), ("io_flusher", "u32")], 1 << 22))]

FILTER = [("flags", "u32"), ("instructions", ("list", 8, 4096))]
SECCOMP = [("filters", ("list", FILTER, 1 << 16)),
           ("threads", ("list", [("no_new_privs", "u32"), ("filters", ("list", "u32", 32768))], 1 << 22))]

CAPABILITIES = [(n, "u64") for n in ("inheritable", "permitted", "effective", "bounding", "ambient")]

ADVICE = ("list", [("start", "u64"), ("end", "u64"), ("flags", "u32")], 1 << 22)

NOTES = {1: ("SYSTEM", SYSTEM), 2: ("PROCESS", PROCESS), 3: ("MAPPINGS", MAPPINGS), 4: ("RUNS", RUNS),
         5: ("THREAD", THREAD), 6: ("SIGNALS", SIGNALS), 7: ("TIMERS", TIMERS), 8: ("FILES", FILES),
         9: ("SURROUNDINGS", SURROUNDINGS), 10: ("SCHEDULING", SCHEDULING), 11: ("ADVICE", ADVICE),
         12: ("PLACES", PLACES), 13: ("PARENT", PARENT), 14: ("POSIX TIMERS", POSIX_TIMERS),
         15: ("CONTENTS", CONTENTS), 16: ("CPU", CPU), 17: ("TERMINAL", TERMINAL),
         18: ("FILE SIGNALS", FILE_SIGNALS), 19: ("IN FLIGHT", IN_FLIGHT), 20: ("SETTINGS", SETTINGS),
         21: ("UNIX UNREAD", UNIX_UNREAD), 22: ("LEADER", [("status", "u32")]), 23: ("SECCOMP", SECCOMP),
         24: ("CAPABILITIES", CAPABILITIES), 32: ("JOB", JOB)}
ONE_EACH = [n for n in NOTES if n not in (5, *range(10, 25), 32)]
NEEDS_PLACES, NEEDS_PARENT = 1, 2
CLEAN, BELOW = 1, 2


# --- sections 1 to 7: the file ---

def up(n, to):
    return (n + to - 1) // to * to


class Image:
    def __init__(self, b, xxh3):
        self.b, self.xxh3 = b, xxh3
        self.first_page()
        self.layout()
        self.checksums()
        self.notes = list(self.read_notes())
        self.segments = list(self.read_headers())

    def first_page(self):
        b = self.b
        need(len(b) >= 4096, "shorter than its first page")
        need(b[64:72] == bytes.fromhex("474f445749541a0a"), "no magic")
        need(self.xxh3(b[:4088]) == struct.unpack_from("<Q", b, 4088)[0], "first page: checksum")
        (self.version, self.block, self.required, self.optional, self.file_size, self.data_size,
         self.notes_size, self.phdr_off, self.phdr_count, self.sums_off,
         self.sums_hash) = struct.unpack_from("<II9Q", b, 72)
        need(self.version == 1, "version %d" % self.version)
        need(self.required & ~(NEEDS_PLACES | NEEDS_PARENT) == 0, "required features")
        need(self.block == BLOCK, "size of blocks")

    def layout(self):
        need(self.data_size % 4096 == 0 and self.data_size <= 1 << 47, "data_size")
        need(self.notes_size <= 1 << 30, "notes_size")
        need(1 <= self.phdr_count <= 1 << 24, "phdr_count")
        self.d = 4096 + self.data_size
        xnum = self.phdr_count >= 65535
        h = up(self.d + self.notes_size, 8) + 56 * self.phdr_count + (64 if xnum else 0)
        need(self.phdr_off == up(self.d + self.notes_size, 8), "phdr_off")
        need(self.sums_off == h, "sums_off")
        self.data_blocks = up(self.data_size, BLOCK) // BLOCK
        self.meta_blocks = up(h - self.d, BLOCK) // BLOCK
        need(self.file_size == h + 8 * (self.data_blocks + self.meta_blocks), "file_size")
        need(len(self.b) == self.file_size, "size of the file")
        elf = bytes.fromhex("7f454c46020101") + bytes(9) + struct.pack(
            "<HHIQQQIHHHHHH", 4, 62, 1, 0, self.phdr_off, h - 64 if xnum else 0, 0, 64, 56,
            65535 if xnum else self.phdr_count, 64 if xnum else 0, 1 if xnum else 0, 0)
        need(self.b[:64] == elf, "ELF header")
        if xnum:
            need(self.b[h - 64:h] == struct.pack("<IIQQQQIIQQ", 0, 0, 0, 0, 0, 1, 0, self.phdr_count, 0, 0),
                 "section header")

    def checksums(self):
        table = self.b[self.sums_off:]
        need(self.xxh3(table) == self.sums_hash, "table of checksums: checksum")
        sums = struct.unpack("<%dQ" % (len(table) // 8), table)
        for area, start, end, first in (("data", 4096, self.d, 0),
                                        ("meta", self.d, self.sums_off, self.data_blocks)):
            for i, at in enumerate(range(start, end, BLOCK)):
                need(self.xxh3(self.b[at:min(at + BLOCK, end)]) == sums[first + i],
                     "%s block %d: checksum" % (area, i))

    def read_notes(self):
        at, end = self.d, self.d + self.notes_size
        while at < end:
            need(end - at >= 12, "a note is cut off")
            namesz, descsz, kind = struct.unpack_from("<III", self.b, at)
            need(2 <= namesz <= 16, "owner of a note")
            desc = at + 12 + up(namesz, 4)
            need(desc + up(descsz, 4) <= end, "a note is too long")
            owner = self.b[at + 12:at + 12 + namesz]
            need(owner.index(0) == namesz - 1, "owner of a note")
            yield owner[:-1].decode(), kind, self.b[desc:desc + descsz]
            at = desc + up(descsz, 4)

    def read_headers(self):
        need(self.b[self.phdr_off:self.phdr_off + 56] ==
             struct.pack("<IIQQQQQQ", 4, 0, self.d, 0, 0, self.notes_size, 0, 4), "PT_NOTE")
        last = 0
        for i in range(1, self.phdr_count):
            kind, flags, off, vaddr, paddr, filesz, memsz, align = struct.unpack_from(
                "<IIQQQQQQ", self.b, self.phdr_off + 56 * i)
            need((kind, paddr, align) == (1, 0, 4096) and flags <= 7, "PT_LOAD %d" % i)
            need((off | vaddr | filesz | memsz) % 4096 == 0 and memsz > 0 and filesz <= memsz,
                 "PT_LOAD %d" % i)
            need(vaddr >= last and vaddr + memsz < 1 << 64, "order of PT_LOAD %d" % i)
            need(off == 0 if filesz == 0 else off >= 4096 and off + filesz <= self.d, "place of PT_LOAD %d" % i)
            last = vaddr + memsz
            yield vaddr, memsz, off, filesz, flags


# --- the process ---

class Process:
    scheduling, advice, places, parent, leader = {}, [], None, None, None

    def __init__(self, image):
        self.image = image
        self.threads, self.xstate = [], []
        for owner, kind, desc in image.notes:
            if owner == "LINUX" and kind == 0x202 and self.threads:
                self.xstate[-1] = desc
            if owner != "GODWIT" or kind >> 16 != 0x4744 or kind & 0xffff not in NOTES:
                continue
            name, fields = NOTES[kind & 0xffff]
            r = Record(desc)
            value = r.read(fields)
            r.end()
            if name == "THREAD":
                self.threads.append(value)
                self.xstate.append(b"")
            elif name.lower() not in vars(self):
                setattr(self, name.lower(), value)
        for n in ONE_EACH:
            need(hasattr(self, NOTES[n][0].lower()), "the note %s is missing" % NOTES[n][0])
        self.check()

    def check(self):
        need(self.threads, "no threads")
        need(self.process["pid"] > 0, "the pid")
        if self.leader is None:
            need(self.threads[0]["tid"] == self.process["pid"], "the first thread is not the leader")
        else:
            need(self.leader["status"] <= 255, "status of the leader")
            need(all(t["tid"] != self.process["pid"] for t in self.threads), "a leader that has ended is a thread")
        for x in self.xstate:
            need(len(x) == self.system["xstate_size"], "size of the vector registers")
        maps, last = self.mappings["mappings"], 0
        for m in maps:
            need(m["start"] >= last and m["end"] > m["start"] and (m["start"] | m["end"]) % 4096 == 0, "mapping")
            need(1 <= m["kind"] <= 6 and m["prot"] <= 7 and m["file"] <= len(self.mappings["files"]), "mapping")
            if m["flags"] & 64:
                f = self.mappings["files"][m["file"] - 1]
                need(m["kind"] == 4 and m["file"] and not m["offset"] and not m["flags"] & 32, "System V memory")
                need(m["object"] == 2 ** 63 + f["ino"] and f["ino"] < 2 ** 31, "number of System V memory")
                need(0 < f["size"] <= m["end"] - m["start"] < f["size"] + 4096, "size of System V memory")
            need(m["flags"] & 64 or not m["flags"] & 128, "removed, but no System V memory")
            last = m["end"]
        if self.image.required & NEEDS_PARENT:
            need(self.parent is not None, "the note PARENT is missing")
        if self.parent is not None:
            need("/" not in self.parent["name"] and self.parent["path"][:1] == "/", "names of the parent")
            need(1 <= self.parent["depth"] <= 100, "images below")
        if self.image.required & NEEDS_PLACES:
            need(self.places is not None, "the note PLACES is missing")
        if self.places is not None:
            need(len(self.places) == len(self.runs), "the note PLACES is of other runs")
        clean, at, place = False, 0, 4096
        for i, r in enumerate(self.runs):
            if r["flags"] & 1 and not clean:
                clean, at = True, 0
            m = maps[r["mapping"]] if r["mapping"] < len(maps) else None
            r["below"] = bool(r["flags"] & BELOW)
            need(not r["below"] or self.parent, "a run is below, and there is no parent")
            need(m and r["flags"] & ~BELOW == int(clean) and r["len"] and (r["start"] | r["len"]) % 4096 == 0, "run")
            need(r["start"] >= at and m["start"] <= r["start"] and r["start"] + r["len"] <= m["end"], "run")
            need(m["kind"] not in (3, 6), "a run in a mapping that stores nothing")
            r["place"] = place if self.places is None else 4096 + self.places[i]
            need(r["place"] % 4096 == 0 and (r["below"] or r["place"] + r["len"] <= self.image.d), "place of a run")
            at = r["start"] + r["len"]
            place += 0 if r["below"] else r["len"]
        need(self.places is not None or place == self.image.d, "the runs do not fill the data area")
        for f in self.files["fds"]:
            need(f["file"] < len(self.files["files"]), "a descriptor of no file")

    def same_segments(self):
        """The memory that debuggers see is that of the runs."""
        place = {r["start"] + at: r["place"] + at for r in self.runs if not r["below"] for at in range(0, r["len"], 4096)}
        for vaddr, _, off, filesz, _ in self.image.segments:
            for at in range(0, filesz, 4096):
                need(place.get(vaddr + at) == off + at, "segment at %#x: not what the runs say" % vaddr)
        stored = sum(s[3] for s in self.image.segments)
        runs = sum(r["len"] for r in self.runs if not r["below"])
        need(stored == runs, "segments hold %d bytes, runs %d" % (stored, runs))


    def same_memory(self, pid):
        with open("/proc/%d/mem" % pid, "rb", buffering=0) as mem:
            for r in self.runs:
                for at in range(0, r["len"], 4096):
                    mem.seek(r["start"] + at)
                    need(mem.read(4096) == self.image.b[r["place"] + at:r["place"] + at + 4096],
                         "page %#x is not as in the process" % (r["start"] + at))


def describe(p):
    """Everything, a line each: two images of one state give the same lines."""
    img = p.image
    print("file: %d bytes, data %d, notes %d, headers %d" %
          (img.file_size, img.data_size, img.notes_size, img.phdr_count))
    for name in ("system", "process", "surroundings", "scheduling", "timers", "signals"):
        for key, value in getattr(p, name).items():
            print("%s.%s: %s" % (name, key, show(value)))
    for key, value in p.mappings.items():
        if not isinstance(value, list):
            print("mappings.%s: %s" % (key, show(value)))
    for i, t in enumerate(p.threads):
        print("thread %d: %s xstate=%016x" % (i, show(t), img.xxh3(p.xstate[i])))
    for i, f in enumerate(p.mappings["files"]):
        print("mapped file %d: %s" % (i + 1, show(f)))
    for m in p.mappings["mappings"]:
        print("mapping: %s" % show(m))
    if p.parent is not None:
        print("parent: %s" % show(p.parent))
    if p.places is not None:
        print("places: %s" % show(p.places))
    for r in p.runs:
        if r["below"]:
            print("run: %#x+%#x mapping=%d flags=%d below" % (r["start"], r["len"], r["mapping"], r["flags"]))
            continue
        print("run: %#x+%#x mapping=%d flags=%d xxh3=%016x" %
              (r["start"], r["len"], r["mapping"], r["flags"],
               img.xxh3(img.b[r["place"]:r["place"] + r["len"]])))
    for a in p.advice:
        print("advice: %s" % show(a))
    for key in ("pipes", "files", "fds"):
        for i, f in enumerate(p.files[key]):
            print("%s %d: %s" % (key, i, show(f)))


def show(v):
    if isinstance(v, dict):
        return " ".join("%s=%s" % (k, show(x)) for k, x in v.items())
    if isinstance(v, list):
        return "[" + ", ".join(show(x) for x in v) + "]"
    if isinstance(v, bytes):
        return v.hex() or "-"
    if isinstance(v, bool) or v is None:
        return str(v).lower()
    if isinstance(v, int):
        return hex(v) if v > 0xffff else str(v)
    return repr(v)


def main():
    with open(sys.argv[1], "rb") as f:
        data = f.read()
    try:
        process = Process(Image(plain(data), load_xxh3()))
        process.same_segments()
        if sys.argv[2:3] == ["--memory"]:
            process.same_memory(int(sys.argv[3]))
    except Bad as e:
        print("read_image.py: %s: %s" % (sys.argv[1], e), file=sys.stderr)
        sys.exit(5)
    describe(process)


if __name__ == "__main__":
    main()
