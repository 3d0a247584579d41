/* A restart up to the point of no return: see restart.h. */
#include "restart/restart.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/io.h"
#include "restart/internal.h"
#include "state/files.h"
#include "state/memory_sysv.h"
#include "state/vdso.h"

/* Everything that can be verified is verified here: nothing is touched. */
static int check_all(struct rebuild *b, struct err *err)
{
	for (size_t i = 0; state_kinds[i]; i++) {
		int ret;

		if (state_kinds[i]->check &&
		    (ret = state_kinds[i]->check(&b->restore, &b->proc, err)))
			return ret;
	}
	return restart_check_code(b, err);
}

/* The images below an incremental one. */
static int load_chain(struct rebuild *b, struct err *err)
{
	int ret;

	/* Else the other host could make us open any file. */
	if (b->o->feed && b->proc.parent.path)
		return err_image(err, "%s: a program that arrives cannot stand on an image here",
				 image_path(b->image));
	if ((ret = chain_open(b->image, &b->proc, &b->chain, err)))
		return ret;
	b->chain_fd = io_alloc(b->chain.n, sizeof(*b->chain_fd), err);
	if (!b->chain_fd)
		return err->error;
	for (size_t i = 0; i < b->chain.n; i++)
		b->chain_fd[i] = -1;
	for (size_t i = 1; i < b->chain.n; i++) {
		if ((ret = image_unpack(b->chain.v[i].img, b->o->meter, err)))
			return ret;
		b->chain_fd[i] = fcntl(image_fd(b->chain.v[i].img), F_DUPFD_CLOEXEC, 3);
		if (b->chain_fd[i] < 0)
			return err_sys(err, -errno, "cannot open '%s' again",
				       image_path(b->chain.v[i].img));
	}
	b->restore.chain = &b->chain;
	b->restore.chain_fd = b->chain_fd;
	return 0;
}

static int load(struct rebuild *b, struct err *err)
{
	uint64_t vdso;
	int ret;

	ret = b->o->feed ? image_open_fd(b->model_fd, b->o->image, &b->image, err)
			 : image_open(b->o->image, &b->image, err);
	if (ret || (ret = process_load(b->image, &b->proc, err)) ||
	    (ret = image_unpack(b->image, b->o->meter, err)) || (ret = vdso_here(&vdso, err)) ||
	    (ret = vdso_adapt(&b->proc, vdso, err)))
		return ret;
	for (size_t i = 0; i < b->o->nfds; i++)
		if ((ret = files_give(&b->proc, b->o->fds[i].fd, b->o->fds[i].source, err)))
			return ret;
	/* A descriptor of its own for the new process, out of the way of 0-2. */
	b->restore.image_fd = fcntl(image_fd(b->image), F_DUPFD_CLOEXEC, 3);
	if (b->restore.image_fd < 0)
		return err_sys(err, -errno, "cannot open '%s' again", b->o->image);
	if ((ret = load_chain(b, err)))
		return ret;
	b->restore.image = b->image;
	b->restore.proc = &b->proc;
	b->tids = io_alloc(b->proc.nthreads, sizeof(*b->tids), err);
	b->restore.new_tids = b->tids;
	return b->tids ? 0 : err->error;
}

static int become(struct rebuild *b, struct err *err)
{
	sigset_t all;
	int ret;

	/* Signals that come from now on wait for the program. */
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	prctl(PR_SET_NAME, STATE_RESTART_COMM);
	b->restore.new_pid = getpid();
	if (!b->proc.leader_ended)
		b->tids[0] = b->restore.new_pid;
	if ((ret = guard_myself(b, err)))
		return ret;
	return exec_program(b, err);
}

static void forget(struct rebuild *b)
{
	for (size_t i = 1; b->chain_fd && i < b->chain.n; i++)
		io_close_fd(&b->chain_fd[i]);
	free(b->chain_fd);
	chain_done(&b->chain);
	process_done(&b->proc);
	image_close(b->image);
	io_close_fd(&b->restore.image_fd);
	free(b->restore.file_matches);
	free(b->tids);
	proc_maps_done(&b->maps);
	buf_done(&b->maps_text);
	memory_early_done(&b->early);
	memory_sysv_done(&b->restore);
}

int restart_act(struct rebuild *b, struct err *err)
{
	for (size_t i = 0; state_kinds[i]; i++) {
		int ret;

		if (state_kinds[i]->act && (ret = state_kinds[i]->act(&b->restore, &b->proc, err)))
			return ret;
	}
	return 0;
}

static void init(struct rebuild *b, const struct restart_options *o,
		 void (*notice)(void *, const char *), void *arg)
{
	*b = (struct rebuild){.o = o, .remote = REMOTE_NONE};
	b->restore = (struct restore){
		.files = o->files,
		.ids = o->ids,
		.explain = o->explain,
		.tracer = o->tracer,
		.image_fd = -1,
		.is_fed = o->feed,
		.know_files = o->feed ? o->feed->know : NULL,
		.know_arg = o->feed ? o->feed->arg : NULL,
		.stand_in = o->feed ? o->feed->stand_in : NULL,
		.notice = notice,
		.notice_arg = arg,
	};
	b->model_fd = o->feed ? o->feed->model_fd : -1;
	if (o->feed && o->feed->is_early) {
		b->restore.early = &b->early;
		b->restore.still_runs = true;
	}
}

int restart_reload(struct rebuild *b, int fd, struct err *err)
{
	pid_t program = b->proc.pid;
	int ret, number = b->restore.image_fd;

	chain_done(&b->chain);
	b->chain = (struct chain){0};
	free(b->chain_fd); /* of a fed one there are no others below */
	b->chain_fd = NULL;
	image_close(b->image);
	b->image = NULL;
	process_done(&b->proc);
	b->proc = (struct process){0};
	free(b->tids);
	b->tids = NULL;
	b->model_fd = fd;
	b->restore.still_runs = false;
	ret = load(b, err);
	close(fd);
	/* The new process has it under the number that it was executed with. */
	if (b->restore.image_fd != number && dup3(b->restore.image_fd, number, O_CLOEXEC) >= 0)
		close(b->restore.image_fd);
	b->restore.image_fd = number;
	if (!ret && b->proc.pid != program)
		ret = err_set(err, -EPROTO, "another program's state came");
	if (!ret)
		ret = check_all(b, err);
	if (ret)
		return ret;
	for (size_t i = 0; b->same_ids && i < b->proc.nthreads; i++)
		b->tids[i] = b->proc.threads[i].tid;
	if (!b->proc.leader_ended)
		b->tids[0] = b->restore.new_pid;
	return 0;
}

static int load_and_check(struct rebuild *b, struct err *err)
{
	int ret = load(b, err);

	return ret ? ret : check_all(b, err);
}

int restart_check(const struct restart_options *o, void (*notice)(void *, const char *), void *arg,
		  struct err *err)
{
	struct rebuild b;
	int ret;

	init(&b, o, notice, arg);
	ret = load_and_check(&b, err);
	forget(&b);
	return ret;
}

int restart(const struct restart_options *o, void (*notice)(void *, const char *), void *arg,
	    int *ret_status, struct err *err)
{
	struct rebuild b;
	int ret;

	init(&b, o, notice, arg);
	ret = load_and_check(&b, err);
	if (!ret && o->explain)
		ret = rebuild_explain(&b, err);
	else if (!ret)
		ret = restart_wants_same_ids(&b) ? restart_same_ids(&b, ret_status, err)
						 : become(&b, err);
	forget(&b);
	return ret;
}
