/*
 * Capabilities of two threads: root gives up all but a few, in each of the five sets; an ordinary
 * user has none, and gets none.
 */
#include <linux/capability.h>
#include <sys/prctl.h>

#include "subject.h"

struct sets {
	char line[5][300]; /* of /proc/PID/task/TID/status */
};

static struct sets before[2], after[2];
static pthread_barrier_t built, looked;

/* What only root can choose, the bounding set, an ordinary user finds as it is. */
static struct sets ask(void)
{
	static const char *const names[] = {"CapInh", "CapPrm", "CapEff", "CapAmb", "CapBnd"};
	FILE *f = fopen("/proc/thread-self/status", "re");
	struct sets s = {0};
	char line[300];

	while (f && fgets(line, sizeof(line), f))
		for (int i = 0; i < (geteuid() ? 4 : 5); i++)
			if (!strncmp(line, names[i], 6))
				snprintf(s.line[i], sizeof(s.line[i]), "%s", line);
	if (f)
		fclose(f);
	return s;
}

static void give_up(void)
{
	struct __user_cap_header_struct h = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct d[2] = {{0}};

	must(prctl(PR_CAPBSET_DROP, CAP_SYS_TIME, 0, 0, 0));
	must(prctl(PR_CAPBSET_DROP, CAP_AUDIT_READ, 0, 0, 0));
	d[0].permitted = 1 << CAP_CHOWN | 1 << CAP_KILL | 1 << CAP_NET_BIND_SERVICE;
	d[0].effective = 1 << CAP_CHOWN | 1 << CAP_KILL;
	d[0].inheritable = 1 << CAP_CHOWN | 1 << CAP_NET_RAW;
	must(syscall(SYS_capset, &h, d));
	must(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_CHOWN, 0, 0));
}

static void *other(void *arg)
{
	before[1] = ask();
	pthread_barrier_wait(&built);
	pthread_barrier_wait(&looked);
	after[1] = ask();
	return arg;
}

int main(int argc, char **argv)
{
	pthread_t t;

	subject_init(argc, argv);
	pthread_barrier_init(&built, NULL, 2);
	pthread_barrier_init(&looked, NULL, 2);
	if (!geteuid())
		give_up();
	must(-pthread_create(&t, NULL, other, NULL));
	before[0] = ask();
	pthread_barrier_wait(&built);
	check(!strcmp(before[0].line[2],
		      geteuid() ? "CapEff:\t0000000000000000\n" : "CapEff:\t0000000000000021\n"),
	      "it begins with %s", before[0].line[2]);
	subject_wait();

	after[0] = ask();
	pthread_barrier_wait(&looked);
	must(-pthread_join(t, NULL));
	for (int i = 0; i < 2; i++)
		for (int k = 0; k < 5; k++)
			check(!strcmp(before[i].line[k], after[i].line[k]), "thread %d: %s was %s",
			      i, after[i].line[k], before[i].line[k]);
	return subject_done();
}
