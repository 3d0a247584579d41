/* Where and when a checkpoint was made: for people, and to tell at restart
 * whether the CPU and the kernel will do. */
#include <errno.h>
#include <cpuid.h>
#include <link.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/utsname.h>
#include <time.h>

#include "base/io.h"
#include "base/report.h"
#include "state/state.h"

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

static uint64_t hash_vdso(const struct proc_maps *maps, uint64_t at)
{
	for (size_t i = 0; i < maps->n; i++)
		if (maps->v[i].start == at)
			return image_hash((const void *)(uintptr_t)at, maps->v[i].end - at);
	return 0;
}

/* The vdso of this kernel is the same in every process: ours serves. */
static int own_vdso_hash(uint64_t *ret, struct err *err)
{
	__cleanup_buf struct buf b = {0};
	struct proc_maps maps;
	int e = io_read_file(-1, "/proc/self/maps", &b);

	if (e)
		return err_sys(err, e, "cannot read /proc/self/maps");
	if ((e = proc_parse_maps(b.p, &maps, err)))
		return e;
	*ret = hash_vdso(&maps, getauxval(AT_SYSINFO_EHDR));
	proc_maps_done(&maps);
	return 0;
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
	return own_vdso_hash(&s->vdso_hash, err);
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
	uint32_t size;
	uint64_t here = xfeatures(&size), vdso = 0;
	int ret = own_vdso_hash(&vdso, err);

	if (ret)
		return ret;
	if (p->system.xfeatures & ~here) {
		err_refuse(err,
			   "this CPU lacks register sets of the one it was made on (XCR0 %#llx, "
			   "here %#llx)",
			   (unsigned long long)p->system.xfeatures, (unsigned long long)here);
		return err_hint(err, "restart it on a CPU like '%s'", p->system.cpu);
	}
	if (p->system.xstate_size != size || p->system.xfeatures != here) {
		err_refuse(err,
			   "this CPU lays its registers out in another way (%u bytes, here %u)",
			   p->system.xstate_size, size);
		return err_hint(err, "restart it on a CPU like '%s'", p->system.cpu);
	}
	if (now(CLOCK_MONOTONIC) < p->system.monotonic_ns)
		restore_notice(
			r,
			"CLOCK_MONOTONIC is %lld s behind the checkpoint's, since this machine was "
			"booted later: waits that end at a time of that clock last longer",
			(long long)((p->system.monotonic_ns - now(CLOCK_MONOTONIC)) / 1000000000));
	if (p->system.vdso_hash != vdso) {
		err_refuse(err, "this kernel has another vdso than the one it was made on (%s)",
			   p->system.kernel);
		return err_hint(err, "restart it on kernel %s", p->system.kernel);
	}
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
