/* In place of tls.c where OpenSSL's headers were missing: nothing goes by TLS. */
#include <errno.h>

#include "wire/wire.h"

bool wire_has_tls(void)
{
	return false;
}

int wire_tls_start(struct wire *w, bool is_server, const uint8_t *key, struct err *err)
{
	(void)w;
	(void)is_server;
	(void)key;
	err_refuse(err, "this godwit was built without TLS");
	return err_hint(err,
			"build it where libssl-dev and pkg-config are installed, or go by ssh");
}

static int none(const struct wire *w, struct err *err)
{
	return err_set(err, -ENOTSUP, "%s: no TLS", w->peer);
}

int wire_tls_put(struct wire *w, const void *p, size_t len, struct err *err)
{
	(void)p;
	(void)len;
	return none(w, err);
}

int wire_tls_flush(struct wire *w, struct err *err)
{
	return none(w, err);
}

int wire_tls_write(struct wire *w, const void *p, size_t len, struct err *err)
{
	return wire_tls_put(w, p, len, err);
}

int wire_tls_read(struct wire *w, void *p, size_t len, struct err *err)
{
	(void)p;
	(void)len;
	return none(w, err);
}

bool wire_tls_pending(const struct wire *w)
{
	(void)w;
	return false;
}

void wire_tls_done(struct wire *w)
{
	(void)w;
}
