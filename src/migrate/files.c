/*
 * Mapped files on two hosts.  A program or library is known by its build id, as at any
 * restart; every other file (locale archives, class archives) by its content.
 */
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "migrate/files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "state/memory.h"

#define STEP (256u << 10)

/* 0: it cannot be read, has another size, or is too large to be looked through. */
static uint64_t hash_file(const struct mapped_file *f)
{
	__cleanup_fd int fd = open(f->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	__cleanup_free uint8_t *buf = malloc(STEP);
	uint64_t left = f->size;
	XXH3_state_t state;
	struct stat st;

	if (fd < 0 || !buf || fstat(fd, &st) || !S_ISREG(st.st_mode) ||
	    (uint64_t)st.st_size != f->size || !f->size || f->size > MEMORY_CLEAN_LIMIT)
		return 0;
	XXH3_64bits_reset(&state);
	while (left) {
		size_t n = left < STEP ? (size_t)left : STEP;

		if (io_read_all(fd, buf, n))
			return 0;
		XXH3_64bits_update(&state, buf, n);
		left -= n;
	}
	return XXH3_64bits_digest(&state);
}

/* Only the unchanged pages of private mappings are in question. */
static bool is_private(const struct process *p, size_t file)
{
	for (size_t i = 0; i < p->nmappings; i++)
		if (p->mappings[i].kind == MAPPING_FILE && p->mappings[i].file == file + 1)
			return true;
	return false;
}

void files_hash(const struct process *p, uint64_t *hash)
{
	for (size_t i = 0; i < p->nmapped_files; i++) {
		const struct mapped_file *f = &p->mapped_files[i];

		hash[i] = !f->build_id_len && is_private(p, i) ? hash_file(f) : 0;
	}
}

void files_compare(const struct process *p, const uint64_t *hash, bool *known)
{
	for (size_t i = 0; i < p->nmapped_files; i++)
		known[i] = memory_file_matches(&p->mapped_files[i]) ||
			   (hash[i] && hash[i] == hash_file(&p->mapped_files[i]));
}

static bool is_same(const struct mapped_file *a, const struct mapped_file *b)
{
	return !strcmp(a->path, b->path) && a->dev == b->dev && a->ino == b->ino &&
	       a->size == b->size && a->mtime_ns == b->mtime_ns &&
	       a->build_id_len == b->build_id_len &&
	       !memcmp(a->build_id, b->build_id, sizeof(a->build_id));
}

void files_carry(const struct process *old, const bool *old_known, const struct process *p,
		 bool *known)
{
	for (size_t i = 0; i < p->nmapped_files; i++) {
		size_t k = 0;

		while (k < old->nmapped_files &&
		       !is_same(&old->mapped_files[k], &p->mapped_files[i]))
			k++;
		known[i] = k < old->nmapped_files && old_known[k];
	}
}
