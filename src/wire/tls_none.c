/* In place of tls.c where OpenSSL's headers were missing: nothing goes by TLS. */
#include <errno.h>
#include <stdio.h>

#include "wire/wire.h"

bool wire_has_tls(void)
{
	return false;
}

static int built_without(struct err *err)
{
	err_refuse(err, "this godwit was built without TLS");
	return err_hint(err,
			"build it where libssl-dev and pkg-config are installed, or go by ssh");
}

int wire_tls_start(struct wire *w, bool is_server, const uint8_t *key, struct err *err)
{
	(void)w;
	(void)is_server;
	(void)key;
	return built_without(err);
}

int wire_trust_load(const struct wire_creds *c, struct wire_trust **ret, struct err *err)
{
	(void)c;
	(void)ret;
	return built_without(err);
}

void wire_trust_free(struct wire_trust *t)
{
	(void)t;
}

int wire_trust_start(struct wire *w, const struct wire_trust *t, bool is_server, const char *name,
		     struct err *err)
{
	(void)w;
	(void)t;
	(void)is_server;
	(void)name;
	return built_without(err);
}

bool wire_trust_is(const struct wire *w, const char *name)
{
	(void)w;
	(void)name;
	return false;
}

void wire_trust_names(const struct wire *w, char *out, size_t cap)
{
	(void)w;
	snprintf(out, cap, "no name");
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
