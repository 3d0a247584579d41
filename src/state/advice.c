/*
 * What a program has told the kernel about its mappings: madvise(2) and mlock(2).
 *
 * /proc/PID/smaps alone shows it (VmFlags).  Stored as ranges with flags of our
 * own, for those mappings that have any; restored by the same calls.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/io.h"
#include "base/refusal.h"
#include "base/report.h"
#include "state/advice.h"
#include "state/state.h"

#ifndef MADV_WIPEONFORK
#define MADV_WIPEONFORK 18
#endif

/* Bit i of advice.flags is entry i: numbers of the image, never to be reused. */
static const struct {
	char vm[3]; /* as in VmFlags */
	int madvise;
	const char *name;
} kinds[] = {
	{"dc", MADV_DONTFORK, "MADV_DONTFORK"},
	{"dd", MADV_DONTDUMP, "MADV_DONTDUMP"},
	{"wf", MADV_WIPEONFORK, "MADV_WIPEONFORK"},
	{"sr", MADV_SEQUENTIAL, "MADV_SEQUENTIAL"},
	{"rr", MADV_RANDOM, "MADV_RANDOM"},
	{"hg", MADV_HUGEPAGE, "MADV_HUGEPAGE"},
	{"nh", MADV_NOHUGEPAGE, "MADV_NOHUGEPAGE"},
	{"mg", MADV_MERGEABLE, "MADV_MERGEABLE"},
	{"lo", -1, "mlock"},
	{"lf", -1, "MLOCK_ONFAULT"},
};
#define KEPT_FROM_COPY (1u << 0 | 1u << 2)
#define WIPED (1u << 2)
#define LOCKED (1u << 8)
#define LOCKED_ONFAULT (1u << 9)

static uint32_t parse_flags(const char *line)
{
	uint32_t flags = 0;

	for (; *line; line += strcspn(line, " ")) {
		line += strspn(line, " ");
		for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++)
			if (!strncmp(line, kinds[i].vm, 2))
				flags |= 1u << i;
	}
	return flags;
}

/* The mapping of the model that holds the address, if of a kind that can be advised. */
static struct mapping *find(const struct process *p, uint64_t start)
{
	for (size_t lo = 0, hi = p->nmappings; lo < hi;) {
		size_t mid = (lo + hi) / 2;
		struct mapping *m = &p->mappings[mid];

		if (start < m->start)
			hi = mid;
		else if (start >= m->end)
			lo = mid + 1;
		else
			return mapping_is_special(m) ? NULL : m;
	}
	return NULL;
}

/* Two flags of mmap(2) show nowhere else either; they belong to the mapping. */
static uint32_t parse_mapping_flags(const char *flags)
{
	return (strstr(flags, " um") ? MAPPING_AWAITED : 0) |
	       (strstr(flags, " nr") ? MAPPING_NORESERVE : 0) |
	       (strstr(flags, " gd") ? MAPPING_GROWSDOWN : 0);
}

static void mark(struct process *p, uint64_t start, uint64_t end, uint32_t flags)
{
	struct mapping *m = find(p, start);

	if (m && m->start == start && m->end == end)
		m->flags |= flags;
}

static int add(struct process *p, size_t *cap, uint64_t start, uint64_t end, uint32_t flags,
	       struct err *err)
{
	struct advice *last = p->nadvice ? &p->advice[p->nadvice - 1] : NULL;
	void *v;

	if (!flags || !find(p, start))
		return 0;
	if (last && last->end == start && last->flags == flags) {
		last->end = end;
		return 0;
	}
	v = io_grow(p->advice, cap, p->nadvice + 1, sizeof(*p->advice), err);
	if (!v)
		return err->error;
	p->advice = v;
	p->advice[p->nadvice++] = (struct advice){start, end, flags};
	return 0;
}

/* What to do with the VmFlags of each mapping. */
struct reader {
	int (*take)(struct reader *r, const char *flags, struct err *err);
	unsigned long start, end; /* of the mapping whose lines are being read */
	bool is_code_alone;       /* --x: the kernel itself gives it a key */
	struct process *p;
	struct early_advice *early;
	size_t cap;
};

/* A line for each mapping where the CPU has them (arch/x86/kernel/setup.c, arch_show_smap).
 * Key 0 is of all memory; pkeys(7). */
static int take_key(const struct reader *r, unsigned long key, struct err *err)
{
	if (!key || r->is_code_alone)
		return 0;
	return err_refuse_as(err, REFUSED_PROTECTION_KEY,
			     "cannot save memory %#lx-%#lx: it has protection key %lu", r->start,
			     r->end, key);
}

static int take_line(struct reader *r, const char *line, struct err *err)
{
	if (!strncmp(line, "VmFlags:", 8))
		return r->take(r, line + 8, err);
	if (!strncmp(line, "ProtectionKey:", 14))
		return take_key(r, strtoul(line + 14, NULL, 10), err);
	if (*line < 'A' || *line > 'Z') {
		char perms[5] = "";

		sscanf(line, "%lx-%lx %4s", &r->start, &r->end, perms);
		r->is_code_alone = !strncmp(perms, "--x", 3);
	}
	return 0;
}

/*
 * Less than what the file has for a mapping.  QUIRK: of a longer read the kernel fills a page with
 * the text of several mappings, throws away that of the last one, which does not fit, and counts
 * the pages of that one again for the next read (fs/seq_file.c, seq_read_iter()): 12 ms a GiB.
 */
#define SMAPS_READ 512u

/* A piece at a time: the file has 700 bytes and more for each mapping. */
static int take_lines(struct reader *r, int fd, struct err *err)
{
	char text[16384];
	size_t have = 0, room = sizeof(text) - 1;
	ssize_t n;

	while ((n = read(fd, text + have, room < SMAPS_READ ? room : SMAPS_READ)) > 0) {
		char *line = text, *newline;
		int ret;

		have += (size_t)n;
		text[have] = '\0';
		for (; (newline = strchr(line, '\n')); line = newline + 1) {
			*newline = '\0';
			if ((ret = take_line(r, line, err)))
				return ret;
		}
		have = strlen(line);
		if (have == sizeof(text) - 1)
			return err_set(err, -EPROTO, "/proc/PID/smaps has a line too long");
		memmove(text, line, have);
		room = sizeof(text) - 1 - have;
	}
	return n < 0 ? err_sys(err, -errno, "cannot read /proc/PID/smaps") : 0;
}

static int read_smaps(struct reader *r, int procfd, struct err *err)
{
	__cleanup_fd int fd = openat(procfd, "smaps", O_RDONLY | O_CLOEXEC);

	if (fd < 0 && errno == ENOENT)
		return 0; /* a kernel without CONFIG_PROC_PAGE_MONITOR */
	if (fd < 0)
		return err_sys(err, -errno, "cannot open /proc/PID/smaps");
	return take_lines(r, fd, err);
}

static int take_now(struct reader *r, const char *flags, struct err *err)
{
	mark(r->p, r->start, r->end, parse_mapping_flags(flags));
	return add(r->p, &r->cap, r->start, r->end, parse_flags(flags), err);
}

static int take_early(struct reader *r, const char *flags, struct err *err)
{
	struct early_advice *e = r->early;
	void *v = io_grow(e->v, &r->cap, e->n + 1, sizeof(*e->v), err);

	if (!v)
		return err->error;
	e->v = v;
	e->v[e->n++] = (struct early_mapping){r->start, r->end, parse_flags(flags),
					      parse_mapping_flags(flags)};
	return 0;
}

int advice_read_early(int procfd, struct early_advice *ret, struct err *err)
{
	struct reader r = {.take = take_early, .early = ret};

	return read_smaps(&r, procfd, err);
}

bool advice_may_be_missing(const struct process *p, uint64_t start, uint64_t end)
{
	for (size_t i = 0; i < p->nadvice; i++)
		if (p->advice[i].flags & (WIPED | LOCKED | LOCKED_ONFAULT) &&
		    p->advice[i].start < end && p->advice[i].end > start)
			return false;
	return true;
}

void advice_early_done(struct early_advice *e)
{
	free(e->v);
	*e = (struct early_advice){0};
}

/* Both lists rise by address.  False when a mapping was not there before the stop. */
static bool from_early(struct process *p, const struct early_advice *e, size_t *cap,
		       struct err *err)
{
	size_t k = 0;

	for (size_t i = 0; i < p->nmappings; i++) {
		const struct mapping *m = &p->mappings[i];

		while (k < e->n && e->v[k].start < m->start)
			k++;
		if (k == e->n || e->v[k].start != m->start || e->v[k].end != m->end)
			return false;
		mark(p, m->start, m->end, e->v[k].mapping_flags);
		if (add(p, cap, m->start, m->end, e->v[k].flags, err))
			return false;
	}
	return true;
}

/*
 * The kernel counts every page for smaps: 3 ms a GiB, and 10 ms for the mappings
 * of a thousand threads.  So it is read before the program is stopped, and read
 * again only if a mapping is there that was not.  What is lost is advice on an
 * older mapping given in those few milliseconds.
 */
static int capture_advice(struct capture *c, struct process *p, struct err *err)
{
	struct reader r = {.take = take_now, .p = p};

	if (c->early_advice && c->early_advice->n && from_early(p, c->early_advice, &r.cap, err))
		return 0;
	p->nadvice = 0;
	return err->error ? err->error : read_smaps(&r, c->remote->procfd, err);
}

bool advice_keeps_from_copy(const struct process *p, uint64_t start, uint64_t end)
{
	for (size_t i = 0; i < p->nadvice && p->advice[i].start < end; i++)
		if (p->advice[i].end > start && p->advice[i].flags & KEPT_FROM_COPY)
			return true;
	return false;
}

/* Both lists rise by address. */
int advice_check_copy(const struct process *p, int procfd, struct err *err)
{
	struct early_advice copy = {0};
	int ret = advice_read_early(procfd, &copy, err);
	bool missing = false;
	size_t k = 0;

	for (size_t i = 0; i < p->nmappings && !ret && copy.n; i++) {
		const struct mapping *m = &p->mappings[i];

		while (k < copy.n && copy.v[k].end <= m->start)
			k++;
		if (m->stored && (k == copy.n || copy.v[k].start > m->start ||
				  copy.v[k].end < m->end || copy.v[k].flags & WIPED))
			missing = missing || !advice_keeps_from_copy(p, m->start, m->end);
	}
	advice_early_done(&copy);
	if (!missing)
		return ret;
	err_set(err, -EAGAIN, "the program has just excluded memory from forks (madvise)");
	return err_hint(err, "take the checkpoint again");
}

/* Pages that have not come do not exist for who looks at the page map: they would be lost. */
static int refuse_awaited(const struct process *p, struct err *err)
{
	for (size_t i = 0; i < p->nmappings; i++)
		if (p->mappings[i].flags & MAPPING_AWAITED) {
			err_set(err, -EAGAIN,
				"memory of process %d at %#llx is filled by somebody else as it is "
				"needed (userfaultfd)",
				p->pid, (unsigned long long)p->mappings[i].start);
			return err_hint(err, "a program that came by post-copy can be saved when "
					     "all its pages have come: try again");
		}
	return 0;
}

static int capture(struct capture *c, struct process *p, struct err *err)
{
	int ret = capture_advice(c, p, err);

	return ret ? ret : refuse_awaited(p, err);
}

static void codec(struct codec *c, struct process *p)
{
	codec_array(c, &p->advice, &p->nadvice, sizeof(*p->advice), 20, 1u << 22);
	for (size_t i = 0; i < p->nadvice; i++) {
		codec_u64(c, &p->advice[i].start);
		codec_u64(c, &p->advice[i].end);
		codec_u32(c, &p->advice[i].flags);
	}
}

static int validate(const struct process *p, struct err *err)
{
	uint64_t last = 0;

	for (size_t i = 0; i < p->nadvice; i++) {
		const struct advice *a = &p->advice[i];

		if (a->start < last || a->end <= a->start || a->start % PAGE_SIZE_4K ||
		    a->end % PAGE_SIZE_4K || a->flags >= 1u << ARRAY_SIZE(kinds) ||
		    !find(p, a->start))
			return err_image(err, "the note on advice is malformed at entry %zu", i);
		last = a->end;
	}
	return 0;
}

static int restore(struct restore *r, const struct process *p, struct err *err)
{
	(void)err;
	for (size_t i = 0; i < p->nadvice; i++) {
		const struct advice *a = &p->advice[i];

		for (unsigned k = 0; k < ARRAY_SIZE(kinds); k++) {
			struct call *c;

			if (!(a->flags & 1u << k) || 1u << k == LOCKED_ONFAULT)
				continue;
			if (1u << k == LOCKED)
				c = program_call(r->prog, kinds[k].name, SYS_mlock2, a->start,
						 a->end - a->start, !!(a->flags & LOCKED_ONFAULT),
						 0, 0, 0);
			else
				c = program_call(r->prog, kinds[k].name, SYS_madvise, a->start,
						 a->end - a->start, (uint64_t)kinds[k].madvise, 0,
						 0, 0);
			/* Another kernel may know less, RLIMIT_MEMLOCK be lower: advice only. */
			c->expect = EXPECT_ANY;
		}
	}
	return 0;
}

static void show(const struct process *p, struct report *rep)
{
	if (!p->nadvice)
		return;
	report_list(rep, "advice", "Advice on memory");
	for (size_t i = 0; i < p->nadvice; i++) {
		const struct advice *a = &p->advice[i];
		char text[200] = "";

		for (unsigned k = 0; k < ARRAY_SIZE(kinds); k++)
			if (a->flags & 1u << k) {
				strcat(text, *text ? " " : "");
				strcat(text, kinds[k].name);
			}
		report_item(rep);
		report_hex(rep, "start", NULL, a->start);
		report_hex(rep, "end", NULL, a->end);
		report_str(rep, "advice", NULL, "%s", text);
		report_line(rep, "%012llx-%012llx %s", (unsigned long long)a->start,
			    (unsigned long long)a->end, text);
		report_end(rep);
	}
	report_end(rep);
}

static void done(struct process *p)
{
	free(p->advice);
}

const struct state_ops state_advice = {
	.name = "advice on memory",
	.note = NOTE_ADVICE,
	.optional = true,
	.capture = capture,
	.codec = codec,
	.validate = validate,
	.restore = restore,
	.show = show,
	.done = done,
};
