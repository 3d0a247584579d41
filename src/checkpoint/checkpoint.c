/*
 * A checkpoint, step by step: the list below is its documentation.
 *
 * Until the image is complete and has its name, any failure, and the death of
 * the command, lead to the same end: the program goes on, the old image is
 * untouched, nothing of ours is left.
 */
#include "checkpoint/checkpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/io.h"
#include "proc/status.h"
#include "checkpoint/internal.h"
#include "checkpoint/live.h"
#include "state/memory.h"

bool job_is_cancelled(const struct job *j)
{
	struct pollfd p = {.fd = j->front, .events = POLLIN | POLLRDHUP};

	/* Nothing is ever sent to the guardian: readable means shut down. */
	return poll(&p, 1, 0) > 0;
}

static int read_maps(struct job *j, struct err *err)
{
	static struct buf text; /* the maps point into it; one job a process */
	int ret;

	proc_maps_done(&j->maps);
	if ((ret = state_read_proc(&j->capture, "maps", &text, err)))
		return ret;
	return proc_parse_maps(text.p, &j->maps, err);
}

/* Another godwit may be at work on the program, or about to make it: how long
 * to wait for that, and how long between two looks. */
#define PATIENCE_NS (10ULL * 1000 * 1000 * 1000)
#define LOOK_NS (5 * 1000 * 1000)

static void pause_a_little(void)
{
	struct timespec t = {.tv_nsec = LOOK_NS};

	nanosleep(&t, NULL);
}

/* What may as well be known before the program is stopped. */
int job_look(struct job *j, struct err *err)
{
	__cleanup_fd int procfd = remote_open_proc(j->o->pid, "", O_RDONLY | O_DIRECTORY);
	struct err ignored = ERR_INIT;

	(void)err;
	/* Where that fails, the stop says why. */
	if (procfd >= 0 && advice_read_early(procfd, &j->early, &ignored))
		advice_early_done(&j->early);
	if (procfd >= 0 && scheduling_read_early(procfd, &j->early_scheduling, &ignored))
		scheduling_early_done(&j->early_scheduling);
	return 0;
}

static int stop_once(struct job *j, struct err *err)
{
	int ret = remote_seize(&j->remote, j->o->pid, err);

	if (ret)
		return ret;
	if ((ret = read_maps(j, err)) || (ret = remote_check(&j->remote, &j->maps, err)))
		remote_release(&j->remote);
	return ret;
}

int job_stop(struct job *j, struct err *err)
{
	uint64_t begun = io_now_ns();
	int ret;

	for (;;) {
		ret = stop_once(j, err);
		j->stopped_ns = j->remote.stopped_ns;
		if ((ret != -EALREADY && ret != -EINPROGRESS) ||
		    io_now_ns() - begun > PATIENCE_NS || job_is_cancelled(j))
			return ret;
		*err = ERR_INIT;
		pause_a_little();
	}
}

int job_prepare(struct job *j, struct err *err)
{
	int ret = threads_read_registers(&j->capture, j->proc, err);

	return ret ? ret : remote_prepare(&j->remote, &j->maps, err);
}

int job_collect(struct job *j, struct err *err)
{
	for (size_t i = 0; state_kinds[i]; i++) {
		int ret;

		if (state_kinds[i]->capture &&
		    (ret = state_kinds[i]->capture(&j->capture, j->proc, err)))
			return ret;
		fault_point(state_kinds[i]->name);
		if (job_is_cancelled(j))
			return err_set(err, -ECANCELED, "interrupted");
	}
	return state_threads.capture(&j->capture, j->proc, err);
}

/* The target is left as it was, but stopped: only its memory is still wanted. */
int job_give_back(struct job *j, struct err *err)
{
	(void)err;
	remote_finish(&j->remote);
	return 0;
}

static int step_open_image(struct job *j, struct err *err)
{
	int ret;

	if ((ret = job_plan_copy(j, err)) ||
	    (ret = image_writer_open(j->o->image, &j->writer, err)))
		return ret;
	fault_point("image begun");
	return image_writer_set_data_size(j->writer, memory_stored_bytes(j->proc), err);
}

static int step_release(struct job *j, struct err *err)
{
	(void)err;
	if (j->o->kill)
		return 0; /* it stays stopped until the image is safe */
	remote_release(&j->remote);
	j->released = true;
	j->released_ns = io_now_ns();
	fault_point("released");
	return 0;
}

static bool packed_so_far(void *arg, uint64_t done, uint64_t all)
{
	struct job *j = arg;

	guardian_progress(j->front, done, all);
	return !job_is_cancelled(j);
}

/* In one thread a core, or as many as were asked for. */
static int step_compress(struct job *j, struct err *err)
{
	struct image_packing packing;
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);

	if (!j->o->packing)
		return 0;
	fault_point("image complete");
	packing = *j->o->packing;
	packing.threads = j->o->threads ? j->o->threads : cpus < 1 ? 1 : (unsigned)cpus;
	packing.tick = packed_so_far;
	packing.arg = j;
	return image_writer_pack(j->writer, &packing, err);
}

static int step_commit(struct job *j, struct err *err)
{
	if (job_is_cancelled(j))
		return err_set(err, -ECANCELED, "interrupted");
	return image_writer_commit(j->writer, err);
}

static int step_kill(struct job *j, struct err *err)
{
	(void)err;
	fault_point("image safe");
	if (j->o->kill) {
		remote_kill(&j->remote);
		j->released = true;
		j->released_ns = io_now_ns();
	}
	return 0;
}

struct step {
	const char *name;
	int (*run)(struct job *, struct err *);
};

static const struct step steps_copy[] = {
	{"look", job_look},
	{"stop", job_stop},
	{"prepare", job_prepare},
	{"collect", job_collect},
	{"give back", job_give_back},
	{"open image", step_open_image},
	{"notes", job_write_notes_of_many},
	{"memory", job_copy_memory},
	{"release", step_release},
	{"notes after", job_write_notes_of_few},
	{"files", job_copy_files},
	{"segments", job_write_segments},
	{"compress", step_compress},
	{"commit", step_commit},
	{"kill", step_kill},
	{0},
};

static const struct step steps_short[] = {
	{"look", job_look},
	{"stop", job_stop},
	{"prepare", job_prepare},
	{"collect", job_collect},
	{"snapshot", short_snapshot},
	{"give back", job_give_back},
	{"open image", step_open_image},
	{"notes", job_write_notes_of_many},
	{"memory", short_copy_stopped},
	{"release", step_release},
	{"notes after", job_write_notes_of_few},
	{"memory after", short_copy_running},
	{"files", job_copy_files},
	{"segments", job_write_segments},
	{"compress", step_compress},
	{"commit", step_commit},
	{0},
};

/* --pause=live, --incremental */
/* clang-format off */
static const struct step steps_live[] = {
	{"open image", live_begin},
	{"track", live_track},
	{"rounds", live_rounds},
	{"look", job_look},
	{"last rounds", live_last_rounds},
	{"stop", job_stop},
	{"last look", live_last_look},
	{"prepare", job_prepare},
	{"collect", job_collect},
	{"arm", live_arm},
	{"snapshot", live_snapshot},
	{"give back", job_give_back},
	{"plan", live_plan},
	{"notes", job_write_notes_of_many},
	{"memory", live_copy_rest},
	{"release", step_release},
	{"notes after", job_write_notes_of_few},
	{"memory after", live_copy_snapshot},
	{"untrack", live_untrack},
	{"files", live_copy_files},
	{"segments", job_write_segments},
	{"sums", live_settle},
	{"compress", step_compress},
	{"commit", step_commit},
	{"keep", live_keep},
	{"kill", step_kill},
	{0},
};
/* clang-format on */

void job_done(struct job *j)
{
	if (!j->released)
		remote_release(&j->remote);
	remote_snapshot_end(&j->snapshot);
	image_writer_close(j->writer);
	live_done(j->live);
	for (size_t i = 0; j->file_fd && i < j->proc->nmapped_files; i++)
		io_close_fd(&j->file_fd[i]);
	free(j->file_fd);
	free(j->run_at);
	free(j->stays);
	proc_maps_done(&j->maps);
	advice_early_done(&j->early);
	scheduling_early_done(&j->early_scheduling);
	process_done(j->proc);
	free(j->tree.procs);
}

static void notice(void *arg, const char *text)
{
	guardian_notice(((struct job *)arg)->front, text);
}

_Static_assert(ARRAY_SIZE(steps_live) <= ARRAY_SIZE(((struct checkpoint_result *)0)->steps) + 1,
	       "room for each");

/* It may take long until a large program is a zombie. */
static bool has_ended(pid_t pid)
{
	__cleanup_buf struct buf b = {0};
	unsigned flags = 0;
	char path[64], state = 'X';
	const char *p;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	if (io_read_file(AT_FDCWD, path, &b) || !(p = strrchr(b.p, ')')))
		return true;
	sscanf(p, ") %c %*d %*d %*d %*d %*d %u", &state, &flags);
	return state == 'Z' || state == 'X' || flags & PROC_FLAG_EXITING;
}

/*
 * A target that is killed while it is being looked at loses its files and memory
 * before it is seen to have ended: then any look fails, with all kinds of errors.
 */
void job_explain_end(const struct job *j, struct err *err)
{
	struct timespec step = {.tv_nsec = 5 * 1000 * 1000};
	int e = -err->error;

	if (e != ESRCH && e != ENOENT && e != EACCES && e != EPERM && e != EFAULT && e != EIO &&
	    e != EBADF)
		return;
	for (int i = 0; !has_ended(remote_find_speaker(j->o->pid)); i++) {
		if (i == 10)
			return;
		nanosleep(&step, NULL);
	}
	err->exit = EXIT_FAILED;
	err->error = -ESRCH;
	err->hint[0] = '\0';
	err_prepend(err, "process %d has ended", j->o->pid);
}

int job_init(struct job *j, const struct checkpoint_options *o, int front, struct err *err)
{
	*j = (struct job){.o = o, .front = front, .begun_ns = io_now_ns()};
	/* Memory is read before the stop, too. */
	j->remote = REMOTE_NONE;
	j->remote.pid = j->remote.speaker = o->pid;
	j->source = &j->remote;
	j->snapshot = REMOTE_NONE;
	j->tree.procs = io_alloc(1, sizeof(*j->tree.procs), err);
	if (!j->tree.procs)
		return err->error;
	j->tree.n = 1;
	j->proc = &j->tree.procs[0];
	j->capture = (struct capture){
		.remote = &j->remote,
		.proc = j->proc,
		.maps = &j->maps,
		.early_advice = &j->early,
		.early_scheduling = &j->early_scheduling,
		.notice = notice,
		.notice_arg = j,
		.ignore_child = o->ignore_child,
		.is_unborn = o->is_unborn,
		.excluded = o->excluded,
		.nexcluded = o->nexcluded,
		.job = o->job,
		.njob = o->njob,
	};
	return 0;
}

/* Runs in the guardian. */
static int work(void *arg, int front, void *result, struct err *err)
{
	struct checkpoint_result *r = result;
	const struct step *steps;
	struct job j;
	int ret = job_init(&j, arg, front, err);

	if (ret)
		return ret;
	steps = j.o->pause == PAUSE_LIVE || j.o->incremental ? steps_live
		: j.o->pause == PAUSE_SHORT && !j.o->kill    ? steps_short
							     : steps_copy;
	for (size_t i = 0; steps[i].name && !ret; i++) {
		uint64_t begun = io_now_ns();

		ret = steps[i].run(&j, err);
		strncpy(r->steps[i].name, steps[i].name, sizeof(r->steps[i].name) - 1);
		r->steps[i].ns = io_now_ns() - begun;
		r->nsteps = (uint32_t)i + 1;
	}
	if (ret)
		job_explain_end(&j, err);
	r->image_bytes = j.writer ? image_writer_stored_size(j.writer) : 0;
	r->plain_bytes = j.writer ? image_writer_size(j.writer) : 0;
	r->memory_bytes = memory_stored_bytes(j.proc);
	r->pause_ns = j.released_ns - j.stopped_ns;
	if (j.first_pause_ns > r->pause_ns)
		r->pause_ns = j.first_pause_ns;
	r->rounds = j.rounds;
	r->has_parent = j.has_parent;
	r->has_snapshot = j.has_snapshot;
	r->total_ns = io_now_ns() - j.begun_ns;
	r->nthreads = (uint32_t)j.proc->nthreads;
	job_done(&j);
	return ret;
}

/* The first child of a process, or 0. */
static pid_t child_of(pid_t pid)
{
	__cleanup_buf struct buf b = {0};
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", pid, pid);
	return io_read_file(AT_FDCWD, path, &b) ? 0 : (pid_t)atoi(b.p);
}

/* Who types the id of a restarted job has that of the thin parent: the program
 * is below it.  0 while it is not there yet. */
static pid_t program_of(pid_t pid)
{
	if (proc_has_comm(pid, STATE_PARENT_COMM))
		pid = child_of(pid);
	if (pid && proc_has_comm(pid, STATE_INIT_COMM))
		pid = child_of(pid);
	if (pid && (proc_has_comm(pid, STATE_RESTART_COMM) ||
		    proc_has_comm(pid, STATE_PARENT_COMM) || proc_has_comm(pid, STATE_INIT_COMM)))
		return 0;
	return pid;
}

int checkpoint_find_program(pid_t asked, pid_t *ret, struct err *err)
{
	uint64_t begun = io_now_ns();

	while (!(*ret = program_of(asked))) {
		if (io_now_ns() - begun > PATIENCE_NS || (kill(asked, 0) && errno == ESRCH))
			return err_set(err, -ESRCH, "process %d has no program under it", asked);
		pause_a_little();
	}
	return 0;
}

int checkpoint(const struct checkpoint_options *o, const struct guardian_listener *listener,
	       struct checkpoint_result *ret, struct err *err)
{
	struct checkpoint_options copy = *o;

	if (o->pid <= 0) {
		err_set(err, -EINVAL, "%d is not a process id", o->pid);
		return err->error;
	}
	if (o->pid == getpid())
		return err_set(err, -EINVAL, "process %d is godwit itself", o->pid);
	if (checkpoint_find_program(o->pid, &copy.pid, err))
		return err->error;
	return guardian_run(work, &copy, ret, sizeof(*ret), listener, err);
}
