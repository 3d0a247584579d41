/*
 * The scratch mapping: where the units, the calls and their data are while a
 * target works for us.
 *
 * The first mmap and the last munmap need a place for the unit before there is
 * a scratch mapping: the zeros behind the vdso's ELF image, in its last page.
 * The kernel gives the process its own copy of that page on writing, as it does
 * for a breakpoint; the bytes are zeroed again at the end.
 */
#include "remote/internal.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "base/fault.h"
#include "base/io.h"
#include "base/refusal.h"
#include "proc/status.h"

static void fill_unit(const struct remote *r, size_t thread, uint8_t unit[ARCH_UNIT_STRIDE])
{
	const struct tracee *t = &r->threads[thread];
	const char *code = r->guarded ? arch_guarded_code : arch_unit_code;
	size_t len = r->guarded ? ARCH_GUARDED_CODE : ARCH_UNIT_CODE;
	struct arch_unit_data d = {
		.tgid = (uint64_t)r->ns_pid,
		.tid = (uint64_t)t->ns_tid,
		.signal = r->guarded ? UINT64_C(1) << (r->bell - 1) : (uint64_t)r->bell,
		.mask = t->sigmask,
		.scratch = r->scratch_at,
		.scratch_len = r->scratch_len,
		.older = r->older,
		.older_len = r->older_len,
	};

	arch_heal_regs(&d, &t->regs);
	memset(unit, 0, ARCH_UNIT_STRIDE);
	memcpy(unit, code, len);
	memcpy(unit + len, &d, sizeof(d));
}

/*
 * The bell is best a signal that the program ignores, by default or by its own
 * will: if we die, it has no effect.  Never one that is pending: it would be taken by the
 * way.  SIGCONT would drop a pending stop, and the stops a pending SIGCONT, so
 * these come late or never.  A program that catches all of them is lent one that
 * means little.  0 when there is none.
 */
static int choose_bell(const struct proc_status *st)
{
	static const int mild[] = {SIGURG, SIGWINCH, SIGCHLD, SIGCONT};
	uint64_t taken = st->sig_caught | st->sig_pending;
	uint64_t ignored = st->sig_ignored & ~st->sig_pending;

	for (size_t i = 0; i < ARRAY_SIZE(mild) - 1; i++)
		if (!(taken >> (mild[i] - 1) & 1))
			return mild[i];
	for (int sig = 1; sig <= 64; sig++)
		if (ignored >> (sig - 1) & 1 && sig != SIGCONT && sig != SIGTSTP &&
		    sig != SIGTTIN && sig != SIGTTOU)
			return sig;
	if (!(taken >> (SIGCONT - 1) & 1))
		return SIGCONT;
	for (size_t i = 0; i < ARRAY_SIZE(mild); i++)
		if (!(st->sig_pending >> (mild[i] - 1) & 1))
			return mild[i];
	return 0;
}

/* The ids by which the target itself knows its threads. */
static int read_ns_ids(struct remote *r, const struct proc_status *speaker, struct err *err)
{
	__cleanup_buf struct buf b = {0};

	r->ns_pid = speaker->ns_tgid;
	r->threads[0].ns_tid = speaker->ns_pid;
	if (speaker->ns_depth < 2)
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

/*
 * Finds the room for the unit behind the vdso's image.  *stale is what a godwit
 * that was killed has left there; untouched when nothing.
 */
static int find_vdso_room(struct remote *r, uint64_t vdso, uint64_t len,
			  struct arch_unit_data *stale, struct err *err)
{
	__cleanup_free uint8_t *p = NULL;
	const void *left;
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
	if ((left = arch_unit_find_data(p + end)))
		memcpy(stale, left, sizeof(*stale));
	r->vdso_room = vdso + end;
	return 0;
}

static int place_vdso_unit(struct remote *r, struct err *err)
{
	uint8_t unit[ARCH_UNIT_STRIDE];
	int ret;

	fill_unit(r, 0, unit);
	if ((ret = remote_write_force(r, r->vdso_room, unit, sizeof(unit))))
		return err_sys(err, ret, "cannot write to the vdso of process %d", r->pid);
	r->vdso_unit = r->vdso_room;
	fault_point("unit in the vdso");
	return 0;
}

static int find_room_and_stale(struct remote *r, const struct proc_maps *maps,
			       struct arch_unit_data *stale, struct err *err)
{
	for (size_t i = 0; i < maps->n; i++)
		if (!strcmp(maps->v[i].name, "[vdso]"))
			return find_vdso_room(r, maps->v[i].start,
					      maps->v[i].end - maps->v[i].start, stale, err);
	return err_refuse(err, "process %d has no vdso", r->pid);
}

static bool is_stale(const struct remote *r, const struct arch_unit_data *stale, uint64_t ip)
{
	return ip - r->vdso_room < ARCH_UNIT_STRIDE || ip - stale->scratch < stale->scratch_len ||
	       ip - stale->older < stale->older_len;
}

/* How far up a signal frame is looked for: it and what its handler calls. */
#define STACK_LOOK (256u << 10)

/*
 * A signal that waited while the thread was borrowed is delivered as soon as the unit
 * has put the mask back: its handler returns into the unit.  Whatever looks like such
 * a return address counts: to wait does no harm.
 */
static bool will_return_there(const struct remote *r, const struct arch_unit_data *stale,
			      const struct proc_maps *maps, uint64_t sp)
{
	__cleanup_free uint64_t *stack = NULL;
	struct err ignored = ERR_INIT;
	size_t len = 0;

	sp &= ~7ULL;
	for (size_t i = 0; i < maps->n; i++)
		if (sp >= maps->v[i].start && sp < maps->v[i].end)
			len = maps->v[i].end - sp < STACK_LOOK ? maps->v[i].end - sp : STACK_LOOK;
	if (!len || !(stack = io_alloc(1, len, &ignored)) || remote_read_force(r, sp, stack, len))
		return false;
	for (size_t i = 0; i < len / sizeof(*stack); i++)
		if (is_stale(r, stale, stack[i]))
			return true;
	return false;
}

/*
 * The race: 1. a godwit is killed while a thread runs in its unit; 2. the kernel
 * resumes the thread, which will put itself right; 3. before it has done so, we
 * stop it.  What stands in its registers is not the program's, and the unit that
 * it needs is where we want ours.  It must be let go for a moment.
 */
static int refuse_healing(struct remote *r, const struct proc_maps *maps, struct err *err)
{
	struct arch_unit_data stale = {0};
	int ret = find_room_and_stale(r, maps, &stale, err);

	if (ret || !stale.signal)
		return ret;
	for (size_t i = 0; i < r->n; i++) {
		const struct tracee *t = &r->threads[i];

		if (!is_stale(r, &stale, t->regs.rip) &&
		    !will_return_there(r, &stale, maps, t->regs.rsp))
			continue;
		err_set(err, -EINPROGRESS,
			"thread %d is still being put right after a killed godwit", t->tid);
		return err_hint(err, "it may be in a signal handler; try again when that is over");
	}
	return 0;
}

int remote_check(struct remote *r, const struct proc_maps *maps, struct err *err)
{
	__cleanup_buf struct buf b = {0};
	struct proc_status st;
	int ret = io_read_file(r->procfd, "status", &b);

	if (ret)
		return err_sys(err, ret, "cannot read /proc/%d/status", r->pid);
	if ((ret = proc_parse_status(b.p, &st, err)))
		return ret;
	if (st.shadow_stack) {
		return err_refuse_as(err, REFUSED_SHADOW_STACK,
				     "process %d has a user shadow stack", r->pid);
	}
	r->bell = choose_bell(&st);
	if (!r->bell) {
		return err_refuse_as(err, REFUSED_NO_BELL,
				     "process %d has each signal pending that could be lent to it",
				     r->pid);
	}
	if ((ret = read_ns_ids(r, &st, err)) || (ret = refuse_healing(r, maps, err)))
		return ret;
	return remote_guard_filtered(r, err);
}

uint64_t remote_units_end(size_t max_threads)
{
	return max_threads * ARCH_UNIT_STRIDE;
}

/* Units, and the code that makes a snapshot. */
static uint64_t units_len(size_t max_threads)
{
	return ALIGN_UP(remote_units_end(max_threads) + ARCH_SNAPSHOT_LEN, PAGE_SIZE_4K);
}

/* Room for a batch, and for a few calls of every thread at once. */
size_t remote_call_cap(size_t max_threads)
{
	return max_threads * 8 > REMOTE_CALL_CAP ? max_threads * 8 : REMOTE_CALL_CAP;
}

static uint64_t calls_len(size_t max_threads)
{
	return ALIGN_UP(remote_call_cap(max_threads) * sizeof(struct wire_call), PAGE_SIZE_4K);
}

uint64_t remote_scratch_len(size_t max_threads)
{
	return units_len(max_threads) + calls_len(max_threads) + REMOTE_DATA_LEN;
}

/* At r->scratch_at, which is free, for r->scratch_len bytes. */
static int map_scratch(struct remote *r, struct err *err)
{
	uint64_t units = units_len(r->max_threads);
	uint64_t a[6] = {r->scratch_at,         r->scratch_len,
			 PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE,
			 (uint64_t)-1,          0};
	int64_t got;
	int ret = remote_call_one(r, r->vdso_unit, SYS_mmap, a, &got, err);

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
	r->data = r->calls + calls_len(r->max_threads);
	fault_point("scratch mapped");
	uint64_t b[6] = {r->calls, r->scratch_len - units, PROT_READ | PROT_WRITE};

	if ((ret = remote_call_one(r, r->vdso_unit, SYS_mprotect, b, &got, err)))
		return ret;
	return got ? err_sys(err, (int)got, "cannot make the scratch mapping writable") : 0;
}

int remote_write_units(struct remote *r, size_t from, struct err *err)
{
	size_t len = (r->n - from) * ARCH_UNIT_STRIDE;
	__cleanup_free uint8_t *p = io_alloc(1, len, err);
	int ret;

	if (!p)
		return err->error;
	for (size_t i = from; i < r->n; i++)
		fill_unit(r, i, p + (i - from) * ARCH_UNIT_STRIDE);
	ret = remote_write_force(r, remote_unit(r, from), p, len);
	return ret ? err_sys(err, ret, "cannot write to the scratch mapping") : 0;
}

int remote_rewrite_units(struct remote *r, struct err *err)
{
	int ret = place_vdso_unit(r, err);

	return ret ? ret : remote_write_units(r, 0, err);
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

static bool is_scratch(const struct proc_maps *maps, uint64_t start)
{
	for (size_t i = 0; start && i < maps->n; i++) {
		const struct proc_map *m = &maps->v[i];

		if (m->start == start)
			return !m->ino && !m->shared && !*m->name &&
			       m->prot == (PROT_READ | PROT_EXEC);
	}
	return false;
}

/*
 * The scratch mapping that a killed godwit left, as its unit in the vdso says: its own,
 * or, if it was killed before it could make that, the one that it found.  Our own unit
 * will say so in turn.
 */
static void find_older(struct remote *r, const struct arch_unit_data *stale,
		       const struct proc_maps *maps)
{
	if (is_scratch(maps, stale->scratch)) {
		r->older = stale->scratch;
		r->older_len = stale->scratch_len;
	} else if (is_scratch(maps, stale->older)) {
		r->older = stale->older;
		r->older_len = stale->older_len;
	}
}

static int remove_older(struct remote *r, struct proc_maps *maps, struct err *err)
{
	uint64_t a[6] = {r->older, r->older_len};
	int64_t got;
	int ret;

	if (!r->older)
		return 0;
	if ((ret = remote_call_one(r, r->vdso_unit, SYS_munmap, a, &got, err)))
		return ret;
	if (got)
		return err_sys(err, (int)got, "cannot remove what a killed godwit left");
	forget_range(maps, r->older, r->older_len);
	fault_point("leftover unmapped");
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
	int ret;

	r->max_threads = r->n;
	r->scratch_len = remote_scratch_len(r->n);
	r->scratch_at = find_room(maps, r->scratch_len);
	if (!r->scratch_at)
		return err_refuse(err, "process %d has no room in its address space", r->pid);
	if ((ret = find_room_and_stale(r, maps, &stale, err)))
		return ret;
	find_older(r, &stale, maps);
	if ((ret = remote_check_heal(r, err)) || (ret = place_vdso_unit(r, err)) ||
	    (ret = remove_older(r, maps, err)) || (ret = map_scratch(r, err)))
		return ret;
	return remote_write_units(r, 0, err);
}

int remote_prepare_at(struct remote *r, uint64_t scratch, size_t max_threads, uint64_t vdso,
		      uint64_t vdso_len, struct err *err)
{
	struct arch_unit_data none; /* a new process has no past */
	int ret;

	if (!r->bell)
		r->bell = SIGURG;
	r->max_threads = max_threads;
	r->scratch_at = scratch;
	r->scratch_len = remote_scratch_len(max_threads);
	if ((ret = find_vdso_room(r, vdso, vdso_len, &none, err)) ||
	    (ret = place_vdso_unit(r, err)) || (ret = map_scratch(r, err)))
		return ret;
	return remote_write_units(r, 0, err);
}

void remote_unmap_scratch(struct remote *r)
{
	static const uint8_t zeros[ARCH_UNIT_STRIDE];
	struct err ignored = ERR_INIT;
	uint64_t a[6] = {r->scratch, r->scratch_len};
	int64_t got;

	if (r->scratch && !remote_call_one(r, r->vdso_unit, SYS_munmap, a, &got, &ignored))
		r->scratch = 0;
	fault_point("scratch unmapped");
	if (r->n && !remote_give_back(&r->threads[0]) && r->vdso_unit &&
	    !remote_write_force(r, r->vdso_unit, zeros, sizeof(zeros)) && !r->scratch)
		r->vdso_unit = 0;
}
