/* Room for a program: see room.h. */
#include "migrate/room.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/io.h"
#include "state/files.h"
#include "state/memory.h"

#define CGROUPS "/sys/fs/cgroup"

/* --- memory --- */

/* The number in a file, or UINT64_MAX ("max", or no such file). */
static uint64_t read_number(const char *dir, const char *name)
{
	__cleanup_buf struct buf b = {0};
	char path[PATH_MAX];

	if (snprintf(path, sizeof(path), "%s/%s", dir, name) >= (int)sizeof(path) ||
	    io_read_file(AT_FDCWD, path, &b) || b.p[0] < '0' || b.p[0] > '9')
		return UINT64_MAX;
	return strtoull(b.p, NULL, 10);
}

/* Of our control group (version 2) and all above it. */
static uint64_t cgroup_room(void)
{
	__cleanup_buf struct buf b = {0};
	uint64_t room = UINT64_MAX;
	char dir[PATH_MAX], *p;

	if (io_read_file(AT_FDCWD, "/proc/self/cgroup", &b) || !(p = strstr(b.p, "0::/")))
		return room;
	p[strcspn(p, "\n")] = '\0';
	if (snprintf(dir, sizeof(dir), CGROUPS "%s", p + 3) >= (int)sizeof(dir))
		return room;
	while (strlen(dir) > strlen(CGROUPS)) {
		uint64_t max = read_number(dir, "memory.max");
		uint64_t now = read_number(dir, "memory.current");
		uint64_t here = max == UINT64_MAX || now == UINT64_MAX ? UINT64_MAX
				: max > now                            ? max - now
								       : 0;

		room = here < room ? here : room;
		*strrchr(dir, '/') = '\0';
	}
	return room;
}

uint64_t room_memory(void)
{
	__cleanup_buf struct buf b = {0};
	unsigned long long kib = 0;
	uint64_t group = cgroup_room();
	const char *p;

	if (!io_read_file(AT_FDCWD, "/proc/meminfo", &b) && (p = strstr(b.p, "MemAvailable:")))
		sscanf(p, "MemAvailable: %llu", &kib);
	return kib << 10 < group ? kib << 10 : group;
}

uint64_t room_needed(const struct process *p, const bool *known)
{
	/* It only reads them. */
	const struct restore view = {.file_matches = (bool *)(uintptr_t)known};
	uint64_t all = 0;

	for (size_t i = 0; i < p->nruns; i++)
		if (memory_run_wanted(&view, p, &p->runs[i]))
			all += p->runs[i].len;
	return all;
}

/* --- disk --- */

static bool is_full(const char *path)
{
	struct statvfs v;

	/* No blocks at all: a file system that does not count them. */
	return !statvfs(path, &v) && v.f_blocks && !(geteuid() ? v.f_bavail : v.f_bfree);
}

int room_file(const char *path, struct err *err)
{
	char dir[PATH_MAX];
	const char *slash = strrchr(path, '/');
	const char *where = path;
	struct stat st;

	if (stat(path, &st)) {
		snprintf(dir, sizeof(dir), "%.*s", slash ? (int)(slash - path) : 1,
			 slash ? path : ".");
		where = *dir ? dir : "/";
	} else if (!S_ISREG(st.st_mode)) {
		where = NULL;
	}
	if (faccessat(AT_FDCWD, where ? where : path, where && where != path ? W_OK | X_OK : W_OK,
		      AT_EACCESS)) {
		err_sys(err, -errno, "the program's output cannot go to '%s'", path);
		return err_hint(err, "choose another file with --stdio, or make its folder");
	}
	if (!where || !is_full(where))
		return 0;
	err_set(err, -ENOSPC, "the disk is full where the program's output is to go, '%s'", path);
	return err_hint(err, "make room there, or choose another file with --stdio");
}

void room_files(const struct process *p, void (*notice)(void *arg, const char *text), void *arg)
{
	char text[1000];
	dev_t told = 0;

	for (size_t i = 0; p->files && i < p->files->nfiles; i++) {
		const struct open_file *f = &p->files->files[i];
		struct stat st;

		if (f->kind != FILE_REGULAR || (f->flags & O_ACCMODE) == O_RDONLY ||
		    stat(f->path, &st) || st.st_dev == told || !is_full(f->path))
			continue;
		told = st.st_dev;
		snprintf(text, sizeof(text), "the disk of '%.900s', which it writes to, is full",
			 f->path);
		notice(arg, text);
	}
}
