/*
 * Capabilities: capabilities(7), the five sets of a thread.
 *
 * A program that had given up rights must not come back with all of root's.  So the new
 * process, which has those of whoever restarts it, gives up what the program had not, last of all;
 * what it had and the restarter has not is lost, with a notice.
 *
 * The kernel has them for each thread, and shows others the bounding and the ambient set in
 * /proc alone: so these are taken to be the first thread's.
 */
#include "state/capabilities.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/io.h"
#include "base/report.h"
#include "proc/status.h"
#include "remote/remote.h"
#include "state/state.h"

/* include/uapi/linux/capability.h, from 0 on. */
static const char *const names[] = {
	"chown",
	"dac_override",
	"dac_read_search",
	"fowner",
	"fsetid",
	"kill",
	"setgid",
	"setuid",
	"setpcap",
	"linux_immutable",
	"net_bind_service",
	"net_broadcast",
	"net_admin",
	"net_raw",
	"ipc_lock",
	"ipc_owner",
	"sys_module",
	"sys_rawio",
	"sys_chroot",
	"sys_ptrace",
	"sys_pacct",
	"sys_admin",
	"sys_boot",
	"sys_nice",
	"sys_resource",
	"sys_time",
	"sys_tty_config",
	"mknod",
	"lease",
	"audit_write",
	"audit_control",
	"setfcap",
	"mac_override",
	"mac_admin",
	"syslog",
	"wake_alarm",
	"block_suspend",
	"audit_read",
	"perfmon",
	"bpf",
	"checkpoint_restore",
};

/* "cap_chown, cap_kill", as capabilities(7) writes them. */
static void print_names(struct buf *b, uint64_t set)
{
	for (unsigned i = 0; i < 64; i++) {
		if (!(set >> i & 1))
			continue;
		if (i < ARRAY_SIZE(names))
			buf_printf(b, "%scap_%s", b->len ? ", " : "", names[i]);
		else
			buf_printf(b, "%scap_%u", b->len ? ", " : "", i);
	}
}

/* --- capture --- */

void capabilities_take(struct process *p, const struct proc_status *st)
{
	p->caps = st->caps;
}

int capabilities_compare(const struct process *p, const struct tracee *t, struct err *err)
{
	if (t->caps.permitted == p->caps.permitted && t->caps.effective == p->caps.effective &&
	    t->caps.inheritable == p->caps.inheritable)
		return 0;
	return err_refuse_as(err, REFUSED_OWN_CAPABILITIES,
			     "cannot save thread %d of process %d: it has capabilities of its own",
			     t->tid, p->pid);
}

/* Who has none gets none. */
static bool is_needed(const struct process *p)
{
	return p->caps.permitted || p->caps.effective || p->caps.inheritable || p->caps.ambient;
}

/* --- image --- */

static void codec(struct codec *c, struct process *p)
{
	codec_u64(c, &p->caps.inheritable);
	codec_u64(c, &p->caps.permitted);
	codec_u64(c, &p->caps.effective);
	codec_u64(c, &p->caps.bounding);
	codec_u64(c, &p->caps.ambient);
	p->has_caps = true;
}

static int validate(const struct process *p, struct err *err)
{
	if (p->caps.effective & ~p->caps.permitted || p->caps.ambient & ~p->caps.permitted ||
	    p->caps.ambient & ~p->caps.inheritable)
		return err_image(err, "the note on capabilities is malformed");
	return 0;
}

/* --- restart --- */

/* Those of whoever restarts; false: unknown. */
static bool read_own(struct proc_caps *ret)
{
	__cleanup_buf struct buf b = {0};
	struct err ignored = ERR_INIT;
	struct proc_status st;

	if (io_read_file(AT_FDCWD, "/proc/self/status", &b) ||
	    proc_parse_status(b.p, &st, &ignored))
		return false;
	*ret = st.caps;
	return true;
}

/* What it can have of them. */
static struct proc_caps within(const struct proc_caps *wanted, const struct proc_caps *own)
{
	struct proc_caps c = {
		.permitted = wanted->permitted & own->permitted,
		.effective = wanted->effective & own->permitted,
		.bounding = wanted->bounding & own->bounding,
	};

	/* With CAP_SETPCAP all of the bounding set can be added, else what is permitted. */
	c.inheritable =
		wanted->inheritable & (own->inheritable | own->permitted |
				       (own->effective >> CAP_SETPCAP & 1 ? own->bounding : 0));
	c.ambient = wanted->ambient & c.permitted & c.inheritable;
	return c;
}

static int check(struct restore *r, const struct process *p, struct err *err)
{
	__cleanup_buf struct buf b = {0};
	struct proc_caps own;

	(void)err;
	if (!p->has_caps || !read_own(&own) || !(p->caps.permitted & ~own.permitted))
		return 0;
	print_names(&b, p->caps.permitted & ~own.permitted);
	restore_notice(r, "it runs without capabilities that only root may give it: %s",
		       b.p ? b.p : "");
	return 0;
}

bool capabilities_differ(const struct process *p)
{
	struct proc_caps own, c;

	if (!p->has_caps || !read_own(&own))
		return false;
	c = within(&p->caps, &own);
	return memcmp(&c, &own, sizeof(c));
}

static void restore_thread(struct program *g, const struct proc_caps *c,
			   const struct proc_caps *own)
{
	struct __user_cap_header_struct h = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct d[2];
	uint64_t head, data, lost = own->bounding & ~c->bounding;

	for (int i = 0; i < 2; i++)
		d[i] = (struct __user_cap_data_struct){
			.permitted = (uint32_t)(c->permitted >> 32 * i),
			.effective = (uint32_t)(c->effective >> 32 * i),
			.inheritable = (uint32_t)(c->inheritable >> 32 * i),
		};
	/* EPERM: without CAP_SETPCAP the set stays as large as it is. */
	for (unsigned i = 0; i < 64; i++)
		if (lost >> i & 1)
			program_call(g, "no such capability for what it executes", SYS_prctl,
				     PR_CAPBSET_DROP, i, 0, 0, 0, 0)
				->expect = EXPECT_ANY;
	program_reserve(g, PROGRAM_PIECE(sizeof(h)) + PROGRAM_PIECE(sizeof(d)));
	head = program_data(g, &h, sizeof(h));
	data = program_data(g, d, sizeof(d));
	/* The ambient set: what it had of its own goes with what is not permitted any more. */
	program_call(g, "capabilities", SYS_capset, head, data, 0, 0, 0, 0);
	for (unsigned i = 0; i < 64; i++)
		if ((c->ambient ^ own->ambient) >> i & 1)
			program_call(g, "an ambient capability", SYS_prctl, PR_CAP_AMBIENT,
				     c->ambient >> i & 1 ? PR_CAP_AMBIENT_RAISE
							 : PR_CAP_AMBIENT_LOWER,
				     i, 0, 0, 0)
				->expect = EXPECT_ANY;
}

void capabilities_restore(struct restore *r, const struct process *p)
{
	struct proc_caps own, c;

	if (r->drop_rights || !p->has_caps || !read_own(&own))
		return;
	c = within(&p->caps, &own);
	if (!memcmp(&c, &own, sizeof(c)))
		return;
	for (size_t i = 0; i < p->nthreads; i++) {
		program_thread(r->prog, (uint32_t)i);
		restore_thread(r->prog, &c, &own);
	}
	program_thread(r->prog, 0);
}

/* --- */

static void show(const struct process *p, struct report *rep)
{
	__cleanup_buf struct buf b = {0};

	if (!p->has_caps)
		return;
	print_names(&b, p->caps.effective);
	report_section(rep, "capabilities", "Capabilities");
	report_hex(rep, "permitted", "permitted", p->caps.permitted);
	report_hex(rep, "effective", "effective", p->caps.effective);
	report_hex(rep, "inheritable", "inheritable", p->caps.inheritable);
	report_hex(rep, "bounding", "bounding", p->caps.bounding);
	report_hex(rep, "ambient", "ambient", p->caps.ambient);
	if (__builtin_popcountll(p->caps.effective) <= 8)
		report_line(rep, "%-14s %s", "in effect", b.p ? b.p : "none");
	report_end(rep);
}

const struct state_ops state_capabilities = {
	.name = "the capabilities",
	.note = NOTE_CAPABILITIES,
	.optional = true,
	.is_needed = is_needed,
	.codec = codec,
	.validate = validate,
	.check = check,
	.show = show,
};
