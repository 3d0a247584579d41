#!/bin/bash
# Certificates in place of the shared key: who is taken, who is refused, and with which words.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/lib.sh"

CREDS="--cert beta.pem --cert-key beta.key --ca ca.pem"
MINE=(--cert alpha.pem --cert-key alpha.key --ca ca.pem)

authority() { # NAME
	openssl req -x509 -newkey ed25519 -nodes -days 100 -subj "/CN=$1" -keyout "$1.key" -out "$1.pem"
}

certificate() { # NAME SAN [CA [DAYS]]
	openssl req -newkey ed25519 -nodes -subj "/CN=$1" -addext "subjectAltName=$2" \
		-keyout "$1.key" -out "$1.csr" &&
		openssl x509 -req -in "$1.csr" -CA "${3:-ca}.pem" -CAkey "${3:-ca}.key" -days "${4:-30}" \
			-copy_extensions copy -out "$1.pem"
}

# An authority, and certificates for two hosts.
two_certificates() {
	need openssl
	become user
	{ authority ca && certificate alpha DNS:alpha &&
		certificate beta "DNS:beta,IP:127.0.0.1,IP:10.214.7.2"; } >openssl.out 2>&1 ||
		fail "$(cat openssl.out)"
	give
}
# What root made is the test's user's.
give() { [[ -z $IS_ROOT || $AS != user ]] || chown "$TEST_UID" ./*.key; }

moves() {
	two_certificates
	two_hosts
	serve_on beta
	count_on alpha
	migrate_from alpha "tls://$BETA:$PORT" "${MINE[@]}"
	[[ $RC == 0 ]] || fail "exit status $RC"
	gone "$PID" || fail "the copy here was not ended"
	finish_counter over
}
try certificates_move_a_program moves

one_file() {
	two_certificates
	cat alpha.key >>alpha.pem
	serve_on beta
	count_on alpha
	chmod 644 alpha.pem
	HINT=no refused 4 "private key 'alpha.pem' has mode 0644" --cert alpha.pem --ca ca.pem
	chmod 600 alpha.pem
	chown "$TEST_UID" alpha.pem 2>/dev/null
	migrate_from alpha "tls://$BETA:$PORT" --cert alpha.pem --ca ca.pem
	[[ $RC == 0 ]] || fail "exit status $RC"
	finish_counter over
}

# The source is refused, with this status and text; nothing happens to the program.
refused() { # STATUS TEXT CREDS...
	local status=$1 text=$2
	shift 2
	migrate_from alpha "tls://${CALL:-$BETA}:$PORT" "$@"
	[[ $RC == "$status" ]] || fail "exit status $RC instead of $status"
	says "$text"
	[[ ${HINT-yes} == no ]] || says '^hint: '
	alive "$PID" || fail "the program is gone"
	nothing_left
}
try certificate_and_private_key_in_one_file one_file

# A source whose credentials do not do; the destination says why, too.
source_is_refused() { # STATUS TEXT TEXT-OF-THE-DESTINATION COMMAND CREDS...
	local status=$1 text=$2 there=$3
	two_certificates
	{ authority other && eval "$4"; } >openssl.out 2>&1 || fail "$(cat openssl.out)"
	give
	shift 4
	serve_on beta
	count_on alpha
	refused "$status" "$text" "$@"
	[[ -z $there ]] || wait_for 20 grep -Eq -- "$there" serve.err || fail "the destination does not say '$there'"
	alive "$SERVE" || fail "the destination is gone"
	finish_counter out
}
try signed_by_another_authority source_is_refused 4 'does not know the authority' 'certificate is not accepted' \
	'certificate stranger DNS:stranger other' --cert stranger.pem --cert-key stranger.key --ca ca.pem
try destination_signed_by_another_authority source_is_refused 4 'its certificate is not accepted' 'does not know the authority' \
	true --cert alpha.pem --cert-key alpha.key --ca other.pem
try signed_by_a_certificate_that_is_no_authority source_is_refused 4 '(accept|know).*certificate' 'certificate is not accepted' \
	'certificate forged DNS:alpha alpha; cat alpha.pem >>forged.pem' --cert forged.pem --cert-key forged.key --ca ca.pem
try a_key_where_certificates_are_wanted source_is_refused 4 'did not use the shared key' 'showed no certificate' \
	'make_key' --key key
try expired_here source_is_refused 4 "'old.pem' has expired" '' \
	'certificate old DNS:alpha ca -1' --cert old.pem --cert-key old.key --ca ca.pem
try the_private_key_of_another source_is_refused 1 "private key 'beta.key' cannot be used: .*mismatch" '' \
	true --cert alpha.pem --cert-key beta.key --ca ca.pem
HINT=no try a_private_key_that_others_can_read source_is_refused 4 "private key 'alpha.key' has mode 0640.*chmod 600" '' \
	'chmod 640 alpha.key' "${MINE[@]}"
try a_private_key_with_a_password source_is_refused 1 "private key 'locked.key' cannot be used" '' \
	'openssl pkey -in alpha.key -aes256 -passout pass:secret -out locked.key' --cert alpha.pem --cert-key locked.key --ca ca.pem
try no_such_certificate source_is_refused 1 "certificate 'none.pem': No such file" '' \
	true --cert none.pem --cert-key alpha.key --ca ca.pem
try a_certificate_that_is_none source_is_refused 1 "certificate 'alpha.csr' cannot be used" '' \
	true --cert alpha.csr --cert-key alpha.key --ca ca.pem
try no_authority_is_named source_is_refused 2 'needs --ca' '' true --cert alpha.pem --cert-key alpha.key
try key_and_certificates source_is_refused 2 'not both' '' true --key ca.pem "${MINE[@]}"

another_name() {
	two_certificates
	certificate beta DNS:gamma >openssl.out 2>&1
	give
	serve_on beta
	count_on alpha
	refused 4 'its certificate is not accepted: IP address mismatch' "${MINE[@]}"
	CALL=localhost refused 4 'its certificate is not accepted: hostname mismatch' "${MINE[@]}"
	finish_counter out
}
try a_host_with_another_name another_name

certificates_where_a_key_is_wanted() {
	two_certificates
	CREDS='' serve_on beta
	count_on alpha
	refused 4 'no way in common' "${MINE[@]}"
	wait_for 20 grep -q 'no way in common\|handshake' serve.err
	finish_counter out
}
try certificates_where_the_key_is_wanted certificates_where_a_key_is_wanted

# A destination whose certificate ran out while it served.
expired_there() {
	two_certificates
	certificate old DNS:beta,IP:127.0.0.1 ca -1 >openssl.out 2>&1
	give
	count_on alpha
	openssl s_server -accept 127.0.0.1:0 -cert old.pem -key old.key -CAfile ca.pem -Verify 1 -www </dev/null >server.out 2>&1 7>&- &
	note_pid "$!"
	wait_for 20 has server.out '^ACCEPT.*[0-9]$'
	PORT=$(sed -n 's/^ACCEPT.*:\([0-9]*\)$/\1/p' server.out)
	refused 4 'its certificate is not accepted: certificate has expired' "${MINE[@]}"
	(as "$GODWIT" serve --listen 127.0.0.1:0 --cert old.pem --cert-key old.key --ca ca.pem) 2>cmd.err
	[[ $? == 4 ]] || fail "godwit serve uses it"
	says "certificate 'old.pem' has expired" '^hint: '
	finish_counter out
}
try expired_over_there expired_there

# The other side has expired certificates, or none, and another TLS: by openssl's client.
strangers() { # TEXT-OF-THE-DESTINATION ARGS...
	local text=$1
	shift
	two_certificates
	certificate old DNS:old ca -1 >openssl.out 2>&1
	serve_on beta
	timeout 10 openssl s_client -connect "$BETA:$PORT" "$@" </dev/null >client.out 2>&1
	wait_for 20 grep -Eq -- "$text" serve.err || fail "it says: $(cat serve.err)"
	alive "$SERVE" || fail "the destination is gone"
}
try a_stranger_without_a_certificate strangers 'showed no certificate' -tls1_3
try a_stranger_with_an_expired_certificate strangers 'certificate is not accepted: certificate has expired' -tls1_3 -cert old.pem -key old.key
try a_stranger_with_tls_1_2 strangers 'does not speak TLS 1.3' -tls1_2 -cert alpha.pem -key alpha.key

old_tls() {
	two_certificates
	count_on alpha
	openssl s_server -accept 127.0.0.1:0 -tls1_2 -cert beta.pem -key beta.key -CAfile ca.pem -www </dev/null >server.out 2>&1 7>&- &
	note_pid "$!"
	wait_for 20 has server.out '^ACCEPT.*[0-9]$'
	PORT=$(sed -n 's/^ACCEPT.*:\([0-9]*\)$/\1/p' server.out)
	refused 4 'does not speak TLS 1.3' "${MINE[@]}"
	finish_counter out
}
try a_destination_with_tls_1_2 old_tls

names() {
	two_certificates
	certificate gamma DNS:gamma >openssl.out 2>&1
	give
	serve_on beta --allow-name delta --allow-name alpha
	count_on alpha
	refused 4 'does not take programs .* certificate of gamma' --cert gamma.pem --cert-key gamma.key --ca ca.pem
	grep -q 'certificate of gamma' serve.err || fail "the destination does not say it"
	migrate_from alpha "tls://$BETA:$PORT" "${MINE[@]}"
	[[ $RC == 0 ]] || fail "exit status $RC"
	finish_counter over
}
try only_hosts_of_a_name names

serve_needs() {
	two_certificates
	local args
	for args in "--cert beta.pem --cert-key beta.key" "--ca ca.pem" "--key key --cert beta.pem --ca ca.pem" \
		"--key key --allow-name alpha" ""; do
		# shellcheck disable=SC2086  # words
		(as timeout 10 "$GODWIT" serve --listen 127.0.0.1:0 $args) 2>cmd.err
		[[ $? == 2 ]] || fail "serve takes '$args'"
		says '^hint: '
	done
}
try serve_needs_all_of_them serve_needs

# The outcome is asked for with the same certificates, from another folder.
settles() {
	two_certificates
	LISTEN=$((20000 + $$ % 10000))
	serve_on beta --timeout 3
	count_on alpha 2
	GODWIT_FAULT=held GODWIT_FAULT_BOTH=1 migrate_from alpha "tls://$BETA:$PORT" "${MINE[@]}" --timeout 3
	wait_for 10 grep -q '^State:.[Tt]' "/proc/$PID/status"
	(cd / && on alpha timeout 60 "$GODWIT" settle) >settle.out 2>&1 || fail "$(cat settle.out)"
	grep -q 'goes on here' settle.out || fail "$(cat settle.out)"
	the_next_one_clears
	finish_counter out
}
try settle_shows_the_certificate_again settles

# The commands of the manual, as they stand there.
manual() {
	need openssl
	become root
	own_mounts
	awk '/Bd.*-literal/ { on = 1; next } /^\.Ed/ { on = 0 } on' "$TOP/man/godwit.1" |
		sed -n 's/^\$ \(openssl .*\)$/\1/p' | sed 's/\\e/\\/g; s/ *#.*//' >commands
	(($(wc -l <commands) >= 5)) || fail "the manual has $(wc -l <commands) commands of openssl"
	bash -ex commands >openssl.out 2>&1 || fail "$(cat openssl.out)"
	[[ $(stat -c %a beta.key) == 600 ]] || fail "its private keys can be read"
	printf '127.0.0.1 localhost beta\n' >hosts
	mount --bind hosts /etc/hosts || skip "cannot mount over /etc/hosts here"
	serve_on beta
	count_on alpha
	CALL=beta
	refused 4 'its certificate is not accepted' --cert alpha.pem --cert-key alpha.key --ca alpha.pem
	migrate_from alpha "tls://beta:$PORT" "${MINE[@]}"
	[[ $RC == 0 ]] || fail "exit status $RC"
	finish_counter over
}
try the_manuals_commands_make_certificates manual

finish
