#!/bin/sh
# Installs what building, testing and linting need, from Debian's packages, as root.
# Without root nothing is installed: what is missing is named, with what needs it.
#
#   ./setup.sh [-q] [build | test | lint | fuzz]...      (default: all but fuzz)
set -u

quiet=
[ "${1-}" = -q ] && { quiet=1; shift; }
parts=${*:-build test lint}

# part  command or file  package  what needs it
list() {
	cat <<-'END'
	build gcc gcc building
	build make make building
	build ar binutils building
	build /usr/include/xxhash.h libxxhash-dev building,_the_checksums
	build pkg-config pkg-config migration_by_TLS,_the_thread_hop_library
	build /usr/include/openssl/ssl.h libssl-dev migration_by_TLS,_the_thread_hop_library
	build /usr/include/zstd.h libzstd-dev building,_migration_over_slow_networks
	test prove perl all_tests
	test setpriv util-linux tests_as_an_ordinary_user
	test pgrep procps tests_of_restart
	test g++ g++ the_C++_subject
	test python3 python3 real_programs,_make_demo
	test perl perl real_programs
	test sqlite3 sqlite3 real_programs
	test redis-server redis-server real_programs
	test redis-cli redis-tools real_programs
	test javac default-jdk-headless real_programs
	test node nodejs real_programs
	test lua5.4 lua5.4 real_programs
	test ruby ruby real_programs
	test sbcl sbcl real_programs
	test gawk gawk real_programs
	test mcs mono-mcs migration_of_CLR_programs
	test go golang-go real_programs
	test xz xz-utils real_programs
	test /usr/lib/python3/dist-packages/numpy python3-numpy real_programs
	test /usr/lib/x86_64-linux-gnu/openblas-pthread/libblas.so.3 libopenblas0-pthread real_programs,_a_BLAS_with_threads
	test gm graphicsmagick real_programs
	test /usr/bin/rustc rustc real_programs
	test musl-gcc musl-tools real_programs,_another_C_library
	test /usr/lib/postgresql/15/bin/postgres postgresql-15 real_programs
	test vim.tiny vim-tiny editors_at_a_terminal
	test gdb gdb images_in_gdb,_make_demo
	test eu-stack elfutils images_in_eu-stack
	test readelf binutils images_in_readelf
	test file file images_in_file
	test strace strace tests_with_a_second_tracer
	test clang clang the_thread_hop_under_another_compiler
	test ip iproute2 the_thread_hop_between_network_namespaces
	test tc iproute2 migration_over_a_slow_cable
	test /usr/sbin/sshd openssh-server migration_by_ssh
	test ssh openssh-client migration_by_ssh
	test spin spin the_model_of_the_handover
	test qemu-system-x86_64 qemu-system-x86 migration_and_the_thread_hop_between_kernels
	fuzz clang clang make_fuzz
	fuzz /usr/lib/llvm-14/lib/clang/14.0.6/lib/linux/libclang_rt.fuzzer-x86_64.a libclang-rt-14-dev make_fuzz
	lint clang-format clang-format make_lint
	lint cppcheck cppcheck make_lint
	lint shellcheck shellcheck make_lint
	lint mandoc mandoc make_lint
	END
}

missing=$(list | while read -r part command package use; do
	case " $parts " in *" $part "*) ;; *) continue ;; esac
	case $command in
	/*) [ -e "$command" ] ;;
	*) command -v "$command" >/dev/null 2>&1 ;;
	esac || echo "$command $package $use"
done)
[ -n "$missing" ] || exit 0

packages=$(echo "$missing" | cut -d' ' -f2 | sort -u | tr '\n' ' ')
if [ "$(id -u)" != 0 ]; then
	echo "setup: missing here (as root, ./setup.sh installs them):" >&2
	echo "$missing" | while read -r command package use; do
		echo "  $command (package $package), needed by: $use" | tr _ ' ' >&2
	done
	exit 0
fi
if ! command -v apt-get >/dev/null; then
	echo "setup: please install what gives: $(echo "$missing" | cut -d' ' -f1 | tr '\n' ' ')" >&2
	exit 0
fi
[ -n "$quiet" ] || echo "setup: installing $packages" >&2
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
# A server package must not start its service on this machine.
policy=/usr/sbin/policy-rc.d
[ -e $policy ] || { printf '#!/bin/sh\nexit 101\n' >$policy && chmod 755 $policy && made=1; }
# shellcheck disable=SC2086  # a list of words
apt-get install -y --no-install-recommends $packages >"$log" 2>&1 ||
	{ apt-get update >>"$log" 2>&1 && apt-get install -y --no-install-recommends $packages >>"$log" 2>&1; }
rc=$?
[ -z "${made-}" ] || rm -f $policy
[ $rc = 0 ] || { echo "setup: not all could be installed:" >&2; tail -n 5 "$log" >&2; }
rm -f "$log"
exit 0
