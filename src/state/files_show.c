/* Descriptors for people: godwit show, and the list in the man page. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/report.h"
#include "state/flight.h"

const char *files_kind_name(uint32_t kind)
{
	const struct file_ops *ops = file_ops_of(kind);

	return ops ? ops->name : "unknown";
}

const char *files_flags(uint32_t flags, char *out, size_t size)
{
	static const struct {
		uint32_t bit;
		const char *name;
	} names[] = {{O_APPEND, "O_APPEND"},       {O_NONBLOCK, "O_NONBLOCK"},
		     {O_SYNC, "O_SYNC"},           {O_DSYNC, "O_DSYNC"},
		     {O_ASYNC, "O_ASYNC"},         {O_DIRECT, "O_DIRECT"},
		     {O_DIRECTORY, "O_DIRECTORY"}, {O_NOFOLLOW, "O_NOFOLLOW"},
		     {O_NOATIME, "O_NOATIME"},     {O_PATH, "O_PATH"}};
	static const char *const modes[] = {"O_RDONLY", "O_WRONLY", "O_RDWR", "3"};
	size_t n = (size_t)snprintf(out, size, "%s", modes[flags & O_ACCMODE]);

	flags &= ~(uint32_t)(O_ACCMODE | 0100000 /* O_LARGEFILE */);
	for (size_t i = 0; i < ARRAY_SIZE(names) && n < size; i++)
		if ((flags & names[i].bit) == names[i].bit) {
			n += (size_t)snprintf(out + n, size - n, "|%s", names[i].name);
			flags &= ~names[i].bit;
		}
	if (flags && n < size)
		snprintf(out + n, size - n, "|%#o", flags);
	return out;
}

const char *files_describe(const struct file_table *t, const struct open_file *f, char *out,
			   size_t size)
{
	const struct file_ops *ops = file_ops_of(f->kind);
	__cleanup_buf struct buf b = {0};

	if (ops && ops->describe)
		ops->describe(t, f, &b);
	snprintf(out, size, "%s", b.p ? b.p : "");
	return out;
}

void files_show(const struct process *p, struct report *rep)
{
	const struct file_table *t = p->files;
	char flags[160], what[200];

	report_list(rep, "files", "Files");
	for (size_t i = 0; t && i < t->nfds; i++) {
		const struct open_file *f = &t->files[t->fds[i].file];
		int first = file_lowest_fd(t, f);

		files_flags(f->flags, flags, sizeof(flags));
		files_describe(t, f, what, sizeof(what));
		report_item(rep);
		report_i64(rep, "fd", NULL, t->fds[i].fd);
		report_str(rep, "kind", NULL, "%s", files_kind_name(f->kind));
		report_str(rep, "path", NULL, "%s", f->path);
		report_str(rep, "flags", NULL, "%s", flags);
		report_i64(rep, "offset", NULL, f->pos);
		report_bool(rep, "close_on_exec", NULL, t->fds[i].cloexec);
		if (first != t->fds[i].fd)
			report_i64(rep, "same_as", NULL, first);
		report_str(rep, "detail", NULL, "%s", what);
		report_bool(rep, "in_flight", NULL, flight_has(t, t->fds[i].fd));
		if (first != t->fds[i].fd)
			report_line(rep, "%4d  %s: the same as %d", t->fds[i].fd, f->path, first);
		else
			report_line(rep, "%4d  %s: %s, %s%s%s%s", t->fds[i].fd, f->path,
				    files_kind_name(f->kind), flags,
				    flight_has(t, t->fds[i].fd) ? ", only in flight"
				    : t->fds[i].cloexec         ? ", close-on-exec"
								: "",
				    what[0] ? ", " : "", what);
		report_end(rep);
	}
	report_end(rep);
}
