/* Where OpenSSL's headers were missing when this was built: nothing goes by TLS. */
#include "wire/wire.h"

#include <errno.h>

int wire_tls_start(struct wire *w, bool is_server, const uint8_t *key, struct err *err)
{
	(void)w;
	(void)is_server;
	(void)key;
	err_refuse(err, "this godwit was built without TLS");
	return err_hint(err,
			"build it where libssl-dev and pkg-config are installed, or go by ssh");
}

int wire_tls_write(struct wire *w, const void *p, size_t len, struct err *err)
{
	(void)p;
	(void)len;
	return err_set(err, -ENOTSUP, "%s: no TLS", w->peer);
}

int wire_tls_read(struct wire *w, void *p, size_t len, struct err *err)
{
	(void)p;
	(void)len;
	return err_set(err, -ENOTSUP, "%s: no TLS", w->peer);
}

int wire_tls_put(struct wire *w, const void *p, size_t len, struct err *err)
{
	return wire_tls_write(w, p, len, err);
}

int wire_tls_flush(struct wire *w, struct err *err)
{
	return wire_tls_write(w, NULL, 0, err);
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
