/*
 * Building the program in a process that has just executed its file.
 *
 *   1. place: find the new process's mappings, and room that neither it nor
 *      the program uses, for the scratch area and the hole
 *   2. first program, run by the leader: memory, files, signals, surroundings;
 *      at its end the other threads are made; a leader that had ended ends
 *   3. second program, run by each thread: what only it can say of itself
 *   4. vector registers, general registers, masks; let go
 *
 * Meanwhile another thread of the guardian checks the image's data blocks; the
 * program is let go only when they are what they were.
 */
#include <errno.h>
#include <elf.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/io.h"
#include "base/meter.h"
#include "remote/explain.h"
#include "restart/internal.h"
#include "state/file_signals.h"
#include "state/memory.h"
#include "state/memory_sysv.h"
#include "state/settings.h"
#include "state/timers_posix.h"

#define PLACE_MIN 0x10000000ULL
#define PLACE_EARLY 0x200000000000ULL
/* Neither a heap nor what the kernel places grows to here. */
#define PLACE_VDSO 0x210000000000ULL
#define PLACE_MAX 0x7ffff0000000ULL

/* --- place --- */

/* Lowest address >= at from which len bytes overlap no mapping of either list. */
static uint64_t find_room(const struct process *p, const struct proc_maps *now, uint64_t at,
			  uint64_t len)
{
	bool moved;

	do {
		moved = false;
		for (size_t i = 0; i < p->nmappings; i++)
			if (p->mappings[i].start < at + len && p->mappings[i].end > at) {
				at = p->mappings[i].end;
				moved = true;
			}
		for (size_t i = 0; i < now->n; i++)
			if (now->v[i].start < at + len && now->v[i].end > at) {
				at = now->v[i].end;
				moved = true;
			}
	} while (moved && at < PLACE_MAX);
	return at;
}

/* A program that runs on may start threads before its last model comes. */
static size_t threads_room(const struct rebuild *b)
{
	return b->restore.early ? 2 * b->proc.nthreads + 64 : rebuild_threads_ever(&b->proc);
}

static int place(struct rebuild *b, const struct proc_maps *now, struct err *err)
{
	struct restore *r = &b->restore;

	r->now = now;
	r->hole_len = memory_hole_needed(r, &b->proc);
	r->scratch_len = remote_scratch_len(threads_room(b));
	/* Where a program that runs on is not likely to map something meanwhile. */
	r->scratch = find_room(&b->proc, now, r->early ? PLACE_EARLY : PLACE_MIN,
			       r->scratch_len + r->hole_len);
	r->hole = r->scratch + r->scratch_len;
	r->vdso_at = find_room(&b->proc, now, PLACE_VDSO, memory_specials_len(r));
	if (r->hole + r->hole_len >= PLACE_MAX)
		return err_set(err, -ENOMEM, "no room in the address space for the restart");
	return 0;
}

/* --- programs --- */

static void mark_fds(struct rebuild *b)
{
	for (int fd = 0; fd < 3; fd++)
		program_fd_mark(&b->prog, fd, fcntl(fd, F_GETFD) >= 0);
	program_fd_mark(&b->prog, b->restore.image_fd, true);
	for (size_t i = 1; i < b->chain.n; i++)
		program_fd_mark(&b->prog, b->chain_fd[i], true);
}

static int by_number(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

/* All but 0 to 2 and those of the images. */
static void close_others(struct rebuild *b)
{
	int *fds = calloc(b->chain.n, sizeof(*fds));
	unsigned next = 3;

	if (!fds) {
		program_fail(&b->prog, -ENOMEM, "out of memory");
		return;
	}
	fds[0] = b->restore.image_fd;
	for (size_t i = 1; i < b->chain.n; i++)
		fds[i] = b->chain_fd[i];
	qsort(fds, b->chain.n, sizeof(*fds), by_number);
	for (size_t i = 0; i < b->chain.n; i++) {
		if ((unsigned)fds[i] > next)
			program_call(&b->prog, "nothing of the restarting shell's", SYS_close_range,
				     next, (unsigned)fds[i] - 1, 0, 0, 0, 0);
		next = (unsigned)fds[i] + 1;
	}
	free(fds);
	program_call(&b->prog, "nothing of the restarting shell's", SYS_close_range, next, ~0U, 0,
		     0, 0, 0);
}

void rebuild_begin_program(struct rebuild *b, struct err *err)
{
	struct restore *r = &b->restore;

	program_done(&b->prog);
	program_init(&b->prog, r->scratch + r->scratch_len - REMOTE_DATA_LEN, REMOTE_DATA_LEN,
		     REMOTE_CALL_CAP, err);
	r->prog = &b->prog;
}

static void begin_program(struct rebuild *b, struct err *err)
{
	rebuild_begin_program(b, err);
	mark_fds(b);
}

/* For a restart that is fed: the mappings alone; first_program does the rest. */
static int map_program(struct rebuild *b, struct err *err)
{
	int ret;

	begin_program(b, err);
	close_others(b);
	ret = b->restore.early ? memory_restore_early(&b->restore, &b->proc, err)
			       : memory_restore_map(&b->restore, &b->proc, err);
	if (ret)
		return ret;
	return b->prog.failed ? err_set(err, -ENOMEM, "cannot plan the restart") : 0;
}

static int restore_kind(struct rebuild *b, const struct state_ops *kind, struct err *err)
{
	if (b->restore.is_fed && kind == &state_memory)
		return memory_restore_rest(&b->restore, &b->proc, err);
	return kind->restore ? kind->restore(&b->restore, &b->proc, err) : 0;
}

static void close_images(struct rebuild *b)
{
	program_close(&b->prog, "the image", b->restore.image_fd);
	for (size_t i = 1; i < b->chain.n; i++)
		program_close(&b->prog, "a parent image", b->chain_fd[i]);
}

static int first_program(struct rebuild *b, struct err *err)
{
	struct restore *r = &b->restore;
	int ret;

	begin_program(b, err);
	if (!r->is_fed)
		close_others(b);
	for (size_t i = 0; state_kinds[i]; i++) {
		if ((ret = restore_kind(b, state_kinds[i], err)))
			return ret;
		if (state_kinds[i] == &state_memory)
			close_images(b);
	}
	rebuild_plan_threads(b);
	return b->prog.failed ? err_set(err, -ENOMEM, "cannot plan the restart") : 0;
}

static int second_program(struct rebuild *b, struct err *err)
{
	struct restore *r = &b->restore;

	memory_sysv_done(r);
	rebuild_begin_program(b, err);
	r->new_pgid = getpgid(b->remote.pid);
	if (timers_posix_restore(r, &b->proc, err) || file_signals_restore(r, &b->proc, err))
		return err->error;
	return state_threads.restore(r, &b->proc, err);
}

/* --- in the guardian --- */

static int read_maps(struct rebuild *b, struct buf *text, struct proc_maps *maps, struct err *err)
{
	int ret = io_read_file(b->remote.procfd, "maps", text);

	if (ret)
		return err_sys(err, ret, "cannot read the maps of the new process");
	return proc_parse_maps(text->p, maps, err);
}

static const struct proc_map *find_vdso(const struct proc_maps *maps)
{
	for (size_t i = 0; i < maps->n; i++)
		if (!strcmp(maps->v[i].name, "[vdso]"))
			return &maps->v[i];
	return NULL;
}

struct verifier {
	struct rebuild *b;
	pthread_t thread;
	bool started;
	int ret;
	struct err err;
};

static void *verify(void *arg)
{
	struct verifier *v = arg;
	struct meter *meter = v->b->o->meter;

	meter_begin(meter, chain_data_size(&v->b->chain));
	v->ret = image_verify_blocks(v->b->image, 0, image_blocks(v->b->image), meter, &v->err);
	if (!v->ret)
		v->ret = chain_verify_below(&v->b->chain, meter, &v->err);
	meter_end(meter);
	return NULL;
}

static int join_verifier(struct verifier *v, struct err *err)
{
	if (v->started)
		pthread_join(v->thread, NULL);
	else
		verify(v);
	v->started = false;
	if (v->ret)
		*err = v->err;
	return v->ret;
}

/* Where the vdso waits (memory_restore_early) that was at this address. */
static uint64_t hole_of_vdso(const struct rebuild *b, uint64_t vdso)
{
	uint64_t at = b->restore.hole;

	for (size_t i = 0; i < b->maps.n && b->maps.v[i].start != vdso; i++) {
		const struct proc_map *m = &b->maps.v[i];

		if (!strncmp(m->name, "[vvar", 5))
			at += m->end - m->start;
	}
	return at;
}

/* Takes the process over: *ret_vdso is where its vdso is now. */
static int take_process(struct rebuild *b, pid_t pid, uint64_t *ret_vdso, struct err *err)
{
	const struct proc_map *vdso = NULL;
	int ret = remote_adopt(&b->remote, pid, b->restore.new_pid, err);

	if (!ret)
		ret = read_maps(b, &b->maps_text, &b->maps, err);
	if (!ret)
		ret = place(b, &b->maps, err);
	if (!ret && !(vdso = find_vdso(&b->maps)))
		ret = err_refuse(err, "the new process has no vdso");
	b->remote.bell = rebuild_choose_bell(b, NULL, 0);
	if (!ret)
		ret = remote_prepare_at(&b->remote, b->restore.scratch, threads_room(b),
					vdso->start, vdso->end - vdso->start, err);
	if (!ret) {
		*ret_vdso = vdso->start;
		ret = b->restore.is_fed ? map_program(b, err) : first_program(b, err);
	}
	return ret;
}

/* The last model takes the place of the first: what was mapped for that, and came, stays
 * where it is the same. */
static int take_last_model(struct rebuild *b, int fd, uint64_t vdso, struct err *err)
{
	struct restore *r = &b->restore;
	int ret;

	if ((ret = restart_reload(b, fd, err)) || (ret = memory_early_check(r, &b->proc, err)))
		return ret;
	if (rebuild_threads_ever(&b->proc) > b->remote.max_threads)
		return err_set(err, -EAGAIN, "the program has started too many threads meanwhile");
	b->remote.bell = rebuild_choose_bell(b, NULL, 0);
	begin_program(b, err);
	if ((ret = memory_early_trim(r, &b->proc, &b->remote, err)) ||
	    (ret = memory_restore_map(r, &b->proc, err)))
		return ret;
	if (b->prog.failed)
		return err_set(err, -ENOMEM, "cannot plan the restart");
	if ((ret = remote_run(&b->remote, &b->prog, err)))
		return ret;
	remote_vdso_moved(&b->remote, hole_of_vdso(b, vdso), rebuild_vdso_place(b));
	return memory_early_join(r, &b->proc, &b->remote, err);
}

/* The pages come from whoever feeds; then all that is no memory. */
static int feed_memory(struct rebuild *b, uint64_t vdso, struct err *err)
{
	const struct restart_feed *f = b->o->feed;
	int ret = remote_run(&b->remote, &b->prog, err), fd = -1;

	if (ret)
		return ret;
	if (b->restore.early) {
		remote_vdso_moved(&b->remote, vdso, hole_of_vdso(b, vdso));
		if ((ret = f->pages(f->arg, &b->restore, &b->remote, &fd, err)) ||
		    (ret = take_last_model(b, fd, vdso, err)))
			return ret;
	} else {
		remote_vdso_moved(&b->remote, vdso, rebuild_vdso_place(b));
	}
	if ((ret = f->pages(f->arg, &b->restore, &b->remote, NULL, err)))
		return ret;
	return first_program(b, err);
}

static int build_threads(struct rebuild *b, struct err *err)
{
	int ret;

	fault_point("threads made");
	if ((ret = rebuild_adopt_threads(b, err)) || (ret = second_program(b, err)) ||
	    (ret = remote_run(&b->remote, &b->prog, err)))
		return ret;
	if (!b->same_ids && (ret = rebuild_correct_ids(b, err)))
		return ret;
	for (size_t i = 0; !ret && i < b->proc.nthreads; i++)
		ret = rebuild_vector_registers(b, i, err);
	return ret;
}

static int build(struct rebuild *b, pid_t pid, struct err *err)
{
	struct verifier v = {.b = b, .err = ERR_INIT};
	struct err verdict = ERR_INIT;
	uint64_t vdso = 0;
	int ret;

	/* A fed image has no blocks, and may be replaced meanwhile. */
	v.started = !b->restore.is_fed && !pthread_create(&v.thread, NULL, verify, &v);
	ret = take_process(b, pid, &vdso, err);
	if (!ret && b->restore.is_fed)
		ret = feed_memory(b, vdso, err);
	if (!ret)
		ret = remote_run(&b->remote, &b->prog, err);
	if (!ret && !b->restore.is_fed)
		remote_vdso_moved(&b->remote, vdso, rebuild_vdso_place(b));
	if (!ret)
		ret = rebuild_fit(b, err);
	if (!ret)
		ret = build_threads(b, err);
	if (join_verifier(&v, &verdict) && !ret) {
		*err = verdict;
		ret = err->error;
	}
	program_done(&b->prog);
	return ret;
}

/* Of a fed program: from here on it is ours, or never. */
static int take_over(struct rebuild *b, struct err *err)
{
	const struct restart_feed *f = b->o->feed;
	__cleanup_free struct late_signal *late = NULL;
	size_t n = 0;
	int ret = f->built(f->arg, &b->proc, &b->remote, err);

	if (!ret)
		ret = rebuild_look_at_locked(b, err);
	if (!ret)
		ret = f->ready(f->arg, &late, &n, err);
	if (!ret)
		ret = rebuild_take_locks(b, err);
	rebuild_forget_locks(b);
	return ret ? ret : rebuild_queue_late(b, late, n, err);
}

/*
 * The new terminal's size may be another.  A moment later, when the program is back in
 * the call that it was stopped in: before that, the call would not be interrupted.
 */
static void tell_size(const struct rebuild *b, int pidfd)
{
	struct timespec moment = {.tv_nsec = 20 * 1000 * 1000};

	if (pidfd < 0 || !b->proc.terminal.is_set)
		return;
	nanosleep(&moment, NULL);
	syscall(SYS_pidfd_send_signal, pidfd, SIGWINCH, NULL, 0);
}

static void let_go(struct rebuild *b)
{
	const struct restart_feed *f = b->o->feed;
	size_t n = b->remote.n;
	__cleanup_free pid_t *tids = calloc(n + 1, sizeof(*tids));
	struct restart_gone to = {
		.pidfd = fcntl(b->remote.pidfd, F_DUPFD_CLOEXEC, 3),
		.pid = b->remote.pid,
		.tids = tids,
		.n = tids ? n : 0,
	};

	for (size_t i = 0; i < n && tids; i++)
		tids[i] = b->remote.threads[i].tid;
	/* Before: it may end at once, and with it a namespace and us. */
	if (b->o->let_go_fd && write(b->o->let_go_fd, "", 1) != 1)
		fault_point("nobody to tell");
	remote_release(&b->remote);
	fault_point("program let go");
	if (f)
		f->gone(f->arg, &to);
	else
		tell_size(b, to.pidfd);
	io_close_fd(&to.pidfd);
}

int rebuild_run(struct rebuild *b, pid_t pid, struct err *err)
{
	const struct restart_feed *f = b->o->feed;
	int ret = build(b, pid, err);

	if (!ret && f)
		ret = take_over(b, err);
	if (ret || (ret = rebuild_set_filters(b, err)))
		return ret;
	for (size_t i = 0; i < b->proc.nthreads; i++) {
		struct user_regs_struct regs = b->proc.threads[i].regs;

		arch_restart_regs(&regs);
		remote_set_thread(&b->remote, i, &regs, b->proc.threads[i].sigmask);
	}
	settings_write(b->remote.procfd, &b->proc);
	if (f && ((ret = restart_act(b, err)) || (ret = f->commit(f->arg, err))))
		return ret;
	let_go(b);
	return 0;
}

void rebuild_abort(struct rebuild *b, const struct err *err)
{
	/* A damaged image is one, wherever it is noticed. */
	remote_exit(&b->remote, err->exit == EXIT_BAD_IMAGE ? EXIT_BAD_IMAGE : EXIT_AFTER_COMMIT);
}

/* --- explain --- */

int rebuild_explain(struct rebuild *b, struct err *err)
{
	__cleanup_buf struct buf text = {0};
	struct proc_maps maps = {0};
	int ret = io_read_file(AT_FDCWD, "/proc/self/maps", &text);

	if (ret)
		return err_sys(err, ret, "cannot read /proc/self/maps");
	/* Our own address space stands for the new process's: the same kinds of
	 * mappings, at other addresses. */
	if ((ret = proc_parse_maps(text.p, &maps, err)))
		return ret;
	b->restore.new_pid = b->proc.pid;
	for (size_t i = 0; i < b->proc.nthreads; i++)
		b->tids[i] = b->proc.threads[i].tid;
	if (!(ret = place(b, &maps, err)) && !(ret = first_program(b, err))) {
		program_explain(&b->prog, stdout);
		if (b->proc.leader_ended) {
			rebuild_plan_end_of_leader(b, err);
			program_explain(&b->prog, stdout);
		}
		if (!(ret = second_program(b, err)))
			program_explain(&b->prog, stdout);
		if (!ret && !(ret = rebuild_third_program(b, err)))
			program_explain(&b->prog, stdout);
	}
	program_done(&b->prog);
	proc_maps_done(&maps);
	return ret;
}
