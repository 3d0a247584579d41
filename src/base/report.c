/* Reports as text or JSON: see report.h. */
#include "base/report.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define LABEL_WIDTH 14

void report_init(struct report *r, FILE *out, bool is_json)
{
	*r = (struct report){.out = out, .is_json = is_json, .json = {.out = out}};
	if (is_json)
		json_object(&r->json, NULL);
}

int report_done(struct report *r)
{
	assert(r->depth == 0);
	if (r->is_json)
		json_close(&r->json);
	if (fflush(r->out))
		return -errno;
	return ferror(r->out) ? -EIO : 0;
}

/* A name in an image is whatever bytes a program chose; a terminal would obey
 * them.  Bytes of UTF-8 pass. */
static void put_safe(FILE *out, const char *s)
{
	for (const unsigned char *p = (const unsigned char *)s; *p; p++) {
		if (*p < 0x20 || *p == 0x7f)
			fprintf(out, "\\%03o", *p);
		else
			putc(*p, out);
	}
}

static void indent(struct report *r)
{
	int n = 0;

	for (unsigned i = 0; i < r->depth; i++)
		n += r->is_item[i] ? 0 : 2;
	fprintf(r->out, "%*s", n, "");
}

static void field(struct report *r, const char *label, const char *text)
{
	indent(r);
	fprintf(r->out, "%-*s ", LABEL_WIDTH, label);
	put_safe(r->out, text);
	putc('\n', r->out);
}

static void nest(struct report *r, const char *title, bool is_item)
{
	assert(r->depth < JSON_DEPTH_MAX);
	if (title && !r->is_json) {
		if (r->depth == 0)
			putc('\n', r->out);
		indent(r);
		put_safe(r->out, title);
		putc('\n', r->out);
	}
	r->is_item[r->depth++] = is_item;
}

void report_section(struct report *r, const char *key, const char *title)
{
	if (r->is_json)
		json_object(&r->json, key);
	nest(r, title, title == NULL);
}

void report_list(struct report *r, const char *key, const char *title)
{
	if (r->is_json)
		json_array(&r->json, key);
	nest(r, title, title == NULL);
}

void report_item(struct report *r)
{
	if (r->is_json)
		json_object(&r->json, NULL);
	nest(r, NULL, true);
}

void report_end(struct report *r)
{
	assert(r->depth > 0);
	r->depth--;
	if (r->is_json)
		json_close(&r->json);
}

void report_str(struct report *r, const char *key, const char *label, const char *fmt, ...)
{
	char *text = NULL;
	va_list ap;

	if (!r->is_json && !label)
		return;
	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		text = NULL;
	va_end(ap);
	report_opt(r, key, label, text);
	free(text);
}

void report_u64(struct report *r, const char *key, const char *label, uint64_t v)
{
	if (r->is_json)
		json_u64(&r->json, key, v);
	else if (label)
		report_str(r, key, label, "%" PRIu64, v);
}

void report_i64(struct report *r, const char *key, const char *label, int64_t v)
{
	if (r->is_json)
		json_i64(&r->json, key, v);
	else if (label)
		report_str(r, key, label, "%" PRId64, v);
}

void report_hex(struct report *r, const char *key, const char *label, uint64_t v)
{
	report_str(r, key, label, "0x%" PRIx64, v);
}

void report_bool(struct report *r, const char *key, const char *label, bool v)
{
	if (r->is_json)
		json_bool(&r->json, key, v);
	else if (label)
		field(r, label, v ? "yes" : "no");
}

void report_bytes(struct report *r, const char *key, const char *label, uint64_t v)
{
	char text[16];

	if (r->is_json)
		json_u64(&r->json, key, v);
	else if (label)
		field(r, label, report_size(text, v));
}

void report_opt(struct report *r, const char *key, const char *label, const char *value)
{
	if (r->is_json)
		json_str(&r->json, key, value);
	else if (label && value)
		field(r, label, value);
}

void report_value(struct report *r, const char *value)
{
	if (r->is_json)
		json_str(&r->json, NULL, value);
}

void report_line(struct report *r, const char *fmt, ...)
{
	char *text = NULL;
	va_list ap;

	if (r->is_json)
		return;
	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		text = NULL;
	va_end(ap);
	if (!text)
		return;
	indent(r);
	put_safe(r->out, text);
	putc('\n', r->out);
	free(text);
}

const char *report_size(char out[static 16], uint64_t bytes)
{
	static const char *const unit[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
	size_t u = 0;
	double v = (double)bytes;

	while (v >= 1024 && u + 1 < sizeof(unit) / sizeof(unit[0])) {
		v /= 1024;
		u++;
	}
	if (u == 0 || v == (double)(uint64_t)v || v >= 100)
		snprintf(out, 16, "%.0f %s", v, unit[u]);
	else
		snprintf(out, 16, "%.1f %s", v, unit[u]);
	return out;
}
