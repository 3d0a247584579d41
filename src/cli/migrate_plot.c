/*
 * The picture of a migration: see migrate_plot.h.  Two panels.
 *
 * Above, over time: how fast memory was sent in each round, so that the area of a bar is
 * what it sent, and how fast the program wrote meanwhile.  Where the line stays below the
 * bars the rounds get shorter.  The band is the time in which the program stood still.
 *
 * Below, a bar of equal width for each round and for the stop, on a logarithmic scale: the
 * last rounds are often a thousandth of the first.
 */
#include "cli/migrate_plot.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/report.h"
#include "base/svg.h"
#include "cli/migrate_report.h"

#define WIDTH 900
#define HEIGHT 600
#define LEFT 96.0
#define RIGHT 870.0
/* The panels: over time, and by round. */
#define TIME_TOP 112.0
#define TIME_BOTTOM 330.0
#define ROUND_TOP 414.0
#define ROUND_BOTTOM 548.0
#define MARKS 8
/* So many bars have room for a label above each that is read without bending one's neck. */
#define WIDE_BARS 12
/* Thinner than this, nobody sees it. */
#define THINNEST 1.5
/* Of the pause, about. */
#define LABEL_WIDTH 150

struct picture {
	struct svg svg;
	const struct migrate_result *r;
	struct svg_axis x, y; /* of the upper panel, in units below */
	double time_unit, rate_unit;
	const char *time_name, *rate_name;
};

/* --- scales --- */

static const struct unit {
	double value;
	const char *name;
} times[] = {{1e9, "s"}, {1e6, "ms"}},
  rates[] = {{1073741824.0, "GiB/s"}, {1048576.0, "MiB/s"}, {1024.0, "KiB/s"}};

/* The first that is not larger than the value, else the last. */
static const struct unit *unit_of(const struct unit *u, size_t n, double value)
{
	while (n-- > 1 && u->value > value)
		u++;
	return u;
}

/* Bytes of memory a second. */
static double rate_of(const struct migrate_round *v)
{
	return v->ns ? (double)v->pages * 4096 * 1e9 / (double)v->ns : 0;
}

/* What was sent at the stop, as a round of its own: where all of it was.  Else it is too
 * little for a rate. */
static bool sent_at_stop(const struct migrate_result *r, struct migrate_round *ret)
{
	*ret = r->rest;
	ret->begun += r->suspension + r->checkpoint;
	ret->ns = r->transfer;
	return r->nrounds == 0;
}

static void fit(struct picture *p)
{
	const struct migrate_result *r = p->r;
	double end = (double)(r->rest.begun + r->rest.ns);
	struct migrate_round stop;
	double most = sent_at_stop(r, &stop) ? rate_of(&stop) : 0;
	const struct unit *t = unit_of(times, ARRAY_SIZE(times), end / 2), *u;

	for (uint32_t i = 0; i < r->nrounds; i++) {
		double rate = rate_of(&r->rounds[i]), dirty = (double)migrate_dirty_rate(r, i);

		most = rate > most ? rate : most;
		most = dirty > most ? dirty : most;
	}
	u = unit_of(rates, ARRAY_SIZE(rates), most / 2);
	p->time_unit = t->value;
	p->time_name = t->name;
	p->rate_unit = u->value;
	p->rate_name = u->name;
	svg_axis_fit(&p->x, LEFT, RIGHT, end / t->value, 10);
	svg_axis_fit(&p->y, TIME_BOTTOM, TIME_TOP, most / u->value, 5);
}

static double x_at(const struct picture *p, uint64_t ns)
{
	return svg_at(&p->x, (double)ns / p->time_unit);
}

static double y_at(const struct picture *p, double rate)
{
	return svg_at(&p->y, rate / p->rate_unit);
}

/* Straight between the powers of two, which is near enough to the logarithm. */
static double log2_about(uint64_t v)
{
	int bit = v ? 63 - __builtin_clzll(v) : 0;

	return v ? bit + (double)(v - (UINT64_C(1) << bit)) / (double)(UINT64_C(1) << bit) : 0;
}

/* --- the upper panel --- */

static void time_axes(struct picture *p)
{
	struct svg *s = &p->svg;
	int decimals = svg_axis_decimals(&p->y);

	for (unsigned i = 0; i * p->y.step <= p->y.end * 1.0001; i++) {
		double y = svg_at(&p->y, i * p->y.step);

		svg_line(s, i ? "grid" : "dim", 1, LEFT, y, RIGHT, y);
		svg_text(s, "dim", SVG_RIGHT, LEFT - 8, y + 4, "%.*f", decimals, i * p->y.step);
	}
	decimals = svg_axis_decimals(&p->x);
	for (unsigned i = 0; i * p->x.step <= p->x.end * 1.0001; i++) {
		double x = svg_at(&p->x, i * p->x.step);

		svg_line(s, "dim", 1, x, TIME_BOTTOM, x, TIME_BOTTOM + 4);
		svg_text(s, "dim", SVG_MIDDLE, x, TIME_BOTTOM + 18, "%.*f", decimals,
			 i * p->x.step);
	}
	svg_text_up(s, "dim", 22, (TIME_TOP + TIME_BOTTOM) / 2, "%s", p->rate_name);
	svg_text(s, "dim", SVG_MIDDLE, (LEFT + RIGHT) / 2, TIME_BOTTOM + 36,
		 "time since the migration began, %s", p->time_name);
}

static void bar(struct picture *p, const char *name, const struct migrate_round *v)
{
	double x0 = x_at(p, v->begun), x1 = x_at(p, v->begun + v->ns);
	char size[16];

	if (x1 < x0 + THINNEST)
		x1 = x0 + THINNEST;
	svg_rect(&p->svg, "a", x0, TIME_BOTTOM, x1, y_at(p, rate_of(v)), "%s: %s in %.3f ms", name,
		 report_size(size, v->pages * 4096), (double)v->ns / 1e6);
}

/* What it wrote before round i, it wrote while the round before was sent. */
static void dirty_line(struct picture *p)
{
	const struct migrate_result *r = p->r;
	struct svg_point line[2 * MIGRATE_ROUNDS_MAX];
	size_t n = 0;

	for (uint32_t i = 1; i < r->nrounds; i++) {
		double y = y_at(p, (double)migrate_dirty_rate(r, i));

		line[n++] = (struct svg_point){x_at(p, r->rounds[i - 1].begun), y};
		line[n++] = (struct svg_point){x_at(p, r->rounds[i].begun), y};
	}
	if (n)
		svg_polyline(&p->svg, "b", 2.5, line, n);
}

static void pause_band(struct picture *p)
{
	const struct migrate_round *v = &p->r->rest;
	double x0 = x_at(p, v->begun), x1 = x_at(p, v->begun + v->ns);
	double top = TIME_TOP - 16, label = x1 > (LEFT + RIGHT) / 2 ? x0 - 5 : x1 + 5;
	enum svg_anchor anchor = label < x0 ? SVG_RIGHT : SVG_LEFT;

	if (x1 < x0 + THINNEST)
		x1 = x0 + THINNEST;
	if (x1 - x0 > LABEL_WIDTH) {
		label = (x0 + x1) / 2;
		anchor = SVG_MIDDLE;
	}
	svg_rect(&p->svg, "c-soft", x0, TIME_BOTTOM, x1, top, "the program stood still for %.3f ms",
		 (double)v->ns / 1e6);
	svg_line(&p->svg, "c", 1.5, x0, TIME_BOTTOM, x0, top);
	svg_line(&p->svg, "c", 1.5, x1, TIME_BOTTOM, x1, top);
	svg_text(&p->svg, "c", anchor, label, TIME_TOP - 4, "stood still: %.2f ms",
		 (double)v->ns / 1e6);
}

static void legend(struct picture *p)
{
	struct svg *s = &p->svg;

	svg_rect(s, "a", LEFT, 72, LEFT + 14, 84, NULL);
	svg_text(s, "ink", SVG_LEFT, LEFT + 20, 83, "memory sent (a bar a round; area: how much)");
	svg_line(s, "b", 2.5, LEFT + 320, 78, LEFT + 334, 78);
	svg_text(s, "ink", SVG_LEFT, LEFT + 340, 83, "written by the program meanwhile");
	svg_rect(s, "c-soft", LEFT + 580, 72, LEFT + 594, 84, NULL);
	svg_line(s, "c", 1.5, LEFT + 580, 72, LEFT + 580, 84);
	svg_line(s, "c", 1.5, LEFT + 594, 72, LEFT + 594, 84);
	svg_text(s, "ink", SVG_LEFT, LEFT + 600, 83, "the program stands still");
}

static void over_time(struct picture *p)
{
	struct migrate_round stop;
	char name[24];

	time_axes(p);
	svg_group(&p->svg, "pause");
	pause_band(p);
	svg_group_end(&p->svg);
	svg_group(&p->svg, "rounds-over-time");
	if (sent_at_stop(p->r, &stop))
		bar(p, "all of it", &stop);
	for (uint32_t i = 0; i < p->r->nrounds; i++) {
		snprintf(name, sizeof(name), "round %u", i + 1);
		bar(p, name, &p->r->rounds[i]);
	}
	svg_group_end(&p->svg);
	dirty_line(p);
	legend(p);
}

/* --- the lower panel --- */

/* Marks at powers of 16 from 4 KiB on; the highest is above all bars. */
static unsigned marks(const struct migrate_result *r)
{
	uint64_t most = r->rest.sent_bytes;
	unsigned n = 1;

	for (uint32_t i = 0; i < r->nrounds; i++)
		most = r->rounds[i].sent_bytes > most ? r->rounds[i].sent_bytes : most;
	while (n < MARKS && UINT64_C(4096) << 4 * n < most)
		n++;
	return n;
}

/* The floor of the scale is a sixteenth of its first mark. */
static double height_of(uint64_t bytes, unsigned nmarks)
{
	double v = log2_about(bytes) - 8;

	return (v > 0 ? v : 0) * (ROUND_BOTTOM - ROUND_TOP) / (4.0 * nmarks + 4);
}

static void sent_axes(struct picture *p, unsigned nmarks)
{
	struct svg *s = &p->svg;
	char size[16];

	svg_line(s, "dim", 1, LEFT, ROUND_BOTTOM, RIGHT, ROUND_BOTTOM);
	for (unsigned i = 0; i <= nmarks; i++) {
		uint64_t v = UINT64_C(4096) << 4 * i;
		double y = ROUND_BOTTOM - height_of(v, nmarks);

		svg_line(s, "grid", 1, LEFT, y, RIGHT, y);
		svg_text(s, "dim", SVG_RIGHT, LEFT - 8, y + 4, "%s", report_size(size, v));
	}
	svg_text_up(s, "dim", 22, (ROUND_TOP + ROUND_BOTTOM) / 2, "sent (logarithmic)");
	svg_text(s, "dim", SVG_MIDDLE, (LEFT + RIGHT) / 2, HEIGHT - 14,
		 p->r->nrounds ? "round, and the stop"
			       : "all of it, while the program stood still");
}

static void sent_bar(struct picture *p, uint32_t i, unsigned nmarks)
{
	const struct migrate_result *r = p->r;
	const struct migrate_round *v = i < r->nrounds ? &r->rounds[i] : &r->rest;
	double slot = (RIGHT - LEFT) / (r->nrounds + 1), middle = LEFT + slot * (i + 0.5);
	double half = slot * 0.35 < 40 ? slot * 0.35 : 40;
	double top = ROUND_BOTTOM - height_of(v->sent_bytes, nmarks);
	bool is_wide = r->nrounds < WIDE_BARS;
	char size[16], name[12] = "stop";

	if (i < r->nrounds)
		snprintf(name, sizeof(name), "%u", i + 1);
	report_size(size, v->sent_bytes);
	svg_rect(&p->svg, i < r->nrounds ? "a" : "c", middle - half, ROUND_BOTTOM, middle + half,
		 top, "%s: %s sent, %.3f ms", name, size, (double)v->ns / 1e6);
	svg_text(&p->svg, "dim", SVG_MIDDLE, middle, ROUND_BOTTOM + 16, "%s", name);
	if (is_wide)
		svg_text(&p->svg, "ink", SVG_MIDDLE, middle, top - 5, "%s", size);
}

static void by_round(struct picture *p)
{
	unsigned n = marks(p->r);

	sent_axes(p, n);
	svg_group(&p->svg, "sent-by-round");
	for (uint32_t i = 0; i <= p->r->nrounds; i++)
		sent_bar(p, i, n);
	svg_group_end(&p->svg);
}

/* --- all of it --- */

static void draw(FILE *out, pid_t pid, const struct migrate_result *r, struct picture *p)
{
	char here[128] = "?", title[256], what[256], rounds[24] = "all at once", size[16];

	gethostname(here, sizeof(here) - 1);
	snprintf(title, sizeof(title), "%s (process %d): %s to %s, %s", r->program, pid, here,
		 r->host, migrate_mode_name(r->mode));
	if (r->nrounds)
		snprintf(rounds, sizeof(rounds), "%u round%s", r->nrounds,
			 r->nrounds == 1 ? "" : "s");
	snprintf(what, sizeof(what), "%s, %s sent in %.0f ms; the program stood still for %.2f ms",
		 rounds, report_size(size, r->sent_bytes), (double)r->total / 1e6,
		 (double)r->downtime / 1e6);
	p->r = r;
	svg_open(&p->svg, out, WIDTH, HEIGHT, title, what);
	svg_heading(&p->svg, "ink", LEFT, 32, "%s", title);
	svg_text(&p->svg, "dim", SVG_LEFT, LEFT, 52, "%s", what);
	fit(p);
	over_time(p);
	by_round(p);
}

int migrate_plot_open(struct plot *p, const char *path, struct err *err)
{
	*p = (struct plot){.path = path};
	p->fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	p->is_new = p->fd >= 0;
	if (p->fd < 0 && errno == EEXIST)
		p->fd = open(path, O_WRONLY | O_CLOEXEC);
	return p->fd < 0 ? err_sys(err, -errno, "cannot write to '%s'", path) : 0;
}

int migrate_plot_draw(struct plot *p, pid_t pid, const struct migrate_result *r, struct err *err)
{
	struct picture picture = {0};
	FILE *out = fdopen(p->fd, "w");
	int ret = 0;

	if (ftruncate(p->fd, 0))
		errno = 0; /* a pipe or a terminal: nothing is in it */
	if (!out)
		ret = -errno;
	if (!ret) {
		draw(out, pid, r, &picture);
		ret = svg_close(&picture.svg);
		if (fclose(out) && !ret)
			ret = -errno;
	} else {
		close(p->fd);
	}
	p->fd = -1;
	return ret ? err_sys(err, ret, "cannot write to '%s'", p->path) : 0;
}

void migrate_plot_drop(struct plot *p)
{
	if (p->fd < 0)
		return;
	io_close_fd(&p->fd);
	if (p->is_new)
		unlink(p->path);
}
