/*
 * The threads of the new process.  The leader is there and makes the others, which are ours from
 * their birth; where the program's had ended it ends then.
 */
#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/io.h"
#include "restart/internal.h"

/* With a leader that makes the others and ends. */
size_t rebuild_threads_ever(const struct process *p)
{
	return p->nthreads + p->leader_ended;
}

/* The first one that has to be made: one is there. */
static size_t first_made(const struct process *p)
{
	return p->leader_ended ? 0 : 1;
}

#define THREAD_FLAGS                                                                               \
	(CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM |        \
	 CLONE_PTRACE)

/* CLONE_PTRACE: the new thread is ours from its birth, and stops at once. */
void rebuild_plan_threads(struct rebuild *b)
{
	program_flush(&b->prog);
	for (size_t i = first_made(&b->proc); i < b->proc.nthreads; i++) {
		int32_t tid = b->proc.threads[i].tid;
		struct {
			uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack,
				stack_size, tls, set_tid, set_tid_size;
		} args = {.flags = THREAD_FLAGS, .set_tid_size = 1};

		if (!b->same_ids) {
			program_call(&b->prog, "another thread", SYS_clone, THREAD_FLAGS, 0, 0, 0,
				     0, 0);
			continue;
		}
		program_reserve(&b->prog, PROGRAM_PIECE(sizeof(args)) + PROGRAM_PIECE(sizeof(tid)));
		args.set_tid = program_data(&b->prog, &tid, sizeof(tid));
		uint64_t a = program_data(&b->prog, &args, sizeof(args));

		program_call_want(&b->prog, tid, "another thread, with its id", SYS_clone3, a,
				  sizeof(args), 0, 0, 0, 0);
	}
	program_flush(&b->prog);
}

/* The results of the calls that made the threads are their ids. */
static void take_tids(struct rebuild *b)
{
	size_t first = first_made(&b->proc), i = b->proc.nthreads;

	for (size_t k = b->prog.n; k-- > 0 && i > first;)
		for (size_t c = b->prog.batches[k].n; c-- > 0 && i > first;)
			b->tids[--i] = (pid_t)b->prog.batches[k].calls[c].ret;
}

/* The guardian is in the program's pid namespace: their ids are its ids. */
static int adopt_threads(struct rebuild *b, struct err *err)
{
	for (size_t i = first_made(&b->proc); i < b->proc.nthreads; i++) {
		int status, ret;

		if (waitpid(b->tids[i], &status, __WALL) != b->tids[i] || !WIFSTOPPED(status))
			return err_set(err, -ESRCH, "a new thread ended at once");
		if ((ret = remote_add_thread(&b->remote, b->tids[i], b->tids[i], err)))
			return ret;
	}
	return 0;
}

static int end_leader(struct rebuild *b, struct err *err)
{
	int ret;

	rebuild_begin_program(b, err);
	leader_restore(&b->restore, &b->proc);
	if ((ret = remote_run(&b->remote, &b->prog, err)))
		return ret;
	return remote_end_leader(&b->remote, (int)b->proc.leader_status, err);
}

int rebuild_adopt_threads(struct rebuild *b, struct err *err)
{
	int ret;

	take_tids(b);
	ret = adopt_threads(b, err);
	return ret || !b->proc.leader_ended ? ret : end_leader(b, err);
}

void rebuild_plan_end_of_leader(struct rebuild *b, struct err *err)
{
	rebuild_begin_program(b, err);
	leader_restore(&b->restore, &b->proc);
	program_call(&b->prog, "the first thread ends", SYS_exit, b->proc.leader_status, 0, 0, 0, 0,
		     0);
}

/*
 * New ids: the C library keeps each thread's id in its control block, where the
 * thread pointer points.  The places are glibc's (struct pthread, published to
 * debuggers as _thread_db_pthread_tid) and musl's; one is taken only if every
 * thread's old id stands there.
 */
int rebuild_correct_ids(struct rebuild *b, struct err *err)
{
	static const uint64_t offsets[] = {0x2d0, 0x30};

	for (size_t k = 0; k < ARRAY_SIZE(offsets); k++) {
		bool all = true;

		for (size_t i = 0; i < b->proc.nthreads && all; i++) {
			const struct thread *t = &b->proc.threads[i];
			int32_t tid;

			all = t->regs.fs_base &&
			      !remote_read(&b->remote, t->regs.fs_base + offsets[k], &tid, 4) &&
			      tid == t->tid;
		}
		if (!all)
			continue;
		for (size_t i = 0; i < b->proc.nthreads; i++) {
			int ret = remote_write(&b->remote,
					       b->proc.threads[i].regs.fs_base + offsets[k],
					       &b->tids[i], 4);

			if (ret)
				return err_sys(err, ret, "cannot correct a cached thread id");
		}
		return 0;
	}
	return 0;
}
