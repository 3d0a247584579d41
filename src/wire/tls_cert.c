/*
 * Certificates in place of the shared key: both sides show one, each is signed by the
 * authority that the other names, and the source looks whether the name is the one that it
 * called.  No authority of the system's is asked: who may send programs here is nobody
 * else's business.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "wire/tls_inside.h"

struct wire_trust {
	uint8_t key[WIRE_KEY_BYTES];
	SSL_CTX *ctx; /* NULL: the key */
};

#define MAKE_THEM "godwit(1), EXAMPLES, has the commands that make them"

/* OpenSSL tells neither which file nor that it is not there. */
static int check_file(const char *what, const char *path, bool is_secret, struct err *err)
{
	__cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;

	if (fd < 0 || fstat(fd, &st)) {
		err_sys(err, -errno, "%s '%s'", what, path);
		return err_hint(err, MAKE_THEM);
	}
	if (!S_ISREG(st.st_mode))
		return err_set(err, -EINVAL, "%s '%s' is no file", what, path);
	if (is_secret && st.st_mode & 077)
		return err_perm(err, "%s '%s' has mode %04o, others could read it: chmod 600 '%s'",
				what, path, st.st_mode & 07777, path);
	return 0;
}

static int bad_file(const char *what, const char *path, struct err *err)
{
	unsigned long e = ERR_peek_last_error();
	const char *why = e ? ERR_reason_error_string(e) : NULL;

	ERR_clear_error();
	err_set(err, -EINVAL, "%s '%s' cannot be used: %s", what, path, why ? why : "malformed");
	return err_hint(err, "a file in PEM form is needed; " MAKE_THEM);
}

/* Nobody is asked: what serves has no terminal. */
static int no_password(char *buf, int size, int writes, void *arg)
{
	(void)buf;
	(void)size;
	(void)writes;
	(void)arg;
	return 0;
}

/* Before the other side has to say so. */
static int check_dates(SSL_CTX *ctx, const char *path, struct err *err)
{
	const X509 *x = SSL_CTX_get0_certificate(ctx);
	const char *what = X509_cmp_current_time(X509_get0_notAfter(x)) < 0    ? "has expired"
			   : X509_cmp_current_time(X509_get0_notBefore(x)) > 0 ? "is not valid yet"
									       : NULL;

	if (!what)
		return 0;
	err_perm(err, "the certificate '%s' %s", path, what);
	return err_hint(err, "openssl x509 -in '%s' -noout -dates; date", path);
}

static int load_files(SSL_CTX *ctx, const struct wire_creds *c, struct err *err)
{
	const char *key = c->cert_key ? c->cert_key : c->cert;
	int ret;

	if ((ret = check_file("the certificate", c->cert, false, err)) ||
	    (ret = check_file("the private key", key, true, err)) ||
	    (ret = check_file("the authority", c->ca, false, err)))
		return ret;
	ERR_clear_error();
	SSL_CTX_set_default_passwd_cb(ctx, no_password);
	if (SSL_CTX_use_certificate_chain_file(ctx, c->cert) != 1)
		return bad_file("the certificate", c->cert, err);
	/* Also that it belongs to the certificate. */
	if (SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) != 1)
		return bad_file("the private key", key, err);
	if (SSL_CTX_load_verify_locations(ctx, c->ca, NULL) != 1)
		return bad_file("the authority", c->ca, err);
	return check_dates(ctx, c->cert, err);
}

static int load_certificates(struct wire_trust *t, const struct wire_creds *c, struct err *err)
{
	t->ctx = tls_context_new();
	if (!t->ctx)
		return err_set(err, -ENOTSUP, "OpenSSL cannot do TLS 1.3 here");
	SSL_CTX_set_verify(t->ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	return load_files(t->ctx, c, err);
}

int wire_trust_load(const struct wire_creds *c, struct wire_trust **ret_trust, struct err *err)
{
	struct wire_trust *t = io_alloc(1, sizeof(*t), err);
	int ret;

	if (!t)
		return err->error;
	ret = c->cert ? load_certificates(t, c, err) : wire_load_key(c->key, t->key, err);
	if (ret)
		wire_trust_free(t);
	else
		*ret_trust = t;
	return ret;
}

void wire_trust_free(struct wire_trust *t)
{
	if (!t)
		return;
	explicit_bzero(t->key, sizeof(t->key));
	SSL_CTX_free(t->ctx);
	free(t);
}

/* Names and addresses alone; the certificate's subject is for people. */
static int expect_name(struct wire *w, const char *name, struct err *err)
{
	X509_VERIFY_PARAM *p = SSL_get0_param(w->tls);

	X509_VERIFY_PARAM_set_hostflags(p, X509_CHECK_FLAG_NEVER_CHECK_SUBJECT |
						   X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	if (X509_VERIFY_PARAM_set1_ip_asc(p, name) || X509_VERIFY_PARAM_set1_host(p, name, 0))
		return 0;
	return err_set(err, -EINVAL, "'%s' is no name for a certificate", name);
}

int wire_trust_start(struct wire *w, const struct wire_trust *t, bool is_server, const char *name,
		     struct err *err)
{
	int ret;

	if (!t->ctx)
		return wire_tls_start(w, is_server, t->key, err);
	if ((ret = tls_open(w, t->ctx, NULL, err)) ||
	    (!is_server && (ret = expect_name(w, name, err))) ||
	    (ret = tls_shake(w, is_server, err)))
		return ret;
	/* As it cannot be otherwise; check all the same. */
	if (SSL_version(w->tls) != TLS1_3_VERSION || SSL_get_verify_result(w->tls) != X509_V_OK ||
	    !SSL_get0_peer_certificate(w->tls))
		return err_perm(err, "%s: the TLS handshake did not check the certificate",
				w->peer);
	return 0;
}

bool wire_trust_is(const struct wire *w, const char *name)
{
	unsigned flags = X509_CHECK_FLAG_NEVER_CHECK_SUBJECT | X509_CHECK_FLAG_NO_WILDCARDS;
	X509 *x = SSL_get0_peer_certificate(w->tls);

	return x &&
	       (X509_check_host(x, name, 0, flags, NULL) == 1 ||
		X509_check_ip_asc(x, name, 0) == 1 || X509_check_email(x, name, 0, flags) == 1);
}

void wire_trust_names(const struct wire *w, char *out, size_t cap)
{
	X509 *x = w->tls ? SSL_get0_peer_certificate(w->tls) : NULL;
	GENERAL_NAMES *names = x ? X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL) : NULL;
	size_t n = 0;

	snprintf(out, cap, "no name");
	for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
		const GENERAL_NAME *g = sk_GENERAL_NAME_value(names, i);

		const unsigned char *data = ASN1_STRING_get0_data(g->d.ia5);
		int len = ASN1_STRING_length(g->d.ia5);
		char ip[INET6_ADDRSTRLEN];

		if (g->type == GEN_IPADD && (len == 4 || len == 16) &&
		    inet_ntop(len == 4 ? AF_INET : AF_INET6, data, ip, sizeof(ip))) {
			data = (const unsigned char *)ip;
			len = (int)strlen(ip);
		} else if (g->type != GEN_DNS && g->type != GEN_EMAIL) {
			continue;
		}
		if (n < cap)
			n += (size_t)snprintf(out + n, cap - n, "%s%.*s", n ? ", " : "", len, data);
	}
	GENERAL_NAMES_free(names);
	for (char *p = out; *p; p++)
		if ((unsigned char)*p < ' ' || (unsigned char)*p >= 0x7f)
			*p = '?';
}
