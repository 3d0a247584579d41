# shellcheck shell=bash
# Rounds every subject goes through.  A subject's head may carry a line
#
#     test: KEY=VALUE ...
#
#   doors=preload,attach   which doors it is for (default both)
#   users=user,root        who can run it (default both)
#   ids=same               its restart needs --same-ids, whatever the default
#   refuse=ok              exit 3 at checkpoint is as right as a faithful restart
#   limit=SECONDS          (default 60)
#   needs=FLAG             a flag of /proc/cpuinfo, without which it is skipped
#   cwd=FOLDER             where it works by then: its preloaded image is written there
#   build=static,nopie     further ways it is linked, each a subject of its own

. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

declare -A _heads

# The line of a subject's head, in HEAD; read once.
_head() { # NAME
	local name=${1%%+*} line
	HEAD=${_heads[$name]-}
	[[ -z $HEAD ]] || return 0
	HEAD=' '
	while read -r line; do
		[[ $line != *'test: '* ]] || HEAD=" ${line#*test: } "
		[[ $line != *'*/'* && $HEAD == ' ' ]] || break
	done <"$TOP/tests/subjects/$name."c*
	_heads[$name]=$HEAD
}

# subject_key NAME KEY DEFAULT: sets VALUE.  Forks nothing: all subjects are asked.
subject_key() {
	_head "$1"
	VALUE=$3
	[[ $HEAD != *" $2="* ]] || { VALUE=${HEAD##*" $2="} && VALUE=${VALUE%% *}; }
}

# Names of all subjects, in NAMES; one built another way is NAME+static, NAME+nopie.
all_subjects() {
	local f name how
	NAMES=()
	for f in "$TOP"/tests/subjects/*.c "$TOP"/tests/subjects/*.cc; do
		[[ -e $f ]] || continue
		name=${f##*/}
		name=${name%.*}
		[[ $name == @(refuse*|big_*) ]] && continue
		NAMES+=("$name")
		subject_key "$name" build ""
		for how in ${VALUE//,/ }; do NAMES+=("$name+$how"); done
	done
}

begin_subject() { # NAME USER
	become "$2"
	SUBJECT=$SUBJECTS/$1
	[[ -x $SUBJECT ]] || fail "$SUBJECT is not built"
	subject_key "$1" needs ""
	[[ -z $VALUE ]] || grep -qw "$VALUE" /proc/cpuinfo || skip_hardware "this CPU has no $VALUE"
	ID_FLAG=()
	subject_key "$1" ids ""
	[[ $VALUE != same ]] || ID_FLAG=(--same-ids)
	subject_key "$1" refuse no
	REFUSE=$VALUE
	IMAGE=myckpt
}

round_uncut() {
	begin_subject "$@"
	launch "$SUBJECT" "$CTL"
	wait_ready
	ping
	verdict
}

start_preloaded() { # SUBJECT
	subject_key "$1" cwd .
	IMAGE=$VALUE/myckpt
	launch env LD_PRELOAD="$LIBCKPT" "$SUBJECT" "$CTL"
	wait_ready
}

# The image must not be larger than what the program touched, by far.
image_is_sane() {
	local mode
	mode=$(stat -c %a "$IMAGE")
	[[ $mode == 600 ]] || fail "mode of the image is $mode"
	expect 0 "$GODWIT" verify "$IMAGE"
}

# What is stored of a program follows what it touched: none has more than 350 MiB.
image_is_small() {
	(($(stat -c %s "$IMAGE") < 400 << 20)) || fail "the image has $(stat -c %s "$IMAGE") bytes"
}

# Restarts $IMAGE; myrestart leaves no choice of ids.
revive() {
	local by=("$GODWIT" restart "${ID_FLAG[@]}")
	[[ ${1-} != myrestart || ${ID_FLAG[*]} ]] || by=("$MYRESTART")
	OUT=out2 ERR=err2 launch "${by[@]}" "$IMAGE"
}

round_preload_goes_on() {
	begin_subject "$@"
	start_preloaded "$1"
	ring
	ping
	verdict
	image_is_sane
	image_is_small
}

round_preload_restart() {
	begin_subject "$@"
	start_preloaded "$1"
	ring
	finish_off
	revive myrestart
	ping
	nothing_left_of_ours
	verdict
}

# attach ARGS...: checkpoint PID; returns 3 where the subject may be refused.
attach() {
	run "$GODWIT" checkpoint "$PID" "$@"
	if [[ $RC == 3 && $REFUSE == ok ]]; then
		says '^godwit: checkpoint: .{15}' '^hint: .{10}'
		ping
		verdict
		note "refused, as it may be"
		exit 0
	fi
	[[ $RC == 0 ]] || fail "checkpoint ended with $RC"
}

round_attach_goes_on() {
	begin_subject "$@"
	launch "$SUBJECT" "$CTL"
	wait_ready
	attach
	nothing_left
	ping
	verdict
	image_is_sane
	image_is_small
}

round_attach_restart() {
	begin_subject "$@"
	launch "$SUBJECT" "$CTL"
	wait_ready
	attach --kill
	wait "$PID"
	wait_for 10 gone "$PID"
	revive
	ping
	nothing_left_of_ours
	verdict
}

# The restarted process may be the thin parent or the program itself.
nothing_left_of_ours() {
	alive "$PID" || fail "the restarted program is gone"
	wait_for 10 _untraced "$PID"
	nothing_left
}

# each_subject ROUND NAME-OF-ROUND DOOR
each_subject() {
	local s u users
	if [[ -n ${TRY_ONE-} ]]; then # the child knows its name
		[[ $TRY_ONE != *"_$2_as_"* ]] || try "$TRY_ONE" "$1" "${TRY_ONE%%_"$2"_as_*}" "${TRY_ONE##*_as_}"
		return 0
	fi
	all_subjects
	for s in "${NAMES[@]}"; do
		subject_key "$s" doors preload,attach
		[[ $3 == none || ,$VALUE, == *,$3,* ]] || continue
		[[ $3 != preload || $s != *+static ]] || continue
		subject_key "$s" users user,root
		users=${VALUE//,/ }
		subject_key "$s" limit 60
		for u in $users; do
			LIMIT=$VALUE try "${s}_$2_as_$u" "$1" "$s" "$u"
		done
	done
}
