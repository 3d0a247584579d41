/*
 * What of a thread's state cannot travel: each kind is looked for before
 * anything is sent, and named.  Nothing here changes the thread.
 */
#include "thread/psu.h"

#include <errno.h>
#include <locale.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <unwind.h>

/* The hop itself needs room below the frames: getaddrinfo and OpenSSL. */
#define ROOM_NEEDED (256UL << 10)
/* More data than this is not searched for locked mutexes: it would cost more
 * than the hop, and touch pages that the program never touched. */
#define SEARCH_MAX (8UL << 20)

struct cxa_eh_globals {
	uint64_t caught;   /* chain of exceptions whose catch block is running */
	uint32_t uncaught; /* thrown, not yet caught: a destructor is running */
};
extern struct cxa_eh_globals *__cxa_get_globals(void) __attribute__((weak));

/* Where glibc keeps the chain of cleanup handlers in the thread control block:
 * found by pushing one and looking for its address.  0: not found. */
static size_t cleanup_offset;

static void nothing(void *arg)
{
	(void)arg;
}

/* Not on a slot's stack: the jmp_buf in here would be left on it. */
void guards_setup(void)
{
	uint64_t tp = hop_thread_pointer();
	size_t i;

	pthread_cleanup_push(nothing, NULL);
	/* struct pthread is larger than this in every glibc that has one. */
	for (i = 0; i < 2048; i += sizeof(uintptr_t))
		if (*(const uintptr_t *)(tp + i) == (uintptr_t)&__cancel_buf)
			cleanup_offset = i;
	pthread_cleanup_pop(0);
}

void guards_init(struct slot *s)
{
	s->cleanup_base = *(const uintptr_t *)(s->tp + cleanup_offset);
}

bool guards_exceptions_known(void)
{
	return __cxa_get_globals != NULL;
}

void guards_set_exceptions(uint64_t caught, uint64_t uncaught)
{
	if (!__cxa_get_globals)
		return;
	__cxa_get_globals()->caught = caught;
	__cxa_get_globals()->uncaught = (uint32_t)uncaught;
}

static int check_stack(const struct slot *s, const struct hop_regs *r, struct err *err)
{
	uintptr_t lo = s->addr + PSU_SLOT_SIZE - PSU_STACK_SIZE;

	if (r->rsp - lo >= s->st.base_sp - lo)
		return err_refuse(err,
				  "the thread is on a stack that is not its own "
				  "(alternate signal stack, or a context made by makecontext)");
	if (r->rsp - lo < ROOM_NEEDED)
		return err_refuse(err, "the thread's stack is full: %lu KiB left, %lu needed",
				  (r->rsp - lo) >> 10, ROOM_NEEDED >> 10);
	if (hop_has_shadow_stack())
		return err_refuse(err, "the thread has a shadow stack; start the program with "
				       "GLIBC_TUNABLES=glibc.cpu.x86_shstk=off");
	return 0;
}

static int check_exceptions(const struct slot *s, struct hop_head *h, struct err *err)
{
	const struct cxa_eh_globals *g = __cxa_get_globals ? __cxa_get_globals() : NULL;

	if (!g || (!g->caught && !g->uncaught))
		return 0;
	if (g->uncaught)
		return err_refuse(
			err, "a C++ exception is being thrown (a destructor asked for the hop)");
	/* The exception object lies on the heap, which stays, or in the arena. */
	if (g->caught - s->addr >= PSU_ARENA_SIZE)
		return err_refuse(
			err,
			"the thread is inside a C++ catch block whose exception is on the heap; "
			"leave the block first, or run with PSU_ISOMALLOC=1");
	h->caught = g->caught;
	h->uncaught = g->uncaught;
	return 0;
}

static int check_libc(const struct slot *s, struct err *err)
{
	size_t at = cleanup_offset;

	if (uselocale((locale_t)0) != LC_GLOBAL_LOCALE)
		return err_refuse(err, "the thread has a locale of its own (uselocale)");
	if (at && *(const uintptr_t *)(s->tp + at) != s->cleanup_base)
		return err_refuse(err,
				  "the thread has pending cleanup handlers (pthread_cleanup_push)");
	return 0;
}

static int check_altstack(const struct slot *s, struct hop_head *h, struct err *err)
{
	stack_t ss;

	if (sigaltstack(NULL, &ss) || (ss.ss_flags & SS_DISABLE))
		return 0;
	if ((uintptr_t)ss.ss_sp - s->addr >= PSU_SLOT_SIZE)
		return err_refuse(
			err, "the thread's alternate signal stack is not in memory that travels "
			     "(take it from the stack or from psu_malloc)");
	h->has_altstack = 1;
	h->altstack_sp = (uintptr_t)ss.ss_sp;
	h->altstack_size = ss.ss_size;
	h->altstack_flags = (uint32_t)ss.ss_flags & ~(uint32_t)SS_ONSTACK;
	return 0;
}

/*
 * A locked mutex of ours is 16 bytes {int lock != 0; unsigned count; int owner ==
 * our tid; unsigned users == 1}, then a small kind.  The second eight bytes alone
 * are rare enough to make this one comparison a word.
 */
static const uint64_t *find_mutex(uintptr_t lo, uintptr_t hi, int tid)
{
	uint64_t want = 1ULL << 32 | (uint32_t)tid;
	const uint64_t *w = (const uint64_t *)ALIGN_UP(lo, 8);
	const uint64_t *end = (const uint64_t *)ALIGN_DOWN(hi, 8);

	for (; w + 5 <= end; w++)
		if (w[1] == want && (uint32_t)w[0] && w[0] >> 32 < 100000 && (uint32_t)w[2] < 512)
			return w;
	return NULL;
}

static int check_stream(FILE *f, const char *name, struct err *err)
{
	/* struct _IO_lock of glibc: {int lock; int depth; void *owner}. */
	const struct {
		int lock, depth;
		uintptr_t owner;
	} *l = (const void *)f->_lock;

	if (l && l->lock && l->owner == hop_thread_pointer())
		return err_refuse(err, "the thread holds the lock of %s (flockfile)", name);
	return 0;
}

static int check_locks(const struct slot *s, const struct hop_regs *r, struct err *err)
{
	uintptr_t area[10][2];
	int i, ret, n = modules_exe_data(area, 8);
	const uint64_t *m = NULL;
	size_t budget = SEARCH_MAX;

	area[n][0] = r->rsp;
	area[n++][1] = s->st.base_sp;
	area[n][0] = s->addr + ARENA_START;
	area[n++][1] = s->addr + slot_travel(s)->arena_top;
	for (i = n - 1; i >= 0 && !m; i--) {
		size_t len = area[i][1] - area[i][0];

		if (len > budget)
			continue;
		budget -= len;
		m = find_mutex(area[i][0], area[i][1], s->tid);
	}
	if (m)
		return err_refuse(err, "the thread holds the mutex at %p", (const void *)m);
	ret = check_stream(stdout, "stdout", err);
	if (!ret)
		ret = check_stream(stderr, "stderr", err);
	return ret ? ret : check_stream(stdin, "stdin", err);
}

static _Unwind_Reason_Code count_signal_frames(struct _Unwind_Context *c, void *arg)
{
	int before = 0;

	_Unwind_GetIPInfo(c, &before);
	*(int *)arg += before;
	return _URC_NO_REASON;
}

/*
 * A signal frame holds the interrupted registers and, in the sender's CPU's own
 * format, the vector state: only this kernel can return through it.  The saved
 * segment registers and the magic of the state above them betray one; an
 * unwinder then tells a live frame from the remains of an old one.
 */
static int check_signal_frame(const struct slot *s, const struct hop_regs *r, struct err *err)
{
	const uint64_t *w = (const uint64_t *)ALIGN_UP(r->rsp, 8);
	const uint64_t *end = (const uint64_t *)s->st.base_sp;
	int live = 0;

	for (; w + 6 < end; w++) {
		uint64_t fp = w[5];

		if ((uint16_t)w[0] != 0x33 || w[0] >> 48 != 0x2b)
			continue;
		if (fp < r->rsp || fp + 512 > s->st.base_sp || (fp & 63) ||
		    *(const uint32_t *)(fp + 464) != 0x46505853)
			continue;
		_Unwind_Backtrace(count_signal_frames, &live);
		if (live)
			return err_refuse(err, "the thread is inside a signal handler");
		return 0;
	}
	return 0;
}

int guards_check(struct slot *s, const struct hop_regs *r, struct hop_head *h, struct err *err)
{
	int ret = check_stack(s, r, err);

	if (!ret)
		ret = check_exceptions(s, h, err);
	if (!ret)
		ret = check_libc(s, err);
	if (!ret)
		ret = check_altstack(s, h, err);
	if (!ret)
		ret = check_locks(s, r, err);
	return ret ? ret : check_signal_frame(s, r, err);
}
