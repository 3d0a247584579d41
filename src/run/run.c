/* The life of a job under watch: see run.h. */
#include "run/run.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/io.h"
#include "run/internal.h"

/* Nobody tells a job that runs in the background that it has been brought forward. */
#define LOOK_NS (200ULL * 1000 * 1000)
#define FOR_EVER UINT64_MAX
#define HOUR_MS 3600000

/* What is known while it runs. */
struct watch {
	struct jobrun *r;
	struct save save;
	uint64_t next_ns; /* of the next checkpoint */
	int leave;        /* the signal that means to, not yet obeyed; 0: none */
	bool passed;      /* one of those was passed on to the program */
	bool stopped;     /* the program, by a signal */
	bool said;        /* the notices of a checkpoint: they would be the same each time */
	bool saved;       /* the last checkpoint is safe; the program is being killed */
	bool ended;
	int status;
};

static void notice(const struct jobrun *r, const char *text)
{
	if (r->l->notice)
		r->l->notice(r->l->arg, text);
}

/* So late that at most half of the time goes to checkpoints. */
static uint64_t after(const struct watch *w, uint64_t begun)
{
	uint64_t now = io_now_ns(), next = begun + w->r->o->every_ns;

	if (!w->r->o->every_ns)
		return FOR_EVER;
	return next > now + (now - begun) ? next : now + (now - begun);
}

static void begin_save(struct watch *w, enum save_kind kind)
{
	struct err err = ERR_INIT;

	if (save_begin(w->r, &w->save, kind, w->said, &err)) {
		w->next_ns = after(w, io_now_ns());
		w->r->l->complain(w->r->l->arg, &err);
	}
	w->said = true;
}

static void pass_leave_on(struct watch *w)
{
	group_signal(&w->r->group, w->leave);
	/* One that is stopped would not get it. */
	group_signal(&w->r->group, SIGCONT);
	w->passed = true;
	w->leave = 0;
}

static void complain_of_save(struct watch *w, struct err *err)
{
	const struct jobrun *r = w->r;

	if (w->save.kind == SAVE_LAST)
		err_prepend(err, "no checkpoint before leaving, the signal is passed on");
	else if (w->next_ns == FOR_EVER)
		err_prepend(err, "no checkpoint, the program goes on");
	else
		err_prepend(err, "no checkpoint, the program goes on; tried again in %llu s",
			    (unsigned long long)((w->next_ns - io_now_ns()) / 1000000000));
	r->l->complain(r->l->arg, err);
}

/* The process that made a checkpoint has ended. */
static void after_save(struct watch *w, int status)
{
	struct err err = ERR_INIT;
	bool last = w->save.kind == SAVE_LAST, cancelled = w->leave && !last;
	int ret = save_end(w->r, &w->save, status, &err);

	w->next_ns = after(w, w->save.begun_ns);
	if (!ret && last) {
		w->saved = true;
		w->leave = 0;
	}
	if (!ret || cancelled || err.error == -ESRCH)
		return; /* -ESRCH: it has ended; that is told by itself */
	complain_of_save(w, &err);
	if (last)
		pass_leave_on(w);
}

static void after_stop(struct watch *w, int sig)
{
	w->stopped = !group_stop(&w->r->group, sig);
}

static void reap(struct watch *w)
{
	const struct run_child *child = &w->r->child;
	struct err err = ERR_INIT;
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG | WUNTRACED | WCONTINUED)) > 0) {
		if (pid == child->pid && WIFSTOPPED(status)) {
			after_stop(w, WSTOPSIG(status));
		} else if (pid == child->pid && WIFCONTINUED(status)) {
			w->stopped = false;
		} else if (pid == child->pid) {
			w->ended = true;
			w->status = status;
		} else if (pid == w->save.pid && !WIFSTOPPED(status) && !WIFCONTINUED(status)) {
			after_save(w, status);
		} else if (pid == child->lifeline && !WIFSTOPPED(status) && !w->ended) {
			w->r->child.lifeline = lifeline_start(child->pid, w->r->images.lock, &err);
		}
	}
}

static void take_signal(struct watch *w, const struct signalfd_siginfo *s)
{
	int sig = (int)s->ssi_signo;

	if (sig == SIGCHLD)
		return;
	if (run_is_leave(sig) && !w->passed) {
		if (!w->leave && !w->saved)
			w->leave = sig;
		return;
	}
	if (sig != SIGCONT && group_wants(&w->r->group, s))
		group_signal(&w->r->group, sig);
	if (sig == SIGCONT && w->stopped)
		group_signal(&w->r->group, SIGCONT);
}

static int timeout_ms(const struct watch *w)
{
	uint64_t now = io_now_ns(), until = FOR_EVER, ms;

	if (!w->save.pid && !w->stopped && !w->saved)
		until = w->next_ns;
	if (group_must_look(&w->r->group) && until > now + LOOK_NS)
		until = now + LOOK_NS;
	if (until == FOR_EVER)
		return -1;
	if (until <= now)
		return 0;
	/* Rounded up: else it would spin in the last millisecond. */
	ms = (until - now) / 1000000 + 1;
	return (int)(ms < HOUR_MS ? ms : HOUR_MS);
}

static void act(struct watch *w)
{
	if (w->saved)
		return; /* its end is near */
	if (w->leave && !w->save.pid)
		begin_save(w, SAVE_LAST);
	else if (w->leave && w->save.kind != SAVE_LAST)
		save_cancel(&w->save); /* it is faster saved when it is stopped */
	else if (!w->save.pid && !w->stopped && io_now_ns() >= w->next_ns)
		begin_save(w, SAVE_INTERVAL);
	if (w->leave && !w->save.pid)
		pass_leave_on(w); /* not even begun */
}

/*
 * The program has ended: so does a checkpoint that is being made.  It may be the last one,
 * of which the program has ended: its death is seen first, now and then.
 */
static void end_save(struct watch *w)
{
	bool last = w->save.kind == SAVE_LAST;
	struct err err = ERR_INIT;
	int status = 0;

	if (!w->save.pid)
		return;
	if (!last)
		save_cancel(&w->save);
	while (waitpid(w->save.pid, &status, 0) < 0 && errno == EINTR)
		;
	if (save_end(w->r, &w->save, status, &err) == 0)
		w->saved = last;
	else if (last && err.error != -ESRCH)
		complain_of_save(w, &err);
}

static void watch(struct watch *w)
{
	for (;;) {
		struct pollfd v = {.fd = w->r->signals, .events = POLLIN};
		struct signalfd_siginfo s;

		if (poll(&v, 1, timeout_ms(w)) > 0)
			while (read(v.fd, &s, sizeof(s)) == sizeof(s))
				take_signal(w, &s);
		reap(w);
		if (w->ended)
			return;
		group_give(&w->r->group);
		act(w);
	}
}

static int watch_to_the_end(struct jobrun *r, int *ret_status)
{
	struct watch w = {.r = r, .next_ns = FOR_EVER};

	if (r->o->every_ns)
		w.next_ns = io_now_ns() + r->o->every_ns;
	watch(&w);
	end_save(&w);
	if (WIFSIGNALED(w.status) && !w.saved)
		group_died(&r->group, WTERMSIG(w.status));
	else
		group_take(&r->group);
	*ret_status = w.status;
	if (w.saved)
		return RUN_SAVED;
	/* By itself: one that was told to leave and says 0 may well not be done. */
	if (WIFEXITED(w.status) && !WEXITSTATUS(w.status) && !w.passed)
		images_remove(&r->images);
	return RUN_ENDED;
}

/* The first image, of the program before its first instruction. */
static void first_image(struct jobrun *r)
{
	struct err err = ERR_INIT;
	struct save s = {0};
	int status;

	if (!save_begin(r, &s, SAVE_FIRST, true, &err)) {
		while (waitpid(s.pid, &status, 0) < 0 && errno == EINTR)
			;
		if (!save_end(r, &s, status, &err))
			return;
	}
	if (err.error == -ESRCH)
		return;
	err_prepend(&err, "no first checkpoint, the program begins without");
	r->l->complain(r->l->arg, &err);
}

/* --- which image? --- */

static bool is_same_list(char *const *a, size_t na, char *const *b, size_t nb)
{
	for (size_t i = 0; i < na && i < nb; i++)
		if (strcmp(a[i], b[i]))
			return false;
	return na == nb;
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* An image that another command has made knows the program's argv alone. */
static bool is_our_job(const struct run_options *o, const struct process *p)
{
	if (p->njob)
		return is_same_list(p->job, p->njob, o->argv, o->argc);
	return p->argc && !strcmp(base_name(p->argv[0]), base_name(o->argv[0])) &&
	       is_same_list(p->argv + 1, p->argc - 1, o->argv + 1, o->argc - 1);
}

/* Opens it as a restart does, and compares the command lines. */
static int check_job(const struct run_options *o, const char *image, struct err *err)
{
	__cleanup_buf struct buf line = {0};
	struct process p = {0};
	struct image *img;
	char *const *v;
	int ret = image_open(image, &img, err);
	size_t n;

	if (ret)
		return ret;
	ret = process_load(img, &p, err);
	if (!ret && !is_our_job(o, &p)) {
		v = p.njob ? p.job : p.argv;
		n = p.njob ? p.njob : p.argc;
		for (size_t i = 0; i < n && line.len < 300; i++)
			buf_printf(&line, " %s", v[i]);
		ret = err_set(err, -EEXIST, "'%s' is of another job:%.300s", image,
			      line.p ? line.p : "");
		err->exit = EXIT_USAGE;
		err_hint(err, "give this job an image of its own (-o), or the same command line; "
			      "godwit restart wakes up whatever an image holds");
	}
	process_done(&p);
	image_close(img);
	return ret;
}

/* The youngest image that is there, from the k-th on; above keep: none. */
static unsigned next_image(const struct jobrun *r, unsigned k)
{
	struct err ignored = ERR_INIT;

	for (; k <= r->images.keep; k++) {
		__cleanup_free char *name = images_name(&r->images, k, &ignored);

		if (name && (!access(name, F_OK) || errno != ENOENT))
			break;
	}
	return k;
}

/* As start_resume, for an image of this job. */
static int resume_from(struct jobrun *r, unsigned k, int *ret_status, struct err *err)
{
	__cleanup_free char *name = images_name(&r->images, k, err);
	int ret;

	if (!name || (ret = check_job(r->o, name, err)))
		return err->error;
	return start_resume(r, name, ret_status, err);
}

static void tell_older(const struct jobrun *r, unsigned k)
{
	char text[4352];

	snprintf(text, sizeof(text), "going on from an older image, '%s.%u'", r->images.path, k);
	notice(r, text);
}

/*
 * From the newest image that is good.  As start_resume; 3: there is none at all.
 * What is to be said is said when the program runs: the output may be a file that the
 * restart cuts back.
 */
static int resume_newest(struct jobrun *r, int *ret_status, struct err *err)
{
	unsigned k = next_image(r, 0), next;
	bool damaged = false;
	int ret;

	if (k > r->images.keep)
		return 3;
	for (;; k = next) {
		struct err why = ERR_INIT;

		ret = resume_from(r, k, ret_status, &why);
		if (!err->error)
			*err = why;
		if (!ret || ret == 2)
			break;
		if ((ret < 0 && why.exit != EXIT_BAD_IMAGE) ||
		    (ret == 1 && *ret_status != EXIT_BAD_IMAGE)) {
			*err = why;
			return ret;
		}
		next = next_image(r, k + 1);
		if (next > r->images.keep) {
			if (err->error)
				err_hint(err, "restore it from a copy, or remove it: then the job "
					      "begins anew; --keep keeps older ones");
			return err->error ? err->error : ret;
		}
		damaged = true;
	}
	if (err->error)
		r->l->complain(r->l->arg, err);
	if (k)
		tell_older(r, k);
	*err = ERR_INIT;
	return !ret && damaged ? images_demote(&r->images, k, err) : ret;
}

static int begin(struct jobrun *r, int *ret_status, struct err *err)
{
	int ret = resume_newest(r, ret_status, err);

	if (ret == 2)
		return RUN_SAVED;
	if (ret == 1)
		return RUN_FAILED;
	if (ret == 3) {
		if ((ret = start_fresh(r, ret_status, err)))
			return ret;
		first_image(r);
		start_go(r);
	}
	return ret ? ret : watch_to_the_end(r, ret_status);
}

static int run_blocked(struct jobrun *r, int *ret_status, struct err *err)
{
	const struct run_options *o = r->o;
	sigset_t all;
	int ret, low;

	if ((ret = images_open(&r->images, o, &r->mask, err)))
		return ret;
	sigfillset(&all);
	low = signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK);
	r->signals = fcntl(low, F_DUPFD_CLOEXEC, 3); /* 0-2 may be closed */
	close(low);
	if (r->signals < 0)
		return err_sys(err, -EMFILE, "cannot watch for signals");
	group_init(&r->group);
	ret = begin(r, ret_status, err);
	group_done(&r->group);
	return ret;
}

int run(const struct run_options *o, const struct run_listener *l, int *ret_status, struct err *err)
{
	struct jobrun r = {
		.o = o,
		.l = l,
		.images = {.lock = -1},
		.child = {.pid = -1, .pidfd = -1},
		.signals = -1,
	};
	sigset_t all;
	int ret;

	fault_init();
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &r.mask);
	ret = run_blocked(&r, ret_status, err);
	images_close(&r.images);
	io_close_fd(&r.child.pidfd);
	io_close_fd(&r.signals);
	return ret;
}
