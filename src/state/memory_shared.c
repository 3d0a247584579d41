/*
 * Shared anonymous memory that another process has as well (from a fork) cannot
 * be restored for one of them alone.
 *
 * The kernel does not say who else maps an object, so the maps of all processes
 * are searched for its inode; only where the target has such memory at all.
 * Processes whose maps may not be read are left out: to share this memory they
 * must have come from the same program.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "proc/maps.h"
#include "state/memory.h"

static bool has_object(const struct mapping *m)
{
	return m->kind == MAPPING_SHMEM || m->flags & MAPPING_HUGE_SHARED;
}

static const struct mapping *find_object(const struct process *p, uint64_t ino)
{
	for (size_t i = 0; i < p->nmappings; i++)
		if (has_object(&p->mappings[i]) && p->mappings[i].object == ino)
			return &p->mappings[i];
	return NULL;
}

static const struct mapping *shared_with(const struct process *p, struct proc_maps *maps)
{
	for (size_t i = 0; i < maps->n; i++) {
		const struct proc_map *m = &maps->v[i];
		const struct mapping *ours;

		if (m->shared && m->deleted && (ours = find_object(p, m->ino)))
			return ours;
	}
	return NULL;
}

static int look_at(struct capture *c, const struct process *p, int proc, const char *pid,
		   struct err *err)
{
	__cleanup_buf struct buf text = {0};
	struct err ignored = ERR_INIT;
	struct proc_maps maps = {0};
	const struct mapping *m = NULL;
	char name[64];

	snprintf(name, sizeof(name), "%s/maps", pid);
	if (io_read_file(proc, name, &text) || !text.len)
		return 0; /* gone, a kernel thread, or not ours to see */
	if (!strstr(text.p, "(deleted)"))
		return 0;
	if (!proc_parse_maps(text.p, &maps, &ignored))
		m = shared_with(p, &maps);
	proc_maps_done(&maps);
	if (!m)
		return 0;
	return err_refuse_as(
		err, REFUSED_SHARED_MEMORY,
		"cannot save memory 0x%llx-0x%llx of process %d: it is shared with process %s",
		(unsigned long long)m->start, (unsigned long long)m->end, c->remote->pid, pid);
}

int memory_refuse_foreign(struct capture *c, const struct process *p, struct err *err)
{
	bool has_any = false;
	struct dirent *e;
	DIR *proc;
	int ret = 0;

	for (size_t i = 0; i < p->nmappings && !has_any; i++)
		has_any = has_object(&p->mappings[i]);
	if (!has_any || !(proc = opendir("/proc")))
		return 0;
	while (!ret && (e = readdir(proc)))
		if (*e->d_name >= '1' && *e->d_name <= '9' && atoi(e->d_name) != c->remote->pid)
			ret = look_at(c, p, dirfd(proc), e->d_name, err);
	closedir(proc);
	return ret;
}
