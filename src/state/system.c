/* Where and when a checkpoint was made: for people, and to tell at restart
 * whether the kernel will do; for the CPU see cpu.c. */
#include <errno.h>
#include <cpuid.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>

#include "base/io.h"
#include "base/report.h"
#include "state/state.h"
#include "state/vdso.h"

static int64_t now(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static char *cpu_name(void)
{
	unsigned v[13] = {0};
	char *s = (char *)v;

	for (unsigned i = 0; i < 3; i++)
		__get_cpuid(0x80000002 + i, &v[i * 4], &v[i * 4 + 1], &v[i * 4 + 2], &v[i * 4 + 3]);
	while (*s == ' ')
		s++;
	return strdup(*s ? s : "unknown");
}

static uint64_t xfeatures(uint32_t *ret_size)
{
	unsigned a = 0, b = 0, c = 0, d = 0;

	__cpuid_count(0xd, 0, a, b, c, d);
	*ret_size = b;
	(void)c;
	return (uint64_t)d << 32 | a;
}

static char *boot_id(void)
{
	__cleanup_buf struct buf b = {0};

	if (io_read_file(-1, "/proc/sys/kernel/random/boot_id", &b) || !b.len)
		return strdup("");
	b.p[strcspn(b.p, "\n")] = '\0';
	return strdup(b.p);
}

static int capture(struct capture *c, struct process *p, struct err *err)
{
	struct system_info *s = &p->system;
	struct utsname u;

	(void)c;
	uname(&u);
	s->tool = strdup("godwit " GODWIT_VERSION);
	s->time_ns = now(CLOCK_REALTIME);
	s->monotonic_ns = now(CLOCK_MONOTONIC);
	s->boottime_ns = now(CLOCK_BOOTTIME);
	s->host = strdup(u.nodename);
	s->kernel = strdup(u.release);
	s->machine = strdup(u.machine);
	s->cpu = cpu_name();
	s->boot_id = boot_id();
	s->xfeatures = xfeatures(&s->xstate_size);
	return vdso_here(&s->vdso_hash, err);
}

static void codec(struct codec *c, struct process *p)
{
	struct system_info *s = &p->system;

	codec_str(c, &s->tool);
	codec_i64(c, &s->time_ns);
	codec_i64(c, &s->monotonic_ns);
	codec_i64(c, &s->boottime_ns);
	codec_str(c, &s->host);
	codec_str(c, &s->kernel);
	codec_str(c, &s->machine);
	codec_str(c, &s->cpu);
	codec_str(c, &s->boot_id);
	codec_u64(c, &s->xfeatures);
	codec_u32(c, &s->xstate_size);
	codec_u64(c, &s->vdso_hash);
}

static int validate(const struct process *p, struct err *err)
{
	const struct system_info *s = &p->system;

	if (!s->tool || !s->host || !s->kernel || !s->machine || !s->cpu || !s->boot_id)
		return err_image(err, "the note on the system is incomplete");
	if (strcmp(s->machine, "x86_64"))
		return err_image(err, "it was made on another kind of CPU (%s)", s->machine);
	return 0;
}

static int check(struct restore *r, const struct process *p, struct err *err)
{
	(void)err;
	if (now(CLOCK_MONOTONIC) < p->system.monotonic_ns)
		restore_notice(
			r,
			"CLOCK_MONOTONIC is %lld s behind the checkpoint's, since this machine was "
			"booted later: waits that end at a time of that clock last longer",
			(long long)((p->system.monotonic_ns - now(CLOCK_MONOTONIC)) / 1000000000));
	if (vdso_is_adapted(p))
		restore_notice(
			r,
			"this kernel has another vdso than %s: calls of the old one are passed on",
			p->system.kernel);
	return 0;
}

static void done(struct process *p)
{
	struct system_info *s = &p->system;

	free(s->tool);
	free(s->host);
	free(s->kernel);
	free(s->machine);
	free(s->cpu);
	free(s->boot_id);
}

static void show(const struct process *p, struct report *rep)
{
	const struct system_info *s = &p->system;
	time_t t = (time_t)(s->time_ns / 1000000000);
	char when[64] = "unknown";
	struct tm tm;

	if (localtime_r(&t, &tm))
		strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S %z", &tm);
	report_section(rep, "system", "Checkpoint");
	report_str(rep, "time", "when", "%s", when);
	report_i64(rep, "time_ns", NULL, s->time_ns);
	report_opt(rep, "tool", "made by", s->tool);
	report_opt(rep, "host", "host", s->host);
	report_opt(rep, "kernel", "kernel", s->kernel);
	report_opt(rep, "machine", "machine", s->machine);
	report_opt(rep, "cpu", "CPU", s->cpu);
	report_opt(rep, "boot_id", NULL, s->boot_id);
	report_hex(rep, "xfeatures", NULL, s->xfeatures);
	report_u64(rep, "xstate_size", NULL, s->xstate_size);
	report_line(rep, "%-14s %u bytes%s%s%s", "vector state", s->xstate_size,
		    s->xfeatures & 4 ? ", AVX" : "",
		    (s->xfeatures & 0xe0) == 0xe0 ? ", AVX-512" : "",
		    s->xfeatures >> 18 & 1 ? ", AMX" : "");
	report_end(rep);
}

const struct state_ops state_system = {
	.name = "the system",
	.note = NOTE_SYSTEM,
	.capture = capture,
	.codec = codec,
	.validate = validate,
	.check = check,
	.show = show,
	.done = done,
};
