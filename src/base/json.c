/* JSON writer: see json.h. */
#include "base/json.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

static void indent(struct json *j)
{
	fprintf(j->out, "\n%*s", (int)j->depth * 2, "");
}

/* Length of the UTF-8 sequence at p, 1 to 4, or 0 where there is none (also
 * for overlong forms, surrogates and what is above U+10FFFF). */
static size_t utf8_len(const unsigned char *p)
{
	uint32_t c, min;
	size_t n;

	if (p[0] < 0x80)
		return 1;
	if (p[0] >= 0xc2 && p[0] <= 0xdf) {
		n = 2;
		c = p[0] & 0x1f;
		min = 0x80;
	} else if ((p[0] & 0xf0) == 0xe0) {
		n = 3;
		c = p[0] & 0x0f;
		min = 0x800;
	} else if (p[0] >= 0xf0 && p[0] <= 0xf4) {
		n = 4;
		c = p[0] & 0x07;
		min = 0x10000;
	} else {
		return 0;
	}
	for (size_t i = 1; i < n; i++) { /* stops at the NUL: that is no continuation byte */
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (p[i] & 0x3f);
	}
	if (c < min || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
		return 0;
	return n;
}

static void quote(FILE *out, const char *s)
{
	const unsigned char *p = (const unsigned char *)s;

	putc('"', out);
	while (*p) {
		size_t n = utf8_len(p);

		if (n == 0) {
			fprintf(out, "\\udc%02x", *p++);
		} else if (*p == '"' || *p == '\\') {
			fprintf(out, "\\%c", *p++);
		} else if (*p == '\n') {
			fputs("\\n", out);
			p++;
		} else if (*p < 0x20 || *p == 0x7f) {
			fprintf(out, "\\u%04x", *p++);
		} else {
			fwrite(p, 1, n, out);
			p += n;
		}
	}
	putc('"', out);
}

/* Comma, line and name before a value. */
static void begin(struct json *j, const char *key)
{
	if (j->depth) {
		bool *filled = &j->filled[j->depth - 1];

		if (*filled)
			putc(',', j->out);
		*filled = true;
		indent(j);
	}
	if (key) {
		quote(j->out, key);
		fputs(": ", j->out);
	}
}

static void nest(struct json *j, const char *key, char opener, char closer)
{
	assert(j->depth < JSON_DEPTH_MAX);
	begin(j, key);
	putc(opener, j->out);
	j->filled[j->depth] = false;
	j->closer[j->depth] = closer;
	j->depth++;
}

void json_object(struct json *j, const char *key)
{
	nest(j, key, '{', '}');
}

void json_array(struct json *j, const char *key)
{
	nest(j, key, '[', ']');
}

void json_close(struct json *j)
{
	assert(j->depth > 0);
	j->depth--;
	if (j->filled[j->depth])
		indent(j);
	putc(j->closer[j->depth], j->out);
	if (j->depth == 0)
		putc('\n', j->out);
}

void json_str(struct json *j, const char *key, const char *value)
{
	begin(j, key);
	if (value)
		quote(j->out, value);
	else
		fputs("null", j->out);
}

void json_u64(struct json *j, const char *key, uint64_t value)
{
	begin(j, key);
	fprintf(j->out, "%" PRIu64, value);
}

void json_i64(struct json *j, const char *key, int64_t value)
{
	begin(j, key);
	fprintf(j->out, "%" PRId64, value);
}

void json_bool(struct json *j, const char *key, bool value)
{
	begin(j, key);
	fputs(value ? "true" : "false", j->out);
}
