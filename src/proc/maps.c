/* Parser of /proc/PID/maps: see maps.h. */
#include "proc/maps.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>

#include "base/io.h"

static bool hex(char **p, uint64_t *ret)
{
	char *end;

	*ret = strtoull(*p, &end, 16);
	if (end == *p)
		return false;
	*p = end;
	return true;
}

static bool expect(char **p, char c)
{
	if (**p != c)
		return false;
	(*p)++;
	return true;
}

/* QUIRK: seq_file_path() writes a newline in a file name as \012, and nothing
 * else is escaped (fs/proc/task_mmu.c, show_map_vma: mangle_path with "\n"). */
static void unescape(char *s)
{
	char *d = s;

	while (*s) {
		if (!strncmp(s, "\\012", 4)) {
			*d++ = '\n';
			s += 4;
		} else {
			*d++ = *s++;
		}
	}
	*d = '\0';
}

static bool parse_line(char *p, struct proc_map *m)
{
	static const char gone[] = " (deleted)";
	uint64_t major, minor;
	size_t n;
	char *end;

	if (!hex(&p, &m->start) || !expect(&p, '-') || !hex(&p, &m->end) || !expect(&p, ' '))
		return false;
	if (strnlen(p, 5) < 5)
		return false;
	m->prot = (p[0] == 'r' ? PROT_READ : 0) | (p[1] == 'w' ? PROT_WRITE : 0) |
		  (p[2] == 'x' ? PROT_EXEC : 0);
	m->shared = p[3] == 's';
	p += 4;
	if (!expect(&p, ' ') || !hex(&p, &m->offset) || !expect(&p, ' ') || !hex(&p, &major) ||
	    !expect(&p, ':') || !hex(&p, &minor) || !expect(&p, ' '))
		return false;
	m->dev = makedev(major, minor);
	m->ino = strtoull(p, &end, 10);
	if (end == p)
		return false;
	p = end;
	while (*p == ' ')
		p++;
	m->name = p;
	n = strlen(p);
	m->deleted = n >= sizeof(gone) - 1 && !strcmp(p + n - (sizeof(gone) - 1), gone);
	if (m->deleted)
		p[n - (sizeof(gone) - 1)] = '\0';
	unescape(p);
	return m->start < m->end;
}

int proc_parse_maps(char *text, struct proc_maps *ret, struct err *err)
{
	struct proc_maps m = {0};

	for (char *line = text; *line;) {
		char *next = strchr(line, '\n');
		void *v;

		if (next)
			*next++ = '\0';
		v = io_grow(m.v, &m.cap, m.n + 1, sizeof(*m.v), err);
		if (!v) {
			proc_maps_done(&m);
			return err->error;
		}
		m.v = v;
		if (!parse_line(line, &m.v[m.n])) {
			proc_maps_done(&m);
			return err_set(err, -EPROTO,
				       "cannot read this line of /proc/PID/maps: '%s'", line);
		}
		m.n++;
		if (!next)
			break;
		line = next;
	}
	*ret = m;
	return 0;
}

void proc_maps_done(struct proc_maps *m)
{
	free(m->v);
	*m = (struct proc_maps){0};
}
