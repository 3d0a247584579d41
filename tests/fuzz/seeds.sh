#!/bin/bash
# Makes the seeds of the targets state and plan again, from the golden program and
# some subjects (make all subjects first; as root).  For the time before a version
# is released, when what the notes hold still changes.  (big_hugetlb needs 13 free huge pages.)
set -eu
cd "$(dirname "$0")/../.."
B=$(realpath "${B:-build}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chown 65534:65534 "$work"
cat >"$work/run.sh" <<'END'
cd "$1" && mkdir -p ctl
for fd in /proc/self/fd/*; do
	fd=${fd##*/}
	((fd < 3 || fd == 255)) || eval "exec $fd>&-"
done 2>/dev/null
"$3" "$1/ctl" ${4-} </dev/null >out 2>/dev/null &
until grep -q ready out; do kill -0 $!; done
if [[ $3 == */mem_written ]]; then # until its pages are out of order: the note PLACES
	for i in 1 2 3 4 5 6 7 8; do
		"$2" checkpoint $! --pause=live -o image >/dev/null
		(($(od -An -tu1 -j80 -N1 image) & 1)) && break
	done
else
	"$2" checkpoint $! -o image >/dev/null
fi
kill -9 $!
END
for s in ${SEEDS:-ptys sockets_named_unread fds_in_flight files_signals files_leases files_locked pipes_named sockets_listening sockets_udp sockets_named files_paths timers_posix files_unlinked inotifies eventfds signalfds epolls timerfds sig_pending mem_shared_anon sysv_shm mem_written settings seccomp_filters threads_leader_gone big_hugetlb}; do
	[[ -x $B/subjects/$s ]] || continue
	rm -f "$work/image" "$work/out"
	user=65534
	[[ $s != seccomp_filters ]] || user=0 # who else could read them
	timeout 30 setpriv --reuid=$user --regid=$user --clear-groups env -i TMPDIR="$work" HOME="$work" \
		bash "$work/run.sh" "$work" "$B/godwit" "$B/subjects/$s" "$([[ $s != mem_written ]] || echo "1 100 50")" || continue
	tests/fuzz/seed_state.py "$work/image" "tests/fuzz/corpus/state/$s"
done
# The parent is not there: refused by name.
tests/fuzz/seed_state.py tests/golden/v1/chain.image tests/fuzz/corpus/state/chain
for t in state plan; do
	tests/fuzz/seed_state.py tests/golden/v1/tiny.image "tests/fuzz/corpus/$t/tiny"
done
ls -l tests/fuzz/corpus/state
