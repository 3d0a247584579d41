/* The kinds of state in their order, and the model in and out of an image. */
#include "state/state.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/stat.h>

#include "base/io.h"

/* Order of capture, of the notes and of the restart's calls: memory comes
 * first, since it needs the image's descriptor; the limits last. */
/* clang-format off */
const struct state_ops *const state_kinds[] = {
	&state_system,
	&state_cpu,
	&state_ids,
	&state_leader,
	&state_contents,
	&state_memory,
	&state_runs,
	&state_places,
	&state_parent,
	&state_files,
	&state_timers,
	&state_timers_posix,
	&state_signals,
	&state_terminal_modes,
	&state_scheduling,
	&state_advice,
	&state_surroundings,
	&state_unix_unread,
	&state_flight,
	&state_file_signals,
	&state_settings,
	&state_capabilities,
	&state_seccomp,
	&state_job,
	NULL,
};
/* clang-format on */

static void notice(void (*fn)(void *, const char *), void *arg, const char *fmt, va_list ap)
{
	char text[1024];

	vsnprintf(text, sizeof(text), fmt, ap);
	if (fn)
		fn(arg, text);
}

void capture_notice(const struct capture *c, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	notice(c->notice, c->notice_arg, fmt, ap);
	va_end(ap);
}

const char *restore_stand_in(const struct restore *r, const char *path)
{
	return r->stand_in ? r->stand_in(r->know_arg, path) : NULL;
}

void restore_notice(const struct restore *r, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	notice(r->notice, r->notice_arg, fmt, ap);
	va_end(ap);
}

static int load_kind(struct image *img, const struct state_ops *k, struct process *p,
		     struct err *err)
{
	struct image_note note;
	struct codec c;

	if (!image_note_find(img, "GODWIT", k->note, &note) && k->optional)
		return 0;
	if (!image_note_find(img, "GODWIT", k->note, &note))
		return err_image(err, "%s: the note on %s is missing", image_path(img), k->name);
	c = codec_reader(note.desc, note.len);
	k->codec(&c, p);
	if (c.bad || c.left)
		return err_image(err, "%s: the note on %s is malformed", image_path(img), k->name);
	return 0;
}

/* Thread notes: each GODWIT note, followed by the thread's NT_X86_XSTATE. */
static int load_threads(struct image *img, struct process *p, struct err *err)
{
	struct image_note note;
	size_t cursor = 0, cap = 0;
	int ret;

	while ((ret = image_note_next(img, &cursor, &note)) == 1) {
		if (!strcmp(note.owner, "GODWIT") && note.type == NOTE_THREAD) {
			struct codec c = codec_reader(note.desc, note.len);
			void *v = io_grow(p->threads, &cap, p->nthreads + 1, sizeof(*p->threads),
					  err);

			if (!v)
				return err->error;
			p->threads = v;
			memset(&p->threads[p->nthreads], 0, sizeof(*p->threads));
			thread_codec(&c, &p->threads[p->nthreads++]);
			if (c.bad || c.left)
				return err_image(err, "%s: the note on thread %zu is malformed",
						 image_path(img), p->nthreads);
		} else if (!strcmp(note.owner, "LINUX") && note.type == 0x202 && p->nthreads) {
			struct thread *t = &p->threads[p->nthreads - 1];

			t->xstate_off = note.offset;
			t->xstate_len = (uint32_t)note.len;
		}
	}
	if (ret < 0)
		return err_image(err, "%s: malformed notes", image_path(img));
	return p->nthreads ? 0 : err_image(err, "%s: it has no threads", image_path(img));
}

/* What the image says that it needs must be there. */
static int check_needs(struct image *img, const struct process *p, struct err *err)
{
	if ((image_required(img) & IMAGE_NEEDS_PLACES) && !p->places_given)
		return err_image(err, "%s: the note on the places of the stored ranges is missing",
				 image_path(img));
	if ((image_required(img) & IMAGE_NEEDS_PARENT) && !p->parent.path)
		return err_image(err, "%s: the note on its parent is missing", image_path(img));
	return 0;
}

int process_load(struct image *img, struct process *p, struct err *err)
{
	int ret = 0;

	memset(p, 0, sizeof(*p));
	for (size_t i = 0; state_kinds[i] && !ret; i++)
		ret = load_kind(img, state_kinds[i], p, err);
	if (!ret)
		ret = load_threads(img, p, err);
	if (!ret)
		ret = check_needs(img, p, err);
	for (size_t i = 0; state_kinds[i] && !ret; i++)
		if (state_kinds[i]->validate)
			ret = state_kinds[i]->validate(p, err);
	if (!ret && state_threads.validate)
		ret = state_threads.validate(p, err);
	if (ret) {
		if (err->exit == EXIT_BAD_IMAGE)
			err_hint(err, "the file was made by another version or by hand: see godwit "
				      "verify");
		process_done(p);
	}
	return ret;
}

int process_store(const struct process *p, struct image_writer *w, struct err *err)
{
	for (size_t i = 0; state_kinds[i]; i++) {
		__cleanup_buf struct buf b = {0};
		struct codec c = codec_writer(&b);
		int ret;

		if (state_kinds[i]->is_needed && !state_kinds[i]->is_needed(p))
			continue;
		/* A writing codec reads the model only. */
		state_kinds[i]->codec(&c, (struct process *)(uintptr_t)p);
		if (b.failed || c.bad)
			return err_set(err, -ENOMEM, "out of memory while storing %s",
				       state_kinds[i]->name);
		ret = image_writer_note(w, "GODWIT", state_kinds[i]->note, b.p, b.len, err);
		if (ret)
			return ret;
	}
	return 0;
}

void process_done(struct process *p)
{
	for (size_t i = 0; state_kinds[i]; i++)
		if (state_kinds[i]->done)
			state_kinds[i]->done(p);
	state_threads.done(p);
	memset(p, 0, sizeof(*p));
}

int state_read_proc(struct capture *c, const char *name, struct buf *b, struct err *err)
{
	int ret = io_read_file(c->remote->procfd, name, b);

	return ret ? err_sys(err, ret, "cannot read /proc/%d/%s", c->remote->pid, name) : 0;
}

void codec_mapped_file(struct codec *c, struct mapped_file *f)
{
	codec_str(c, &f->path);
	codec_u64(c, &f->dev);
	codec_u64(c, &f->ino);
	codec_u64(c, &f->size);
	codec_i64(c, &f->mtime_ns);
	codec_u32(c, &f->build_id_len);
	codec_bytes(c, f->build_id, sizeof(f->build_id));
	if (f->build_id_len > sizeof(f->build_id))
		c->bad = true;
}

void codec_pending(struct codec *c, struct pending_signal **v, size_t *n)
{
	codec_array(c, v, n, sizeof(**v), sizeof((*v)->info), 1u << 20);
	for (size_t i = 0; i < *n; i++)
		codec_bytes(c, (*v)[i].info, sizeof((*v)[i].info));
}

int state_peek_pending(pid_t tid, bool shared, struct pending_signal **ret, size_t *ret_n,
		       struct err *err)
{
	struct pending_signal some[32], *v = NULL;
	struct __ptrace_peeksiginfo_args a = {
		.flags = shared ? PTRACE_PEEKSIGINFO_SHARED : 0,
		.nr = ARRAY_SIZE(some),
	};
	size_t cap = 0;
	long n;

	_Static_assert(sizeof(struct pending_signal) == 128, "siginfo_t");
	while ((n = ptrace(PTRACE_PEEKSIGINFO, tid, &a, some)) > 0) {
		void *grown = io_grow(v, &cap, a.off + (size_t)n, sizeof(*v), err);

		if (!grown)
			break;
		v = grown;
		memcpy(v + a.off, some, (size_t)n * sizeof(*v));
		a.off += (uint64_t)n;
	}
	if (n < 0)
		err_sys(err, -errno, "cannot read the pending signals of thread %d", tid);
	if (err->error) {
		free(v);
		return err->error;
	}
	*ret = v;
	*ret_n = a.off;
	return 0;
}
