/*
 * The engine: running programs in a stopped process.
 *
 * How a thread is borrowed and given back, and why in this order:
 *   1. PTRACE_SETREGS to a unit of ours;    killed here: the unit runs and heals
 *   2. PTRACE_SETSIGMASK, all but the bell; killed here: the same
 *   3. it runs; the bell stops it
 *   4. PTRACE_SETSIGMASK, the program's;    killed here: the unit heals
 *   5. PTRACE_SETREGS, the program's.
 * The other way round a death between two steps would leave the program with
 * every signal blocked.
 *
 * The first mmap and the last munmap need a place for the unit before there is
 * a scratch mapping: the zeros behind the vdso's ELF image, in its last page.
 * The kernel gives the process its own copy of that page on writing, as it does
 * for a breakpoint; the bytes are zeroed again at the end.
 */
#include "remote/remote.h"

#include <errno.h>
#include <elf.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/io.h"
#include "proc/status.h"

/* --- memory --- */

static int transfer(const struct remote *r, bool write, uint64_t addr, void *buf, size_t len)
{
	while (len) {
		struct iovec local = {buf, len < (1u << 30) ? len : 1u << 30};
		struct iovec remote = {(void *)(uintptr_t)addr, local.iov_len};
		ssize_t n = write ? process_vm_writev(r->pid, &local, 1, &remote, 1, 0)
				  : process_vm_readv(r->pid, &local, 1, &remote, 1, 0);

		if (n <= 0)
			return n < 0 ? -errno : -EFAULT;
		buf = (char *)buf + n;
		addr += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

int remote_read(const struct remote *r, uint64_t addr, void *buf, size_t len)
{
	return transfer(r, false, addr, buf, len);
}

int remote_write(const struct remote *r, uint64_t addr, const void *buf, size_t len)
{
	return transfer(r, true, addr, (void *)(uintptr_t)buf, len);
}

int remote_read_force(const struct remote *r, uint64_t addr, void *buf, size_t len)
{
	return io_pread_all(r->memfd, buf, len, addr);
}

int remote_write_force(const struct remote *r, uint64_t addr, const void *buf, size_t len)
{
	return io_pwrite_all(r->memfd, buf, len, addr);
}

int remote_getfd(const struct remote *r, int fd)
{
	int got = (int)syscall(SYS_pidfd_getfd, r->pidfd, fd, 0);

	return got < 0 ? -errno : got;
}

/* --- borrowing a thread --- */

static int died(struct remote *r, struct err *err)
{
	return err_set(err, -ESRCH, "process %d ended while it was being worked on", r->pid);
}

static uint64_t unit_of(const struct remote *r, size_t thread)
{
	return r->scratch + thread * ARCH_UNIT_STRIDE;
}

static int enter(struct remote *r, struct tracee *t, const struct user_regs_struct *regs,
		 struct err *err)
{
	uint64_t mask = ~(1ULL << (r->bell - 1));

	if (ptrace(PTRACE_SETREGS, t->tid, 0, regs))
		return errno == ESRCH ? died(r, err) : err_sys(err, -errno, "cannot set registers");
	if (!t->borrowed) {
		fault_point("registers lent");
		if (ptrace(PTRACE_SETSIGMASK, t->tid, sizeof(mask), &mask))
			return errno == ESRCH ? died(r, err)
					      : err_sys(err, -errno, "cannot set signal mask");
		t->borrowed = true;
	}
	if (ptrace(PTRACE_CONT, t->tid, 0, 0))
		return errno == ESRCH ? died(r, err)
				      : err_sys(err, -errno, "cannot continue thread");
	return 0;
}

static bool is_stop_signal(int sig)
{
	return sig == SIGSTOP || sig == SIGTSTP || sig == SIGTTIN || sig == SIGTTOU;
}

/* Waits until the thread rings the bell; *regs are as it stands there. */
static int wait_bell(struct remote *r, struct tracee *t, uint64_t unit,
		     struct user_regs_struct *regs, struct err *err)
{
	uint64_t rung = unit + (uint64_t)(arch_unit_rung - arch_unit_code);

	for (;;) {
		int status, sig, pass = 0;
		pid_t got = waitpid(t->tid, &status, __WALL);

		if (got < 0 && errno == EINTR)
			continue;
		if (got != t->tid || WIFEXITED(status) || WIFSIGNALED(status))
			return died(r, err);
		sig = WSTOPSIG(status);
		if (status >> 16 == 0) {
			if (ptrace(PTRACE_GETREGS, t->tid, 0, regs))
				return died(r, err);
			if (sig == r->bell && regs->rip == rung)
				return 0;
			if (sig == SIGSEGV || sig == SIGBUS || sig == SIGILL || sig == SIGSYS)
				return err_set(err, -EFAULT,
					       "process %d: signal %d while running a call of ours "
					       "at %#llx",
					       r->pid, sig, regs->rip);
			if (is_stop_signal(sig))
				r->stop_held = true; /* given back by remote_release */
			else
				pass = sig;
		}
		/* Else a group stop or the like: the thread runs for us all the same. */
		if (ptrace(PTRACE_CONT, t->tid, 0, pass))
			return died(r, err);
	}
}

static int give_back(struct tracee *t)
{
	if (!t->borrowed)
		return 0;
	if (ptrace(PTRACE_SETSIGMASK, t->tid, sizeof(t->sigmask), &t->sigmask))
		return -errno;
	fault_point("signal mask given back");
	if (ptrace(PTRACE_SETREGS, t->tid, 0, &t->regs))
		return -errno;
	t->borrowed = false;
	return 0;
}

/* One call by registers alone, in the unit at address `unit`. */
static int call_one(struct remote *r, uint64_t unit, long nr, const uint64_t arg[6], int64_t *ret,
		    struct err *err)
{
	struct tracee *t = &r->threads[0];
	struct user_regs_struct regs = t->regs;
	int e;

	arch_enter_call(&regs, unit, nr, arg);
	if ((e = enter(r, t, &regs, err)) || (e = wait_bell(r, t, unit, &regs, err)))
		return e;
	*ret = arch_call_result(&regs);
	return 0;
}

/* --- preparing --- */

static void fill_unit(const struct remote *r, size_t thread, uint8_t unit[ARCH_UNIT_STRIDE])
{
	const struct tracee *t = &r->threads[thread];
	struct arch_unit_data d = {
		.tgid = (uint64_t)r->ns_pid,
		.tid = (uint64_t)t->ns_tid,
		.signal = (uint64_t)r->bell,
		.mask = t->sigmask,
		.scratch = r->scratch_at,
		.scratch_len = r->scratch_len,
	};

	arch_heal_regs(&d, &t->regs);
	memset(unit, 0, ARCH_UNIT_STRIDE);
	memcpy(unit, arch_unit_code, ARCH_UNIT_CODE);
	memcpy(unit + ARCH_UNIT_CODE, &d, sizeof(d));
}

/* A signal that the program ignores by default or by its own will: if we die,
 * it has no effect.  Not one that is pending: it would be taken by the way.
 * SIGCONT would drop a pending stop; it comes last. */
static int choose_bell(const struct proc_status *st)
{
	static const int candidates[] = {SIGURG, SIGWINCH, SIGCHLD, SIGCONT};

	for (size_t i = 0; i < ARRAY_SIZE(candidates); i++)
		if (!((st->sig_caught | st->sig_pending) >> (candidates[i] - 1) & 1))
			return candidates[i];
	return SIGCONT;
}

/* The ids by which the target itself knows its threads. */
static int read_ns_ids(struct remote *r, const struct proc_status *leader, struct err *err)
{
	__cleanup_buf struct buf b = {0};

	r->ns_pid = leader->ns_tgid;
	r->threads[0].ns_tid = leader->ns_tgid;
	if (leader->ns_depth < 2)
		return 0;
	for (size_t i = 1; i < r->n; i++) {
		struct proc_status st;
		char path[64];
		int ret;

		snprintf(path, sizeof(path), "task/%d/status", r->threads[i].tid);
		if ((ret = io_read_file(r->procfd, path, &b)))
			return err_sys(err, ret, "cannot read /proc/%d/%s", r->pid, path);
		if ((ret = proc_parse_status(b.p, &st, err)))
			return ret;
		r->threads[i].ns_tid = st.ns_pid;
	}
	return 0;
}

int remote_check(struct remote *r, struct err *err)
{
	__cleanup_buf struct buf b = {0};
	struct proc_status st;
	int ret = io_read_file(r->procfd, "status", &b);

	if (ret)
		return err_sys(err, ret, "cannot read /proc/%d/status", r->pid);
	if ((ret = proc_parse_status(b.p, &st, err)))
		return ret;
	if (st.seccomp) {
		err_refuse(err, "process %d has a seccomp filter", r->pid);
		return err_hint(err, "start it without the filter (a sandbox or container option)");
	}
	if (st.shadow_stack) {
		err_refuse(err, "process %d has a user shadow stack", r->pid);
		return err_hint(err, "start it with GLIBC_TUNABLES=glibc.cpu.hwcaps=-SHSTK");
	}
	r->bell = choose_bell(&st);
	return read_ns_ids(r, &st, err);
}

/* Where the vdso's ELF image ends, rounded up to 16; 0 when it makes no sense. */
static uint64_t vdso_image_end(const uint8_t *p, uint64_t len)
{
	const Elf64_Ehdr *eh = (const void *)p;
	uint64_t end;

	if (len < sizeof(*eh) || memcmp(eh->e_ident, ELFMAG, SELFMAG) || eh->e_phoff > len ||
	    eh->e_phnum > 64 || eh->e_phoff + eh->e_phnum * sizeof(Elf64_Phdr) > len)
		return 0;
	end = eh->e_shoff + (uint64_t)eh->e_shnum * eh->e_shentsize;
	for (int i = 0; i < eh->e_phnum; i++) {
		const Elf64_Phdr *ph = (const void *)(p + eh->e_phoff + (size_t)i * sizeof(*ph));

		if (ph->p_offset + ph->p_filesz > end)
			end = ph->p_offset + ph->p_filesz;
	}
	return end > len ? 0 : ALIGN_UP(end, 16);
}

/* *stale is what a godwit that was killed has left there; zeroed when nothing. */
static int place_vdso_unit(struct remote *r, uint64_t vdso, uint64_t len,
			   struct arch_unit_data *stale, struct err *err)
{
	uint8_t unit[ARCH_UNIT_STRIDE];
	__cleanup_free uint8_t *p = NULL;
	uint64_t end;
	int ret;

	if (!len || len > (1u << 20))
		return err_refuse(err, "process %d has no vdso", r->pid);
	if (!(p = io_alloc(1, len, err)))
		return err->error;
	if ((ret = remote_read(r, vdso, p, len)))
		return err_sys(err, ret, "cannot read the vdso of process %d", r->pid);
	end = vdso_image_end(p, len);
	if (!end || end + ARCH_UNIT_STRIDE > len) {
		err_refuse(err, "the vdso of this kernel has no room behind it");
		return err_hint(err, "please report the kernel's version");
	}
	if (stale && !memcmp(p + end, arch_unit_code, ARCH_UNIT_CODE))
		memcpy(stale, p + end + ARCH_UNIT_CODE, sizeof(*stale));
	fill_unit(r, 0, unit);
	if ((ret = remote_write_force(r, vdso + end, unit, sizeof(unit))))
		return err_sys(err, ret, "cannot write to the vdso of process %d", r->pid);
	r->vdso_unit = vdso + end;
	fault_point("unit in the vdso");
	return 0;
}

static uint64_t units_len(size_t max_threads)
{
	return ALIGN_UP(max_threads * ARCH_UNIT_STRIDE, PAGE_SIZE_4K);
}

#define CALLS_LEN ALIGN_UP(REMOTE_CALL_CAP * sizeof(struct wire_call), PAGE_SIZE_4K)

uint64_t remote_scratch_len(size_t max_threads)
{
	return units_len(max_threads) + CALLS_LEN + REMOTE_DATA_LEN;
}

/* At r->scratch_at, which is free, for r->scratch_len bytes. */
static int map_scratch(struct remote *r, struct err *err)
{
	uint64_t units = units_len(r->max_threads);
	uint64_t a[6] = {r->scratch_at,         r->scratch_len,
			 PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE,
			 (uint64_t)-1,          0};
	int64_t got;
	int ret = call_one(r, r->vdso_unit, SYS_mmap, a, &got, err);

	if (ret)
		return ret;
	if (got != (int64_t)r->scratch_at) {
		err_sys(err, got < 0 ? (int)got : -EEXIST, "cannot map %llu KiB in process %d",
			(unsigned long long)r->scratch_len >> 10, r->pid);
		return err_hint(err, "its address space limit (ulimit -v) or vm.max_map_count may "
				     "be reached");
	}
	r->scratch = r->scratch_at;
	r->calls = r->scratch + units;
	r->data = r->calls + CALLS_LEN;
	fault_point("scratch mapped");
	uint64_t b[6] = {r->calls, r->scratch_len - units, PROT_READ | PROT_WRITE};

	if ((ret = call_one(r, r->vdso_unit, SYS_mprotect, b, &got, err)))
		return ret;
	return got ? err_sys(err, (int)got, "cannot make the scratch mapping writable") : 0;
}

static int write_units(struct remote *r, size_t from, struct err *err)
{
	size_t len = (r->n - from) * ARCH_UNIT_STRIDE;
	__cleanup_free uint8_t *p = io_alloc(1, len, err);
	int ret;

	if (!p)
		return err->error;
	for (size_t i = from; i < r->n; i++)
		fill_unit(r, i, p + (i - from) * ARCH_UNIT_STRIDE);
	ret = remote_write_force(r, unit_of(r, from), p, len);
	return ret ? err_sys(err, ret, "cannot write to the scratch mapping") : 0;
}

/* Takes [start, start + len) out of the list: whole lines, or the start of one. */
static void forget_range(struct proc_maps *maps, uint64_t start, uint64_t len)
{
	size_t n = 0;

	for (size_t i = 0; i < maps->n; i++) {
		struct proc_map *m = &maps->v[i];

		if (m->start >= start && m->start < start + len) {
			if (m->end <= start + len)
				continue;
			m->start = start + len;
		}
		maps->v[n++] = *m;
	}
	maps->n = n;
}

/* The scratch mapping of a godwit that was killed, as its unit in the vdso says. */
static int remove_stale(struct remote *r, const struct arch_unit_data *stale,
			struct proc_maps *maps, struct err *err)
{
	uint64_t a[6] = {stale->scratch, stale->scratch_len};
	int64_t got;
	int ret;

	for (size_t i = 0; i < maps->n; i++) {
		const struct proc_map *m = &maps->v[i];

		if (m->start != stale->scratch || m->ino || m->shared || *m->name ||
		    m->prot != (PROT_READ | PROT_EXEC))
			continue;
		if ((ret = call_one(r, r->vdso_unit, SYS_munmap, a, &got, err)))
			return ret;
		if (got)
			return err_sys(err, (int)got, "cannot remove what a killed godwit left");
		forget_range(maps, a[0], a[1]);
		return 0;
	}
	return 0;
}

/*
 * Free room for the scratch mapping: apart from its neighbours, so that the
 * kernel does not join them, and neither right below the stack nor right above
 * the heap, which grow.
 */
#define APART (1ULL << 20)
static uint64_t find_room(const struct proc_maps *maps, uint64_t len)
{
	for (size_t i = maps->n; i-- > 1;) {
		const struct proc_map *low = &maps->v[i - 1], *high = &maps->v[i];

		if (!strcmp(high->name, "[stack]") || !strcmp(high->name, "[vsyscall]") ||
		    high->start - low->end < len + 2 * APART)
			continue;
		return high->start - APART - len;
	}
	/* Below everything: a program of one dense block. */
	if (maps->n && maps->v[0].start > len + 2 * APART)
		return maps->v[0].start - APART - len;
	return 0;
}

int remote_prepare(struct remote *r, struct proc_maps *maps, struct err *err)
{
	struct arch_unit_data stale = {0};
	uint64_t vdso = 0, len = 0;
	int ret;

	for (size_t i = 0; i < maps->n; i++)
		if (!strcmp(maps->v[i].name, "[vdso]")) {
			vdso = maps->v[i].start;
			len = maps->v[i].end - vdso;
		}
	r->max_threads = r->n;
	r->scratch_len = remote_scratch_len(r->n);
	r->scratch_at = find_room(maps, r->scratch_len);
	if (!r->scratch_at)
		return err_refuse(err, "process %d has no room in its address space", r->pid);
	if ((ret = place_vdso_unit(r, vdso, len, &stale, err)) ||
	    (stale.scratch && (ret = remove_stale(r, &stale, maps, err))) ||
	    (ret = map_scratch(r, err)))
		return ret;
	return write_units(r, 0, err);
}

int remote_prepare_at(struct remote *r, uint64_t scratch, size_t max_threads, uint64_t vdso,
		      uint64_t vdso_len, struct err *err)
{
	int ret;

	r->bell = SIGURG;
	r->max_threads = max_threads;
	r->scratch_at = scratch;
	r->scratch_len = remote_scratch_len(max_threads);
	if ((ret = place_vdso_unit(r, vdso, vdso_len, NULL, err)) || (ret = map_scratch(r, err)))
		return ret;
	return write_units(r, 0, err);
}

int remote_add_thread(struct remote *r, pid_t tid, pid_t ns_tid, struct err *err)
{
	void *v = io_grow(r->threads, &r->cap, r->n + 1, sizeof(*r->threads), err);
	struct tracee *t;

	if (!v)
		return err->error;
	r->threads = v;
	t = &r->threads[r->n++];
	*t = (struct tracee){.tid = tid, .ns_tid = ns_tid, .stopped = true};
	if (ptrace(PTRACE_GETREGS, tid, 0, &t->regs) ||
	    ptrace(PTRACE_GETSIGMASK, tid, sizeof(t->sigmask), &t->sigmask))
		return err_sys(err, -errno, "cannot read the registers of the new process");
	return r->scratch ? write_units(r, r->n - 1, err) : 0;
}

void remote_set_thread(struct remote *r, size_t thread, const struct user_regs_struct *regs,
		       uint64_t sigmask)
{
	r->threads[thread].regs = *regs;
	r->threads[thread].sigmask = sigmask;
	r->threads[thread].borrowed = true; /* it must be given these */
}

void remote_vdso_moved(struct remote *r, uint64_t from, uint64_t to)
{
	r->vdso_unit = r->vdso_unit - from + to;
}

/* --- running --- */

static int check_result(const struct call *c, struct err *err)
{
	bool failed = c->ret < 0 && c->ret > -4096;

	if (c->expect == EXPECT_ANY || (c->expect == EXPECT_OK && !failed) ||
	    (c->expect == EXPECT_VALUE && c->ret == c->want))
		return 0;
	if (failed)
		return err_sys(err, (int)c->ret, "%s", c->why ? c->why : "a system call failed");
	return err_set(err, -EPROTO, "%s: the kernel answered %#llx, not %#llx",
		       c->why ? c->why : "a system call", (unsigned long long)c->ret,
		       (unsigned long long)c->want);
}

static void to_wire(struct wire_call *w, const struct call *c)
{
	*w = (struct wire_call){.nr = c->nr, .expect = c->expect, .want = c->want};
	memcpy(w->arg, c->arg, sizeof(w->arg));
}

static int run_batch(struct remote *r, struct batch *b, struct err *err)
{
	struct tracee *t = &r->threads[b->thread];
	struct user_regs_struct regs = t->regs;
	__cleanup_free struct wire_call *w = io_alloc(b->n, sizeof(*w), err);
	size_t done;
	int ret;

	if (!w)
		return err->error;
	for (size_t i = 0; i < b->n; i++)
		to_wire(&w[i], &b->calls[i]);
	if ((ret = remote_write(r, r->calls, w, b->n * sizeof(*w))) ||
	    (b->data_len && (ret = remote_write(r, r->data, b->data, b->data_len))))
		return ret == -ESRCH ? died(r, err)
				     : err_sys(err, ret, "cannot write to the scratch mapping");
	arch_enter_list(&regs, unit_of(r, b->thread), r->calls, b->n);
	if ((ret = enter(r, t, &regs, err)) ||
	    (ret = wait_bell(r, t, unit_of(r, b->thread), &regs, err)))
		return ret;
	done = b->n - arch_calls_left(&regs);
	if (done < b->n)
		done++; /* the one that it stopped at has a result as well */
	if ((ret = remote_read(r, r->calls, w, done * sizeof(*w))))
		return err_sys(err, ret, "cannot read from the scratch mapping");
	for (size_t i = 0; i < done; i++) {
		b->calls[i].ret = w[i].ret;
		if ((ret = check_result(&b->calls[i], err)))
			return ret;
	}
	return 0;
}

int remote_run(struct remote *r, struct program *p, struct err *err)
{
	if (p->failed)
		return err->error ? err->error : err_set(err, -ENOMEM, "out of memory");
	for (size_t i = 0; i < p->n; i++) {
		int ret;

		if (!p->batches[i].n)
			continue;
		if (p->batches[i].thread >= r->n)
			return err_set(err, -EINVAL, "program for a thread that does not exist");
		if ((ret = run_batch(r, &p->batches[i], err)))
			return ret;
		fault_point("program ran");
	}
	return 0;
}

/* Calls and data of one group of threads, laid out one thread after the other. */
static int run_group(struct remote *r, size_t first, size_t count, const struct call *calls,
		     size_t n, size_t data_len, struct wire_call *w, uint8_t *data, struct err *err)
{
	int ret;

	for (size_t i = 0; i < count; i++)
		for (size_t k = 0; k < n; k++) {
			struct wire_call *c = &w[i * n + k];

			to_wire(c, &calls[k]);
			for (int a = 0; a < 6; a++)
				if (calls[k].pointers >> a & 1)
					c->arg[a] += r->data + i * data_len;
		}
	if ((ret = remote_write(r, r->calls, w, count * n * sizeof(*w))))
		return err_sys(err, ret, "cannot write to the scratch mapping");
	for (size_t i = 0; i < count; i++) {
		struct tracee *t = &r->threads[first + i];
		struct user_regs_struct regs = t->regs;

		arch_enter_list(&regs, unit_of(r, first + i), r->calls + i * n * sizeof(*w), n);
		if ((ret = enter(r, t, &regs, err)))
			return ret;
	}
	/* The last first: while we sleep until it is done, both cores run the
	 * others, and most of them have stopped when we come to ask. */
	for (size_t i = count; i-- > 0;) {
		struct user_regs_struct regs;

		if ((ret = wait_bell(r, &r->threads[first + i], unit_of(r, first + i), &regs, err)))
			return ret;
	}
	if ((ret = remote_read(r, r->calls, w, count * n * sizeof(*w))) ||
	    (ret = remote_read(r, r->data, data, count * data_len)))
		return err_sys(err, ret, "cannot read from the scratch mapping");
	return 0;
}

int remote_run_each(struct remote *r, const struct call *calls, size_t n, size_t data_len,
		    remote_result_fn result, void *arg, struct err *err)
{
	size_t group = REMOTE_CALL_CAP / n;
	__cleanup_free struct wire_call *w = io_alloc(REMOTE_CALL_CAP, sizeof(*w), err);
	__cleanup_free uint8_t *data = io_alloc(1, REMOTE_DATA_LEN, err);

	if (!w || !data)
		return err->error;
	if (data_len && group > REMOTE_DATA_LEN / data_len)
		group = REMOTE_DATA_LEN / data_len;
	for (size_t first = 0; first < r->n; first += group) {
		size_t count = r->n - first < group ? r->n - first : group;
		int ret = run_group(r, first, count, calls, n, data_len, w, data, err);

		for (size_t i = 0; i < count && !ret; i++)
			ret = result(arg, first + i, &w[i * n], data + i * data_len, err);
		if (ret)
			return ret;
	}
	fault_point("threads asked");
	return 0;
}

int remote_touch_tiles(struct remote *r, size_t thread, struct err *err)
{
	static const uint8_t zeros[64];
	struct user_regs_struct regs = r->threads[thread].regs;
	int ret = remote_write(r, r->data, zeros, sizeof(zeros));

	if (ret)
		return err_sys(err, ret, "cannot write to the scratch mapping");
	arch_enter_tiles(&regs, unit_of(r, thread), r->data);
	if ((ret = enter(r, &r->threads[thread], &regs, err)))
		return ret;
	return wait_bell(r, &r->threads[thread], unit_of(r, thread), &regs, err);
}

/* --- giving back --- */

static void unmap_scratch(struct remote *r)
{
	static const uint8_t zeros[ARCH_UNIT_STRIDE];
	struct err ignored = ERR_INIT;
	uint64_t a[6] = {r->scratch, r->scratch_len};
	int64_t got;

	if (r->scratch && !call_one(r, r->vdso_unit, SYS_munmap, a, &got, &ignored))
		r->scratch = 0;
	fault_point("scratch unmapped");
	if (r->n && !give_back(&r->threads[0]) && r->vdso_unit &&
	    !remote_write_force(r, r->vdso_unit, zeros, sizeof(zeros)) && !r->scratch)
		r->vdso_unit = 0;
}

static void forget(struct remote *r)
{
	io_close_fd(&r->pidfd);
	io_close_fd(&r->procfd);
	io_close_fd(&r->memfd);
	free(r->threads);
	r->threads = NULL;
	r->n = r->cap = 0;
}

void remote_finish(struct remote *r)
{
	for (size_t i = 1; i < r->n; i++)
		give_back(&r->threads[i]);
	if (r->n && r->vdso_unit)
		unmap_scratch(r);
}

void remote_release(struct remote *r)
{
	remote_finish(r);
	for (size_t i = 0; i < r->n; i++) {
		struct tracee *t = &r->threads[i];
		int status;

		give_back(t);
		/* A thread that we have asked to stop must have stopped before it
		 * can be let go. */
		if (!t->stopped && waitpid(t->tid, &status, __WALL) != t->tid)
			continue;
		ptrace(PTRACE_DETACH, t->tid, 0, 0);
	}
	if (r->stop_held)
		syscall(SYS_pidfd_send_signal, r->pidfd, SIGSTOP, NULL, 0);
	forget(r);
}

void remote_kill(struct remote *r)
{
	if (r->pidfd >= 0)
		syscall(SYS_pidfd_send_signal, r->pidfd, SIGKILL, NULL, 0);
	for (size_t i = r->n; i-- > 0;) {
		int status;

		/* Threads first: the leader's end is reported last. */
		while (waitpid(r->threads[i].tid, &status, __WALL) == r->threads[i].tid &&
		       WIFSTOPPED(status))
			;
	}
	forget(r);
}

void remote_exit(struct remote *r, int status)
{
	struct tracee *t = &r->threads[0];

	if (r->n && (r->scratch || r->vdso_unit)) {
		struct user_regs_struct regs = t->regs;
		uint64_t arg[6] = {(uint64_t)status};

		arch_enter_call(&regs, r->scratch ? unit_of(r, 0) : r->vdso_unit, SYS_exit_group,
				arg);
		if (!ptrace(PTRACE_SETREGS, t->tid, 0, &regs) &&
		    !ptrace(PTRACE_DETACH, t->tid, 0, 0)) {
			forget(r);
			return;
		}
	}
	remote_kill(r);
}
