/* System V shared memory that cannot be saved; see refusing.h. */
#include <signal.h>
#include <sys/shm.h>
#include <sys/wait.h>

#include "refusing.h"

#define SIZE 20000

/* Attached, and removed: nothing is left when the program has ended.  -1: not possible. */
static char *segment(int flags, int command)
{
	int id = shmget(IPC_PRIVATE, SIZE, IPC_CREAT | 0600 | flags);

	if (id < 0)
		return (void *)-1;
	char *p = shmat(id, NULL, 0);
	bool is_done = !command || !shmctl(id, command, NULL);
	int error = errno;

	shmctl(id, IPC_RMID, NULL);
	errno = error;
	return is_done ? p : (void *)-1;
}

static int part(void)
{
	char *p = segment(0, 0);

	return p == (void *)-1 || munmap(p + 4096, 4096) ? -1 : -2;
}

static int locked(void)
{
	return segment(0, SHM_LOCK) == (void *)-1 ? -1 : -2;
}

static int huge(void)
{
	return segment(SHM_HUGETLB | SHM_NORESERVE, 0) == (void *)-1 ? -1 : -2;
}

/* Another process, that is no child by then, has it attached, too. */
static int foreign(void)
{
	char *p = segment(0, 0);
	pid_t parent = getpid();

	if (p == (void *)-1)
		return -1;
	strcpy(p, "shared");
	if (!must(fork())) {
		if (!must(fork())) {
			close(0), close(1), close(2);
			while (kill(parent, 0) == 0)
				usleep(5000);
		}
		_exit(0);
	}
	wait(NULL);
	return -2;
}

int main(int argc, char **argv)
{
	static const struct refused_kind kinds[] = {
		{"sysv_part", part},
		{"sysv_locked", locked},
		{"sysv_huge", huge},
		{"sysv_foreign", foreign},
	};

	return refusing(argc, argv, kinds, sizeof(kinds) / sizeof(kinds[0]), NULL);
}
