/* What travels besides the stack: globals and files that the program registered,
 * and its __thread variables. */
#include "thread/psu.h"

#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define GLOBALS 64
/* Of a file to be carried: nothing that makes or empties one over there. */
#define CARRIED_FLAGS (O_ACCMODE | O_APPEND | O_NONBLOCK | O_SYNC | O_DSYNC | O_DIRECT | O_NOATIME)

struct global {
	uint64_t offset; /* from the executable's load address */
	uint64_t len;
};
static struct global globals[GLOBALS];
static int nglobals;

/*
 * In a static program these two end the program's own share of the TLS block:
 * the linker places .tdata and .tbss in the order of its inputs, the program's
 * files, then this library, then others, among them the C library, whose
 * variables must not travel.  LLD is the exception: what link-time optimisation
 * makes comes last.
 */
static __thread long tdata_end = 1;
static __thread long tbss_end;

static uint64_t exe_base(void)
{
	uintptr_t area[8][2];

	return modules_exe_data(area, 8) ? area[0][0] : 0;
}

PSU_PUBLIC int psu_register_global(void *p, size_t len)
{
	uintptr_t area[8][2], at = (uintptr_t)p;
	int i, n = modules_exe_data(area, 8);

	for (i = 0; i < n; i++)
		if (len && at >= area[i][0] && at < area[i][1] && len <= area[i][1] - at)
			break;
	pthread_mutex_lock(&psu.lock);
	errno = i == n ? EINVAL : nglobals == GLOBALS ? ENOSPC : 0;
	if (!errno)
		globals[nglobals++] = (struct global){.offset = at - exe_base(), .len = len};
	pthread_mutex_unlock(&psu.lock);
	return errno ? -1 : 0;
}

int carry_global_ranges(struct tls_head *ret, int max)
{
	int i;

	for (i = 0; i < nglobals && i < max; i++)
		ret[i] = (struct tls_head){.addr = exe_base() + globals[i].offset,
					   .len = globals[i].len};
	return i;
}

void carry_pack_globals(struct buf *b)
{
	int i;

	for (i = 0; i < nglobals; i++) {
		buf_add(b, &globals[i], sizeof(globals[i]));
		buf_add(b, (const void *)(exe_base() + globals[i].offset), globals[i].len);
	}
}

int carry_globals(const void *data, size_t len, struct fixup *fix, bool apply, struct err *err)
{
	const char *p = data;
	int i;

	for (i = 0; i < nglobals; i++) {
		struct global g;
		void *at;

		if (len < sizeof(g))
			break;
		memcpy(&g, p, sizeof(g));
		if (g.offset != globals[i].offset || g.len != globals[i].len ||
		    len - sizeof(g) < g.len)
			break;
		at = (void *)(exe_base() + g.offset);
		if (apply) {
			memcpy(at, p + sizeof(g), g.len);
			fixup_words(fix, at, g.len);
		}
		p += sizeof(g) + g.len;
		len -= sizeof(g) + g.len;
	}
	if (i < nglobals || len)
		return err_refuse(err,
				  "the two hosts registered other globals (psu_register_global)");
	return 0;
}

/* Whether LLD linked the executable: it says so in the section .comment. */
static bool linked_by_lld(void)
{
	__cleanup_buf struct buf b = {0};
	const ElfW(Ehdr) * e;
	const ElfW(Shdr) * sh, *names;
	size_t i;

	if (io_read_file(AT_FDCWD, "/proc/self/exe", &b))
		return false;
	e = (const void *)b.p;
	if (!e->e_shoff || e->e_shoff + e->e_shnum * sizeof(*sh) > b.len ||
	    e->e_shstrndx >= e->e_shnum)
		return false;
	sh = (const void *)(b.p + e->e_shoff);
	names = &sh[e->e_shstrndx];
	for (i = 0; i < e->e_shnum; i++)
		if (names->sh_offset + sh[i].sh_name < b.len &&
		    !strcmp(b.p + names->sh_offset + sh[i].sh_name, ".comment") &&
		    sh[i].sh_offset + sh[i].sh_size <= b.len)
			return memmem(b.p + sh[i].sh_offset, sh[i].sh_size, "LLD ", 4);
	return false;
}

int carry_check_tls(struct err *err)
{
	uint64_t data = (uint64_t)&tdata_end - hop_thread_pointer(), len, init_len;
	int64_t offset;

	modules_exe_tls(&offset, &len, &init_len);
	if (modules_is_static() && offset && data == (uint64_t)offset && linked_by_lld())
		return err_refuse(err, "in a static program linked by LLD its __thread variables "
				       "cannot be told from the C library's; "
				       "link dynamically, or with GNU ld");
	return 0;
}

int carry_tls_ranges(const struct slot *s, struct tls_head *ret, int max)
{
	uint64_t len, init_len, block, data = (uint64_t)&tdata_end - hop_thread_pointer();
	uint64_t bss = (uint64_t)&tbss_end - hop_thread_pointer();
	int64_t offset;
	int n = 0;

	modules_exe_tls(&offset, &len, &init_len);
	if (!offset || max < 2)
		return 0;
	block = (uint64_t)offset;
	if (!modules_is_static()) {
		/* The C library has a block of its own: this one is the program's. */
		ret[n++] = (struct tls_head){.addr = s->tp + block, .len = len};
		return n;
	}
	if (data != block)
		ret[n++] = (struct tls_head){.addr = s->tp + block, .len = data - block};
	if (bss - block > init_len)
		ret[n++] = (struct tls_head){.addr = s->tp + block + init_len,
					     .len = bss - block - init_len};
	return n;
}

PSU_PUBLIC int psu_fd_carry(int fd)
{
	struct slot *s = slot_current();
	struct travel *t = s ? slot_travel(s) : NULL;
	struct stat st;
	uint32_t i;

	if (fstat(fd, &st))
		return -1;
	if (!t || !S_ISREG(st.st_mode)) {
		errno = EINVAL;
		return -1;
	}
	for (i = 0; i < t->nfds; i++)
		if (t->fds[i] == fd)
			return 0;
	if (t->nfds == PSU_FDS) {
		errno = ENOSPC;
		return -1;
	}
	t->fds[t->nfds++] = fd;
	return 0;
}

int carry_pack_fds(const struct travel *t, struct psu_fd *ret, struct err *err)
{
	uint32_t i;

	for (i = 0; i < t->nfds; i++) {
		struct psu_fd *f = &ret[i];
		char link[64];
		struct stat st;
		int flags = fcntl(t->fds[i], F_GETFL);

		memset(f, 0, sizeof(*f));
		snprintf(link, sizeof(link), "/proc/self/fd/%d", t->fds[i]);
		if (flags < 0 || io_readlink(AT_FDCWD, link, f->path, sizeof(f->path)) ||
		    fstat(t->fds[i], &st))
			return err_refuse(err, "descriptor %d, to be carried, is not open",
					  t->fds[i]);
		if (!st.st_nlink)
			return err_refuse(err, "the file of descriptor %d has been deleted",
					  t->fds[i]);
		f->fd = t->fds[i];
		f->flags = (uint32_t)flags & CARRIED_FLAGS;
		if (fcntl(t->fds[i], F_GETFD) & FD_CLOEXEC)
			f->flags |= O_CLOEXEC;
		f->offset = (uint64_t)lseek(t->fds[i], 0, SEEK_CUR);
	}
	return (int)t->nfds;
}

/* At its number at once: after COMMIT nothing may fail. */
static int open_one(const struct psu_fd *f, struct err *err)
{
	int first = open(f->path, (int)(f->flags & CARRIED_FLAGS) | O_CLOEXEC | O_NOCTTY), fd;
	struct stat st;

	if (first < 0)
		return err_sys(err, -errno, "the receiver cannot open '%.200s' (descriptor %d)",
			       f->path, f->fd);
	if (fstat(first, &st) || !S_ISREG(st.st_mode) ||
	    lseek(first, (off_t)f->offset, SEEK_SET) != (off_t)f->offset) {
		close(first);
		return err_refuse(err, "'%.200s' is no regular file on the receiver", f->path);
	}
	if (first == f->fd)
		return first;
	fd = fcntl(first, F_DUPFD_CLOEXEC, f->fd);
	close(first);
	if (fd == f->fd)
		return fd;
	if (fd < 0)
		return err_sys(err, -errno, "the receiver cannot have a descriptor %d", f->fd);
	close(fd);
	return err_refuse(err, "descriptor %d is in use on the receiver", f->fd);
}

int carry_open_fds(const struct psu_fd *f, int n, int *opened, struct err *err)
{
	int i;

	for (i = 0; i < n; i++) {
		opened[i] = open_one(&f[i], err);
		if (opened[i] < 0) {
			carry_drop_fds(opened, i);
			return err->error;
		}
	}
	return 0;
}

void carry_place_fds(const struct psu_fd *f, int n)
{
	int i;

	for (i = 0; i < n; i++)
		if (!(f[i].flags & O_CLOEXEC))
			fcntl(f[i].fd, F_SETFD, 0);
}

void carry_drop_fds(const int *opened, int n)
{
	while (n-- > 0)
		close(opened[n]);
}
