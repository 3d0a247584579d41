/*
 * What of a thread's state cannot travel: each kind is looked for before
 * anything is sent, and named.  Nothing here changes the thread.
 */
#include "thread/psu.h"

#include <errno.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <unwind.h>

/* The hop itself needs room below the frames: getaddrinfo and OpenSSL. */
#define ROOM_NEEDED (256UL << 10)
struct cxa_eh_globals {
	uint64_t caught;   /* chain of exceptions whose catch block is running */
	uint32_t uncaught; /* thrown, not yet caught: a destructor is running */
};
extern struct cxa_eh_globals *__cxa_get_globals(void) __attribute__((weak));

/* Offsets from the thread pointer, found by doing what changes the place and
 * looking for the change.  0: not found. */
static size_t cleanup_offset;  /* the chain of cleanup handlers */
static size_t specific_offset; /* the table of thread-specific data */
static int64_t dtors_offset;   /* the list of thread_local destructors */

/* struct pthread is larger than this in every glibc that has these. */
#define CONTROL_BLOCK 2048
/* A table of pthread_getspecific(): 32 blocks of 32, the first one in place. */
#define KEYS_A_BLOCK 32
struct specific {
	uint64_t seq;
	void *data;
};

static void nothing(void *arg)
{
	(void)arg;
}

/* By a value that is set: then the block's address must follow the block. */
static void find_specific(uint64_t tp)
{
	pthread_key_t key;
	size_t at, start;

	if (pthread_key_create(&key, NULL))
		return;
	pthread_setspecific(key, &key);
	for (at = 0; key < KEYS_A_BLOCK && at < CONTROL_BLOCK; at += sizeof(uint64_t)) {
		if (*(const uintptr_t *)(tp + at) != (uintptr_t)&key)
			continue;
		start = at - key * sizeof(struct specific) - offsetof(struct specific, data);
		if (*(const uint64_t *)(tp + start + KEYS_A_BLOCK * sizeof(struct specific)) ==
		    tp + start)
			specific_offset = start;
	}
	pthread_setspecific(key, NULL);
	pthread_key_delete(key);
}

extern int __cxa_thread_atexit_impl(void (*)(void *), void *, void *) __attribute__((weak));

/* On a thread of its own: the destructor that it registers runs at its end. */
static void *find_dtors(void *arg)
{
	uint64_t tp = hop_thread_pointer(), before[512];
	int64_t lo = 0, at;
	uint64_t size = 0, n;

	if (!__cxa_thread_atexit_impl || modules_libc_tls(&lo, &size))
		return NULL;
	n = size / 8 < ARRAY_SIZE(before) ? size / 8 : ARRAY_SIZE(before);
	at = (int64_t)ALIGN_UP((uint64_t)lo, 8);
	memcpy(before, (const void *)(tp + (uint64_t)at), n * 8);
	if (__cxa_thread_atexit_impl(nothing, arg, &cleanup_offset))
		return NULL;
	for (uint64_t i = 0; i < n; i++, at += 8) {
		const uintptr_t *now = (const uintptr_t *)(tp + (uint64_t)at);

		/* {function, object, ...}, allocated just now */
		if (!before[i] && *now && *now % 8 == 0 && *now > 65536 &&
		    ((void **)*now)[1] == arg)
			dtors_offset = at;
	}
	return NULL;
}

/* Not on a slot's stack: the jmp_buf in here would be left on it. */
void guards_setup(void)
{
	uint64_t tp = hop_thread_pointer();
	pthread_t t;
	size_t i;

	pthread_cleanup_push(nothing, NULL);
	for (i = 0; i < CONTROL_BLOCK; i += sizeof(uintptr_t))
		if (*(const uintptr_t *)(tp + i) == (uintptr_t)&__cancel_buf)
			cleanup_offset = i;
	pthread_cleanup_pop(0);
	find_specific(tp);
	if (!pthread_create(&t, NULL, find_dtors, &dtors_offset))
		pthread_join(t, NULL);
}

static uintptr_t pending_dtors(const struct slot *s)
{
	return dtors_offset ? *(const uintptr_t *)(s->tp + (uint64_t)dtors_offset) : 0;
}

/* Which keys have a value on the calling thread, which is s's. */
static void get_keys(const struct slot *s, struct psu_keys *ret)
{
	const struct specific *const *block =
		(const void *)(s->tp + specific_offset + KEYS_A_BLOCK * sizeof(struct specific));
	unsigned int i;

	memset(ret, 0, sizeof(*ret));
	for (i = 0; i < PSU_KEYS; i++) {
		if (specific_offset && !block[i / KEYS_A_BLOCK]) {
			i += KEYS_A_BLOCK - 1;
			continue;
		}
		if (specific_offset && !block[i / KEYS_A_BLOCK][i % KEYS_A_BLOCK].data)
			continue;
		/* The value of a key that was deleted is none. */
		if (pthread_getspecific(i))
			ret->bits[i / 64] |= 1ULL << i % 64;
	}
}

void guards_init(struct slot *s)
{
	size_t len;

	s->cleanup_base = *(const uintptr_t *)(s->tp + cleanup_offset);
	if (syscall(SYS_get_robust_list, 0, &s->robust, &len))
		s->robust = NULL;
	/* An allocator may keep something for each thread that uses it. */
	free(malloc(1));
}

void guards_begin(struct slot *s)
{
	get_keys(s, &s->keys);
	s->dtors_base = pending_dtors(s);
}

void guards_enter(const struct slot *s, struct psu_keys *ret_keys)
{
	get_keys(s, ret_keys);
}

void guards_leave(struct slot *s, const struct psu_keys *at_entry)
{
	struct psu_keys now;
	int i;

	get_keys(s, &now);
	for (i = 0; i < PSU_KEYS / 64; i++)
		s->keys.bits[i] |= now.bits[i] & ~at_entry->bits[i];
}

static int check_specific(const struct slot *s, const struct psu_keys *k, struct err *err)
{
	int i;

	for (i = 0; i < PSU_KEYS / 64; i++) {
		uint64_t theirs = k->bits[i] & ~s->keys.bits[i];

		if (theirs)
			return err_refuse(
				err,
				"the thread has thread-specific data (pthread_setspecific, "
				"key %d); set it to NULL before, and anew after the hop",
				i * 64 + __builtin_ctzll(theirs));
	}
	if (pending_dtors(s) != s->dtors_base)
		return err_refuse(err, "the thread has C++ thread_local objects with destructors");
	return 0;
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

int guards_check_stack(const struct slot *s, const struct hop_regs *r, struct err *err)
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

static int check_locks(const struct slot *s, const struct scan *k, struct err *err)
{
	int ret;

	/* Robust mutexes are on a list, wherever they are. */
	if (s->robust && *s->robust != s->robust)
		return err_refuse(err, "the thread holds a robust mutex");

	if (k->lock)
		return err_refuse(err, "the thread holds the %s at %p",
				  k->is_rwlock ? "read-write lock" : "mutex", k->lock);
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
 * format, the vector state: only this kernel can return through it.  An unwinder
 * tells a live frame from the remains of an old one.
 */
static int check_signal_frame(const struct scan *k, struct err *err)
{
	int live = 0;

	if (k->has_signal_frame)
		_Unwind_Backtrace(count_signal_frames, &live);
	return live ? err_refuse(err, "the thread is inside a signal handler") : 0;
}

int guards_check(const struct slot *s, const struct scan *k, const struct psu_keys *keys,
		 struct hop_head *h, struct err *err)
{
	int ret = check_exceptions(s, h, err);

	if (!ret)
		ret = check_libc(s, err);
	if (!ret)
		ret = check_specific(s, keys, err);
	if (!ret)
		ret = check_altstack(s, h, err);
	if (!ret)
		ret = check_locks(s, k, err);
	return ret ? ret : check_signal_frame(k, err);
}
