# shellcheck shell=sh disable=SC2034,SC2086
# Sourced by the thread hop's tests: TAP, building, running two "hosts".
# Every program runs under timeout.
cd "$(dirname "$0")/../.." || exit 1
TOP=$PWD
B=${B:-build}
case $B in /*) ;; *) B=$TOP/$B ;; esac
. "$TOP/tests/hop/expect.sh"
W=$(mktemp -d "${TMPDIR:-/tmp}/hop.XXXXXX") || exit 1
chmod 755 "$W"
CHILDREN=
finish()
{
	for p in $CHILDREN; do kill "$p" 2>/dev/null && wait "$p" 2>/dev/null; done
	if [ "$FAILED" = 0 ]; then rm -rf "$W"; else echo "# kept: $W"; fi
}
trap finish EXIT
trap 'exit 143' TERM INT HUP # so that the EXIT trap runs
N=0
FAILED=0
export HOME="$W" PSU_TIMEOUT=5 PSU_CONNECT_TIMEOUT=15
unset PSU_KEY PSU_PORT PSU_WAIT PSU_LAYOUT PSU_TRACE PSU_ISOMALLOC PSU_INSECURE PSU_FAULT XDG_CONFIG_HOME

ok() { N=$((N + 1)); echo "ok $N - $1"; }
not_ok() { N=$((N + 1)); FAILED=$((FAILED + 1)); echo "not ok $N - $1"; shift; for l; do echo "$l" | sed 's/^/# /'; done; }
# check NAME CONDITION...: runs the condition
check() { check_name=$1; shift; if "$@" >"$W/check.out" 2>&1; then ok "$check_name"; else not_ok "$check_name" "$(head -c 2000 "$W/check.out")"; fi; }
skip()
{
	if [ "${GODWIT_MUST_RUN:-0}" = 1 ]; then not_ok "$1" "would be skipped: $2"; else N=$((N + 1)); echo "ok $N - $1 # SKIP $2"; fi
}
skip_all()
{
	if [ "${GODWIT_MUST_RUN:-0}" = 1 ]; then echo "1..1"; echo "not ok 1 - would be skipped: $1"; exit 1; fi
	echo "1..0 # SKIP $1"
	exit 0
}
done_testing() { echo "1..$N"; [ "$FAILED" = 0 ]; exit; }

[ -f "$B/libpsu_thread.a" ] || make -s B="$B" hop >/dev/null 2>&1
[ -f "$B/libpsu_thread.a" ] || skip_all "libpsu_thread is not built (libssl-dev missing?)"
SSL="$(pkg-config --libs libssl libcrypto)"
DEFAULT_FLAGS='-O2 -fPIE -pie -fstack-protector-strong'

# build OUT SOURCE FLAGS...: with the static library, as README shows it
build()
{
	out=$1 src=$2
	shift 2
	cc=${CC:-gcc}
	case $src in *.cc) cc=${CXX:-g++} ;; esac
	# shellcheck disable=SC2086
	timeout 120 $cc "$@" -pthread -Iinclude -o "$out" "$src" "$B/libpsu_thread.a" $SSL -lm
}
# Below the range that the kernel takes ports for connections from, or one of
# those could be given to somebody between the asking and the use.
free_port()
{
	perl -MIO::Socket::INET -e 'for (1 .. 200) { $p = 12000 + int rand 20000;
		IO::Socket::INET->new(Listen => 1, LocalAddr => "127.0.0.1", LocalPort => $p) and print($p), exit } die "no port"'
}
# start NAME COMMAND...: in the background, output to $W/NAME.{out,err}, status to NAME.rc
start()
{
	name=$1
	shift
	rm -f "$W/$name.rc"

	(
		timeout "${LIMIT:-40}" "$@" >"$W/$name.out" 2>"$W/$name.err" &
		c=$!
		trap 'kill $c 2>/dev/null' TERM
		wait $c
		s=$?
		kill -0 $c 2>/dev/null && { wait $c; s=$?; } # the trap ended the first wait
		echo $s >"$W/$name.rc"
	) 2>/dev/null &
	CHILDREN="$CHILDREN $!"
	LAST=$!
}
# pair SERVER... -- CLIENT...: runs both to their end
pair()
{
	s=
	while [ "$1" != -- ]; do s="$s $1"; shift; done
	shift
	# shellcheck disable=SC2086
	start server $s
	sp=$LAST
	timeout "${LIMIT:-40}" "$@" >"$W/client.out" 2>"$W/client.err"
	echo $? >"$W/client.rc"
	wait "$sp"
}
rc() { cat "$W/$1.rc"; }
