/*
 * The list of mappings is the same after as before: ranges, protection, sharing,
 * offset, file; and the flags that madvise(2) and mlock(2) leave (VmFlags).
 */
#include "subject.h"

#define LINES 4000

struct line {
	uint64_t start, end, offset;
	char perms[8], name[256], flags[160];
};

static struct line before[LINES], after[LINES];

static void forget(char *flags, const char *which)
{
	char *at = strstr(flags, which);

	if (at)
		memmove(at, at + 3, strlen(at + 3) + 1);
}

/* Adjacent anonymous mappings of one kind may be merged by the kernel or not. */
static int read_maps(struct line *l)
{
	FILE *f = fopen("/proc/self/smaps", "re");
	char text[1024];
	int n = 0;

	if (!f)
		die("smaps: %s", strerror(errno));
	while (fgets(text, sizeof(text), f)) {
		struct line x = {0};

		if (sscanf(text, "%lx-%lx %7s %lx %*s %*s %255[^\n]", &x.start, &x.end, x.perms,
			   &x.offset, x.name) >= 4) {
			if (n == LINES)
				die("too many mappings");
			l[n++] = x;
		} else if (!strncmp(text, "VmFlags:", 8) && n) {
			struct line *m = &l[n - 1];

			snprintf(m->flags, sizeof(m->flags), "%.150s", text + 8);
			m->flags[strcspn(m->flags, "\n")] = 0;
			/* Soft dirty and accounted: what was done, not what was asked for. */
			forget(m->flags, " sd");
			forget(m->flags, " ac");
			if (n > 1 && m[-1].end == m->start && !*m->name && !*m[-1].name &&
			    !strcmp(m->perms, m[-1].perms) && m->perms[3] == 'p' &&
			    !strcmp(m->flags, m[-1].flags)) {
				m[-1].end = m->end;
				n--;
			}
		}
	}
	fclose(f);
	return n;
}

static void *area(size_t n)
{
	void *p = must(mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	/* A guard on either side keeps areas apart. */
	must(mprotect(p, 4096, PROT_NONE));
	fill((char *)p + 4096, n - 4096, n);
	return (char *)p + 4096;
}

int main(int argc, char **argv)
{
	static const int advice[] = {MADV_DONTFORK,   MADV_DONTDUMP, MADV_NOHUGEPAGE, MADV_HUGEPAGE,
				     MADV_SEQUENTIAL, MADV_RANDOM,   MADV_WIPEONFORK};
	char *areas[7];

	subject_init(argc, argv);
	for (int i = 0; i < 7; i++) {
		areas[i] = area(9 * 4096);
		must(madvise(areas[i], 8 * 4096, advice[i]));
	}
	char *locked = area(5 * 4096);
	must(mlock(locked, 4 * 4096));
	must(mmap(NULL, 16 * 4096, PROT_READ | PROT_WRITE,
		  MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN, -1, 0));
	must(mmap(NULL, 16 * 4096, PROT_READ | PROT_WRITE,
		  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
	char *warm = malloc(100); /* stdio's buffer is allocated before the first look */
	free(warm);
	read_maps(before);
	int n = read_maps(before);
	subject_wait();

	int m = read_maps(after);
	check(n == m, "%d mappings instead of %d", m, n);
	for (int i = 0, j = 0; i < n && j < m;) {
		struct line *a = &before[i], *b = &after[j];

		if (a->start != b->start || a->end != b->end) {
			check(0, "was %lx-%lx %s %s, is %lx-%lx %s %s", a->start, a->end, a->perms,
			      a->name, b->start, b->end, b->perms, b->name);
			a->start < b->start ? i++ : j++;
			continue;
		}
		check(!strcmp(a->perms, b->perms), "%lx %s: %s, was %s", a->start, a->name,
		      b->perms, a->perms);
		check(!strcmp(a->name, b->name), "%lx: named '%s', was '%s'", a->start, b->name,
		      a->name);
		check(!*a->name || *a->name == '[' || a->offset == b->offset,
		      "%lx %s: offset differs", a->start, a->name);
		check(!strcmp(a->flags, b->flags), "%lx %s: VmFlags '%s', were '%s'", a->start,
		      a->name, b->flags, a->flags);
		i++, j++;
	}
	for (int i = 0; i < 7; i++)
		check(is_filled(areas[i], 8 * 4096, 9 * 4096), "area %d: content differs", i);
	check(is_filled(locked, 4 * 4096, 5 * 4096), "locked area: content differs");
	return subject_done();
}
