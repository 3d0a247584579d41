/*
 * Slots: see psu.h.  A slot is a range of addresses that belongs to one thread,
 * on whichever host it is, and a native thread of this process whose stack, TLS
 * and thread control block lie there.  While no frames are in it the native
 * thread is parked on its scratch stack.
 */
#include "thread/psu.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif
#define SCRATCH_SIZE (256UL << 10)
#define PARKED_KEPT 128

static struct slot **by_index; /* PSU_SLOTS pointers, reserved, hardly touched */
static uint64_t block_used;
static pthread_key_t end_key;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static bool once_ok;
static uint64_t parks;
static atomic_int state_waiters; /* threads in slot_wait_state() */

static void futex_wait(_Atomic int *word, int value, int64_t deadline)
{
	int64_t left = deadline ? deadline - wire_now() : 0;
	struct timespec ts = {.tv_sec = left / 1000000000, .tv_nsec = left % 1000000000};

	if (deadline && left <= 0)
		return;
	syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, deadline ? &ts : NULL, NULL, 0);
}

static void futex_wake(_Atomic int *word)
{
	syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

void slot_set_state(struct slot *s, enum slot_state state)
{
	atomic_store(&s->state, state);
	if (atomic_load(&state_waiters))
		futex_wake(&s->state);
}

bool slot_wait_state(struct slot *s, int not_this, int64_t deadline)
{
	bool in_time = true;

	if (atomic_load(&s->state) != not_this)
		return true;
	atomic_fetch_add(&state_waiters, 1);
	while (in_time && atomic_load(&s->state) == not_this) {
		futex_wait(&s->state, not_this, deadline);
		in_time = wire_now() < deadline;
	}
	atomic_fetch_sub(&state_waiters, 1);
	return in_time || atomic_load(&s->state) != not_this;
}

void slot_command(struct slot *s, enum slot_cmd cmd)
{
	atomic_store(&s->cmd, cmd);
	futex_wake(&s->cmd);
}

static void thread_over(struct slot *s)
{
	struct travel *t = slot_travel(s);

	send_ended(t);
	psu_info("thread ended");
	pthread_mutex_lock(&psu.lock);
	if (s->stay)
		s->stay->done = true;
	else
		psu.orphans_done++;
	s->stay = NULL;
	slot_set_state(s, SLOT_ENDED);
	pthread_cond_broadcast(&psu.changed);
	pthread_mutex_unlock(&psu.lock);
}

/* The way of pthread_exit() and of cancellation, which pass by slot_loop(). */
static void native_exit(void *arg)
{
	struct slot *s = arg;

	if (atomic_load(&s->state) == SLOT_RUNNING)
		thread_over(s);
}

static void thread_left(struct slot *s)
{
	bool news;

	pthread_mutex_lock(&psu.lock);
	/* Who waits for the thread's return need not be woken for its leaving. */
	news = !s->stay || !s->stay->wait_return || s->stay->done;
	if (s->stay && !s->stay->wait_return)
		s->stay->done = true;
	s->stay = NULL;
	s->touched = ++parks;
	slot_set_state(s, SLOT_PARKED);
	if (news)
		pthread_cond_broadcast(&psu.changed);
	pthread_mutex_unlock(&psu.lock);
}

static int go_on(struct slot *s, int cmd)
{
	sigset_t mask;

	guards_begin(s);
	sigemptyset(&mask);
	memcpy(&mask, &s->sigmask, sizeof(s->sigmask));
	pthread_setcancelstate(s->cancel_state, NULL);
	pthread_sigmask(SIG_SETMASK, &mask, NULL);
	if (cmd == CMD_RUN)
		return hop_run(&s->st, s->func, s->arg);
	if (s->has_altstack)
		sigaltstack(&s->altstack, NULL);
	guards_set_exceptions(s->caught, s->uncaught);
	errno = s->saved_errno;
	return hop_resume(&s->st, &s->regs, s->canary);
}

/* Runs on the scratch stack, all signals blocked. */
static void slot_loop(struct hop_stacks *st)
{
	struct slot *s = (struct slot *)st;
	sigset_t all;
	int cmd, how;

	sigfillset(&all);
	slot_set_state(s, SLOT_PARKED);
	for (;;) {
		while ((cmd = atomic_exchange(&s->cmd, CMD_NONE)) == CMD_NONE)
			futex_wait(&s->cmd, CMD_NONE, 0);
		if (cmd == CMD_EXIT)
			return;
		how = go_on(s, cmd);
		pthread_sigmask(SIG_SETMASK, &all, NULL);
		if (how == HOP_ENDED) {
			thread_over(s);
			return;
		}
		thread_left(s);
	}
}

static void *slot_entry(void *arg)
{
	struct slot *s = arg;

	s->tid = (int)syscall(SYS_gettid);
	s->tp = hop_thread_pointer();
	pthread_setspecific(end_key, s);
	guards_init(s);
	hop_base_enter(&s->st, slot_loop);
	return NULL;
}

static void init_once(void)
{
	void *p = mmap(NULL, PSU_SLOTS * sizeof(*by_index), PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED || pthread_key_create(&end_key, native_exit))
		return;
	by_index = p;
	once_ok = true;
}

struct slot *slot_of(uintptr_t addr)
{
	if (!by_index || addr - PSU_WINDOW >= PSU_SLOTS * PSU_SLOT_SIZE)
		return NULL;
	return by_index[(addr - PSU_WINDOW) / PSU_SLOT_SIZE];
}

struct slot *slot_current(void)
{
	/* By the control block: the stack may be an alternate one. */
	return slot_of(hop_thread_pointer());
}

static int map_slot(struct slot *s, struct err *err)
{
	void *want = (void *)s->addr, *got;

	got = mmap(want, PSU_SLOT_SIZE, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
	if (got == MAP_FAILED)
		return err_sys(err, -errno, "cannot map the thread's addresses at %p", want);
	if (got != want) {
		/* QUIRK(<4.17): MAP_FIXED_NOREPLACE is unknown, and a hint only. */
		munmap(got, PSU_SLOT_SIZE);
		return err_set(err, -EEXIST, "the thread's addresses at %p are in use", want);
	}
	s->scratch = mmap(NULL, SCRATCH_SIZE, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (s->scratch == MAP_FAILED ||
	    mprotect((void *)(s->addr + PSU_ARENA_SIZE), PSU_GUARD_SIZE, PROT_NONE)) {
		munmap(want, PSU_SLOT_SIZE);
		return err_sys(err, -errno, "cannot map a thread's stack");
	}
	s->st.scratch_sp = (uintptr_t)s->scratch + SCRATCH_SIZE;
	return 0;
}

static void unmap_slot(struct slot *s)
{
	munmap((void *)s->addr, PSU_SLOT_SIZE);
	munmap(s->scratch, SCRATCH_SIZE);
}

static int start_native(struct slot *s, struct err *err)
{
	sigset_t all, old;
	pthread_attr_t attr;
	int ret;

	sigfillset(&all);
	pthread_attr_init(&attr);
	pthread_attr_setstack(&attr, (void *)(s->addr + PSU_SLOT_SIZE - PSU_STACK_SIZE),
			      PSU_STACK_SIZE);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	ret = pthread_create(&s->native, &attr, slot_entry, s);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	return ret ? err_sys(err, -ret, "cannot create a thread") : 0;
}

/* psu.lock held.  A slot of our block that no living thread of ours has. */
static uint32_t choose_index(void)
{
	int i;

	for (i = 0; i < (int)PSU_BLOCK; i++)
		if (!(block_used >> i & 1) && !by_index[psu.block + i])
			break;
	if (i == (int)PSU_BLOCK) {
		/* All handed out; their threads may live elsewhere: a new block. */
		uint32_t r;

		psu_random(&r, sizeof(r));
		psu.block = r % (PSU_SLOTS / PSU_BLOCK) * PSU_BLOCK;
		block_used = 0;
		for (i = 0; i < (int)PSU_BLOCK - 1 && by_index[psu.block + i];)
			i++;
	}
	block_used |= 1ULL << i;
	return psu.block + (uint32_t)i;
}

static void forget(struct slot *s)
{
	struct slot **p;

	pthread_mutex_lock(&psu.lock);
	for (p = &psu.slots; *p && *p != s; p = &(*p)->next)
		;
	if (*p)
		*p = s->next;
	by_index[s->index] = NULL;
	pthread_mutex_unlock(&psu.lock);
	free(s);
}

static int make_slot(struct slot *s, struct err *err)
{
	int ret = map_slot(s, err);

	if (ret)
		goto no_map;
	ret = start_native(s, err);
	if (ret)
		goto no_thread;
	slot_wait_state(s, SLOT_STARTING, INT64_MAX);
	slot_set_state(s, SLOT_FILLING);
	return 0;
no_thread:
	unmap_slot(s);
no_map:
	forget(s);
	return ret;
}

/* An existing slot: parked is ours to take; about to be parked is waited for. */
static int take_existing(struct slot *s, struct err *err)
{
	int64_t deadline = wire_now() + psu.step_ms * 1000000LL;
	int expected = SLOT_PARKED;

	slot_wait_state(s, SLOT_LEAVING, deadline);
	if (atomic_compare_exchange_strong(&s->state, &expected, SLOT_FILLING))
		return 0;
	return err_set(err, -EBUSY,
		       "another thread has the same addresses there (slot %u); "
		       "it can hop when that one has ended",
		       s->index);
}

int slot_take(uintptr_t addr, struct slot **ret, struct err *err)
{
	struct slot *s;
	uint32_t index;
	int e;

	pthread_once(&once, init_once);
	if (!once_ok)
		return err_set(err, -ENOMEM, "no room for the table of threads");
	pthread_mutex_lock(&psu.lock);
	index = addr ? (uint32_t)((addr - PSU_WINDOW) / PSU_SLOT_SIZE) : choose_index();
	s = by_index[index];
	if (s) {
		pthread_mutex_unlock(&psu.lock);
		e = take_existing(s, err);
		if (!e)
			*ret = s;
		return e;
	}
	s = calloc(1, sizeof(*s));
	if (!s) {
		pthread_mutex_unlock(&psu.lock);
		return err_set(err, -ENOMEM, "out of memory");
	}
	s->index = index;
	s->addr = PSU_WINDOW + index * PSU_SLOT_SIZE;
	s->state = SLOT_STARTING;
	s->next = psu.slots;
	psu.slots = s;
	by_index[index] = s;
	pthread_mutex_unlock(&psu.lock);
	e = make_slot(s, err);
	if (!e)
		*ret = s;
	return e;
}

void slot_untake(struct slot *s)
{
	pthread_mutex_lock(&psu.lock);
	s->touched = ++parks;
	slot_set_state(s, SLOT_PARKED);
	pthread_mutex_unlock(&psu.lock);
}

static bool claim(struct slot *s, int from)
{
	return atomic_compare_exchange_strong(&s->state, &from, SLOT_REAPED);
}

/* The caller has claimed s. */
static void join_slot(struct slot *s)
{
	pthread_join(s->native, NULL);
	unmap_slot(s);
	forget(s);
}

void slot_release(struct slot *s)
{
	if (claim(s, SLOT_PARKED))
		slot_command(s, CMD_EXIT);
	else if (!claim(s, SLOT_ENDED))
		return;
	join_slot(s);
}

static bool stay_of(const struct psu_id *thread)
{
	struct stay *y;

	for (y = psu.stays; y; y = y->next)
		if (y->assigned && !memcmp(&y->thread, thread, sizeof(*thread)))
			return true;
	return false;
}

/* psu.lock held: one slot worth releasing, claimed, or NULL. */
static struct slot *pick(void)
{
	struct slot *s, *oldest = NULL;
	int parked = 0;

	for (s = psu.slots; s; s = s->next) {
		if (claim(s, SLOT_ENDED)) {
			/* Its thread ended here: the addresses are free again. */
			if (s->index - psu.block < PSU_BLOCK)
				block_used &= ~(1ULL << (s->index - psu.block));
			return s;
		}
		if (atomic_load(&s->state) != SLOT_PARKED || stay_of(&slot_travel(s)->thread))
			continue;
		parked++;
		if (!oldest || s->touched < oldest->touched)
			oldest = s;
	}
	if (parked > PARKED_KEPT && claim(oldest, SLOT_PARKED)) {
		slot_command(oldest, CMD_EXIT);
		return oldest;
	}
	return NULL;
}

void slot_reap(void)
{
	struct slot *s;

	do {
		pthread_mutex_lock(&psu.lock);
		s = pick();
		pthread_mutex_unlock(&psu.lock);
		if (s)
			join_slot(s);
	} while (s);
}
