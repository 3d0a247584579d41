#!/bin/bash
# Post-copy: the connection ends in the middle, or the copy that has the pages.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/postcopy.sh"

# What `godwit settle` tells where the program runs that lacks pages.
settle_there() { # STATUS PATTERN
	local rc
	(on beta timeout 30 "$GODWIT" settle) >settle.there 2>&1
	rc=$?
	[[ $rc == "$1" ]] && grep -Eq "$2" settle.there
}
it_says() { settle_there "$@" || fail "status $1 and '$2' wanted: $(cat settle.there)"; }

# The connection ends, or stands still, in the middle: the program waits, and then goes on.
connection_is() { # cut|stall
	may_come_later
	serve_on beta --timeout 3
	throttle 20000000
	count_on alpha 100 3
	leaves --timeout 3
	wait_for 20 _some_have_come
	it_says 0 'counter, process [0-9]+, runs here and lacks [0-9.]+ MiB of [0-9.]+ MiB, which are on .*: they are on their way'
	: >"$1"
	wait_for 20 has cmd.err 'was cut .*connecting again'
	wait_for 20 has serve.err 'waits for pages: the connection to .* is cut'
	_lacks_pages || fail "all had come before"
	rm "$1"
	arrives
	finish_counter over
}
LIMIT=90 BESIDE=1 try connection_cut_in_the_middle connection_is cut
LIMIT=90 BESIDE=1 try connection_stalled_in_the_middle connection_is stall

cut_for_long() { # hand|itself
	may_come_later
	serve_on beta --timeout 2
	throttle 20000000
	count_on alpha 64 3
	leaves --timeout 2
	wait_for 20 _some_have_come
	: >"$W/cut"
	wait "$CMD"
	RC=$?
	[[ $RC == 6 ]] || fail "exit status $RC"
	says 'the program runs there, and [0-9]+ MiB of its pages are still here' 'godwit settle'
	grep -q '^State:.[Tt]' "/proc/$PID/status" || fail "the copy here does not stand still"
	_lacks_pages || fail "all had come before"
	wait_for 20 settle_there 1 "the connection is cut, 'godwit settle' there makes another; [1-9] of its threads waits? for a page"
	(on alpha timeout 60 "$GODWIT" settle) >settle.out && fail "settled without an answer"
	rm cut
	[[ $1 == itself ]] || (on alpha timeout 60 "$GODWIT" settle) >settle.out 2>&1 || fail "$(cat settle.out)"
	wait_for 45 gone "$PID"
	settled over
	wait_for 10 has serve.err 'has all its memory'
	it_says 0 'nothing to settle'
}
LIMIT=120 BESIDE=1 try cut_for_long_and_settled_by_hand cut_for_long hand
LIMIT=120 BESIDE=1 try cut_for_long_and_settled_by_itself cut_for_long itself

# Who ends the copy here ends the program: it must be said.
copy_is_ended() {
	may_come_later
	serve_on beta --timeout 3
	throttle 10000000
	count_on alpha 100 3
	leaves --timeout 3
	wait_for 20 _some_have_come
	kill -9 "$PID"
	wait "$CMD"
	RC=$?
	[[ $RC == 6 ]] || fail "exit status $RC"
	says 'was ended while .* still needed its pages' 'end it over there'
	wait_for 20 has serve.err 'lacks pages that are gone on .* it can never go on'
	[[ -z $(ls state-alpha) ]] || fail "left: $(ls state-alpha)"
	kill -9 "$(counters)"
}
LIMIT=90 BESIDE=1 try the_copy_is_ended_in_the_middle copy_is_ended

finish
