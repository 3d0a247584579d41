/* JSON writer: see json.h. */
#include "base/json.h"

#include <assert.h>
#include <inttypes.h>

#include "base/utf8.h"

static void indent(struct json *j)
{
	fprintf(j->out, "\n%*s", (int)j->depth * 2, "");
}

static void quote(FILE *out, const char *s)
{
	putc('"', out);
	for (const char *p = s; *p;) {
		size_t n = utf8_len(p);

		if (n == 0) {
			fprintf(out, "\\udc%02x", (unsigned char)*p++);
		} else if (*p == '"' || *p == '\\') {
			fprintf(out, "\\%c", *p++);
		} else if (*p == '\n') {
			fputs("\\n", out);
			p++;
		} else if ((unsigned char)*p < 0x20 || *p == 0x7f) {
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
