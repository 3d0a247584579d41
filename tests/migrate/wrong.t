#!/bin/bash
# Wrong words: hosts, ports and processes that cannot be meant.  Each is told in a line, with a
# hint, and the program goes on as if nothing had been.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/lib.sh"

# wrong STATUS TEXT HINT ARGS...: of godwit migrate, but for the process
told() {
	local status=$1 text=$2 hint=$3
	shift 3
	expect "$status" timeout 60 "$GODWIT" migrate "$@"
	says "^godwit: migrate: $text" "^hint: .*$hint"
	[[ ! -s cmd.out ]] || fail "something is on stdout"
}
wrong() {
	become user
	export GODWIT_STATE=$W/state
	make_key
	count_on alpha
	told "$1" "$2" "$3" "$PID" "${@:4}"
	nothing_left
	finish_counter out
}

# A server of another kind; sets OTHER.
other_server() { # PYTHON
	need /usr/bin/python3
	/usr/bin/python3 -c "
import socket, sys
s = socket.create_server(('127.0.0.1', 0))
print(s.getsockname()[1], flush=True)
kept = []
while True:
    c = s.accept()[0]
    kept.append(c)
    $1
" >port &
	note_pid "$!"
	wait_for 20 test -s port
	OTHER=$(cat port)
}
web_server() {
	other_server "c.recv(65536); c.sendall(b'HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n'); c.close()"
	wrong 4 '127.0.0.1:[0-9]+: TLS: it does not speak TLS' 'is it a godwit' "tls://127.0.0.1:$OTHER" --key key
}
mail_server() {
	other_server "c.sendall(b'220 mail.example ESMTP\r\n')"
	wrong 4 '127.0.0.1:[0-9]+: TLS: it does not speak TLS' 'is it a godwit' "tls://127.0.0.1:$OTHER" --key key
}
silent_server() {
	other_server pass
	wrong 1 '127.0.0.1:[0-9]+ does not answer in time' 'is it a godwit' "tls://127.0.0.1:$OTHER" --key key --timeout 1
}
hanging_up() {
	other_server 'c.close()'
	wrong 1 '127.0.0.1:[0-9]+: ' 'is it a godwit' "tls://127.0.0.1:$OTHER" --key key
}
try a_web_server_is_no_destination web_server
try a_mail_server_is_no_destination mail_server
try a_silent_server_is_no_destination silent_server
try a_server_that_hangs_up_is_no_destination hanging_up

other_key() {
	become user
	serve_on beta
	(as "$GODWIT" key other)
	wrong 4 '127.0.0.1:[0-9]+: TLS: it has another key' 'same key' "tls://127.0.0.1:$PORT" --key other
}
try another_key_is_named other_key

try a_closed_port_has_a_hint wrong 1 'cannot connect to 127.0.0.1:9: Connection refused' "start 'godwit serve" tls://127.0.0.1:9 --key key
try an_unknown_host_has_a_hint wrong 1 "cannot find host 'no.such.host.invalid'" 'spelling' tls://no.such.host.invalid:7000 --key key
try a_missing_key_has_a_hint wrong 1 "key file 'nokey': No such file" "godwit key nokey" tls://127.0.0.1:9 --key nokey
try a_host_that_is_none wrong 2 "'user@' is no host" 'by ssh' user@
try an_empty_host wrong 2 "'' is no host" 'by ssh' ''
try a_port_by_ssh_has_a_hint wrong 2 "'host:7000' has a port" 'tls://host:7000' host:7000
try a_key_by_ssh_has_a_hint wrong 2 'a key or certificate is for tls' 'tls://host:PORT' host --key key
try no_ssh_here_is_told_from_no_godwit_there wrong 1 "there is no '/nowhere/ssh' here" 'openssh-client' host --ssh '/nowhere/ssh -p 22'
try a_word_for_a_port wrong 2 "'tls://127.0.0.1:http' names no port" 'tls://host:port' tls://127.0.0.1:http --key key

# What is no program is told before anybody is asked for a password.
no_program() { # STATUS TEXT HINT PID USER
	become "$5"
	printf '#!/bin/sh\n: >%s/asked\n' "$W" >ssh
	chmod 755 ssh
	told "$1" "$2" "$3" "$4" somewhere --ssh "$W/ssh"
	[[ ! -e asked ]] || fail "the other host was bothered first"
}
nobody_has() {
	local pid
	pid=$(cat /proc/sys/kernel/pid_max)
	while [[ -e /proc/$((--pid)) ]]; do :; done
	no_program 1 "there is no process $pid" pgrep "$pid" user
}
try a_process_that_is_not_there nobody_has
try process_1 no_program 3 'process 1 is the init' . 1 user
try process_1_as_root no_program 3 'process 1 is the init' . 1 root
kernel_thread() {
	[[ -e /proc/2/stat && $(cat /proc/2/comm) == kthreadd ]] || skip "no threads of the kernel are seen here"
	no_program 3 'process 2 \(kthreadd\) belongs to the kernel' . 2 "$1"
}
try a_thread_of_the_kernel kernel_thread user
try a_thread_of_the_kernel_as_root kernel_thread root
another_users() {
	[[ -n $IS_ROOT ]] || skip "needs root, to be two users"
	sleep 1000 &
	note_pid "$!"
	no_program 4 "process $! \(sleep\) is a program of user 0" 'sudo godwit migrate' "$!" user
}
try a_process_of_another_user another_users
own_shell() {
	become user
	run sh -c "$GODWIT migrate \$\$ somewhere --ssh false; exit \$?"
	[[ $RC == 3 ]] || fail "exit status $RC"
	says 'process [0-9]+ \(sh\) is what this godwit was started from' '^hint: .*another terminal'
}
try the_shell_that_it_was_started_from own_shell
a_thread() {
	become user
	count_on alpha 1 1
	local tid
	tid=$(cd "/proc/$PID/task" && echo ./* | tr -d ./ | tr ' ' '\n' | grep -vx "$PID")
	no_program 1 "$tid is a thread of process $PID" 'give the process' "$tid" user
	finish_counter out
}
try a_thread_is_no_process a_thread
zombie() {
	need /usr/bin/python3
	/usr/bin/python3 -c '
import os, time
pid = os.fork()
if pid == 0: os._exit(0)
os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
print(pid, flush=True)
time.sleep(1000)' >pid &
	note_pid "$!"
	wait_for 20 test -s pid
	no_program 1 "process $(cat pid) \(python3.*\) has ended" "process $!" "$(cat pid)" user
}
try a_zombie_is_told zombie

# --- the waiting side ---

serves_not() { # STATUS TEXT HINT ARGS...
	become user
	make_key
	expect "$1" timeout 20 "$GODWIT" serve --key key "${@:4}"
	says "^godwit: serve: $2" "^hint: .*$3"
}
taken_port() {
	other_server pass
	serves_not 1 'cannot listen on 127.0.0.1:[0-9]+: Address already in use' 'another port' --listen "127.0.0.1:$OTHER"
}
try serve_on_a_taken_port taken_port
try serve_on_an_address_of_others serves_not 1 'cannot listen on 192.0.2.77:7000: Cannot assign' 'ip addr' --listen 192.0.2.77:7000
try serve_without_its_key serves_not 1 "key file 'nokey': No such file" 'godwit key' --listen 127.0.0.1:0 --key nokey
try serve_on_no_address serves_not 2 "'here' is no address" 'ADDRESS:PORT' --listen here

finish
