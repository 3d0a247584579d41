/* Frames: see proto.h. */
#include "migrate/proto.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define TEXT_MAX 1024u

/* A text of the peer's: short, and without control characters. */
static void text_codec(struct codec *c, char **s)
{
	codec_str(c, s);
	if (c->writing || !*s)
		return;
	if (strlen(*s) > TEXT_MAX)
		c->bad = true;
	for (char *p = *s; *p; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			*p = '?';
}

void proto_hello_codec(struct codec *c, struct proto_hello *h)
{
	codec_u32(c, &h->version);
	codec_u64(c, &h->required);
	codec_u32(c, &h->purpose);
	codec_bytes(c, &h->id, sizeof(h->id));
	text_codec(c, &h->tool);
	text_codec(c, &h->host);
}

void proto_hello_done(struct proto_hello *h)
{
	free(h->tool);
	free(h->host);
	*h = (struct proto_hello){0};
}

void proto_welcome_codec(struct codec *c, struct proto_welcome *h)
{
	codec_u32(c, &h->version);
	codec_u64(c, &h->required);
	text_codec(c, &h->tool);
	text_codec(c, &h->host);
	text_codec(c, &h->kernel);
	codec_u64(c, &h->free_memory);
	codec_u64(c, &h->vdso_hash);
	cpu_codec(c, &h->cpu);
}

void proto_welcome_done(struct proto_welcome *h)
{
	free(h->tool);
	free(h->host);
	free(h->kernel);
	*h = (struct proto_welcome){0};
}

void proto_times_codec(struct codec *c, struct proto_times *t)
{
	codec_u64(c, &t->mapping);
	codec_u64(c, &t->building);
	codec_u64(c, &t->releasing);
	codec_u64(c, &t->released);
	codec_u64(c, &t->answering);
	codec_u32(c, &t->pid);
}

/* --- errors as frames --- */

static void refusal_codec(struct codec *c, int32_t *error, uint32_t *status, char **what,
			  char **hint)
{
	codec_i32(c, error);
	codec_u32(c, status);
	text_codec(c, what);
	text_codec(c, hint);
}

void proto_refuse(struct wire *w, const struct err *why)
{
	__cleanup_buf struct buf b = {0};
	struct codec c = codec_writer(&b);
	struct err ignored = ERR_INIT;
	char *what = (char *)(uintptr_t)why->what, *hint = (char *)(uintptr_t)why->hint;
	int32_t error = why->error;
	uint32_t status = why->exit;

	refusal_codec(&c, &error, &status, &what, &hint);
	if (!b.failed && proto_send_buf(w, FRAME_REFUSE, &b, &ignored))
		return; /* then the end of the connection has to do */
}

static int take_refusal(const struct wire *w, const void *p, size_t len, struct err *err)
{
	struct codec c = codec_reader(p, len);
	char *what = NULL, *hint = NULL;
	int32_t error = 0;
	uint32_t status = 0;

	refusal_codec(&c, &error, &status, &what, &hint);
	if (!codec_ended(&c) || error >= 0 || error < -4095 || !what) {
		err_set(err, -EPROTO, "%s refuses without a reason", w->peer);
	} else {
		err_set(err, error, "%s: %s", w->peer, what);
		if (hint && *hint)
			err_hint(err, "%s", hint);
		if (status >= EXIT_FAILED && status <= EXIT_BAD_IMAGE)
			err->exit = (enum exit_code)status;
	}
	free(what);
	free(hint);
	return err->error;
}

/* --- sending and receiving --- */

int proto_send(struct wire *w, uint32_t type, const void *p, size_t len, struct err *err)
{
	struct iovec v = {(void *)(uintptr_t)p, len};

	return wire_send(w, type, &v, 1, err);
}

int proto_send_buf(struct wire *w, uint32_t type, const struct buf *b, struct err *err)
{
	if (b->failed)
		return err_set(err, -ENOMEM, "out of memory");
	return proto_send(w, type, b->p, b->len, err);
}

static int read_body(struct wire *w, uint64_t len, void *buf, size_t max, struct err *err)
{
	if (len > max)
		return err_set(err, -EPROTO, "%s sent a frame that does not belong here", w->peer);
	return wire_read(w, buf, len, err);
}

int proto_recv(struct wire *w, struct proto_reader *r, void *buf, size_t max, size_t *ret_len,
	       struct err *err)
{
	char small[PROTO_SMALL_MAX + 1];
	struct wire_head h;
	int ret;

	for (;;) {
		size_t limit = max < PROTO_SMALL_MAX ? PROTO_SMALL_MAX : max;

		if ((ret = wire_recv(w, &h, limit, err)))
			return ret;
		if (h.type != FRAME_REFUSE && h.type != FRAME_NOTICE) {
			if (!h.type || h.type > 0x7fffffff)
				return err_set(err, -EPROTO, "%s sent a frame of no type", w->peer);
			ret = read_body(w, h.len, buf, max, err);
			*ret_len = h.len;
			return ret ? ret : (int)h.type;
		}
		if ((ret = read_body(w, h.len, small, PROTO_SMALL_MAX, err)))
			return ret;
		if (h.type == FRAME_REFUSE) {
			r->is_refused = true;
			return take_refusal(w, small, h.len, err);
		}
		small[h.len] = '\0';
		for (char *p = small; *p; p++)
			if ((unsigned char)*p < ' ' || *p == 0x7f)
				*p = '?';
		if (r->notice)
			r->notice(r->arg, small);
	}
}

int proto_expect(struct wire *w, struct proto_reader *r, uint32_t type, void *buf, size_t max,
		 size_t *ret_len, struct err *err)
{
	int ret = proto_recv(w, r, buf, max, ret_len, err);

	if (ret < 0)
		return ret;
	if ((uint32_t)ret != type)
		return err_set(err, -EPROTO, "%s sent a frame of type %d instead of %u", w->peer,
			       ret, type);
	return 0;
}

/* --- ids --- */

void migration_id_text(const struct migration_id *id, char out[33])
{
	for (size_t i = 0; i < sizeof(id->bytes); i++)
		snprintf(out + 2 * i, 3, "%02x", id->bytes[i]);
}

int migration_id_new(struct migration_id *ret, struct err *err)
{
	if (getrandom(ret->bytes, sizeof(ret->bytes), 0) != (ssize_t)sizeof(ret->bytes))
		return err_sys(err, -errno, "no random bytes");
	return 0;
}

int proto_send_hello(struct wire *w, uint32_t purpose, const struct migration_id *id,
		     struct err *err)
{
	__cleanup_buf struct buf b = {0};
	struct codec c = codec_writer(&b);
	struct proto_hello hello = {.version = PROTO_VERSION, .purpose = purpose, .id = *id};
	char host[128] = "?";

	gethostname(host, sizeof(host) - 1);
	hello.tool = (char *)(uintptr_t) "godwit " GODWIT_VERSION;
	hello.host = host;
	proto_hello_codec(&c, &hello);
	return proto_send_buf(w, FRAME_HELLO, &b, err);
}
