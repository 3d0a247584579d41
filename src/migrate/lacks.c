/* Who lacks pages: see lacks.h. */
#include "migrate/lacks.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "migrate/postcopy.h"

#define PATIENCE_MS 5000

int lacks_open(const struct migration_id *id)
{
	return postcopy_door(id, "lacks", true);
}

/* Threads that stand in a fault whose page has not come (fs/userfaultfd.c). */
static uint32_t count_waiting(pid_t pid)
{
	char path[64];
	struct dirent *d;
	uint32_t n = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	dir = opendir(path);
	while (dir && (d = readdir(dir))) {
		__cleanup_buf struct buf b = {0};
		char name[300];

		snprintf(name, sizeof(name), "%s/wchan", d->d_name);
		n += *d->d_name != '.' && !io_read_file(dirfd(dir), name, &b) &&
		     !strncmp(b.p, "handle_userfault", 16);
	}
	if (dir)
		closedir(dir);
	return n;
}

void lacks_answer(int door, pid_t pid, struct lacks *what)
{
	__cleanup_fd int fd = accept4(door, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0 || !postcopy_is_ours(fd))
		return;
	what->waiting = count_waiting(pid);
	what->is_followed = 1;
	if (send(fd, what, sizeof(*what), MSG_NOSIGNAL) < 0)
		return; /* it has gone away again */
}

static void ask(const struct migration_id *id, struct lacks *ret)
{
	__cleanup_fd int fd = postcopy_door(id, "lacks", false);
	struct pollfd p = {.fd = fd, .events = POLLIN};

	*ret = (struct lacks){0};
	if (fd < 0 || !postcopy_is_ours(fd) || poll(&p, 1, PATIENCE_MS) != 1 ||
	    recv(fd, ret, sizeof(*ret), MSG_DONTWAIT) != sizeof(*ret))
		*ret = (struct lacks){0};
}

int lacks_look(const struct migration_id *id, struct journal_record *r, struct lacks *ret,
	       struct err *err)
{
	struct journal j;
	int e = journal_open(id, ROLE_TARGET, &j, err);

	if (e)
		return e == -ENOENT ? 0 : e;
	e = journal_read(&j, r, err);
	journal_close(&j);
	if (e == -EBADMSG)
		*err = ERR_INIT; /* one that is about to be written */
	if (e || r->state != STATE_LACKS || !journal_lives(r))
		return e == -EBADMSG ? 0 : e;
	ask(id, ret);
	return 1;
}
