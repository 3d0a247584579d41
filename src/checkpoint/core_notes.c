/*
 * What makes the image a core file for debuggers: the kernel's notes
 * (fs/binfmt_elf.c, fill_note_info) and a PT_LOAD for each stored range.
 *
 * Order of the notes: each thread begins with its NT_PRSTATUS; those of the
 * process as a whole follow the first one.
 */
#include <elf.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/procfs.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <signal.h>

#include "base/io.h"
#include "checkpoint/internal.h"

static int write_prstatus(struct job *j, const struct thread *t, struct err *err)
{
	const struct process *p = j->proc;
	struct elf_prstatus s = {
		.pr_pid = t->tid, .pr_ppid = p->ppid, .pr_pgrp = p->pgid, .pr_sid = p->sid};

	s.pr_sighold = t->sigmask;
	s.pr_fpvalid = 1;
	_Static_assert(sizeof(s.pr_reg) == sizeof(t->regs), "NT_PRSTATUS holds user_regs_struct");
	memcpy(&s.pr_reg, &t->regs, sizeof(t->regs));
	return image_writer_note(j->writer, "CORE", NT_PRSTATUS, &s, sizeof(s), err);
}

static int write_prpsinfo(struct job *j, struct err *err)
{
	const struct process *p = j->proc;
	struct elf_prpsinfo s = {
		.pr_sname = 'R',
		.pr_uid = p->uid,
		.pr_gid = p->gid,
		.pr_pid = p->pid,
		.pr_ppid = p->ppid,
		.pr_pgrp = p->pgid,
		.pr_sid = p->sid,
	};
	size_t n = 0;

	memcpy(s.pr_fname, p->comm, sizeof(s.pr_fname) - 1);
	for (size_t i = 0; i < p->argc && n + 1 < sizeof(s.pr_psargs); i++) {
		size_t len = strlen(p->argv[i]);

		if (n)
			s.pr_psargs[n++] = ' ';
		if (len > sizeof(s.pr_psargs) - 1 - n)
			len = sizeof(s.pr_psargs) - 1 - n;
		memcpy(s.pr_psargs + n, p->argv[i], len);
		n += len;
	}
	return image_writer_note(j->writer, "CORE", NT_PRPSINFO, &s, sizeof(s), err);
}

/* NT_FILE: count, page size, then start, end, page offset of each; then the names. */
static int write_nt_file(struct job *j, struct err *err)
{
	const struct process *p = j->proc;
	__cleanup_buf struct buf b = {0}, names = {0};
	uint64_t head[2] = {0, PAGE_SIZE_4K};

	buf_add(&b, head, sizeof(head));
	for (size_t i = 0; i < p->nmappings; i++) {
		const struct mapping *m = &p->mappings[i];
		uint64_t v[3] = {m->start, m->end, m->offset / PAGE_SIZE_4K};
		const char *name = m->file ? p->mapped_files[m->file - 1].path : m->name;

		if ((m->kind != MAPPING_FILE && m->kind != MAPPING_SHARED) || !name)
			continue;
		head[0]++;
		buf_add(&b, v, sizeof(v));
		buf_add(&names, name, strlen(name) + 1);
	}
	buf_add(&b, names.p, names.len);
	if (b.failed || names.failed)
		return err_set(err, -ENOMEM, "out of memory");
	memcpy(b.p, head, sizeof(head));
	return image_writer_note(j->writer, "CORE", NT_FILE, b.p, b.len, err);
}

static int write_process_notes(struct job *j, struct err *err)
{
	const struct process *p = j->proc;
	siginfo_t none = {0};
	int ret;

	if ((ret = write_prpsinfo(j, err)) ||
	    (ret = image_writer_note(j->writer, "CORE", NT_SIGINFO, &none, sizeof(none), err)) ||
	    (ret = image_writer_note(j->writer, "CORE", NT_AUXV, p->mm.auxv, p->mm.auxv_len, err)))
		return ret;
	return write_nt_file(j, err);
}

static int write_thread_state(struct job *j, struct thread *t, struct err *err)
{
	__cleanup_buf struct buf b = {0};
	struct codec c = codec_writer(&b);

	thread_codec(&c, t);
	if (b.failed || c.bad)
		return err_set(err, -ENOMEM, "out of memory");
	return image_writer_note(j->writer, "GODWIT", NOTE_THREAD, b.p, b.len, err);
}

/* From the stopped thread straight to the file.  An xsave area begins with what
 * NT_FPREGSET holds, the 512 bytes of fxsave (Intel SDM vol. 1, 13.4.1). */
static int write_vector_registers(struct job *j, size_t thread, uint8_t *buf, struct err *err)
{
	uint32_t size = j->proc->system.xstate_size;
	const uint8_t *xstate = j->proc->threads[thread].xstate;
	size_t len = xstate ? j->proc->threads[thread].xstate_len : size;
	pid_t tid = j->proc->threads[thread].tid;
	int ret = 0;

	if (!xstate) {
		ret = remote_xstate(&j->remote.threads[thread], buf, &len);
		xstate = buf;
	}
	if (ret)
		return err_sys(err, ret, "cannot read the vector registers of thread %d", tid);
	if (len != size)
		return err_set(err, -EPROTO, "thread %d has %zu bytes of vector registers, not %u",
			       tid, len, size);
	if ((ret = image_writer_note(j->writer, "CORE", NT_FPREGSET, xstate,
				     sizeof(struct user_fpregs_struct), err)))
		return ret;
	return image_writer_note(j->writer, "LINUX", NT_X86_XSTATE, xstate, size, err);
}

int job_write_notes(struct job *j, struct err *err)
{
	struct process *p = j->proc;
	__cleanup_free uint8_t *xstate = io_alloc(1, p->system.xstate_size, err);

	if (!xstate)
		return err->error;
	for (size_t i = 0; i < p->nthreads; i++) {
		int ret;

		if ((ret = write_prstatus(j, &p->threads[i], err)) ||
		    (ret = write_thread_state(j, &p->threads[i], err)) ||
		    (i == 0 && (ret = write_process_notes(j, err))) ||
		    (ret = write_vector_registers(j, i, xstate, err)))
			return ret;
	}
	return process_store(p, j->writer, err);
}

static bool is_of_few(const struct job *j)
{
	for (size_t i = 0; i < j->proc->nthreads; i++)
		if (!j->proc->threads[i].xstate)
			return false;
	return true;
}

int job_write_notes_of_many(struct job *j, struct err *err)
{
	return is_of_few(j) ? 0 : job_write_notes(j, err);
}

int job_write_notes_of_few(struct job *j, struct err *err)
{
	return is_of_few(j) ? job_write_notes(j, err) : 0;
}

/* --- segments --- */

static uint32_t segment_flags(const struct mapping *m)
{
	return (m->prot & PROT_READ ? PF_R : 0) | (m->prot & PROT_WRITE ? PF_W : 0) |
	       (m->prot & PROT_EXEC ? PF_X : 0);
}

/*
 * A segment reaches from its run to the next one of the mapping: what it has
 * more in memory than in the file reads as zeros, which is what never-touched
 * pages are.
 */
static int write_mapping(const struct process *p, struct image_writer *w, size_t i, size_t *dirty,
			 size_t *clean, struct err *err)
{
	const struct mapping *m = &p->mappings[i];
	uint64_t at = m->start, off = 0, filesz = 0;
	int ret;

	for (;;) {
		bool has_dirty = *dirty < p->nruns && !(p->runs[*dirty].flags & RUN_CLEAN) &&
				 p->runs[*dirty].mapping == i;
		bool has_clean = *clean < p->nruns && p->runs[*clean].mapping == i;
		size_t *next = has_dirty ? dirty : clean;

		if (has_dirty && has_clean && p->runs[*clean].start < p->runs[*dirty].start)
			next = clean;
		if (!has_dirty && !has_clean)
			break;
		const struct run *r = &p->runs[*next];

		if (r->start > at && (ret = image_writer_segment(w, at, r->start - at, off, filesz,
								 segment_flags(m), err)))
			return ret;
		at = r->start;
		off = IMAGE_DATA_START + r->place;
		filesz = r->flags & RUN_PARENT ? 0 : r->len;
		(*next)++;
	}
	return image_writer_segment(w, at, m->end - at, off, filesz, segment_flags(m), err);
}

int segments_write(const struct process *p, struct image_writer *w, struct err *err)
{
	size_t dirty = 0, clean = 0;

	while (clean < p->nruns && !(p->runs[clean].flags & RUN_CLEAN))
		clean++;
	for (size_t i = 0; i < p->nmappings; i++) {
		int ret = write_mapping(p, w, i, &dirty, &clean, err);

		if (ret)
			return ret;
	}
	return 0;
}

int job_write_segments(struct job *j, struct err *err)
{
	return segments_write(j->proc, j->writer, err);
}
