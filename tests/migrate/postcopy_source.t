#!/bin/bash
# Post-copy: exactly one copy goes on, whoever dies on the source.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/postcopy.sh"

# The source's guardian (with `both` its command, too) dies at a point.
source_dies() { # POINT WHERE [both]
	may_come_later
	serve_on beta --timeout 3
	count_on alpha 16 2
	export GODWIT_FAULT=$1
	[[ ${3-} != both ]] || export GODWIT_FAULT_BOTH=1
	migrate_from alpha "tls://$BETA:$PORT" --key key --mode=post-copy --timeout 3
	unset GODWIT_FAULT GODWIT_FAULT_BOTH
	[[ ${3-} == both || $RC != 0 || $2 == over ]] || fail "exit status $RC"
	settled "$2"
	[[ $2 != over ]] || has serve.err 'has all its memory' || fail "it has not all its memory"
}
for point in "later said" "pages sent" "ready heard" asked held; do
	try "source_killed_at_${point// /_}" source_dies "$point" here
done
for point in "commit sent" "over there" "want heard" "page pushed" "done heard" killed; do
	try "source_killed_at_${point// /_}" source_dies "$point" over
	try "source_and_command_killed_at_${point// /_}" source_dies "$point" over both
done

finish
