/*
 * A program on another kernel or CPU than it came from: its vdso, its registers, and
 * what it has chosen for the CPU are made to fit.  See state/vdso.h, state/cpu.h and
 * code/code.h.
 */
#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>

#include "base/io.h"
#include "code/code.h"
#include "restart/internal.h"
#include "state/cpu.h"
#include "state/vdso.h"

uint64_t rebuild_vdso_place(const struct rebuild *b)
{
	const struct process *p = &b->proc;
	uint64_t at = b->restore.vdso_at;

	for (size_t i = 0; i < p->nmappings; i++)
		if (p->mappings[i].kind == MAPPING_VDSO)
			return p->mappings[i].start;
	for (size_t i = 0; i < b->maps.n && strcmp(b->maps.v[i].name, "[vdso]"); i++)
		if (!strncmp(b->maps.v[i].name, "[vvar", 5))
			at += b->maps.v[i].end - b->maps.v[i].start;
	return at;
}

/* As another CPU saved them: laid out as this one has them. */
static int lay_out(const struct rebuild *b, const struct thread *t, uint8_t **x, size_t *len,
		   struct err *err)
{
	struct arch_cpu here;
	uint8_t *laid;
	unsigned part = 0;

	arch_cpu_here(&here);
	if (cpu_same_layout(&b->proc, &here))
		return 0;
	laid = io_alloc(1, here.xsave_size, err);
	if (!laid)
		return err->error;
	if (arch_xsave_convert(&b->proc.cpu, *x, *len, &here, laid, &part)) {
		free(laid);
		err_refuse(err, "thread %d has %s, and this CPU has none", t->tid,
			   arch_xsave_part_name(part));
		return err_hint(err, "take it to a CPU like '%s'", b->proc.system.cpu);
	}
	free(*x);
	*x = laid;
	*len = here.xsave_size;
	return 0;
}

int rebuild_vector_registers(struct rebuild *b, size_t i, struct err *err)
{
	const struct thread *t = &b->proc.threads[i];
	__cleanup_free uint8_t *x = io_alloc(1, t->xstate_len, err);
	size_t len = t->xstate_len;
	struct iovec v;
	int ret;

	if (!x)
		return err->error;
	if ((ret = io_pread_all(image_fd(b->image), x, len, t->xstate_off)))
		return err_sys(err, ret, "cannot read the vector registers from the image");
	if ((ret = lay_out(b, t, &x, &len, err)))
		return ret;
	if (arch_has_tiles(x, len) && (ret = remote_touch_tiles(&b->remote, i, err)))
		return ret;
	v = (struct iovec){x, len};
	if (ptrace(PTRACE_SETREGSET, b->remote.threads[i].tid, (void *)NT_X86_XSTATE, &v))
		return err_sys(err, -errno, "cannot set the vector registers of thread %d", t->tid);
	return 0;
}

/* The CPU is another: what the program has chosen for the other one is chosen again. */
static int choose_again(struct rebuild *b, struct err *err)
{
	struct arch_cpu here;
	struct arch_features missing;
	size_t n;
	int ret;

	arch_cpu_here(&here);
	missing = cpu_missing(&b->proc, &here);
	ret = code_choose_again(&b->proc, &b->remote, &missing, &n, err);
	if (!ret && n)
		restore_notice(
			&b->restore,
			"this CPU lacks what the other one had: %zu functions were chosen again",
			n);
	return ret;
}

int rebuild_fit(struct rebuild *b, struct err *err)
{
	int ret = 0;

	if (vdso_is_adapted(&b->proc))
		ret = vdso_redirect(&b->proc, &b->remote, rebuild_vdso_place(b), err);
	return ret ? ret : choose_again(b, err);
}

int restart_check_code(struct rebuild *b, struct err *err)
{
	struct code_image *ci;
	struct code_memory m;
	struct arch_cpu here;
	struct arch_features missing;
	int ret;

	arch_cpu_here(&here);
	missing = cpu_missing(&b->proc, &here);
	/* One that is fed has no memory yet: it is looked at when it is built. */
	if (arch_features_empty(&missing) || b->restore.is_fed)
		return 0;
	if ((ret = code_image_open(b->image, &b->proc, &ci, &m, err)))
		return ret;
	ret = code_check(&m, &missing, true, err);
	code_image_close(ci);
	return ret;
}
