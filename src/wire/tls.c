/*
 * TLS 1.3 from OpenSSL on a non-blocking socket, and the pre-shared key; certificates are
 * in tls_cert.c.
 *
 * Where the key is used there are no certificates: a peer that does not hold it cannot
 * finish the handshake in either role.  The key exchange is psk_dhe_ke, so that a key that
 * leaks later does not open what was recorded before.
 */
#include "wire/tls_inside.h"

#include <errno.h>
#include <openssl/err.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static const unsigned char identity[] = "godwit";
static const unsigned char cipher_id[] = {0x13, 0x01}; /* TLS_AES_128_GCM_SHA256 */

static pthread_once_t once = PTHREAD_ONCE_INIT, method_once = PTHREAD_ONCE_INIT;
static BIO_METHOD *socket_method;
static SSL_CTX *context;

bool wire_has_tls(void)
{
	return true;
}

static SSL_SESSION *make_session(SSL *ssl)
{
	const uint8_t *key = SSL_get_app_data(ssl);
	const SSL_CIPHER *cipher = SSL_CIPHER_find(ssl, cipher_id);
	SSL_SESSION *s = SSL_SESSION_new();

	if (s && cipher && SSL_SESSION_set1_master_key(s, key, WIRE_KEY_BYTES) &&
	    SSL_SESSION_set_cipher(s, cipher) &&
	    SSL_SESSION_set_protocol_version(s, TLS1_3_VERSION))
		return s;
	SSL_SESSION_free(s);
	return NULL;
}

static int client_key(SSL *ssl, const EVP_MD *md, const unsigned char **id, size_t *idlen,
		      SSL_SESSION **sess)
{
	(void)md;
	*sess = make_session(ssl);
	*id = identity;
	*idlen = sizeof(identity) - 1;
	return *sess != NULL;
}

static int server_key(SSL *ssl, const unsigned char *id, size_t idlen, SSL_SESSION **sess)
{
	*sess = NULL;
	if (idlen == sizeof(identity) - 1 && memcmp(id, identity, idlen) == 0)
		*sess = make_session(ssl);
	return 1;
}

/*
 * What is between OpenSSL and the socket.  OpenSSL asks for a record's head, then
 * for its body, and writes record by record; here several records go through one
 * system call.
 */
#define ROOM (32 * (WIRE_RECORD + 256))
struct tls_io {
	size_t wpos, wlen, rpos, rlen;
	char w[ROOM], r[ROOM];
};

/* 0 when all is on its way; -1: errno says why not. */
static int flush_some(struct wire *w)
{
	struct tls_io *io = w->tls_io;

	while (io->wpos < io->wlen) {
		struct iovec v = {.iov_base = io->w + io->wpos, .iov_len = io->wlen - io->wpos};
		ssize_t n = wire_raw_send(w, &v, 1);

		if (n < 0 && errno != EINTR)
			return -1;
		io->wpos += n > 0 ? (size_t)n : 0;
	}
	io->wpos = io->wlen = 0;
	return 0;
}

/* Like OpenSSL's socket BIO, but a dead peer raises no SIGPIPE. */
static int sock_write(BIO *b, const char *p, int len)
{
	struct wire *w = BIO_get_data(b);
	struct tls_io *io = w->tls_io;
	size_t n = (size_t)len < ROOM ? (size_t)len : ROOM;

	BIO_clear_retry_flags(b);
	if (io->wlen + n > ROOM && flush_some(w)) {
		if (errno == EAGAIN)
			BIO_set_retry_write(b);
		return -1;
	}
	memcpy(io->w + io->wlen, p, n);
	io->wlen += n;
	return (int)n;
}

static int sock_read(BIO *b, char *p, int len)
{
	struct wire *w = BIO_get_data(b);
	struct tls_io *io = w->tls_io;
	size_t n = (size_t)len;
	ssize_t got;

	BIO_clear_retry_flags(b);
	if (io->rpos == io->rlen) {
		/* The rest of a big record needs no stop on the way. */
		bool direct = n > WIRE_RECORD / 2;

		got = direct ? wire_raw_recv(w, p, n) : wire_raw_recv(w, io->r, ROOM);
		if (got < 0 && (errno == EAGAIN || errno == EINTR))
			BIO_set_retry_read(b);
		if (got <= 0 || direct)
			return (int)got;
		io->rpos = 0;
		io->rlen = (size_t)got;
	}
	n = n < io->rlen - io->rpos ? n : io->rlen - io->rpos;
	memcpy(p, io->r + io->rpos, n);
	io->rpos += n;
	return (int)n;
}

static long sock_ctrl(BIO *b, int cmd, long num, void *ptr)
{
	(void)num;
	(void)ptr;
	if (cmd != BIO_CTRL_FLUSH)
		return 0; /* questions about a failed call must not change its flags */
	BIO_clear_retry_flags(b);
	if (flush_some(BIO_get_data(b)) == 0)
		return 1;
	if (errno == EAGAIN)
		BIO_set_retry_write(b);
	return -1;
}

static int sock_create(BIO *b)
{
	BIO_set_init(b, 1);
	return 1;
}

static void make_method(void)
{
	BIO_METHOD *m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "godwit socket");

	if (!m)
		return;
	BIO_meth_set_write(m, sock_write);
	BIO_meth_set_read(m, sock_read);
	BIO_meth_set_ctrl(m, sock_ctrl);
	BIO_meth_set_create(m, sock_create);
	socket_method = m;
}

SSL_CTX *tls_context_new(void)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_method());

	if (!ctx || !SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) ||
	    !SSL_CTX_set_ciphersuites(ctx, "TLS_AES_128_GCM_SHA256")) {
		SSL_CTX_free(ctx);
		return NULL;
	}
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_num_tickets(ctx, 0);
	SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	return ctx;
}

static void make_context(void)
{
	SSL_CTX *ctx = tls_context_new();

	if (!ctx)
		return;
	SSL_CTX_set_psk_use_session_callback(ctx, client_key);
	SSL_CTX_set_psk_find_session_callback(ctx, server_key);
	context = ctx;
}

/* 1: try again; else a negative errno. */
static int tls_wait(struct wire *w, int n, const char *doing, struct err *err)
{
	int why = SSL_get_error(w->tls, n);
	int saved = errno;
	unsigned long e;
	int ret;

	if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE) {
		ret = wire_wait(w, why == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT, err);
		return ret ? ret : 1;
	}
	if (why == SSL_ERROR_ZERO_RETURN)
		return err_set(err, -ECONNRESET, "%s closed the connection", w->peer);
	e = ERR_get_error();
	if (why == SSL_ERROR_SYSCALL || !e)
		return err_sys(err, saved ? -saved : -ECONNRESET, "%s: %s", w->peer, doing);
	return tls_why(w, e, doing, err);
}

int tls_open(struct wire *w, SSL_CTX *ctx, const void *data, struct err *err)
{
	BIO *bio;

	w->checked = false; /* TLS does */
	pthread_once(&method_once, make_method);
	ERR_clear_error();
	w->tls = SSL_new(ctx);
	w->tls_io = calloc(1, sizeof(struct tls_io));
	bio = socket_method ? BIO_new(socket_method) : NULL;
	if (!w->tls || !w->tls_io || !bio) {
		BIO_free(bio);
		return err_set(err, -ENOMEM, "out of memory for a TLS session");
	}
	BIO_set_data(bio, w);
	SSL_set_bio(w->tls, bio, bio);
	SSL_set_app_data(w->tls, (void *)(uintptr_t)data);
	return 0;
}

int tls_shake(struct wire *w, bool is_server, struct err *err)
{
	int n, ret;

	do {
		errno = 0;
		n = is_server ? SSL_accept(w->tls) : SSL_connect(w->tls);
		ret = n == 1 ? 0 : tls_wait(w, n, "TLS handshake", err);
	} while (ret == 1);
	return ret;
}

int wire_tls_start(struct wire *w, bool is_server, const uint8_t *key, struct err *err)
{
	int ret;

	pthread_once(&once, make_context);
	if (!context)
		return err_set(err, -ENOTSUP, "OpenSSL cannot do TLS 1.3 here");
	if ((ret = tls_open(w, context, key, err)) || (ret = tls_shake(w, is_server, err)))
		return err->hint[0] ? ret
		       : (ret == -ETIMEDOUT || ret == -ECONNRESET || ret == -EPIPE)
			       ? err_hint(err, "is it a godwit that is there, and does it run?")
			       : err_hint(err, "both hosts need the same key, in a file of "
					       "mode 0600");
	/* One that has a certificate gets so far, and no further. */
	if (!SSL_session_reused(w->tls) || SSL_version(w->tls) != TLS1_3_VERSION) {
		err_perm(err, "%s: the TLS handshake did not use the shared key", w->peer);
		return err_hint(err, "the other side may want certificates: --cert and --ca in "
				     "place of --key");
	}
	return 0;
}

int wire_tls_put(struct wire *w, const void *p, size_t len, struct err *err)
{
	const char *c = p;

	while (len) {
		size_t done = 0;
		int n, ret;

		errno = 0;
		ERR_clear_error();
		n = SSL_write_ex(w->tls, c, len, &done);
		if (n != 1) {
			ret = tls_wait(w, n, "TLS write", err);
			if (ret != 1)
				return ret;
			continue;
		}
		c += done;
		len -= done;
	}
	return 0;
}

int wire_tls_flush(struct wire *w, struct err *err)
{
	while (flush_some(w)) {
		int ret = errno == EAGAIN ? wire_wait(w, POLLOUT, err)
					  : err_sys(err, -errno, "%s: TLS write", w->peer);

		if (ret)
			return ret;
	}
	return 0;
}

int wire_tls_write(struct wire *w, const void *p, size_t len, struct err *err)
{
	int ret = wire_tls_put(w, p, len, err);

	return ret ? ret : wire_tls_flush(w, err);
}

int wire_tls_read(struct wire *w, void *p, size_t len, struct err *err)
{
	for (;;) {
		size_t done = 0;
		int n, ret;

		errno = 0;
		ERR_clear_error();
		n = SSL_read_ex(w->tls, p, len < 1 << 30 ? len : 1 << 30, &done);
		if (n == 1)
			return (int)done;
		ret = tls_wait(w, n, "TLS read", err);
		if (ret != 1)
			return ret;
	}
}

bool wire_tls_pending(const struct wire *w)
{
	const struct tls_io *io = w->tls_io;

	return io->rpos < io->rlen || SSL_has_pending(w->tls);
}

void wire_tls_done(struct wire *w)
{
	if (w->tls)
		SSL_free(w->tls);
	w->tls = NULL;
	free(w->tls_io);
	w->tls_io = NULL;
}
