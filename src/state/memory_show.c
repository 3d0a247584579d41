/* Memory state for people: see memory.c. */
#include <stdio.h>
#include <sys/mman.h>

#include "base/io.h"
#include "base/report.h"
#include "state/memory.h"

static const char *kind_name(uint32_t kind)
{
	static const char *const name[] = {
		[MAPPING_ANON] = "anonymous",  [MAPPING_FILE] = "file", [MAPPING_SHARED] = "shared",
		[MAPPING_SHMEM] = "shmem",     [MAPPING_VDSO] = "vdso", [MAPPING_VVAR] = "vvar",
		[MAPPING_HUGE] = "huge pages",
	};

	return kind < ARRAY_SIZE(name) && name[kind] ? name[kind] : "unknown";
}

static const char *path_of(const struct process *p, const struct mapping *m)
{
	if (m->name && *m->name)
		return m->name;
	if (m->file && m->file <= p->nmapped_files)
		return p->mapped_files[m->file - 1].path;
	return NULL;
}

static void show_mapping(const struct process *p, const struct mapping *m, struct report *rep)
{
	char size[16], stored[16];
	const char *path = path_of(p, m);
	char prot[5] = {m->prot & PROT_READ ? 'r' : '-', m->prot & PROT_WRITE ? 'w' : '-',
			m->prot & PROT_EXEC ? 'x' : '-',
			m->kind == MAPPING_SHARED || m->kind == MAPPING_SHMEM ||
					m->flags & MAPPING_HUGE_SHARED
				? 's'
				: 'p'};

	report_item(rep);
	report_hex(rep, "start", NULL, m->start);
	report_hex(rep, "end", NULL, m->end);
	report_str(rep, "prot", NULL, "%s", prot);
	report_str(rep, "kind", NULL, "%s", kind_name(m->kind));
	report_u64(rep, "stored", NULL, m->stored);
	report_u64(rep, "offset", NULL, m->offset);
	report_opt(rep, "name", NULL, path);
	report_line(rep, "%012llx-%012llx %s %10s %10s  %s", (unsigned long long)m->start,
		    (unsigned long long)m->end, prot, report_size(size, m->end - m->start),
		    m->stored ? report_size(stored, m->stored) : "-",
		    path                           ? path
		    : m->flags & MAPPING_GROWSDOWN ? "(grows down)"
						   : "");
	report_end(rep);
}

static void build_id_text(const struct mapped_file *f, char out[static 41])
{
	out[0] = '\0';
	for (uint32_t i = 0; i < f->build_id_len && i < sizeof(f->build_id); i++)
		snprintf(out + 2 * i, 3, "%02x", f->build_id[i]);
}

/* JSON only: in text the mappings name them. */
static void show_files(const struct process *p, struct report *rep)
{
	report_list(rep, "mapped_files", NULL);
	for (size_t i = 0; i < p->nmapped_files; i++) {
		const struct mapped_file *f = &p->mapped_files[i];
		char id[41];

		build_id_text(f, id);
		report_item(rep);
		report_opt(rep, "path", NULL, f->path);
		report_u64(rep, "size", NULL, f->size);
		report_i64(rep, "mtime_ns", NULL, f->mtime_ns);
		report_opt(rep, "build_id", NULL, id[0] ? id : NULL);
		report_end(rep);
	}
	report_end(rep);
}

void memory_show(const struct process *p, struct report *rep)
{
	uint64_t mapped = 0, dirty = memory_dirty_bytes(p), stored = memory_stored_bytes(p);
	char title[96], a[16], b[16], c[16];

	for (size_t i = 0; i < p->nmappings; i++)
		mapped += p->mappings[i].end - p->mappings[i].start;
	report_section(rep, "memory", "Memory");
	report_bytes(rep, "mapped", NULL, mapped);
	report_bytes(rep, "stored", NULL, stored);
	report_bytes(rep, "dirty", NULL, dirty);
	report_hex(rep, "start_brk", NULL, p->mm.start_brk);
	report_hex(rep, "brk", NULL, p->mm.brk);
	report_hex(rep, "start_stack", NULL, p->mm.start_stack);
	report_line(rep, "%s mapped, %s stored (of which %s is in no file)", report_size(a, mapped),
		    report_size(b, stored), report_size(c, dirty));
	snprintf(title, sizeof(title), "%-30s %10s %10s", "mappings", "size", "stored");
	report_list(rep, "mappings", title);
	for (size_t i = 0; i < p->nmappings; i++)
		show_mapping(p, &p->mappings[i], rep);
	report_end(rep);
	show_files(p, rep);
	report_end(rep);
}
