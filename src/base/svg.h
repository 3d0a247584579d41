/*
 * Draws a picture as SVG: one file that needs nothing else, legible on light and on
 * dark background (it has a background of its own, and follows the reader's taste
 * where the viewer knows it).
 *
 *     svg_open(&s, out, 640, 400, "title", "what it shows, for who cannot see it");
 *     svg_axis_fit(&x, 40, 600, 12.3, 6);
 *     svg_rect(&s, "a", svg_at(&x, 1), 20, svg_at(&x, 2), 60, "round %d", 1);
 *     svg_text(&s, "ink", SVG_LEFT, 40, 30, "%s", name);
 *     ret = svg_close(&s);
 *
 * Coordinates are pixels, y downwards.  Text is made safe: what XML cannot hold comes out
 * as '?'.  A paint is the name of a colour, below.
 *
 *     ink, dim      text, and text of less weight
 *     paper, grid   background, and thin lines upon it
 *     a ... f       the colours of data, to be told apart by most eyes
 *     c-soft        for an area behind data
 */
#ifndef GODWIT_BASE_SVG_H
#define GODWIT_BASE_SVG_H

#include <stddef.h>
#include <stdio.h>

#include "base/err.h"

struct svg {
	FILE *out; /* the caller's */
};

enum svg_anchor { SVG_LEFT, SVG_MIDDLE, SVG_RIGHT };

struct svg_point {
	double x, y;
};

void svg_open(struct svg *s, FILE *out, double width, double height, const char *title,
	      const char *description);
/* 0, or a negative errno when the output failed at any time. */
int svg_close(struct svg *s) __must_check;

/* What follows, up to the end, belongs together; id: for scripts and tests, or NULL. */
void svg_group(struct svg *s, const char *id);
void svg_group_end(struct svg *s);

/* A filled rectangle with corners (x0, y0) and (x1, y1), in any order; fmt: what a pointer
 * over it shows, or NULL. */
void svg_rect(struct svg *s, const char *paint, double x0, double y0, double x1, double y1,
	      const char *fmt, ...) __printf_like(7, 8);
void svg_line(struct svg *s, const char *paint, double width, double x0, double y0, double x1,
	      double y1);
void svg_polyline(struct svg *s, const char *paint, double width, const struct svg_point *p,
		  size_t n);
/* A dot with radius r; fmt as svg_rect. */
void svg_dot(struct svg *s, const char *paint, double x, double y, double r, const char *fmt, ...)
	__printf_like(6, 7);
/* y is the base line.  12 pixels high; svg_heading: 16, and bold. */
void svg_text(struct svg *s, const char *paint, enum svg_anchor anchor, double x, double y,
	      const char *fmt, ...) __printf_like(6, 7);
void svg_heading(struct svg *s, const char *paint, double x, double y, const char *fmt, ...)
	__printf_like(5, 6);
/* Upwards, with its middle at (x, y): the name of a vertical axis. */
void svg_text_up(struct svg *s, const char *paint, double x, double y, const char *fmt, ...)
	__printf_like(5, 6);

/* A scale from 0 on; values to pixels. */
struct svg_axis {
	double from, to; /* pixels of 0 and of the end */
	double end,
		step; /* of values: a whole number of steps, each 1, 2 or 5 times a power of ten */
};

/* Room for values up to max with at most n steps; max of 0 or less counts as 1.
 * n: 1 to 100. */
void svg_axis_fit(struct svg_axis *a, double from, double to, double max, unsigned n);
double svg_at(const struct svg_axis *a, double value);
/* Decimals that its marks need: 0 to 9. */
int svg_axis_decimals(const struct svg_axis *a);

#endif
