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
		# Of several connections only the first is changed.
		if os.path.exists('changed'): change = ''
		out, cmd = open('changed', 'a'), sys.argv[2:]
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
		ASK_LATER, LATER, MEANWHILE = 32, 34, 40
		done, again, there = False, None, False
		def frame(t, b, n=None): return struct.pack('<IIQ', 0x314d5747, t, len(b) if n is None else n) + b
		def hostile(t, b):
		    global done
		    r = change_one(t, b)
		    if r is None: return frame(t, b)
		    if not done: print(t, file=out, flush=True)
		    done = True
		    return r
		def endless(t, b):
		    global again
		    again = frame(t, b) * (1 + 65536 // (16 + len(b)))
		    return again
		def change_one(t, b):
		    global there
		    there = there or t == END
		    if done: return None
		    # The same, without end.
		    if change == 'models' and t == MODEL: return endless(MODEL, b'')
		    if change == 'asks' and t == HELLO: return frame(t, b) + endless(ASK_LATER, struct.pack('<I', os.getuid()))
		    if change == 'model-pages' and t == PAGES: return endless(t, b)
		    if change == 'rounds' and t == ROUND: return endless(t, struct.pack('<IIQQ', 1, 1, 1 << 44, (1 << 44) + 4096))
		    if change == 'round-of-all' and t == ROUND: return frame(t, struct.pack('<IIQQ', 1, 1, 0, 1 << 60))
		    if change == 'pieces' and t == FILE: return endless(t, b)
		    if change == 'old-pages' and t == PAGES and there: return endless(t, b)
		    if change == 'meanwhiles' and t == PAGES and there: return endless(MEANWHILE, struct.pack('<I', 0))
		    if change == 'laters' and t == LATER: return endless(t, struct.pack('<II', 1, 0))
		    if change == 'last-laters' and t == LATER: return endless(t, struct.pack('<II', 0, 0))
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
		        while again:
		            p.stdin.write(again); p.stdin.flush()
		except (EOFError, OSError): pass
		try: p.stdin.close()
		except OSError: pass
		rc = p.wait()
		print(rc, file=open('ended', 'w'), flush=True)
		sys.exit(rc)
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
	wait_for 60 test -s ended # over there: however much is sent
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
# What is sent for ever, or often enough: it would never come to an end.
try empty_models_for_ever changed models 1 'does not belong there'
try a_question_for_ever changed asks 1 ''
try the_same_pages_for_ever changed model-pages 1 ''
MODE=total try the_same_pages_for_ever_of_a_total_copy changed model-pages 1 'more pages than there are'
try rounds_for_ever changed rounds 1 'too many rounds'
try a_round_beyond_all_addresses changed round-of-all 1 'malformed frame'
try the_same_piece_for_ever changed pieces 1 'out of order'
MODE=total try the_same_piece_for_ever_of_a_total_copy changed pieces 1 'out of order'

changed_later() { # CHANGE TEXT
	become root
	apart
	: >over
	in_between "$1"
	count_on alpha 20
	migrate_from alpha somewhere --ssh "$W/ssh" --timeout 3 --mode=post-copy
	[[ -s changed ]] || fail "nothing was changed"
	[[ $RC == 1 ]] || fail "exit status $RC"
	says "$2"
	wait_for 60 test -s ended
	settled here
}
if [[ -n $IS_ROOT ]]; then
	try empty_lists_of_pages_for_ever changed_later laters 'malformed list of pages'
	try empty_last_lists_of_pages_for_ever changed_later last-laters 'type 34 among the pages'
fi

# When the program runs there already, and waits for pages: the connection is given up, and the
# next one brings them.
pages_come_all_the_same() { # CHANGE
	become root
	apart
	: >over
	in_between "$1"
	count_on alpha 60
	migrate_from alpha somewhere --ssh "$W/ssh" --timeout 3 --mode=post-copy
	[[ -s changed ]] || fail "nothing was changed"
	[[ $RC == 0 ]] || fail "exit status $RC"
	says 'connecting again'
	finish_counter over
}
if [[ -n $IS_ROOT ]]; then
	try pages_that_are_there_for_ever pages_come_all_the_same old-pages
	try no_signals_for_ever pages_come_all_the_same meanwhiles
fi
try an_unknown_version changed version 3 'speaks version 1 of the protocol.*version 9'
try an_unknown_feature changed feature 3 'speaks version'

finish
