/*
 * godwit doctor: runs each probe (doctor.h) in a process of its own, at most
 * PROBE_SECONDS long, and prints what it found.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/io.h"
#include "base/report.h"
#include "cli/cli.h"
#include "cli/doctor.h"

#define PROBE_SECONDS 10

static const struct probe *const tables[] = {doctor_tracing, doctor_kernel, doctor_ids};

/* What all probes together say. */
struct verdict {
	bool usable;
	char missing[512]; /* names, separated by ", " */
};

static void run_in_child(const struct probe *p, struct finding *f)
{
	/* PR_SET_PDEATHSIG: nothing stays behind when a person presses Ctrl-C. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGCHLD, SIG_DFL);
	p->run(f);
	_exit(0);
}

/* Waits until pid ended or the time is up. */
static bool wait_bounded(pid_t pid, int *status)
{
	const struct timespec step = {.tv_nsec = 1000 * 1000};

	for (int ms = 0; ms < PROBE_SECONDS * 1000; ms++) {
		if (waitpid(pid, status, WNOHANG) != 0)
			return true;
		nanosleep(&step, NULL);
	}
	return false;
}

/* f is in shared memory. */
static void run_probe(const struct probe *p, struct finding *f)
{
	int status = 0;
	pid_t pid;

	memset(f, 0, sizeof(*f));
	pid = fork();
	if (pid == 0)
		run_in_child(p, f);
	if (pid < 0) {
		finding_no(f, "fork: %s", strerror(errno));
		finding_remedy(f, "raise the limit of processes (ulimit -u, pids cgroup)");
		return;
	}
	if (!wait_bounded(pid, &status)) {
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
		finding_no(f, "no answer within %d s", PROBE_SECONDS);
		finding_remedy(f, "please report it, with the kernel's version");
	} else if (WIFSIGNALED(status)) {
		finding_no(f, "killed by signal %d (%s)", WTERMSIG(status),
			   strsignal(WTERMSIG(status)));
		finding_remedy(f, "a seccomp filter that kills forbids it: docker/podman run "
				  "--security-opt seccomp=unconfined");
	}
}

static const char *container(void)
{
	if (!access("/.dockerenv", F_OK))
		return "docker";
	if (!access("/run/.containerenv", F_OK))
		return "podman";
	return getenv("container");
}

static void cpu_model(char *out, size_t len)
{
	__cleanup_buf struct buf b = {0};
	char *p, *end;

	snprintf(out, len, "unknown");
	if (io_read_file(AT_FDCWD, "/proc/cpuinfo", &b) || !(p = strstr(b.p, "model name")))
		return;
	p += strcspn(p, ":\n");
	p += strspn(p, ": ");
	end = p + strcspn(p, "\n");
	snprintf(out, len, "%.*s", (int)(end - p), p);
}

static void report_here(struct report *rep)
{
	struct utsname u = {0};
	char cpu[128];

	uname(&u);
	cpu_model(cpu, sizeof(cpu));
	report_str(rep, "godwit", "godwit", "%s", GODWIT_VERSION);
	report_str(rep, "kernel", "kernel", "%s", u.release);
	report_str(rep, "machine", "machine", "%s", u.machine);
	report_str(rep, "cpu", "cpu", "%s", cpu);
	report_u64(rep, "uid", "user id", geteuid());
	report_opt(rep, "container", "container", container());
	report_bool(rep, "seccomp_filter", "seccomp filter", probe_is_filtered());
}

static const char *need_name(enum probe_need need)
{
	static const char *const name[] = {"always", "restart", "some"};

	return name[need];
}

static void report_finding(struct report *rep, const struct probe *p, const struct finding *f)
{
	report_item(rep);
	report_str(rep, "feature", NULL, "%s", p->key);
	report_bool(rep, "works", NULL, f->works);
	report_str(rep, "need", NULL, "%s", need_name(p->need));
	report_str(rep, "needed_for", NULL, "%s", p->needed_for);
	report_opt(rep, "detail", NULL, f->detail[0] ? f->detail : NULL);
	report_opt(rep, "remedy", NULL, f->works || !f->remedy[0] ? NULL : f->remedy);
	report_line(rep, "%-27s %-3s  %s", p->name, f->works ? "yes" : "NO", p->needed_for);
	if (f->detail[0])
		report_line(rep, "%-27s      (%s)", "", f->detail);
	if (!f->works && f->remedy[0])
		report_line(rep, "%-27s      remedy: %s", "", f->remedy);
	report_end(rep);
}

static void count_in(struct verdict *v, const struct probe *p, const struct finding *f)
{
	size_t n = strlen(v->missing);

	if (f->works || p->need == NEED_SOME)
		return;
	v->usable = false;
	snprintf(v->missing + n, sizeof(v->missing) - n, "%s%s", n ? ", " : "", p->name);
}

static int diagnose(struct report *rep, struct verdict *v, struct err *err)
{
	struct finding *f =
		mmap(NULL, sizeof(*f), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (f == MAP_FAILED)
		return err_sys(err, -errno, "cannot map %zu bytes", sizeof(*f));
	report_here(rep);
	report_list(rep, "features", "Features");
	for (size_t t = 0; t < ARRAY_SIZE(tables); t++)
		for (const struct probe *p = tables[t]; p->key; p++) {
			fflush(NULL); /* else the child would have our text, too */
			run_probe(p, f);
			report_finding(rep, p, f);
			count_in(v, p, f);
		}
	report_end(rep);
	munmap(f, sizeof(*f));
	return 0;
}

static void usage(void)
{
	fputs("usage: godwit doctor [--json]\n"
	      "\n"
	      "Tries, feature by feature, what this kernel, CPU, container and user allow,\n"
	      "and says what to do about what is missing.\n"
	      "Exit status: 0 when checkpoint and restart can work for you, else 3.\n",
	      stdout);
}

int cmd_doctor(int argc, char **argv)
{
	struct verdict v = {.usable = true};
	struct err err = ERR_INIT;
	struct report rep;
	bool json = false;
	int status, ret;

	if (!cli_options_json(argc, argv, usage, &json, &status))
		return status;
	if (optind < argc)
		return cli_usage("doctor", "it takes no '%s'", argv[optind]);
	report_init(&rep, stdout, json);
	ret = diagnose(&rep, &v, &err);
	report_bool(&rep, "usable", NULL, v.usable);
	report_line(&rep, "%s", "");
	if (v.usable)
		report_line(&rep, "Checkpoint and restart can work here, for you.");
	else
		report_line(&rep, "Checkpoint and restart cannot work here as it is: %s.",
			    v.missing[0] ? v.missing : "see above");
	if (report_done(&rep) && !ret)
		ret = err_set(&err, -EIO, "cannot write to standard output");
	if (ret)
		return cli_fail("doctor", &err);
	return v.usable ? EXIT_DONE : EXIT_UNSUPPORTED;
}
