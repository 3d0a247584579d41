#!/bin/sh
# A program that is built elsewhere: from what `make install` put into DESTDIR, by
# every standard and compiler; by the line of README; and what happens without
# OpenSSL's headers, and with -m32.
. "$(dirname "$0")/lib.sh"

D="$W/dest" P=/opt/psu
check "make install" make -s B="$B" DESTDIR="$D" PREFIX=$P install-hop
for f in include/psu_thread.h lib/libpsu_thread.a lib/libpsu_thread.so lib/libpsu_thread.so.0 lib/pkgconfig/psu_thread.pc \
	share/man/man3/psu_thread.3; do
	check "installed: $f" test -s "$D$P/$f"
done
check "psu_thread.pc has the prefix" grep -qx "prefix=$P" "$D$P/lib/pkgconfig/psu_thread.pc"
# Back to the build's own prefix.
rm -f "$B/psu_thread.pc"
make -s B="$B" "$B/psu_thread.pc"

mkdir "$W/elsewhere"
cat >"$W/elsewhere/prog.c" <<'X'
#include <psu_thread.h>
#include <stdio.h>
#include <stdlib.h>

static char *host;

static void *f(void *arg)
{
	int a = 10;

	printf("here %d\n", a);
	fflush(stdout);
	psu_thread_migrate(host);
	printf("there %d\n", a);
	return arg;
}

int main(int argc, char **argv)
{
	if (argc < 3)
		return 2;
	psu_thread_setup_init(atoi(argv[2]));
	host = argv[1];
	return psu_thread_create(f, NULL) ? 1 : 0;
}
X
cp "$W/elsewhere/prog.c" "$W/elsewhere/prog.cc"
PKG_CONFIG_PATH="$D$P/lib/pkgconfig" PKG_CONFIG_SYSROOT_DIR="$D"
export PKG_CONFIG_PATH PKG_CONFIG_SYSROOT_DIR
FLAGS=$(pkg-config --cflags --libs psu_thread)
check "pkg-config knows it" test -n "$FLAGS"
# hops PROGRAM: there and done
hops()
{
	PSU_PORT=$(free_port)
	export PSU_PORT
	pair "$1" x 1 -- "$1" 127.0.0.1 0
	[ "$(cat "$W/client.out" "$W/server.out" | tr '\n' ' ')$(rc client)$(rc server)" = 'here 10 there 10 00' ]
}
export LD_LIBRARY_PATH="$D$P/lib"
# by COMPILER STANDARD SOURCE
by()
{
	if ! command -v "$1" >/dev/null; then
		skip "$1 -std=$2" "not installed"
		return
	fi
	rm -f "$W/prog"
	# shellcheck disable=SC2086
	if (cd "$W/elsewhere" && $1 -std=$2 -Wall -Wextra -pedantic -Werror "$3" -o "$W/prog" $FLAGS) 2>"$W/build.err"; then
		check "$1 -std=$2: built elsewhere, and hops" hops "$W/prog"
	else
		not_ok "$1 -std=$2" "$(head -5 "$W/build.err")"
	fi
}
for std in c99 c11 c17 c2x; do by gcc $std prog.c; by clang $std prog.c; done
for std in c++98 c++17 c++20; do by g++ $std prog.cc; by clang++ $std prog.cc; done
# shellcheck disable=SC2046
(cd "$W/elsewhere" && gcc prog.c -o "$W/prog" -static $(pkg-config --cflags --libs --static psu_thread)) 2>"$W/build.err"
check "a static program, by pkg-config --static" hops "$W/prog"
unset LD_LIBRARY_PATH PKG_CONFIG_PATH PKG_CONFIG_SYSROOT_DIR

# The line in README, with the folders of this build.
line=$(grep '^cc .*libpsu_thread\.a' README.md)
check "README has one line" test "$(echo "$line" | grep -c .)" = 1
rm -f "$W/prog"
sh -c "$(echo "$line" | sed "s|-o prog prog.c|-o $W/prog $W/elsewhere/prog.c|; s|build/|$B/|; s|-Iinclude|-I$TOP/include|")" 2>"$W/build.err"
check "README's line builds a program that hops" hops "$W/prog"

gcc -m32 -I"$D$P/include" -c "$W/elsewhere/prog.c" -o "$W/m32.o" 2>"$W/m32.err"
check "-m32 fails" test ! -e "$W/m32.o"
check "-m32 is one #error" sh -c "gcc -m32 -I$D$P/include -E $W/elsewhere/prog.c 2>&1 >/dev/null | grep -c 'error: #error' | grep -qx 1"

# Without OpenSSL's headers: hidden behind one that is none.
mkdir -p "$W/hidden/openssl"
echo '#error "hidden"' >"$W/hidden/openssl/ssl.h"
cp -r include src man examples bench Makefile "$W/elsewhere/"
(cd "$W/elsewhere" && rm -f examples/app? && make -s B="$W/none" CPPFLAGS="-I$W/hidden" hop) >"$W/none.log" 2>&1
check "without libssl-dev make goes on" test $? = 0
check "... and names what is missing" grep -q 'libssl-dev' "$W/none.log"
check "... and nothing of OpenSSL is linked" sh -c "test -s $W/none/libpsu_thread.so && ! ldd $W/none/libpsu_thread.so | grep -q ssl"
gcc -I"$W/elsewhere/include" -o "$W/prog" "$W/elsewhere/prog.c" "$W/none/libpsu_thread.a" -pthread 2>"$W/build.err"
check "... on this machine a thread hops" hops "$W/prog"
PSU_CONNECT_TIMEOUT=0.2 timeout 20 "$W/prog" 192.0.2.1 0 >"$W/client.out" 2>"$W/client.err"
check "... to another one it does not" test "$(tail -1 "$W/client.out")" = 'there 10'
(umask 077; od -An -tx1 -N32 /dev/urandom | tr -d ' \n' >"$W/key")
PSU_KEY="$W/key" PSU_CONNECT_TIMEOUT=0.2 timeout 20 "$W/prog" 127.0.0.1:1 0 >"$W/client.out" 2>"$W/client.err"
check "... and a key is said to be of no use" grep -q 'built without TLS' "$W/client.err"
done_testing
