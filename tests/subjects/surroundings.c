/*
 * What surrounds a process: working directory, umask, limits, personality, name,
 * executable, command line, environment, scheduling.
 * test: build=static cwd=work(dir)
 */
#include <sched.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "subject.h"

static size_t slurp(const char *path, char *buf, size_t n)
{
	int fd = must(open(path, O_RDONLY | O_CLOEXEC));
	size_t have = 0;
	ssize_t r;

	while (have < n && (r = read(fd, buf + have, n - have)) > 0)
		have += r;
	close(fd);
	return have;
}

struct look {
	char cwd[600], exe[600], cmdline[4000], environ[20000], comm[20], root[100];
	size_t cmdline_n, environ_n;
	struct rlimit limit[16];
	int nice, policy, personality, dumpable, no_new_privs, subreaper, timerslack, thp;
	mode_t mask;
	uid_t uid[3];
	gid_t gid[3], groups[64];
	int ngroups;
	char caps[200];
};

static void look(struct look *l)
{
	memset(l, 0, sizeof(*l));
	must(getcwd(l->cwd, sizeof(l->cwd)) ? 0 : -1);
	must(readlink("/proc/self/exe", l->exe, sizeof(l->exe) - 1));
	must(readlink("/proc/self/root", l->root, sizeof(l->root) - 1));
	l->cmdline_n = slurp("/proc/self/cmdline", l->cmdline, sizeof(l->cmdline));
	l->environ_n = slurp("/proc/self/environ", l->environ, sizeof(l->environ));
	prctl(PR_GET_NAME, l->comm);
	for (int i = 0; i < 16; i++)
		getrlimit(i, &l->limit[i]);
	l->nice = getpriority(PRIO_PROCESS, 0);
	l->policy = sched_getscheduler(0);
	l->personality = personality(0xffffffff);
	l->dumpable = prctl(PR_GET_DUMPABLE);
	l->no_new_privs = prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0);
	prctl(PR_GET_CHILD_SUBREAPER, &l->subreaper);
	l->timerslack = prctl(PR_GET_TIMERSLACK);
	l->thp = prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0);
	l->mask = umask(0);
	umask(l->mask);
	getresuid(&l->uid[0], &l->uid[1], &l->uid[2]);
	getresgid(&l->gid[0], &l->gid[1], &l->gid[2]);
	l->ngroups = getgroups(64, l->groups);
	FILE *f = fopen("/proc/self/status", "re");
	char line[300];
	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, "Cap", 3))
			strncat(l->caps, line, sizeof(l->caps) - strlen(l->caps) - 1);
	if (f)
		fclose(f);
}

int main(int argc, char **argv)
{
	static struct look a, b;
	struct rlimit lim;

	subject_init(argc, argv);
	if (argc == 2) { /* once more, with arguments that are hard to print */
		char *again[] = {argv[0], argv[1], "with space", "", "new\nline", "\xff\xfe", NULL};

		execv("/proc/self/exe", again);
		die("execv");
	}
	if (mkdir("work(dir)", 0700) < 0 && errno != EEXIST)
		die("mkdir");
	must(chdir("work(dir)"));
	umask(0137);
	lim = (struct rlimit){123, 1000};
	must(setrlimit(RLIMIT_NOFILE, &lim));
	lim = (struct rlimit){4096 * 1000, RLIM_INFINITY};
	setrlimit(RLIMIT_FSIZE, &lim);
	lim = (struct rlimit){0, 0};
	setrlimit(RLIMIT_CORE, &lim);
	lim = (struct rlimit){3600, 7200};
	setrlimit(RLIMIT_CPU, &lim);
	must(setpriority(PRIO_PROCESS, 0, 7));
	struct sched_param sp = {0};
	must(sched_setscheduler(0, SCHED_BATCH, &sp));
	must(personality(ADDR_NO_RANDOMIZE | STICKY_TIMEOUTS));
	prctl(PR_SET_NAME, "odd ) (name");
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	prctl(PR_SET_TIMERSLACK, 77777);
	prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
	look(&a);
	subject_wait();

	look(&b);
	check(!strcmp(a.cwd, b.cwd), "working directory: %s, was %s", b.cwd, a.cwd);
	check(!strcmp(a.exe, b.exe), "/proc/self/exe: %s, was %s", b.exe, a.exe);
	check(!strcmp(a.root, b.root), "root: %s, was %s", b.root, a.root);
	check(a.cmdline_n == b.cmdline_n && !memcmp(a.cmdline, b.cmdline, a.cmdline_n),
	      "the command line differs: %.200s", b.cmdline);
	check(a.environ_n == b.environ_n && !memcmp(a.environ, b.environ, a.environ_n),
	      "the environment differs");
	check(!strcmp(a.comm, b.comm), "name: %s, was %s", b.comm, a.comm);
	for (int i = 0; i < 16; i++)
		check(a.limit[i].rlim_cur == b.limit[i].rlim_cur &&
			      a.limit[i].rlim_max == b.limit[i].rlim_max,
		      "resource limit %d: %ld/%ld, was %ld/%ld", i, (long)b.limit[i].rlim_cur,
		      (long)b.limit[i].rlim_max, (long)a.limit[i].rlim_cur,
		      (long)a.limit[i].rlim_max);
	check(a.nice == b.nice, "nice: %d, was %d", b.nice, a.nice);
	check(a.policy == b.policy, "scheduling policy: %d, was %d", b.policy, a.policy);
	check(a.personality == b.personality, "personality: %x, was %x", b.personality,
	      a.personality);
	check(a.dumpable == b.dumpable, "dumpable: %d, was %d", b.dumpable, a.dumpable);
	check(a.no_new_privs == b.no_new_privs, "no_new_privs: %d", b.no_new_privs);
	check(a.subreaper == b.subreaper, "child subreaper: %d, was %d", b.subreaper, a.subreaper);
	check(a.timerslack == b.timerslack, "timer slack: %d, was %d", b.timerslack, a.timerslack);
	check(a.thp == b.thp, "THP disable: %d, was %d", b.thp, a.thp);
	check(a.mask == b.mask, "umask: %o, was %o", b.mask, a.mask);
	check(!memcmp(a.uid, b.uid, sizeof(a.uid)) && !memcmp(a.gid, b.gid, sizeof(a.gid)),
	      "user or group ids differ");
	check(a.ngroups == b.ngroups && !memcmp(a.groups, b.groups, sizeof(a.groups)),
	      "supplementary groups differ");
	check(!strcmp(a.caps, b.caps), "capabilities differ: %s", b.caps);
	check(argc == 6 && !strcmp(argv[4], "new\nline"), "argv differs");
	return subject_done();
}
