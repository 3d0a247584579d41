#!/bin/bash
# A stream that was changed on its way, frame by frame: each side says no, or nothing has
# happened; nothing of it is left over there, and exactly one copy goes on.  (Who can change
# it has the key, or is the other user's login: it must be no more than that.)
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/lib.sh"

# ssh: starts `godwit receive`, and does as CHANGE says with what goes to it.
in_between() { # CHANGE
	cat >between.py <<-'P'
		import os, select, struct, subprocess, sys
		change = sys.argv[1]
		out, cmd = open('changed', 'w'), sys.argv[2:]
		p = subprocess.Popen(cmd, stdin=subprocess.PIPE, stdout=1)
		def read(n):
		    b = b''
		    while len(b) < n:
		        select.select([0], [], []) # receive, which has the same socket, lets it not block
		        x = os.read(0, n - len(b))
		        if not x: raise EOFError
		        b += x
		    return b
		HELLO, MODEL, FILES, PAGES, END, ROUND, CARRY, FILE, CARRIED = 1, 5, 6, 8, 9, 17, 18, 19, 21
		done = False
		def frame(t, b, n=None): return struct.pack('<IIQ', 0x314d5747, t, len(b) if n is None else n) + b
		def hostile(t, b):
		    global done
		    r = change_one(t, b)
		    if r is None: return frame(t, b)
		    if not done: print(t, file=out, flush=True)
		    done = True
		    return r
		def change_one(t, b):
		    if done: return None
		    if change == 'dotdot' and t == CARRY:
		        return frame(t, b.replace(b'/data/work', b'/data/../k'))
		    if change == 'relative' and t == CARRY:
		        i = b.index(b'/'); return frame(t, b[:i] + b'x' + b[i + 1:])
		    if change == 'setuid' and t == CARRY:
		        # The mode of the last one, before dev, ino, size and time: 04755.
		        return frame(t, b[:-36] + struct.pack('<I', 0o4755) + b[-32:])
		    if change == 'bad-mode' and t == CARRY:
		        return frame(t, b[:-36] + struct.pack('<I', 0o104755) + b[-32:])
		    if change == 'huge' and t == CARRY:
		        return frame(t, b[:-16] + struct.pack('<Q', 1 << 50) + b[-8:])
		    if change == 'negative' and t == CARRY:
		        return frame(t, b[:-16] + struct.pack('<Q', 1 << 63) + b[-8:])
		    if change == 'many' and t == CARRY: return frame(t, struct.pack('<I', 0xfffffff0) + b[4:])
		    if change == 'twice' and t == CARRY: return frame(t, b) * 2
		    if change == 'cut-list' and t == CARRY: return frame(t, b[:-3])
		    if change == 'no-list' and t == CARRY: return b''
		    if change == 'index' and t == FILE: return frame(t, struct.pack('<I', 4000) + b[4:])
		    if change == 'offset' and t == FILE: return frame(t, b[:8] + struct.pack('<Q', (1 << 63) - 2) + b[16:])
		    if change == 'length' and t == FILE: return frame(t, b[:16] + struct.pack('<Q', 1 << 40) + b[24:])
		    if change == 'packing' and t == FILE: return frame(t, b[:4] + struct.pack('<I', 7) + b[8:])
		    if change == 'empty-piece' and t == FILE: return frame(t, b'')
		    if change == 'no-end-of-files' and t == CARRIED: return b''
		    if change == 'ends-twice' and t == CARRIED: return frame(t, b) * 2
		    if change == 'full-end' and t == CARRIED: return frame(t, b'x' * 100)
		    if change == 'full-pages-end' and t == END: return frame(t, b'x' * 100)
		    if change == 'file-late' and t == END: return frame(FILE, struct.pack('<IIQQ', 0, 0, 0, 1) + b'x') + frame(t, b)
		    if change == 'list-late' and t == END: return frame(CARRY, struct.pack('<I', 0)) + frame(t, b)
		    if change == 'model-late' and t == END: return frame(MODEL, b'x') + frame(t, b)
		    if change == 'page-nowhere' and t == PAGES:
		        return frame(t, struct.pack('<IIQQQ', 1, 0, 0, 0x7000000000, 4097)) + frame(t, b)
		    if change == 'long-frame' and t == PAGES: return frame(t, b, 1 << 60)
		    if change == 'no-type' and t == PAGES: return frame(0, b)
		    if change == 'odd-type' and t == PAGES: return frame(4711, b)
		    if change == 'no-magic' and t == PAGES: return b'X' + frame(t, b)[1:]
		    if change == 'flipped-model' and t == MODEL:
		        i = len(b) // 2; return frame(t, b[:i] + bytes([b[i] ^ 255]) + b[i + 1:])
		    if change == 'cut-model' and t == MODEL: return frame(t, b[:len(b) // 2])
		    if change == 'other-look' and t == FILES: return frame(t, struct.pack('<I', 3) + b[4:])
		    if change == 'version' and t == HELLO: return frame(t, struct.pack('<I', 9) + b[4:])
		    if change == 'feature' and t == HELLO: return frame(t, b[:4] + struct.pack('<Q', 1 << 40) + b[12:])
		    return None
		try:
		    while True:
		        magic, t, n = struct.unpack('<IIQ', read(16))
		        p.stdin.write(hostile(t, read(n))); p.stdin.flush()
		except (EOFError, OSError): pass
		try: p.stdin.close()
		except OSError: pass
		sys.exit(p.wait())
	P
	as_words "$GODWIT" receive "--stdio=file:$W/over" --timeout 3
	printf '#!/bin/sh\nexec env GODWIT_STATE=%s /usr/bin/python3 %s/between.py %s nsenter -m -t %s -- sh -c '"'"'cd %s && exec "$@"'"'"' sh %s\n' \
		"$W/state-beta" "$W" "$1" "$THERE" "$W" "${WORDS[*]}" >ssh
	chmod 755 ssh
}

_nothing_there() { [[ -z $(there find data -mindepth 1) ]]; }

changed() { # CHANGE STATUS TEXT [moved]
	become root
	apart
	: >over
	mkdir -p data/work
	in_between "$1"
	pipe_on alpha "$B/migrate/carrier" "$W/data/work"
	wait_alive "$PID" 30 has out '^ready'
	wait_alive "$PID" 30 test -s data/work/log
	migrate_from alpha somewhere --ssh "$W/ssh" --copy-files --timeout 3 "--mode=${MODE:-pre-copy}"
	[[ -s changed ]] || fail "nothing was changed"
	# shellcheck disable=SC2053  # a pattern
	[[ $RC == $2 ]] || fail "exit status $RC instead of $2"
	[[ -z $3 ]] || says "$3"
	if [[ ${4-} == moved ]]; then
		there touch data/work/stop
		wait_for 30 has over '^(ok|wrong)'
		gone "$PID" || fail "two copies"
		[[ -z $(there find data -perm /7000) ]] || fail "a file that gives rights to who runs it"
		has over '^ok$' || fail "$(cat over)"
		return
	fi
	alive "$PID" || fail "the program is gone"
	wait_for 20 _nothing_there
	nothing_left
	[[ -z $(ls state-alpha 2>/dev/null) ]] || fail "not settled"
	: >data/work/stop
	wait_for 30 has out '^(ok|wrong)'
	has out '^ok$' || fail "$(cat out)"
}
for c in dotdot relative bad-mode negative many cut-list; do
	try "files_with_$c" changed "$c" 1 'malformed list of files'
done
try files_twice changed twice 1 'does not belong there'
try files_of_which_there_is_no_list changed no-list '[13]' ''
try a_file_of_a_pebibyte changed huge 1 'no room'
try a_file_with_the_set_user_id_bit changed setuid 0 '' moved
try a_piece_of_no_file changed index 1 'not asked for'
for c in offset length packing empty-piece; do
	try "a_piece_with_another_$c" changed "$c" 5 'a frame of a file is malformed'
done
try files_without_an_end changed no-end-of-files 1 'among the files'
try files_that_end_twice changed ends-twice 1 ''
try files_that_end_with_something changed full-end 1 'among the files'
try pages_that_end_with_something changed full-pages-end 1 'among the pages'
for c in file-late list-late model-late; do
	try "$c" changed "$c" 1 'among the pages'
	MODE=total try "${c}_of_a_total_copy" changed "$c" 1 'among the pages'
done
MODE=total try pages_for_nowhere changed page-nowhere 5 'where no memory is to be filled'
try a_frame_of_an_exbibyte changed long-frame 1 'more than'
try a_frame_of_no_type changed no-type 1 'no type'
try a_frame_of_an_odd_type changed odd-type 1 'type 4711'
try a_frame_without_magic changed no-magic 1 'does not speak'
try a_model_with_a_flipped_byte changed flipped-model '[135]' ''
try half_a_model changed cut-model '[15]' ''
try an_odd_look changed other-look 1 'malformed list'
try an_unknown_version changed version 3 'speaks version 1 of the protocol.*version 9'
try an_unknown_feature changed feature 3 'speaks version'

finish
