#!/bin/sh
# The programs under other compilers and flags.  By default a sensible subset;
# HOP_MATRIX=full runs {gcc, clang} x {-O0, -O2, -O3 -flto} x {pie, no-pie,
# static-pie} x {-fstack-protector-all, -fcf-protection=full}, each with all 14
# programs and the hard cases, between two network namespaces where root allows.
. "$(dirname "$0")/lib.sh"

LIMIT=30
ON=
if [ "${HOP_MATRIX:-}" = full ] && [ "$(id -u)" = 0 ] && command -v ip >/dev/null; then
	A=hopM$$ Z=hopN$$
	drop() { ip netns del $A 2>/dev/null; ip netns del $Z 2>/dev/null; finish; }
	trap drop EXIT
	if ip netns add $A && ip netns add $Z && ip link add hm$$a netns $A type veth peer name hm$$b netns $Z; then
		ip -n $A addr add 10.213.8.1/24 dev hm$$a
		ip -n $Z addr add 10.213.8.2/24 dev hm$$b
		ip -n $A link set lo up && ip -n $Z link set lo up
		ip -n $A link set hm$$a up && ip -n $Z link set hm$$b up
		printf '#!/bin/sh\nn=$1\nshift\nexec ip netns exec $n unshare -u sh -c '"'"'hostname "$0" && exec "$@"'"'"' $n "$@"\n' >"$W/on"
		chmod 755 "$W/on"
		(umask 077; od -An -tx1 -N32 /dev/urandom | tr -d ' \n' >"$W/key")
		export PSU_KEY="$W/key"
		ON=1
	fi
fi
# both PROGRAM CASE
both()
{
	if [ -n "$ON" ]; then
		PSU_PORT=8080
		export PSU_PORT
		pair "$W/on" $Z "$1" "$2" x 1 -- "$W/on" $A "$1" "$2" 10.213.8.2 0
		CH=$A SH=$Z
	else
		PSU_PORT=$(free_port)
		export PSU_PORT
		pair "$1" "$2" x 1 -- "$1" "$2" 127.0.0.1 0
		CH=$(hostname) SH=$CH
	fi
}
# combination CC OPT KIND PROTECT HOW-MUCH
combination()
{
	CC=$1
	label="$1 $2 $3 $4"
	case $3 in
	pie) link='-fPIE -pie' ;;
	no-pie) link='-fno-pie -no-pie' ;;
	static-pie) link='-fPIE -static-pie' ;;
	esac
	# clang's LTO needs its own linker plugin; lld is one where gold is missing.
	extra=
	case "$1 $2" in clang*-flto*) command -v ld.lld >/dev/null && extra=-fuse-ld=lld ;; esac
	rm -f "$W/m.apps" "$W/m.hard"
	# shellcheck disable=SC2086
	if ! build "$W/m.apps" tests/hop/prog/apps.c $2 $link $4 $extra 2>"$W/build.err" ||
		! build "$W/m.hard" tests/hop/prog/hard.c -D_GNU_SOURCE $2 $link $4 $extra 2>>"$W/build.err"; then
		# Static linking of the resolver warns; only errors are of interest.
		skip "$label" "cannot be built here: $(grep -v warning "$W/build.err" | tail -1 | head -c 120)"
		return
	fi
	case "$1 $2 $3" in
	clang*-flto*static-pie)
		# The one combination that cannot work: refused, by name.
		both "$W/m.hard" plain
		check "$label: refused" sh -c "grep -q 'linked by LLD' $W/client.err && test $(rc client) = 3 && test \"\$(tail -1 $W/client.out)\" = 'client: after'"
		return
		;;
	esac
	bad=
	apps='app3 app9 app12'
	cases='tls longjmp arena big_frames'
	[ "$5" = all ] && apps=$ALL_APPS && cases='fp stack_list deep big_frames errno tls sigmask longjmp longjmp_global dead_jmpbuf qsort arena globals pthread_exit mutex cleanup locale altstack handler'
	for a in $apps; do
		both "$W/m.apps" "$a"
		expect "$a" client | sed "s/@/$CH/" | cmp -s - "$W/client.out" || bad="$bad $a.client"
		expect "$a" server | sed "s/@/$SH/" | cmp -s - "$W/server.out" || bad="$bad $a.server"
		[ "$(rc client)$(rc server)" = 00 ] ||
			bad="$bad $a.status $(rc client) $(rc server): $(cat "$W/client.err" "$W/server.err" | tr '\n' ' ')"
	done
	for c in $cases; do
		both "$W/m.hard" "$c"
		[ "$(cat "$W/server.out")" = 'server: ok' ] || bad="$bad $c: $(rc client) $(rc server) $(cat "$W/client.out" "$W/server.out" "$W/client.err" "$W/server.err" | tr '\n' ' ')"
	done
	if [ -z "$bad" ]; then ok "$label"; else not_ok "$label" "$bad"; fi
}
have() { command -v "$1" >/dev/null; }
if [ "${HOP_MATRIX:-}" = full ]; then
	for cc in gcc clang; do
		have $cc || { skip "$cc" "not installed"; continue; }
		for opt in -O0 -O2 '-O3 -flto'; do
			for kind in pie no-pie static-pie; do
				for protect in -fstack-protector-all -fcf-protection=full; do
					combination $cc "$opt" $kind $protect all
				done
			done
		done
	done
else
	combination gcc -O0 pie -fstack-protector-all
	combination gcc -O2 no-pie '-fomit-frame-pointer -fcf-protection=full'
	combination gcc -O2 static-pie -fstack-protector-all
	combination gcc '-O3 -flto' pie '-fstack-protector-all -fcf-protection=full -D_FORTIFY_SOURCE=2 -Wl,-z,now'
	if have clang; then
		combination clang -O2 pie -fstack-protector-all
	else
		skip "clang" "not installed"
	fi
fi
done_testing
