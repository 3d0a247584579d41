/*
 * What a command found out, for a person or for a program: the same calls make
 * indented text, or JSON.
 *
 *     report_section(rep, "host", "Host");
 *     report_str(rep, "kernel", "kernel", "%s", info->kernel);
 *     report_list(rep, "cpus", "CPUs");
 *     for (...) {
 *             report_item(rep);
 *             report_u64(rep, "number", NULL, i);       JSON only
 *             report_line(rep, "cpu %zu: idle", i);     text only
 *             report_end(rep);
 *     }
 *     report_end(rep);
 *     report_end(rep);
 *
 * Each field has a key (JSON) and a label (text).  A NULL label keeps the field
 * out of the text; report_line() stands in the text alone.  Text is
 * made safe for a terminal: control characters come out as \033 and the like.
 */
#ifndef GODWIT_BASE_REPORT_H
#define GODWIT_BASE_REPORT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/json.h"

struct report {
	FILE *out; /* the caller's */
	bool is_json;
	struct json json;
	unsigned depth; /* of sections, lists and items: the indentation */
	/* Lists and items by depth: an item gives no indentation of its own. */
	bool is_item[JSON_DEPTH_MAX];
};

/* Opens the outermost object.  Ends with report_done. */
void report_init(struct report *r, FILE *out, bool is_json);
/* Closes it and flushes.  0, or a negative errno when the output failed at any time. */
int report_done(struct report *r) __must_check;

/* Three things that nest, each closed by report_end().
 * A NULL title gives no line of text. */
void report_section(struct report *r, const char *key, const char *title);
void report_list(struct report *r, const char *key, const char *title);
void report_item(struct report *r); /* an object in a list */
void report_end(struct report *r);

/* Fields.  In text: "label  value"; hexadecimal in JSON is a string "0x...",
 * since readers lose bits of large numbers. */
void report_str(struct report *r, const char *key, const char *label, const char *fmt, ...)
	__printf_like(4, 5);
void report_u64(struct report *r, const char *key, const char *label, uint64_t v);
void report_i64(struct report *r, const char *key, const char *label, int64_t v);
void report_hex(struct report *r, const char *key, const char *label, uint64_t v);
void report_bool(struct report *r, const char *key, const char *label, bool v);
/* Bytes: in text with a unit ("19.2 MiB"), in JSON the number. */
void report_bytes(struct report *r, const char *key, const char *label, uint64_t v);
/* A string that may be absent: NULL is null in JSON and nothing in text. */
void report_opt(struct report *r, const char *key, const char *label, const char *value);
/* A value of a list of plain strings; JSON only. */
void report_value(struct report *r, const char *value);
/* A line of text, without newline; nothing in JSON. */
void report_line(struct report *r, const char *fmt, ...) __printf_like(2, 3);

/* "19.2 MiB", "4 KiB", "0 B" to a buffer of at least 16 bytes; returns it. */
const char *report_size(char out[static 16], uint64_t bytes);

#endif
