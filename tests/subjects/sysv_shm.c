/*
 * System V shared memory: removed already, attached twice; kept, found by its number and
 * its key (without a second argument).
 */
#include <sys/shm.h>

#include "subject.h"

#define SIZE 70001 /* not whole pages */

static char *attach(int id, int flags)
{
	return must((char *)shmat(id, NULL, flags));
}

static void check_removed(char *one, char *two)
{
	check(is_filled(one, SIZE / 2, 5) && is_zero(one + SIZE / 2, SIZE - SIZE / 2),
	      "the content differs");
	one[SIZE - 1] = 7;
	check(two[SIZE - 1] == 7, "two mappings of one segment are two segments now");
	check(!shmdt(one) && !shmdt(two), "shmdt: %s", strerror(errno));
}

int main(int argc, char **argv)
{
	subject_init(argc, argv);
	key_t key = (key_t)(0x60d00000 + getpid());
	int gone = must(shmget(IPC_PRIVATE, SIZE, IPC_CREAT | 0600));
	char *one = attach(gone, 0), *two = attach(gone, SHM_RDONLY);
	struct shmid_ds ds;

	must(shmctl(gone, IPC_RMID, NULL));
	fill(one, SIZE / 2, 5);
	if (argc > 2) {
		subject_wait();
		check_removed(one, two);
		return subject_done();
	}
	int kept = must(shmget(key, SIZE, IPC_CREAT | IPC_EXCL | 0600));
	char *own = attach(kept, 0);
	fill(own, SIZE, 6);
	char *again = attach(kept, 0);
	subject_wait();

	check_removed(one, two);
	check(is_filled(own, SIZE, 6) && is_filled(again, SIZE, 6),
	      "the kept one's content differs");
	own[5000] ^= 0x55;
	check(again[5000] == own[5000], "two mappings of the kept segment are two segments now");
	check(shmget(key, 0, 0) == kept, "the key leads elsewhere");
	must(shmctl(kept, IPC_STAT, &ds));
	check(ds.shm_nattch == 2 && ds.shm_segsz == SIZE, "%lu have the kept one, of %zu bytes",
	      (unsigned long)ds.shm_nattch, ds.shm_segsz);
	char *third = attach(kept, 0);
	check(third[5000] == own[5000], "attached anew it is another segment");
	check(!shmdt(own) && !shmdt(again) && !shmdt(third), "shmdt: %s", strerror(errno));
	must(shmctl(kept, IPC_RMID, NULL));
	return subject_done();
}
