/* base/report.h and base/json.h: the same calls as text and as JSON. */
#include <stdio.h>
#include <stdlib.h>

#include "base/io.h"
#include "base/report.h"
#include "tap.h"

static char *made;
static size_t made_len;

static struct report begin(bool is_json)
{
	FILE *out = open_memstream(&made, &made_len);
	struct report r;

	CHECK(out != NULL);
	report_init(&r, out, is_json);
	return r;
}

static const char *end(struct report *r)
{
	CHECK_INT(report_done(r), 0);
	fclose(r->out);
	return made;
}

static void fill(struct report *r)
{
	report_str(r, "name", "name", "%s", "x");
	report_section(r, "memory", "Memory");
	report_bytes(r, "size", "size", 20132659);
	report_hex(r, "brk", NULL, 0xffffffffffffffff);
	report_list(r, "maps", "mappings");
	for (int i = 0; i < 2; i++) {
		report_item(r);
		report_i64(r, "n", NULL, i);
		report_line(r, "mapping %d", i);
		report_end(r);
	}
	report_end(r);
	report_list(r, "none", NULL);
	report_end(r);
	report_end(r);
	report_opt(r, "gone", "gone", NULL);
	report_bool(r, "good", "good", true);
}

static void is_text_for_people(void)
{
	struct report r = begin(false);

	fill(&r);
	CHECK_STR(end(&r), "name           x\n"
			   "\nMemory\n"
			   "  size           19.2 MiB\n"
			   "  mappings\n"
			   "    mapping 0\n"
			   "    mapping 1\n"
			   "good           yes\n");
}

static void is_json_for_programs(void)
{
	struct report r = begin(true);

	fill(&r);
	CHECK_STR(end(&r), "{\n"
			   "  \"name\": \"x\",\n"
			   "  \"memory\": {\n"
			   "    \"size\": 20132659,\n"
			   "    \"brk\": \"0xffffffffffffffff\",\n"
			   "    \"maps\": [\n"
			   "      {\n"
			   "        \"n\": 0\n"
			   "      },\n"
			   "      {\n"
			   "        \"n\": 1\n"
			   "      }\n"
			   "    ],\n"
			   "    \"none\": []\n"
			   "  },\n"
			   "  \"gone\": null,\n"
			   "  \"good\": true\n"
			   "}\n");
}

static const char *quoted(const char *s)
{
	FILE *out = open_memstream(&made, &made_len);
	struct json j = {.out = out};

	CHECK(out != NULL);
	json_str(&j, NULL, s);
	fclose(out);
	return made;
}

static void escapes_what_json_forbids(void)
{
	CHECK_STR(quoted("a\"b\\c\nd\x1b\x7f"), "\"a\\\"b\\\\c\\nd\\u001b\\u007f\"");
}

static void keeps_utf8(void)
{
	CHECK_STR(quoted("\u00e9\u20ac\U0001f426"), "\"\u00e9\u20ac\U0001f426\"");
}

/* Not UTF-8: stray bytes, a cut sequence, overlong forms, a surrogate, above U+10FFFF. */
static void marks_bytes_that_are_no_utf8(void)
{
	CHECK_STR(quoted("\x80"), "\"\\udc80\"");
	CHECK_STR(quoted("\xe2\x82"), "\"\\udce2\\udc82\"");
	CHECK_STR(quoted("\xc0\xaf"), "\"\\udcc0\\udcaf\"");
	CHECK_STR(quoted("\xe0\x80\xaf"), "\"\\udce0\\udc80\\udcaf\"");
	CHECK_STR(quoted("\xed\xa0\x80"), "\"\\udced\\udca0\\udc80\"");
	CHECK_STR(quoted("\xf4\x90\x80\x80"), "\"\\udcf4\\udc90\\udc80\\udc80\"");
}

static void text_has_no_control_characters(void)
{
	struct report r = begin(false);

	report_str(&r, "k", "label", "%s", "a\x1b[31mb\nc");
	CHECK_STR(end(&r), "label          a\\033[31mb\\012c\n");
}

static void full_disk_is_an_error(void)
{
	FILE *out = fopen("/dev/full", "w");
	struct report r;

	if (!out)
		_exit(TAP_SKIP);
	report_init(&r, out, true);
	CHECK(report_done(&r) < 0);
	fclose(out);
}

static void sizes_have_units(void)
{
	char s[16];

	CHECK_STR(report_size(s, 0), "0 B");
	CHECK_STR(report_size(s, 1023), "1023 B");
	CHECK_STR(report_size(s, 4096), "4 KiB");
	CHECK_STR(report_size(s, 1536), "1.5 KiB");
	CHECK_STR(report_size(s, 1ULL << 40), "1 TiB");
	CHECK_STR(report_size(s, UINT64_MAX), "16 EiB");
}

int main(int argc, char **argv)
{
	static const struct tap_test tests[] = {
		TEST(is_text_for_people),           TEST(is_json_for_programs),
		TEST(escapes_what_json_forbids),    TEST(keeps_utf8),
		TEST(marks_bytes_that_are_no_utf8), TEST(text_has_no_control_characters),
		TEST(full_disk_is_an_error),        TEST(sizes_have_units),
	};
	return tap_main(tests, ARRAY_SIZE(tests), argc, argv);
}
