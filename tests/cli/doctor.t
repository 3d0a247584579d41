#!/bin/bash
# godwit doctor: it tries, it says what is missing, it changes nothing.
. "$(dirname "$0")/../lib.sh"

DENIED=$TOP/tests/cli/denied.py

# feature NAME: its line of the JSON in doctor.json, as "works detail remedy".
feature() {
	/usr/bin/python3 - "$1" <<-'END'
		import json, sys
		f = [f for f in json.load(open("doctor.json"))["features"] if f["feature"] == sys.argv[1]]
		assert len(f) == 1, f
		print(f[0]["works"], f[0]["detail"], f[0]["remedy"])
	END
}

under() { # NUMBER HOW: doctor --json without this system call
	need /usr/bin/python3
	become user
	run /usr/bin/python3 "$DENIED" "$1" "$2" "$GODWIT" doctor --json
	local usable
	usable=$(/usr/bin/python3 -c 'import json; print(json.load(open("cmd.out"))["usable"])')
	[[ $RC$usable == @(0True|3False) ]] || fail "exit status $RC, usable: $usable"
	mv cmd.out doctor.json
}

# A program under a filter is refused: the engine's calls would go through it.
not_usable() {
	[[ $RC == 3 ]] || fail "exit status $RC"
	[[ $(feature engine) == False* ]] || fail "engine: $(feature engine)"
}

no_ptrace() {
	under 101 errno
	[[ $(feature ptrace_parent) == False*seccomp* ]] || fail "ptrace: $(feature ptrace_parent)"
	not_usable
	[[ $(feature pidfd_getfd) == True* ]] || fail "pidfd_getfd: $(feature pidfd_getfd)"
	expect 3 /usr/bin/python3 "$DENIED" 101 errno "$GODWIT" doctor
	prints 'ptrace.* NO ' 'remedy: .*seccomp' 'cannot work here'
}

no_vm_readv() {
	under 310 errno
	not_usable
	[[ $(feature process_vm_readv) == False*seccomp* ]] || fail "$(feature process_vm_readv)"
}

no_userfaultfd() {
	under 323 errno
	[[ $(feature uffd_wp_async) == False*"not permitted"* ]] || fail "$(feature uffd_wp_async)"
}

killing_filter() { # the probe dies, doctor does not
	under 323 kill
	[[ $(feature uffd_wp_async) == False*"killed by signal"* ]] || fail "$(feature uffd_wp_async)"
}

no_namespaces() {
	under 272 errno
	[[ $(feature namespace) == False*unshare* ]] || fail "$(feature namespace)"
}

no_processes() { # the limit comes after the change of user, which else fails itself
	become user
	(as bash -c 'ulimit -u 1; exec "$0" doctor --json' "$GODWIT") >doctor.json
	RC=$?
	not_usable
	[[ $(feature engine) == *fork:*ulimit* ]] || fail "$(feature engine)"
}

no_proc() {
	become root
	unshare -m bash -c 'umount -l /proc && "$0" doctor --json' "$GODWIT" >doctor.json
	RC=$?
	not_usable
	[[ $(feature proc) == *"not mounted"*mount* ]] || fail "$(feature proc)"
}

unwritable_directory() {
	become user
	[[ -n $IS_ROOT ]] && chown 0 "$W"
	chmod 555 "$W"
	(cd "$W" && as "$GODWIT" doctor --json) >"$TRY_DIR/doctor.json" || fail "exit status $?"
	cd "$TRY_DIR" || exit 1
	[[ $(feature tmpfile) == False*denied* ]] || fail "$(feature tmpfile)"
}

changes_nothing() {
	become user
	expect 0 "$GODWIT" doctor
	[[ -z $(find . -newer "$CTL" -type f ! -name 'cmd.*') ]] || fail "it left files: $(ls)"
	_no_stray() { ! ps -eo args | grep -q '^[^ ]*godwit doctor'; }
	wait_for 10 _no_stray
}

# Every key of the JSON is in godwit(1).
documented() {
	need /usr/bin/python3
	become user
	(as "$GODWIT" doctor --json) >doctor.json || fail "exit status $?"
	launch "$SUBJECTS/threads" "$CTL"
	wait_ready
	expect 0 "$GODWIT" checkpoint "$PID" --kill
	(as "$GODWIT" show --json myckpt) >show.json || fail "exit status $?"
	/usr/bin/python3 - "$TOP/man/godwit.1" <<-'END' || fail "keys and page differ"
		import json, re, sys
		page = open(sys.argv[1]).read()
		words = set(re.findall(r"\w+", page[page.index(".Sh JSON"):page.index(".Sh ENVIRONMENT")]))
		def keys(v):
		    if isinstance(v, dict):
		        for k, w in v.items():
		            yield k
		            if k != "registers": # named as the CPU names them
		                yield from keys(w)
		    elif isinstance(v, list):
		        for w in v:
		            yield from keys(w)
		found = set(keys(json.load(open("doctor.json")))) | set(keys(json.load(open("show.json"))))
		missing = sorted(found - words)
		sys.exit(f"not in the page: {missing}" if missing or len(found) < 60 else 0)
	END
}

try doctor_without_ptrace_exits_3 no_ptrace
try doctor_without_process_vm_readv_exits_3 no_vm_readv
try doctor_without_userfaultfd_says_so no_userfaultfd
try doctor_survives_a_filter_that_kills killing_filter
try doctor_without_namespaces_says_so no_namespaces
try doctor_without_processes_exits_3 no_processes
try doctor_without_proc_exits_3 no_proc
try doctor_in_an_unwritable_directory unwritable_directory
try doctor_leaves_nothing changes_nothing
try every_json_key_is_documented documented
finish
