/* The public calls, and what a psu_thread_create() waits for. */
#include "thread/psu.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A program that ignored a failed hop must not look successful to its caller. */
static void at_exit(int status, void *arg)
{
	int code;

	(void)arg;
	serve_settle();
	code = atomic_load(&psu.exit_code);
	if (status || !code)
		return;
	fflush(NULL);
	_exit(code);
}

PSU_PUBLIC void psu_thread_setup_init(int mode)
{
	struct module_table *t;
	struct err err = ERR_INIT;

	if (psu.is_ready)
		return;
	if (mode != 0 && mode != 1) {
		psu_say("mode %d: 0 is the client, where the thread starts, 1 the server", mode);
		exit(EXIT_USAGE);
	}
	psu.mode = mode;
	psu_config();
	psu_random(&psu.instance, sizeof(psu.instance));
	psu_random(&psu.block, sizeof(psu.block));
	psu.block = psu.block % (PSU_SLOTS / PSU_BLOCK) * PSU_BLOCK;
	if (getenv("PSU_SLOT")) /* tests: two hosts with the same addresses in use */
		psu.block = (uint32_t)strtoul(getenv("PSU_SLOT"), NULL, 10) % PSU_SLOTS & ~63U;
	psu.jmpbuf_known = hop_jmpbuf_known();
	on_exit(at_exit, NULL);
	if (psu.isomalloc)
		isomalloc_start(); /* while there is one thread only */
	t = io_alloc(1, sizeof(*t), &err);
	if (!t || modules_current(t, &err) || arrive_setup(&err)) {
		psu_say("%s", err.what);
		exit(err.exit);
	}
	free(t);
	guards_setup();
	if (serve_start(&err)) {
		psu_say("%s", err.what);
		exit(err.exit);
	}
	if (carry_check_tls(&psu.cannot))
		psu_info("no thread can leave this program: %s", psu.cannot.what);
	psu.is_ready = true;
}

/* psu.lock held: threads that arrived here, run, and have no create(). */
static struct slot *orphan(void)
{
	struct slot *s;

	for (s = psu.slots; s; s = s->next)
		if ((s->state == SLOT_RUNNING || s->state == SLOT_LEAVING) && !s->stay)
			return s;
	return NULL;
}

/* psu.lock held.  A thread may have ended elsewhere, and said so, before the slot
 * that it left here is quite parked: no slot keeps what goes away now. */
static void stay_end(struct stay *y)
{
	struct stay **p;
	struct slot *s;

	for (s = psu.slots; s; s = s->next)
		if (s->stay == y)
			s->stay = NULL;

	for (p = &psu.stays; *p && *p != y; p = &(*p)->next)
		;
	if (*p)
		*p = y->next;
}

static int stay_result(const struct stay *y)
{
	if (!y->error)
		return 0;
	errno = y->error;
	return -1;
}

static int run_here(struct stay *y, void *(*func)(void *), void *arg)
{
	struct err err = ERR_INIT;
	struct travel *t;
	struct slot *s;
	sigset_t mask;

	if (slot_take(0, &s, &err)) {
		psu_say("%s", err.what);
		errno = EAGAIN;
		return -1;
	}
	t = slot_travel(s);
	arena_init(t);
	psu_random(&t->thread, sizeof(t->thread));
	y->thread = t->thread;
	y->assigned = true;
	s->func = func;
	s->arg = arg;
	pthread_sigmask(SIG_SETMASK, NULL, &mask);
	memcpy(&s->sigmask, &mask, sizeof(s->sigmask));
	s->cancel_state = PTHREAD_CANCEL_ENABLE;
	pthread_mutex_lock(&psu.lock);
	y->next = psu.stays;
	psu.stays = y;
	s->stay = y;
	slot_set_state(s, SLOT_RUNNING);
	slot_command(s, CMD_RUN);
	while (!y->done)
		pthread_cond_wait(&psu.changed, &psu.lock);
	stay_end(y);
	pthread_mutex_unlock(&psu.lock);
	slot_reap();
	return stay_result(y);
}

static int run_arrived(struct stay *y)
{
	struct slot *s;

	pthread_mutex_lock(&psu.lock);
	y->next = psu.stays;
	psu.stays = y;
	s = orphan();
	if (s) {
		s->stay = y;
		y->assigned = true;
		y->thread = slot_travel(s)->thread;
	} else if (psu.orphans_done) {
		psu.orphans_done--;
		y->done = true;
	}
	while (!y->done)
		pthread_cond_wait(&psu.changed, &psu.lock);
	stay_end(y);
	/* Threads beyond those that were waited for must not die with main. */
	while (!psu.stays && orphan())
		pthread_cond_wait(&psu.changed, &psu.lock);
	pthread_mutex_unlock(&psu.lock);
	slot_reap();
	return stay_result(y);
}

PSU_PUBLIC int psu_thread_create_ex(void *(*user_func)(void *), void *user_args, int flags)
{
	struct stay y = {.wait_return = psu.wait_return || (flags & PSU_WAIT_RETURN)};

	if (!psu.is_ready) {
		psu_say("psu_thread_setup_init must be called first");
		errno = EINVAL;
		return -1;
	}
	/* What main() registers it has registered by now. */
	atomic_store(&psu.is_open, true);
	if (psu.mode)
		return run_arrived(&y);
	return run_here(&y, user_func, user_args);
}

PSU_PUBLIC int psu_thread_create(void *(*user_func)(void *), void *user_args)
{
	return psu_thread_create_ex(user_func, user_args, 0);
}

PSU_PUBLIC int psu_thread_migrate_result(const char **reason)
{
	struct slot *s = slot_current();
	struct travel *t = s ? slot_travel(s) : NULL;

	/* The program takes care itself; but a lost thread stays a failure. */
	psu.result_asked = true;
	if (atomic_load(&psu.exit_code) != EXIT_AFTER_COMMIT)
		atomic_store(&psu.exit_code, 0);
	if (reason)
		*reason = !t               ? "only a thread made by psu_thread_create can hop"
			  : t->result < 0  ? t->reason
			  : t->result == 1 ? "that is this process"
					   : "moved";
	return t ? t->result : -ENOTSUP;
}

PSU_PUBLIC const char *psu_thread_home(void)
{
	struct slot *s = slot_current();
	struct travel *t = s ? slot_travel(s) : NULL;

	if (!t || !memcmp(&t->home.instance, &psu.instance, sizeof(psu.instance)))
		return "";
	return t->home.addr;
}
