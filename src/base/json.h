/*
 * Writes JSON, value by value, to a stream.  Knows nesting, commas, indentation
 * and escapes; a caller that opens and closes in pairs gets valid JSON.
 *
 * Bytes that are not UTF-8 (a path may hold any) come out as lone surrogates
 * \udc80 ... \udcff, byte b as 0xdc00 + b: valid ASCII for every reader, and a
 * reader that knows the convention (Python's surrogateescape) gets the bytes back.
 */
#ifndef GODWIT_BASE_JSON_H
#define GODWIT_BASE_JSON_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/err.h"

#define JSON_DEPTH_MAX 16

struct json {
	FILE *out;                   /* the caller's */
	unsigned depth;              /* objects and arrays open */
	bool filled[JSON_DEPTH_MAX]; /* something stands in it already */
	char closer[JSON_DEPTH_MAX]; /* '}' or ']' */
};

/* `key` is the name in an object; NULL inside an array and at the top. */
void json_object(struct json *j, const char *key);
void json_array(struct json *j, const char *key);
/* Closes the innermost object or array; the outermost one ends the line. */
void json_close(struct json *j);

/* A NULL string is written as null. */
void json_str(struct json *j, const char *key, const char *value);
void json_u64(struct json *j, const char *key, uint64_t value);
void json_i64(struct json *j, const char *key, int64_t value);
void json_bool(struct json *j, const char *key, bool value);

#endif
