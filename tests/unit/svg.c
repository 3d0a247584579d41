/* base/svg.h and base/utf8.h: pictures whose scales are round and whose text is safe. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "base/svg.h"
#include "base/utf8.h"
#include "tap.h"

static char *made;
static size_t made_len;

static bool near(double a, double b)
{
	double d = a - b;

	return d * d <= 1e-12 * b * b + 1e-24;
}

static void scales_are_round(void)
{
	static const struct {
		double max, step, end;
		int decimals;
	} want[] = {
		{12.3, 5, 15, 0},   {10, 2, 10, 0},  {0.7, 0.2, 0.8, 1},
		{1, 0.2, 1, 1},     {0, 0.2, 1, 1},  {99.9, 20, 100, 0},
		{101, 50, 150, 0},  {5, 1, 5, 0},    {0.0031, 0.001, 0.004, 3},
		{3e9, 1e9, 3e9, 0}, {-4, 0.2, 1, 1}, {0.5, 0.1, 0.5, 1},
	};
	struct svg_axis a;

	for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
		svg_axis_fit(&a, 100, 0, want[i].max, 5);
		CHECK(near(a.step, want[i].step));
		CHECK(near(a.end, want[i].end));
		CHECK_INT(svg_axis_decimals(&a), want[i].decimals);
		CHECK(near(svg_at(&a, 0), 100));
		CHECK(near(100 - svg_at(&a, a.end), 100));
	}
}

static void text_is_safe(void)
{
	FILE *out = open_memstream(&made, &made_len);
	struct svg s;

	CHECK(out != NULL);
	svg_open(&s, out, 100, 50, "a<b>&\"c\"", "d\033[31m");
	svg_rect(&s, "a", 10, 20, 5, 8, "%s", "\xff\xc3\xa9\xef\xbf\xbf");
	svg_text(&s, "ink", SVG_RIGHT, 1, 2, "%d %%", 7);
	CHECK_INT(svg_close(&s), 0);
	fclose(out);
	CHECK(strstr(made, "<title>a&lt;b&gt;&amp;&quot;c&quot;</title>"));
	CHECK(strstr(made, "<desc>d?[31m</desc>"));
	CHECK(strstr(made, "x=\"5.00\" y=\"8.00\" width=\"5.00\" height=\"12.00\""));
	CHECK(strstr(made, "<title>?\xc3\xa9?</title></rect>"));
	CHECK(strstr(made, "text-anchor=\"end\">7 %</text>"));
	free(made);
}

static void full_disk_is_told(void)
{
	FILE *out = fopen("/dev/full", "w");
	struct svg s;

	CHECK(out != NULL);
	svg_open(&s, out, 100, 50, "t", "d");
	CHECK(svg_close(&s) < 0);
	fclose(out);
}

static void utf8_is_told_from_other_bytes(void)
{
	CHECK_INT(utf8_len("a"), 1);
	CHECK_INT(utf8_len("\xc3\xa9"), 2);
	CHECK_INT(utf8_len("\xe2\x82\xac"), 3);
	CHECK_INT(utf8_len("\xf0\x9f\x90\xa6"), 4);
	CHECK_INT(utf8_char("\xf0\x9f\x90\xa6", 4), 0x1f426);
	CHECK_INT(utf8_len("\xc0\x80"), 0);
	CHECK_INT(utf8_len("\xed\xa0\x80"), 0);
	CHECK_INT(utf8_len("\xf4\x90\x80\x80"), 0);
	CHECK_INT(utf8_len("\xe0\x80\x80"), 0);
	CHECK_INT(utf8_len("\xc3"), 0);
}

int main(int argc, char **argv)
{
	static const struct tap_test tests[] = {
		TEST(scales_are_round),
		TEST(text_is_safe),
		TEST(full_disk_is_told),
		TEST(utf8_is_told_from_other_bytes),
	};
	return tap_main(tests, ARRAY_SIZE(tests), argc, argv);
}
