/* Pictures: see svg.h. */
#include "base/svg.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>

#include "base/io.h"
#include "base/utf8.h"

#define FONT "system-ui,-apple-system,'Segoe UI','DejaVu Sans',Helvetica,Arial,sans-serif"

static const struct paint {
	const char *name, *light, *dark;
} paints[] = {
	{"paper", "#ffffff", "#14181d"},  {"ink", "#1c2126", "#e8ebee"},
	{"dim", "#5a646e", "#a0aab4"},    {"grid", "#dde2e7", "#333b44"},
	{"a", "#2a78c2", "#5aa5ea"},      {"b", "#d9822b", "#f0a85a"},
	{"c", "#b8324f", "#f0708b"},      {"d", "#2e8b62", "#5cc796"},
	{"e", "#7a5ab8", "#ad92e6"},      {"f", "#8a8f96", "#8f979f"},
	{"c-soft", "#f3d5dc", "#4a2733"},
};

/* What a viewer without style sheets (there are some) shows is black on white. */
static void style(FILE *out)
{
	fputs("<style>text{font:12px " FONT "}.h{font-weight:600;font-size:16px}", out);
	for (int dark = 0; dark < 2; dark++) {
		fputs(dark ? "\n@media(prefers-color-scheme:dark){" : "\n", out);
		for (size_t i = 0; i < ARRAY_SIZE(paints); i++) {
			const char *value = dark ? paints[i].dark : paints[i].light;

			fprintf(out, ".%s{fill:%s}.%s-line{fill:none;stroke:%s}", paints[i].name,
				value, paints[i].name, value);
		}
		fputs(dark ? "}" : "", out);
	}
	fputs("</style>\n", out);
}

static void put_text(FILE *out, const char *p)
{
	while (*p) {
		size_t n = utf8_len(p);
		uint32_t c = n ? utf8_char(p, n) : 0;

		if (c < 0x20 || c == 0x7f || c == 0xfffe || c == 0xffff)
			putc('?', out);
		else if (c == '<')
			fputs("&lt;", out);
		else if (c == '>')
			fputs("&gt;", out);
		else if (c == '&')
			fputs("&amp;", out);
		else if (c == '"')
			fputs("&quot;", out);
		else
			fwrite(p, 1, n, out);
		p += n ? n : 1;
	}
}

static void put_format(FILE *out, const char *fmt, va_list ap)
{
	char *text = NULL;

	if (vasprintf(&text, fmt, ap) < 0)
		return;
	put_text(out, text);
	free(text);
}

void svg_open(struct svg *s, FILE *out, double width, double height, const char *title,
	      const char *description)
{
	s->out = out;
	fprintf(out,
		"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
		"<svg xmlns=\"http://www.w3.org/2000/svg\" role=\"img\" width=\"%.0f\" "
		"height=\"%.0f\" viewBox=\"0 0 %.0f %.0f\">\n<title>",
		width, height, width, height);
	put_text(out, title);
	fputs("</title>\n<desc>", out);
	put_text(out, description);
	fputs("</desc>\n", out);
	style(out);
	svg_rect(s, "paper", 0, 0, width, height, NULL);
}

int svg_close(struct svg *s)
{
	fputs("</svg>\n", s->out);
	if (fflush(s->out))
		return -errno;
	return ferror(s->out) ? -EIO : 0;
}

void svg_group(struct svg *s, const char *id)
{
	fputs("<g", s->out);
	if (id)
		fprintf(s->out, " id=\"%s\"", id);
	fputs(">\n", s->out);
}

void svg_group_end(struct svg *s)
{
	fputs("</g>\n", s->out);
}

/* The end of an element that may have a tip. */
static void tip(FILE *out, const char *element, const char *fmt, va_list ap)
{
	if (!fmt) {
		fputs("/>\n", out);
		return;
	}
	fputs("><title>", out);
	put_format(out, fmt, ap);
	fprintf(out, "</title></%s>\n", element);
}

void svg_rect(struct svg *s, const char *paint, double x0, double y0, double x1, double y1,
	      const char *fmt, ...)
{
	va_list ap;

	fprintf(s->out, "<rect class=\"%s\" x=\"%.2f\" y=\"%.2f\" width=\"%.2f\" height=\"%.2f\"",
		paint, x0 < x1 ? x0 : x1, y0 < y1 ? y0 : y1, x0 < x1 ? x1 - x0 : x0 - x1,
		y0 < y1 ? y1 - y0 : y0 - y1);
	va_start(ap, fmt);
	tip(s->out, "rect", fmt, ap);
	va_end(ap);
}

void svg_line(struct svg *s, const char *paint, double width, double x0, double y0, double x1,
	      double y1)
{
	fprintf(s->out,
		"<line class=\"%s-line\" stroke-width=\"%.2f\" x1=\"%.2f\" y1=\"%.2f\" "
		"x2=\"%.2f\" y2=\"%.2f\"/>\n",
		paint, width, x0, y0, x1, y1);
}

void svg_polyline(struct svg *s, const char *paint, double width, const struct svg_point *p,
		  size_t n)
{
	fprintf(s->out, "<polyline class=\"%s-line\" stroke-width=\"%.2f\" points=\"", paint,
		width);
	for (size_t i = 0; i < n; i++)
		fprintf(s->out, "%s%.2f,%.2f", i ? " " : "", p[i].x, p[i].y);
	fputs("\"/>\n", s->out);
}

void svg_dot(struct svg *s, const char *paint, double x, double y, double r, const char *fmt, ...)
{
	va_list ap;

	fprintf(s->out, "<circle class=\"%s\" cx=\"%.2f\" cy=\"%.2f\" r=\"%.2f\"", paint, x, y, r);
	va_start(ap, fmt);
	tip(s->out, "circle", fmt, ap);
	va_end(ap);
}

static void text(struct svg *s, const char *paint, const char *more, double x, double y,
		 const char *fmt, va_list ap)
{
	fprintf(s->out, "<text class=\"%s\" x=\"%.2f\" y=\"%.2f\"", paint, x, y);
	fprintf(s->out, "%s>", more);
	put_format(s->out, fmt, ap);
	fputs("</text>\n", s->out);
}

void svg_text(struct svg *s, const char *paint, enum svg_anchor anchor, double x, double y,
	      const char *fmt, ...)
{
	static const char *const more[] = {"", " text-anchor=\"middle\"", " text-anchor=\"end\""};
	va_list ap;

	va_start(ap, fmt);
	text(s, paint, more[anchor], x, y, fmt, ap);
	va_end(ap);
}

void svg_heading(struct svg *s, const char *paint, double x, double y, const char *fmt, ...)
{
	char both[32];
	va_list ap;

	snprintf(both, sizeof(both), "%s h", paint);
	va_start(ap, fmt);
	text(s, both, "", x, y, fmt, ap);
	va_end(ap);
}

void svg_text_up(struct svg *s, const char *paint, double x, double y, const char *fmt, ...)
{
	char more[96];
	va_list ap;

	snprintf(more, sizeof(more), " text-anchor=\"middle\" transform=\"rotate(-90 %.2f %.2f)\"",
		 x, y);
	va_start(ap, fmt);
	text(s, paint, more, x, y, fmt, ap);
	va_end(ap);
}

/* Without the C library's mathematics, which the programs are not linked with. */
void svg_axis_fit(struct svg_axis *a, double from, double to, double max, unsigned n)
{
	static const double nice[] = {1, 2, 5, 10};
	double rough, power = 1;
	unsigned steps = 1;

	if (!(max > 1e-9))
		max = 1;
	if (max > 1e18)
		max = 1e18;
	n = n < 1 ? 1 : n > 100 ? 100 : n;
	rough = max / n;
	while (power > rough)
		power /= 10;
	while (power * 10 <= rough)
		power *= 10;
	*a = (struct svg_axis){.from = from, .to = to, .step = 10 * power};
	for (size_t i = ARRAY_SIZE(nice); i-- > 0;)
		/* A little less than is asked is no reason for the double step. */
		if (nice[i] * power >= rough * (1 - 1e-9))
			a->step = nice[i] * power;
	while (steps < n && steps * a->step < max * (1 - 1e-9))
		steps++;
	a->end = steps * a->step;
}

double svg_at(const struct svg_axis *a, double value)
{
	return a->from + (a->to - a->from) * value / a->end;
}

int svg_axis_decimals(const struct svg_axis *a)
{
	double step = a->step * (1 + 1e-9);
	int n = 0;

	for (; step < 1 && n < 9; n++)
		step *= 10;
	return n;
}
