/*
 * Files without a name that the program has open: memfds, deleted files, those made
 * with O_TMPFILE.  They live as long as somebody has them open, so their content is
 * in the image.
 */
#ifndef GODWIT_STATE_CONTENTS_H
#define GODWIT_STATE_CONTENTS_H

#include "state/file_kinds.h"

/* Bytes of content of all of them; more is refused. */
#define CONTENTS_MAX (64u << 20)

struct content_extent {
	uint64_t offset;
	void *data;
	size_t len;
};

struct file_content {
	int fd; /* a descriptor of it, at capture; not stored */
	uint64_t dev, ino;
	bool is_memfd;
	uint32_t mode;  /* permission bits */
	uint32_t seals; /* F_SEAL_*, of a memfd */
	uint64_t size;
	char *name;                     /* a memfd's, or the path that it had */
	struct content_extent *extents; /* between them are zeros */
	size_t nextents;
};

/* The one of that inode, or UINT32_MAX. */
uint32_t contents_find(const struct process *p, uint64_t ino);

/* Calls that make them, fill them and map what was mapped of them.  *ret: a descriptor
 * of each, above the program's; the caller frees the list. */
int contents_restore(struct file_restore *fr, int **ret, struct err *err) __must_check;
/* When all descriptors of the program are made: mode, seals; the descriptors are closed. */
void contents_restore_end(struct file_restore *fr, const int *fds);

#endif
