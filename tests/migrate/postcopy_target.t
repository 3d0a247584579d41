#!/bin/bash
# Post-copy: exactly one copy goes on, whoever dies on the destination.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/postcopy.sh"

# The destination's guardian or pager (with `both` the process of the connection, too) dies.
target_dies() { # POINT WHERE [both]
	may_come_later
	export GODWIT_FAULT=$1
	[[ ${3-} != both ]] || export GODWIT_FAULT_BOTH=1
	serve_on beta --timeout 3
	unset GODWIT_FAULT GODWIT_FAULT_BOTH
	count_on alpha 16 2
	migrate_from alpha "tls://$BETA:$PORT" --key key --mode=post-copy --timeout 3
	[[ $2 != here || $RC == 1 ]] || fail "exit status $RC"
	[[ $2 != over || $RC == 0 ]] || fail "exit status $RC"
	settled "$2"
}
for point in "pages missing" "keeper made" built "ready said" "commit heard" "files cut" going; do
	try "destination_killed_at_${point// /_}" target_dies "$point" here
done
for point in "let go" taken "done said" "want said" "pages put" "all here" "all noted" "all said" \
	"keeper waits"; do
	try "destination_killed_at_${point// /_}" target_dies "$point" over
done
for point in "let go" "pages put"; do
	LIMIT=90 try "destination_and_connection_killed_at_${point// /_}" target_dies "$point" over both
done

finish
