/*
 * OpenSSL's words for a failed handshake, in the words of those who set up hosts.  The
 * other side's alerts are here, too: it knows better what it did not like.
 */
#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "base/io.h"
#include "wire/tls_inside.h"

#define SAME_WAY                                                                                   \
	"both hosts need the same way to know each other: --key on both, or --cert and --ca on "   \
	"both"
#define LOOK_AT                                                                                    \
	"openssl x509 -in FILE -noout -issuer -dates -ext subjectAltName shows a certificate"

struct reason {
	int code;
	const char *what, *hint;
};

/* what: after the peer's name. */
static const struct reason reasons[] = {
	{SSL_R_TLSV1_ALERT_DECRYPT_ERROR, "has another key",
	 "both hosts need the same key, in a file of mode 0600"},
	{SSL_R_BINDER_DOES_NOT_VERIFY, "has another key",
	 "both hosts need the same key, in a file of mode 0600"},
	{SSL_R_SSLV3_ALERT_ILLEGAL_PARAMETER, "has another key",
	 "both hosts need the same key, in a file of mode 0600"},
	{SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED, "wants a certificate", SAME_WAY},
	{SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE, "showed no certificate", SAME_WAY},
	{SSL_R_TLSV1_ALERT_UNKNOWN_CA, "does not know the authority that signed our certificate",
	 "its --ca has to be the one that signed our --cert, and ours the one that signed its; "
	 "nothing was moved"},
	{SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED,
	 "says that our certificate has expired, or is not valid yet",
	 "look at the clocks of both hosts; " LOOK_AT},
	{SSL_R_SSLV3_ALERT_BAD_CERTIFICATE, "does not accept our certificate", LOOK_AT},
	{SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN, "does not accept our certificate", LOOK_AT},
	{SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE,
	 "does not accept our certificate for this purpose", LOOK_AT},
	{SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED, "says that our certificate was revoked", LOOK_AT},
	{SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE, "knows no way in common with this host", SAME_WAY},
	{SSL_R_NO_SHARED_CIPHER, "knows no way in common with this host", SAME_WAY},
	{SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM, "knows no way in common with this host", SAME_WAY},
	{SSL_R_NO_SUITABLE_KEY_SHARE, "knows no way in common with this host", SAME_WAY},
	{SSL_R_UNSUPPORTED_PROTOCOL, "does not speak TLS 1.3",
	 "godwit speaks TLS 1.3 alone: is it a godwit that is there?"},
	{SSL_R_TLSV1_ALERT_PROTOCOL_VERSION, "does not speak TLS 1.3",
	 "godwit speaks TLS 1.3 alone: is it a godwit that is there?"},
	{SSL_R_VERSION_TOO_LOW, "does not speak TLS 1.3",
	 "godwit speaks TLS 1.3 alone: is it a godwit that is there?"},
	{SSL_R_WRONG_VERSION_NUMBER, "does not speak TLS", "is it a godwit that is there?"},
	{SSL_R_HTTP_REQUEST, "does not speak TLS", "is it a godwit that is there?"},
	{SSL_R_UNEXPECTED_MESSAGE, "does not speak TLS as godwit does",
	 "is it a godwit that is there?"},
};

/* Its certificate is there, and we do not like it. */
static int bad_certificate(const struct wire *w, struct err *err)
{
	long code = SSL_get_verify_result(w->tls);

	err_perm(err, "%s: its certificate is not accepted: %s", w->peer,
		 X509_verify_cert_error_string(code));
	switch (code) {
	case X509_V_ERR_HOSTNAME_MISMATCH:
	case X509_V_ERR_IP_ADDRESS_MISMATCH:
		return err_hint(err, "call the host by a name that its certificate has, or make "
				     "one with this name; " LOOK_AT);
	case X509_V_ERR_CERT_HAS_EXPIRED:
	case X509_V_ERR_CERT_NOT_YET_VALID:
		return err_hint(err, "look at the clocks of both hosts; " LOOK_AT);
	default:
		return err_hint(err, "the authority in --ca must have signed it; " LOOK_AT);
	}
}

int tls_why(const struct wire *w, unsigned long e, const char *doing, struct err *err)
{
	int code = ERR_GET_REASON(e);

	if (ERR_GET_LIB(e) == ERR_LIB_SSL && code == SSL_R_CERTIFICATE_VERIFY_FAILED)
		return bad_certificate(w, err);
	for (size_t i = 0; ERR_GET_LIB(e) == ERR_LIB_SSL && i < ARRAY_SIZE(reasons); i++)
		if (reasons[i].code == code) {
			err_perm(err, "%s: TLS: it %s", w->peer, reasons[i].what);
			return err_hint(err, "%s", reasons[i].hint);
		}
	err_perm(err, "%s: %s: %s", w->peer, doing, ERR_reason_error_string(e));
	return err->error;
}
