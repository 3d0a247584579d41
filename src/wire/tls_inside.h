/* Shared by tls.c, tls_cert.c and tls_why.c: nobody else knows OpenSSL. */
#ifndef GODWIT_WIRE_TLS_INSIDE_H
#define GODWIT_WIRE_TLS_INSIDE_H

#include <openssl/ssl.h>

#include "wire/wire.h"

/* A context for TLS 1.3 on our sockets, as all of them are; NULL: OpenSSL cannot. */
SSL_CTX *tls_context_new(void);
/* Makes w a TLS stream on the context; data is the session's app data. */
int tls_open(struct wire *w, SSL_CTX *ctx, const void *data, struct err *err) __must_check;
/* The handshake, up to the deadline. */
int tls_shake(struct wire *w, bool is_server, struct err *err) __must_check;

/* What OpenSSL's code e means, said of the peer, and the remedy where there is one. */
int tls_why(const struct wire *w, unsigned long e, const char *doing, struct err *err);

#endif
