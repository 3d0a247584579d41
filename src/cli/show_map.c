/*
 * The picture of an address space: see show_map.h.
 *
 * A row for each mapping, in the order of addresses: a bar as long as the logarithm of its
 * size, in steps, each of which stands for an equal part of it and is filled as high as that
 * part is stored.  So terabytes that were reserved and hardly touched stand beside a stack,
 * and one sees in both where the pages are.
 */
#include "cli/show_map.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "base/io.h"
#include "base/report.h"
#include "base/svg.h"
#include "state/memory.h"

#define WIDTH 1000
#define TOP 128.0
#define BAR_LEFT 124.0
#define BAR_MIN 24.0
#define BAR_MAX 420.0
#define LABEL_LEFT (BAR_LEFT + BAR_MAX + 20)
#define STEP 4.0         /* pixels, the width of a step */
#define STEPS_MAX 105    /* in BAR_MAX */
#define DOUBLINGS_MIN 12 /* of a page: what the longest bar is worth at least */
/* Rows: so high with text, and without where there are more than some hundred. */
#define ROW 20.0
#define ROW_PACKED 4.0
#define ROWS_WITH_TEXT 500u
#define GAP 14.0
/* Below this, what is not mapped between two mappings is no gap worth a line. */
#define GAP_BYTES (1ULL << 30)

enum part { PART_OWN, PART_CHANGED, PART_SHARED, PART_CLEAN, PART_BELOW, PARTS };

static const struct {
	const char *paint, *text;
} parts[PARTS] = {
	[PART_OWN] = {"a", "memory of its own"},
	[PART_CHANGED] = {"b", "changed pages of a file"},
	[PART_SHARED] = {"d", "shared memory"},
	[PART_CLEAN] = {"f", "unchanged pages of a file"},
	[PART_BELOW] = {"e", "in a parent image"},
};

struct picture {
	struct svg svg;
	const struct image *img;
	const struct process *p;
	double row, doublings;         /* of a page, in the longest bar */
	size_t next_dirty, next_clean; /* runs: each part of the list rises by address */
};

/* As log2(), but straight between powers of two: what a static program need not carry. */
static double doublings(uint64_t n)
{
	int whole = 63 - __builtin_clzll(n);

	return whole + (double)n / (double)(1ULL << whole) - 1;
}

static double bar_width(const struct picture *d, const struct mapping *m)
{
	uint64_t pages = (m->end - m->start) / PAGE_SIZE_4K;
	double w = BAR_MIN + (BAR_MAX - BAR_MIN) * doublings(pages) / d->doublings;

	return w < BAR_MAX ? w : BAR_MAX;
}

static enum part part_of(const struct mapping *m, const struct run *r)
{
	if (r->flags & RUN_PARENT)
		return PART_BELOW;
	if (r->flags & RUN_CLEAN || m->kind == MAPPING_VDSO)
		return PART_CLEAN;
	if (m->kind == MAPPING_SHMEM || m->flags & MAPPING_HUGE_SHARED)
		return PART_SHARED;
	return m->kind == MAPPING_FILE ? PART_CHANGED : PART_OWN;
}

/* Bytes of a run in each of n equal steps of its mapping. */
static void spread(const struct mapping *m, const struct run *r, double filled[][PARTS], size_t n)
{
	double step = (double)(m->end - m->start) / (double)n;
	double from = (double)(r->start - m->start), to = from + (double)r->len;
	enum part part = part_of(m, r);

	for (size_t i = (size_t)(from / step); i < n && (double)i * step < to; i++) {
		double low = (double)i * step, high = low + step;

		low = low < from ? from : low;
		high = high > to ? to : high;
		if (high > low)
			filled[i][part] += (high - low) / step;
	}
}

static void take_runs(struct picture *d, size_t mapping, size_t *next, bool clean,
		      double filled[][PARTS], size_t n)
{
	const struct process *p = d->p;

	while (*next < p->nruns && p->runs[*next].mapping == mapping &&
	       !!(p->runs[*next].flags & RUN_CLEAN) == clean)
		spread(&p->mappings[mapping], &p->runs[(*next)++], filled, n);
}

static void draw_steps(struct picture *d, double filled[][PARTS], size_t n, double width, double y)
{
	double height = d->row - (d->row > ROW_PACKED ? 4 : 1);

	for (size_t i = 0, end; i < n; i = end) {
		double x = BAR_LEFT + width * (double)i / (double)n, bottom = y + height, next;

		/* Steps that are filled alike are one. */
		for (end = i + 1; end < n; end++)
			if (memcmp(filled[i], filled[end], sizeof(filled[i])))
				break;
		next = BAR_LEFT + width * (double)end / (double)n;

		for (int part = 0; part < PARTS; part++) {
			double h = filled[i][part] * height;

			if (h <= 0)
				continue;
			/* A single page of a terabyte is there as well. */
			h = h < 1 ? 1 : h;
			svg_rect(&d->svg, parts[part].paint, x, bottom - h < y ? y : bottom - h,
				 next, bottom, NULL);
			bottom -= h;
		}
	}
}

static const char *name_of(const struct process *p, const struct mapping *m)
{
	if (m->name && *m->name)
		return m->name;
	if (m->file && m->file <= p->nmapped_files)
		return p->mapped_files[m->file - 1].path;
	return m->flags & MAPPING_GROWSDOWN ? "grows down" : "";
}

static void draw_label(struct picture *d, const struct mapping *m, double y)
{
	const char *name = name_of(d->p, m), *slash = strrchr(name, '/');
	char size[16], stored[16];
	double base = y + 12;

	svg_text(&d->svg, "dim", SVG_RIGHT, BAR_LEFT - 10, base, "%llx",
		 (unsigned long long)m->start);
	svg_text(&d->svg, "ink", SVG_RIGHT, LABEL_LEFT + 70, base, "%s",
		 report_size(size, m->end - m->start));
	svg_text(&d->svg, m->stored ? "ink" : "dim", SVG_RIGHT, LABEL_LEFT + 150, base, "%s",
		 m->stored ? report_size(stored, m->stored) : "-");
	svg_text(&d->svg, "dim", SVG_LEFT, LABEL_LEFT + 166, base, "%c%c%c  %.34s",
		 m->prot & PROT_READ ? 'r' : '-', m->prot & PROT_WRITE ? 'w' : '-',
		 m->prot & PROT_EXEC ? 'x' : '-', slash && slash[1] ? slash + 1 : name);
}

/* To thousandths, so that steps that look alike are equal; but something stays something. */
static void round_off(double filled[][PARTS], size_t n)
{
	for (size_t i = 0; i < n; i++)
		for (int part = 0; part < PARTS; part++) {
			double *f = &filled[i][part];

			if (*f > 0)
				*f = *f < 0.001 ? 0.001 : (int)(*f * 1000 + 0.5) / 1000.0;
		}
}

static void draw_mapping(struct picture *d, size_t i, double y)
{
	const struct mapping *m = &d->p->mappings[i];
	double filled[STEPS_MAX + 1][PARTS] = {{0}}, width = bar_width(d, m);
	uint64_t pages = (m->end - m->start) / PAGE_SIZE_4K;
	size_t n = (size_t)(width / STEP);
	char size[16], stored[16];

	if (n > pages)
		n = (size_t)pages;
	take_runs(d, i, &d->next_dirty, false, filled, n);
	take_runs(d, i, &d->next_clean, true, filled, n);
	round_off(filled, n);
	svg_group(&d->svg, NULL);
	svg_rect(&d->svg, "grid", BAR_LEFT, y, BAR_LEFT + width,
		 y + d->row - (d->row > ROW_PACKED ? 4 : 1), "%llx-%llx %c%c%c %s: %s, %s stored",
		 (unsigned long long)m->start, (unsigned long long)m->end,
		 m->prot & PROT_READ ? 'r' : '-', m->prot & PROT_WRITE ? 'w' : '-',
		 m->prot & PROT_EXEC ? 'x' : '-', name_of(d->p, m),
		 report_size(size, m->end - m->start),
		 m->stored ? report_size(stored, m->stored) : "nothing");
	draw_steps(d, filled, n, width, y);
	if (d->row > ROW_PACKED)
		draw_label(d, m, y);
	svg_group_end(&d->svg);
}

/* Above a mapping that begins far behind the one before. */
static bool has_gap(const struct process *p, size_t i)
{
	return i && p->mappings[i].start - p->mappings[i - 1].end >= GAP_BYTES;
}

static void draw_gap(struct picture *d, double y)
{
	svg_line(&d->svg, "grid", 1, BAR_LEFT, y + GAP / 2 - 2, WIDTH - 30, y + GAP / 2 - 2);
}

static void draw_head(struct picture *d)
{
	uint64_t mapped = 0, stored = 0;
	double x = 24;
	char a[16], b[16], when[32] = "";
	time_t t = (time_t)(d->p->system.time_ns / 1000000000);
	struct tm tm;

	for (size_t i = 0; i < d->p->nmappings; i++) {
		mapped += d->p->mappings[i].end - d->p->mappings[i].start;
		stored += d->p->mappings[i].stored;
	}
	if (gmtime_r(&t, &tm))
		strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S UTC", &tm);
	svg_heading(&d->svg, "ink", 24, 34, "%.16s, process %d: %zu mappings", d->p->comm,
		    d->p->pid, d->p->nmappings);
	svg_text(&d->svg, "dim", SVG_LEFT, 24, 56, "%.60s, %s: %s mapped, %s stored",
		 image_path(d->img), when, report_size(a, mapped), report_size(b, stored));
	for (int part = 0; part < PARTS; part++) {
		svg_rect(&d->svg, parts[part].paint, x, 74, x + 12, 86, NULL);
		svg_text(&d->svg, "ink", SVG_LEFT, x + 18, 84, "%s", parts[part].text);
		x += 40 + 6.9 * (double)strlen(parts[part].text);
	}
	svg_rect(&d->svg, "grid", x, 74, x + 12, 86, NULL);
	svg_text(&d->svg, "ink", SVG_LEFT, x + 18, 84, "not stored");
	if (d->row <= ROW_PACKED)
		return;
	svg_text(&d->svg, "dim", SVG_RIGHT, BAR_LEFT - 10, TOP - 10, "address");
	svg_text(&d->svg, "dim", SVG_LEFT, BAR_LEFT, TOP - 10,
		 "length: size, logarithmic; height: how much of each part is stored");
	svg_text(&d->svg, "dim", SVG_RIGHT, LABEL_LEFT + 70, TOP - 10, "size");
	svg_text(&d->svg, "dim", SVG_RIGHT, LABEL_LEFT + 150, TOP - 10, "stored");
}

static int draw(struct picture *d, FILE *out)
{
	const struct process *p = d->p;
	double y = TOP, height = TOP + 24;

	d->row = p->nmappings > ROWS_WITH_TEXT ? ROW_PACKED : ROW;
	while (d->next_clean < p->nruns && !(p->runs[d->next_clean].flags & RUN_CLEAN))
		d->next_clean++;
	d->doublings = DOUBLINGS_MIN;
	for (size_t i = 0; i < p->nmappings; i++) {
		double n = doublings((p->mappings[i].end - p->mappings[i].start) / PAGE_SIZE_4K);

		d->doublings = n > d->doublings ? n : d->doublings;
		height += d->row + (has_gap(p, i) ? GAP : 0);
	}
	svg_open(&d->svg, out, WIDTH, height, "Address space",
		 "A bar for each mapping of a program's memory, filled where it is stored in the "
		 "image");
	draw_head(d);
	svg_group(&d->svg, "mappings");
	for (size_t i = 0; i < p->nmappings; i++, y += d->row) {
		if (has_gap(p, i)) {
			draw_gap(d, y);
			y += GAP;
		}
		draw_mapping(d, i, y);
	}
	svg_group_end(&d->svg);
	return svg_close(&d->svg);
}

int show_map(const struct image *img, const struct process *p, const char *path, struct err *err)
{
	struct picture d = {.img = img, .p = p};
	bool is_stdout = !strcmp(path, "-");
	FILE *out = is_stdout ? stdout : fopen(path, "we");
	int ret;

	if (!out)
		return err_sys(err, -errno, "cannot write to '%s'", path);
	ret = draw(&d, out);
	if (!is_stdout && fclose(out) && !ret)
		ret = -errno;
	return ret ? err_sys(err, ret, "cannot write to '%s'", path) : 0;
}
