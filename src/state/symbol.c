/* Addresses as symbol+offset: see state_symbol in state.h. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "image/elfid.h"
#include "state/state.h"

static const struct mapping *mapping_at(const struct process *p, uint64_t addr)
{
	for (size_t i = 0; i < p->nmappings; i++)
		if (addr >= p->mappings[i].start && addr < p->mappings[i].end)
			return &p->mappings[i];
	return NULL;
}

/* The same build, or the same size and time where it has no build id. */
static bool is_same_file(int fd, const struct mapped_file *f)
{
	uint8_t id[ELF_BUILD_ID_MAX];
	uint32_t len = 0;
	struct stat st;

	if (fstat(fd, &st) || !S_ISREG(st.st_mode) || (uint64_t)st.st_size != f->size)
		return false;
	if (f->build_id_len)
		return !elf_build_id(fd, id, &len) && len == f->build_id_len &&
		       !memcmp(id, f->build_id, len);
	return (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec == f->mtime_ns;
}

/* The function in the file as it is now, if it is still the same file. */
static bool in_file(const struct mapped_file *f, uint64_t offset, char *out, size_t cap)
{
	__cleanup_fd int fd = open(f->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	char name[128];
	uint64_t from;

	if (fd < 0 || !is_same_file(fd, f) ||
	    elf_symbol_at(fd, offset, name, sizeof(name), &from) != 1)
		return false;
	snprintf(out, cap, "%s+0x%llx in %s", name, (unsigned long long)from, f->path);
	return true;
}

void state_symbol(const struct process *p, uint64_t addr, char *out, size_t cap)
{
	const struct mapping *m = mapping_at(p, addr);
	const struct mapped_file *f = NULL;
	uint64_t offset = m ? addr - m->start + m->offset : 0;

	if (m && m->file && m->file <= p->nmapped_files)
		f = &p->mapped_files[m->file - 1];
	if (f && in_file(f, offset, out, cap))
		return;
	if (f)
		snprintf(out, cap, "0x%llx, byte 0x%llx of %s", (unsigned long long)addr,
			 (unsigned long long)offset, f->path);
	else if (m && m->name && *m->name)
		snprintf(out, cap, "0x%llx in %s", (unsigned long long)addr, m->name);
	else
		snprintf(out, cap, "0x%llx", (unsigned long long)addr);
}
