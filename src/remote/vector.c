/*
 * Vector registers, restartable sequences and whose descriptors: of a stopped thread.
 *
 * Of the first few thousand threads they are read as soon as each has stopped, while others
 * may still run, and kept: it shortens the time in which all must stand still.
 */
#include "remote/internal.h"

#include <elf.h>
#include <errno.h>
#include <linux/capability.h>
#include <linux/ioprio.h>
#include <linux/kcmp.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/io.h"

#ifndef PTRACE_GET_RSEQ_CONFIGURATION
#define PTRACE_GET_RSEQ_CONFIGURATION 0x420f
struct __ptrace_rseq_configuration {
	uint64_t rseq_abi_pointer;
	uint32_t rseq_abi_size, signature, flags, pad;
};
#endif

#define XSTATE_MAX (16u << 10) /* of one thread */
#define KEPT_MAX (6u << 20)    /* of all together */

static int ask_rseq(struct tracee *t)
{
	struct __ptrace_rseq_configuration conf;

	t->knows_rseq = true;
	t->rseq = (struct remote_rseq){0};
	if (ptrace(PTRACE_GET_RSEQ_CONFIGURATION, t->tid, sizeof(conf), &conf) < 0)
		return errno == EIO || errno == EINVAL ? 0 : -errno;
	t->rseq = (struct remote_rseq){
		.addr = conf.rseq_abi_pointer,
		.len = conf.rseq_abi_size,
		.sig = conf.signature,
		.flags = conf.flags,
	};
	return 0;
}

bool remote_has_own_files(const struct remote *r, struct tracee *t)
{
	if (!t->knows_files)
		t->own_files = t->tid != r->speaker &&
			       syscall(SYS_kcmp, r->speaker, t->tid, KCMP_FILES, 0, 0) > 0;
	t->knows_files = true;
	return t->own_files;
}

bool remote_has_own_directory(const struct remote *r, struct tracee *t)
{
	if (!t->knows_directory)
		t->own_directory = t->tid != r->speaker &&
				   syscall(SYS_kcmp, r->speaker, t->tid, KCMP_FS, 0, 0) > 0;
	t->knows_directory = true;
	return t->own_directory;
}

/*
 * What a leader that still ran has in common with the others may have changed
 * (unshare(2)), then for those that were asked before: the first of them tells.
 */
void remote_read_again(struct remote *r)
{
	for (size_t i = 0; i < r->n; i++) {
		struct tracee *t = &r->threads[i];
		struct tracee was = *t;

		if (t->tid != r->read_first)
			continue;
		t->knows_files = t->knows_directory = false;
		if (remote_has_own_files(r, t) == was.own_files &&
		    remote_has_own_directory(r, t) == was.own_directory)
			return;
		for (size_t k = 0; k < r->n; k++)
			r->threads[k].knows_files = r->threads[k].knows_directory = false;
		return;
	}
}

int remote_rseq(struct tracee *t, struct remote_rseq *ret)
{
	int error = t->knows_rseq ? 0 : ask_rseq(t);

	*ret = t->rseq;
	return error;
}

int remote_xstate(const struct tracee *t, void *buf, size_t *len)
{
	struct iovec v = {buf, *len};

	if (ptrace(PTRACE_GETREGSET, t->tid, (void *)NT_X86_XSTATE, &v))
		return -errno;
	*len = v.iov_len;
	return 0;
}

int remote_ask_told(struct tracee *t)
{
	struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, t->tid};
	struct __user_cap_data_struct d[2];

	if (t->knows_told)
		return 0;
	if (syscall(SYS_get_robust_list, t->tid, &t->robust_list, &t->robust_len))
		return -errno;
	if (syscall(SYS_capget, &h, d))
		return -errno;
	t->caps = (struct proc_caps){
		.inheritable = d[0].inheritable | (uint64_t)d[1].inheritable << 32,
		.permitted = d[0].permitted | (uint64_t)d[1].permitted << 32,
		.effective = d[0].effective | (uint64_t)d[1].effective << 32,
	};
	t->ioprio = (int)syscall(SYS_ioprio_get, IOPRIO_WHO_PROCESS, t->tid);
	t->knows_told = true;
	return 0;
}

void remote_read_early(struct remote *r, struct tracee *t)
{
	struct err ignored = ERR_INIT;
	size_t len = r->kept_each ? r->kept_each : XSTATE_MAX;
	void *v;

	/* What fails here is asked again later, and told then. */
	t->knows_rseq = !ask_rseq(t);
	if (r->speaker) {
		(void)remote_has_own_files(r, t);
		(void)remote_has_own_directory(r, t);
	}
	(void)!remote_ask_told(t);
	if (!r->read_first)
		r->read_first = t->tid;
	if (r->kept_len + len > KEPT_MAX)
		return;
	v = io_grow(r->kept, &r->kept_cap, r->kept_len + len, 1, &ignored);
	if (!v)
		return;
	r->kept = v;
	if (remote_xstate(t, r->kept + r->kept_len, &len) || (r->kept_each && len != r->kept_each))
		return;
	r->kept_each = len;
	t->kept_at = r->kept_len + 1;
	r->kept_len += len;
}
