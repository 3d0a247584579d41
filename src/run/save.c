/*
 * A checkpoint beside the watching: made by a process of its own, which waits for the
 * checkpoint's guardian, so that keys, signals and the program's end are seen meanwhile.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/io.h"
#include "run/internal.h"

static void notice(void *arg, const char *text)
{
	const struct run_listener *l = arg;

	l->notice(l->arg, text);
}

/* The program has ended with its last image, which is complete: the next run moves it up. */
static void not_yet_moved(const struct guardian_listener *l, const char *name, struct err *err)
{
	__cleanup_free char *text = NULL;

	if (l->notice &&
	    asprintf(&text, "the newest image is '%s' until the next run: %s", name, err->what) > 0)
		l->notice(l->arg, text);
	*err = (struct err)ERR_INIT;
}

/* Without the second name nothing can stand on it: the next one will be complete. */
static void link_part(const struct run_images *im, unsigned part, const struct guardian_listener *l)
{
	__cleanup_free char *text = NULL;
	struct err err = ERR_INIT;

	if (parts_link(im, part, &err) && l->notice &&
	    asprintf(&text, "a complete image each time: %s", err.what) > 0)
		l->notice(l->arg, text);
}

/* What it may stand on: the one before, unless a complete one is due.  To the caller's free(). */
static char *parent_name(const struct jobrun *r, enum save_kind kind, struct err *err)
{
	char *none;

	/* The last one is wanted soon. */
	if (r->images.tip && (kind == SAVE_LAST || !parts_are_many(&r->images)))
		return parts_name(&r->images, r->images.tip, err);
	if (!(none = strdup("")))
		err_set(err, -ENOMEM, "out of memory");
	return none;
}

static int save(const struct jobrun *r, enum save_kind kind, unsigned part, bool quiet,
		struct err *err)
{
	struct guardian_listener listener = {.notice = quiet || !r->l->notice ? NULL : notice,
					     .arg = (void *)(uintptr_t)r->l};
	__cleanup_free char *name = images_next(&r->images, err);
	__cleanup_free char *parent = parent_name(r, kind, err);
	__cleanup_free char *known_as = parts_name(&r->images, part, err);
	struct checkpoint_options o = {
		.pid = r->child.pid,
		.image = name,
		.kill = kind == SAVE_LAST,
		.is_unborn = kind == SAVE_FIRST,
		/* The others find it stopped anyway: rounds would be in vain. */
		.pause = kind == SAVE_INTERVAL ? r->o->pause : PAUSE_COPY,
		.incremental = part,
		.parent = parent,
		.known_as = known_as,
		.threads = r->o->threads,
		.packing = r->o->packing,
		.job = r->o->argv,
		.njob = r->o->argc,
	};
	struct checkpoint_result result;
	int ret;

	if (!name || !parent || !known_as)
		return err->error;
	if ((ret = checkpoint(&o, &listener, &result, err)))
		return ret;
	if (part && kind != SAVE_LAST)
		link_part(&r->images, part, &listener);
	ret = images_promote(&r->images, err);
	if (ret && kind == SAVE_LAST)
		not_yet_moved(&listener, name, err);
	else if (ret)
		return ret;
	else if (r->images.chained)
		parts_sweep(&r->images, part);
	return 0;
}

static void be_saver(const struct jobrun *r, int fd, const struct save *s, bool quiet)
{
	static const int keys[] = {SIGINT, SIGQUIT, SIGHUP, SIGTTOU, SIGTSTP};
	struct err err = ERR_INIT;
	sigset_t none;
	int ret;

	/* Not of our group: only we call it off, by SIGTERM.  Notices may go to a terminal. */
	setpgid(0, 0);
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		signal(keys[i], SIG_IGN);
	signal(SIGTERM, SIG_DFL);
	sigemptyset(&none);
	sigaddset(&none, SIGINT);
	sigaddset(&none, SIGQUIT);
	sigaddset(&none, SIGHUP);
	sigprocmask(SIG_SETMASK, &none, NULL);
	ret = save(r, s->kind, s->part, quiet, &err);
	if (ret && io_write_all(fd, &err, sizeof(err)))
		_exit(EXIT_FAILED);
	_exit(ret ? EXIT_FAILED : 0);
}

/* At its first instruction nothing is worth to be tracked; and of one that ends nothing more is
 * stored, which saves time where there is a chain. */
static bool is_incremental(const struct jobrun *r, enum save_kind kind)
{
	return r->o->incremental && (kind == SAVE_INTERVAL || (kind == SAVE_LAST && r->images.tip));
}

int save_begin(struct jobrun *r, struct save *s, enum save_kind kind, bool quiet, struct err *err)
{
	int pair[2];
	pid_t pid;

	if (pipe2(pair, O_CLOEXEC))
		return err_sys(err, -errno, "cannot make a pipe");
	*s = (struct save){.fd = pair[0], .kind = kind, .begun_ns = io_now_ns()};
	if (is_incremental(r, kind))
		s->part = ++r->images.part;
	pid = fork();
	if (pid == 0) {
		close(pair[0]);
		be_saver(r, pair[1], s, quiet);
	}
	close(pair[1]);
	if (pid < 0) {
		close(pair[0]);
		return err_sys(err, -errno, "cannot start a process");
	}
	s->pid = pid;
	return 0;
}

/* If it has got its name, it is what the next one stands on. */
static void note_tip(struct run_images *im, unsigned part)
{
	struct err ignored = ERR_INIT;
	__cleanup_free char *name = parts_name(im, part, &ignored);

	im->tip = name && !access(name, F_OK) ? part : 0;
}

int save_end(struct jobrun *r, struct save *s, int status, struct err *err)
{
	bool good = WIFEXITED(status) && !WEXITSTATUS(status);

	if (!good && io_read_all(s->fd, err, sizeof(*err)))
		err_set(err, -EPIPE, "the process that makes the checkpoint was killed");
	close(s->fd);
	s->pid = 0;
	if (good && s->part)
		note_tip(&r->images, s->part);
	return good ? 0 : err->error;
}

void save_cancel(const struct save *s)
{
	kill(s->pid, SIGTERM);
}
