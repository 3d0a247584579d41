#!/bin/sh
# At most once: a fault at every step of the protocol, on either side.  The code
# after the hop appends one line to a file; there must never be two, and there
# must be one unless the process that held the thread was killed, or the other
# one was killed at the very moment of the handover, which is then reported.
. "$(dirname "$0")/lib.sh"

build "$W/hard" tests/hop/prog/hard.c -D_GNU_SOURCE $DEFAULT_FLAGS
export PSU_TIMEOUT=1

# round SIDE STEP ACTION: in a folder of its own, result in files there
round()
{
	d="$W/$1.$2.$3"
	mkdir "$d"
	port=$(cat "$W/port.$4")
	sf=''
	cf=''
	[ "$1" = server ] && sf="$2:$3"
	[ "$1" = client ] && cf="$2:$3"
	PSU_FAULT=$sf PSU_PORT=$port HOP_FILE="$d/lines" timeout 25 "$W/hard" once 0.0.0.0 1 >"$d/server.out" 2>"$d/server.err" &
	sp=$!
	PSU_FAULT=$cf PSU_PORT=$port HOP_FILE="$d/lines" timeout 25 "$W/hard" once 127.0.0.1 0 >"$d/client.out" 2>"$d/client.err"
	echo $? >"$d/client.rc"
	# Where the thread stayed at home the server waits on: long enough for a
	# stalled step to wake up, it must not start the thread then.
	i=0
	while [ $i -lt 80 ] && kill -0 $sp 2>/dev/null; do
		if [ "$3" != stall ] && [ $i -gt 15 ]; then break; fi
		sleep 0.1
		i=$((i + 1))
	done
	kill $sp 2>/dev/null
	wait $sp 2>/dev/null
	touch "$d/lines"
	echo $(($(wc -l <"$d/lines"))) >"$d/count"
}
SERVER_STEPS='got-hello got-hop send-ready sent-ready got-commit send-running sent-running'
CLIENT_STEPS='got-welcome send-hop sent-hop got-ready sent-commit got-running'
n=0
running=''
for side in server client; do
	if [ $side = server ]; then steps=$SERVER_STEPS; else steps=$CLIENT_STEPS; fi
	for step in $steps; do
		for action in kill cut stall; do
			n=$((n + 1))
			free_port >"$W/port.$n"
			round $side "$step" $action $n 2>/dev/null &
			running="$running $!"
			[ $((n % 12)) = 0 ] && { wait $running; running=''; }
		done
	done
done
wait $running
for side in server client; do
	if [ $side = server ]; then steps=$SERVER_STEPS; else steps=$CLIENT_STEPS; fi
	for step in $steps; do
		for action in kill cut stall; do
			d="$W/$side.$step.$action"
			count=$(cat "$d/count") rc=$(cat "$d/client.rc")
			case $action.$side.$step in
			kill.server.got-hello | kill.server.got-hop | kill.server.send-ready) want='1.0 1.1' ;; # stays at home
			# Killed around the handover: the sender cannot know; it must not
			# run the thread again, and must say so (create fails: 9).
			kill.server.sent-ready) want='0.9 1.0' ;;
			kill.server.got-commit | kill.server.send-running) want='0.9' ;;
			kill.server.sent-running) want='0.0 1.0' ;; # it died over there
			kill.client.sent-commit | kill.client.got-running) want='1.137' ;;
			kill.client.*) want='0.137' ;;
			*) want='1.0' ;;
			esac
			case " $want " in
			*" $count.$rc "*) ok "$action of the $side at $step: ran $count time(s), client status $rc" ;;
			*) not_ok "$action of the $side at $step" "ran $count times, client status $rc, wanted one of: $want" \
				"$(cat "$d/lines" "$d"/*.err)" ;;
			esac
		done
	done
done
done_testing
