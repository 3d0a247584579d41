#!/bin/bash
# What make gives besides programs: install, dist, the classic round, res.  (The demo: readme.t.)
. "$(dirname "$0")/../lib.sh"

installs() {
	become "$(if [[ -n $IS_ROOT ]]; then echo root; else echo user; fi)"
	make -s -C "$TOP" B="$B" install DESTDIR="$W/dest" PREFIX=/opt/godwit >make.log 2>&1 || fail "$(tail make.log)"
	local d=$W/dest/opt/godwit f
	for f in bin/godwit bin/myrestart lib/godwit/libckpt.so share/man/man1/godwit.1 \
		share/man/man1/myrestart.1 share/man/man7/libckpt.7 include/godwit.h share/man/man3/godwit_checkpoint.3 \
		lib/systemd/user/godwit-serve.service share/bash-completion/completions/godwit; do
		[[ -s $d/$f ]] || fail "$f is not installed: $(cd dest && find .)"
	done
	# What the unit starts is a command that there is, with options that there are.
	f=$(sed -n 's/^ExecStart=//p' "$d/lib/systemd/user/godwit-serve.service")
	[[ $f == "/opt/godwit/bin/godwit serve "* ]] || fail "the unit starts '$f'"
	run "$d/bin/godwit" serve --help
	for f in $(grep -oE -- '--[a-z-]+' <<<"$f"); do prints "$f"; done
	launch env LD_PRELOAD="$d/lib/godwit/libckpt.so" "$SUBJECTS/mem_brk" "$CTL"
	wait_ready
	ring
	finish_off
	OUT=out2 ERR=err2 launch "$d/bin/myrestart" myckpt
	ping
	"$d/bin/godwit" verify myckpt || fail "the installed godwit does not work"
	verdict
}

# The archive builds without git; the classic round and `make res` work in it, for an
# ordinary user, as often as one likes.
dist() {
	need make gcc
	become user
	make -s -C "$TOP" B="$W/b" dist >dist.log 2>&1 || fail "$(cat dist.log)"
	mkdir tree
	tar -xzf b/godwit-*.tar.gz -C tree --strip-components=1 || fail "no archive: $(ls b)"
	[[ ! -e tree/.git && ! -e tree/build ]] || fail "the archive has more than the sources"
	chmod -R a+rwX "$W"
	cd tree || exit 1
	export B=build
	run make -s -j2 OPT=-O1 all build/count # it builds: how fast it is, nobody asks here
	[[ $RC == 0 ]] || fail "it does not build"
	run make -s res
	[[ $RC == 2 ]] || fail "make res without an image: exit status $RC"
	says 'no ./myckpt' 'make check'
	run tests/classic.sh
	[[ $RC == 0 && -s myckpt ]] || fail "the classic round: $RC"
	prints '^\$ LD_PRELOAD=' '^\$ kill -12 [0-9]+' '^\$ kill -9 [0-9]+'
	local last i
	last=$(grep -E '^[0-9]+$' cmd.out | tail -n 1)
	for i in 1 2; do
		OUT=out$i ERR=err$i launch make -s res
		wait_alive "$PID" 20 has out$i "^$((last + 3))\$"
		kill "$PID"
		wait "$PID" 2>/dev/null
		pkill -P "$PID" 2>/dev/null
	done
	[[ $(sed -n '/^[0-9]/p' out2 | head -n 1) -le $((last + 1)) ]] || fail "numbers are missing"
}

# Without root nothing is installed: what is missing is named, and the end is good.
setup_without_root() {
	become user
	[[ -n $IS_ROOT ]] || skip "needs root, to hide programs"
	mkdir bin
	local c
	for c in sh id cat cut sort tr echo; do ln -s "$(command -v $c)" bin/; done
	run env PATH="$W/bin" "$TOP/setup.sh"
	[[ $RC == 0 ]] || fail "exit status $RC"
	says 'gdb \(package gdb\)' 'prove \(package perl\)' 'as root'
}

try install_puts_everything_in_place installs
LIMIT=240 try dist_builds_and_make_res_works dist
try setup_without_root_names_what_is_missing setup_without_root
finish
