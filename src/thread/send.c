/*
 * The leaving side.
 *
 *   1. look for state that cannot travel; find the peer, agree on the layout
 *   2. HOP: everything; the peer builds the thread and answers READY or REFUSE
 *   3. COMMIT: from the first byte of it on, this side must not run the thread
 *      again on its own judgement
 *   4. RUNNING: the peer confirms; the frames here are dropped
 *
 * Up to 3 every failure is harmless: the thread stays.  If the connection fails
 * between 3 and 4, this side asks (QUERY) over a new one.  The peer's answer is
 * final: either it has started the thread, or it never will, not even if the
 * lost COMMIT still arrived.  A peer that is no longer the same process took
 * the thread with it, or died just before: it is not run twice, it is lost, and
 * this side says so.
 */
#include "thread/psu.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Everything of one hop on its way. */
struct parcel {
	struct hop_head head;
	struct travel travel; /* as it shall be over there */
	struct buf globals;
	struct tls_head tls[4];
	struct psu_fd fds[PSU_FDS];
	uint64_t jmpbufs[PSU_JMPBUFS];
	struct scan scan;
	struct psu_keys keys;
	struct iovec iov[16];
	int n;
};

static void put(struct parcel *p, const void *data, size_t len)
{
	p->iov[p->n++] = (struct iovec){.iov_base = (void *)(uintptr_t)data, .iov_len = len};
}

static void forget_waiter(struct travel *t, const struct psu_id *instance)
{
	uint32_t i;

	for (i = 0; i < t->nwaiters; i++)
		if (!memcmp(&t->waiters[i].instance, instance, sizeof(*instance)))
			t->waiters[i--] = t->waiters[--t->nwaiters];
}

/* Unlike any other of any process; the low bytes differ from hop to hop. */
static void new_hop_id(struct psu_id *id)
{
	static _Atomic uint64_t count;
	uint64_t n = atomic_fetch_add(&count, 1);

	*id = psu.instance;
	memcpy(id->b, &n, sizeof(n));
}

static int pack(struct parcel *p, const struct slot *s, const struct hop_regs *regs,
		struct err *err)
{
	const struct travel *t = slot_travel(s);
	struct hop_head *h = &p->head;
	int i, n;

	p->travel = *t;
	p->travel.hops++;
	p->travel.result = 0;
	new_hop_id(&h->hop);
	h->thread = t->thread;
	h->slot_addr = s->addr;
	h->base_sp = s->st.base_sp;
	h->tp = s->tp;
	h->regs = *regs;
	h->canary = hop_canary();
	h->guard = hop_pointer_guard();
	h->wants_notice = s->stay && s->stay->wait_return;
	h->stack_len = s->st.base_sp - regs->rsp;
	h->arena_len = t->arena_top;
	carry_pack_globals(&p->globals);
	if (p->globals.failed)
		return err_set(err, -ENOMEM, "out of memory");
	h->globals_len = p->globals.len;
	n = carry_tls_ranges(s, p->tls, 4);
	h->ntls = (uint32_t)n;
	put(p, h, sizeof(*h));
	put(p, (void *)regs->rsp, h->stack_len);
	put(p, &p->travel, sizeof(p->travel));
	put(p, (void *)(s->addr + sizeof(p->travel)), h->arena_len - sizeof(p->travel));
	put(p, p->globals.p, p->globals.len);
	for (i = 0; i < n; i++) {
		put(p, &p->tls[i], sizeof(p->tls[i]));
		put(p, (void *)p->tls[i].addr, p->tls[i].len);
	}
	n = carry_pack_fds(t, p->fds, err);
	if (n < 0)
		return n;
	h->nfds = (uint32_t)n;
	put(p, p->fds, (size_t)n * sizeof(p->fds[0]));
	n = jmpbuf_find(&p->scan, p->jmpbufs);
	h->njmpbufs = (uint32_t)n;
	put(p, p->jmpbufs, (size_t)n * sizeof(p->jmpbufs[0]));
	return 0;
}

/* A library that the receiver lacks: does the thread need it? */
static int check_missing(const struct parcel *p, const struct link *l, struct err *err)
{
	const struct remap *r = NULL;
	int i;

	if (!l->remaps.missing)
		return 0;
	for (i = 1; i < p->n && !r; i++)
		r = fixup_find_missing(&l->remaps, p->iov[i].iov_base, p->iov[i].iov_len);
	if (!r)
		r = fixup_find_missing(&l->remaps, &p->head.regs, sizeof(p->head.regs));
	return r ? err_refuse(err, "the thread needs %s, which is not loaded on the receiver",
			      r->name)
		 : 0;
}

static int await(struct link *l, enum psu_frame want, struct err *err)
{
	struct wire_head head;
	int e = wire_recv(&l->w, &head, 4096, err);

	if (e)
		return e;
	if (head.type == F_REFUSE)
		return read_refusal(&l->w, &head, err);
	if (head.type != (uint32_t)want)
		return err_set(err, -EPROTO, "%s sent frame %u, not %d", l->w.peer, head.type,
			       want);
	return wire_skip(&l->w, head.len, err);
}

enum verdict { STAYS, GONE, LOST };

/* After a failure between COMMIT and RUNNING. */
static enum verdict settle(const struct link *l, const struct psu_id *hop, struct err *err)
{
	int64_t deadline = wire_now() + psu.step_ms * 1000000LL;

	do {
		struct timespec nap = {.tv_nsec = 20000000};
		struct err e = ERR_INIT;
		struct link *again = NULL;
		struct iovec v = {.iov_base = (void *)(uintptr_t)hop, .iov_len = sizeof(*hop)};
		struct wire_head head;
		uint32_t started = 0;
		int ret = link_open(&l->addr, deadline, &again, &e);

		if (ret == -ECONNREFUSED)
			break; /* its listener lives as long as the process */
		if (!ret &&
		    memcmp(&again->peer.instance, &l->peer.instance, sizeof(struct psu_id))) {
			link_free(again);
			break;
		}
		if (!ret)
			ret = wire_send(&again->w, F_QUERY, &v, 1, &e);
		if (!ret)
			ret = wire_recv(&again->w, &head, sizeof(started), &e);
		if (!ret && (head.type != F_ANSWER || head.len != sizeof(started)))
			ret = -EPROTO;
		if (!ret)
			ret = wire_read(&again->w, &started, sizeof(started), &e);
		link_free(again);
		if (!ret)
			return started ? GONE : STAYS;
		nanosleep(&nap, NULL);
	} while (wire_now() < deadline);
	*err = ERR_INIT;
	err_set(err, -EOWNERDEAD,
		"the thread was handed to %s, which then died or cannot be reached; "
		"it is not run a second time here",
		l->w.peer);
	return LOST;
}

static enum verdict deliver(struct slot *s, struct parcel *p, struct link *l, struct err *err)
{
	int e;

	wire_deadline(&l->w, psu.step_ms);
	psu_fault("send-hop", &l->w);
	e = wire_send(&l->w, F_HOP, p->iov, p->n, err);
	psu_fault("sent-hop", &l->w);
	if (!e)
		e = await(l, F_READY, err);
	if (e)
		return STAYS;
	psu_fault("got-ready", &l->w);
	slot_set_state(s, SLOT_LEAVING);
	wire_deadline(&l->w, psu.step_ms);
	e = wire_send(&l->w, F_COMMIT, NULL, 0, err);
	psu_fault("sent-commit", &l->w);
	if (!e)
		e = await(l, F_RUNNING, err);
	psu_fault("got-running", &l->w);
	return e ? settle(l, &p->head.hop, err) : GONE;
}

static void flush_streams(void)
{
	/* Never waits: another thread may hold the stream. */
	if (ftrylockfile(stdout) == 0) {
		fflush_unlocked(stdout);
		funlockfile(stdout);
	}
}

static enum verdict leave(struct slot *s, const char *host, const struct hop_regs *regs,
			  struct parcel *p, struct err *err)
{
	bool was_fresh = true;
	enum verdict v = STAYS;
	struct link *l;
	uint32_t i;

	if (psu.cannot.error) {
		*err = psu.cannot;
		return STAYS;
	}
	if (guards_check_stack(s, regs, err))
		return STAYS;
	scan_thread(s, regs, &p->scan);
	if (guards_check(s, &p->scan, &p->keys, &p->head, err) || pack(p, s, regs, err))
		return STAYS;
	do {
		*err = ERR_INIT;
		if (link_connect(host, slot_travel(s), &l, err))
			return STAYS;
		if (!memcmp(&l->peer.instance, &psu.instance, sizeof(psu.instance))) {
			link_free(l);
			slot_travel(s)->result = 1;
			return STAYS;
		}
		if (check_missing(p, l, err)) {
			link_keep(l);
			return STAYS;
		}
		forget_waiter(&p->travel, &l->peer.instance);
		flush_streams();
		if (psu.trace)
			trace_frames(s, regs, l->w.peer);
		if (l->w.checked) {
			p->head.sum = 0;
			for (i = 1; i < (uint32_t)p->n; i++)
				p->head.sum =
					psu_sum(p->head.sum, p->iov[i].iov_base, p->iov[i].iov_len);
		}
		was_fresh = l->is_fresh;
		v = deliver(s, p, l, err);
		if (v == GONE) {
			psu_info("sent %llu bytes of stack to %s",
				 (unsigned long long)p->head.stack_len, l->w.peer);
			for (i = 0; i < p->head.nfds; i++)
				close(p->fds[i].fd);
			link_keep(l);
		} else {
			link_free(l);
		}
		/* A standing connection may have died of old age: before COMMIT
		 * it is safe to try once more. */
	} while (v == STAYS && !was_fresh && err->error == -ECONNRESET);
	return v;
}

static int exit_code_of(const struct err *err)
{
	return err->exit == EXIT_DONE ? EXIT_FAILED : err->exit;
}

static void stayed(struct slot *s, int quiet, const struct err *err)
{
	struct travel *t = s ? slot_travel(s) : NULL;

	if (t) {
		t->result = err->error;
		/* Room is scarce there, since it travels; 255 bytes say enough. */
		memcpy(t->reason, err->what, sizeof(t->reason) - 1);
		t->reason[sizeof(t->reason) - 1] = '\0';
	}
	if (quiet)
		return;
	psu_say("the thread stays here: %s", err->what);
	if (err->hint[0])
		psu_say("hint: %s", err->hint);
	if (!psu.result_asked)
		psu_set_exit(exit_code_of(err));
}

static void lost(struct slot *s, const struct err *err)
{
	psu_say("%s", err->what);
	psu_set_exit(EXIT_AFTER_COMMIT);
	pthread_mutex_lock(&psu.lock);
	if (s->stay) {
		s->stay->error = EOWNERDEAD;
		s->stay->done = true;
		s->stay = NULL;
	}
	pthread_mutex_unlock(&psu.lock);
}

/* Called by psu_thread_migrate (quiet 0) and psu_thread_hop (1), on the user's
 * stack, just below the frames that shall travel.  Returns if the thread stays. */
int psu_hop_from(const char *host, int quiet, const struct hop_regs *regs)
{
	struct slot *s = slot_current();
	struct err err = ERR_INIT;
	int saved = errno, cancel;
	enum verdict v = STAYS;
	struct parcel *p = NULL;
	sigset_t all, old;

	if (!s || s->state != SLOT_RUNNING) {
		err_refuse(&err, "only a thread made by psu_thread_create can hop");
		stayed(NULL, quiet, &err);
		errno = ENOTSUP;
		return -ENOTSUP;
	}
	if (!host || !*host)
		host = psu.host;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
	s->in_library = true;
	slot_travel(s)->result = 0;
	slot_travel(s)->reason[0] = '\0';
	p = calloc(1, sizeof(*p));
	if (p) {
		memcpy(&p->head.sigmask, &old, sizeof(p->head.sigmask));
		p->head.cancel_state = cancel;
		p->head.err_no = saved;
		guards_enter(s, &p->keys);
		v = leave(s, host, regs, p, &err);
		if (v == STAYS)
			guards_leave(s, &p->keys);
		buf_done(&p->globals);
		free(p);
	} else {
		err_set(&err, -ENOMEM, "out of memory");
	}
	s->in_library = false;
	if (v == LOST)
		lost(s, &err);
	if (v != STAYS)
		hop_depart(&s->st);
	slot_set_state(s, SLOT_RUNNING);
	if (err.error && slot_travel(s)->result != 1)
		stayed(s, quiet, &err);
	pthread_setcancelstate(cancel, NULL);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	errno = quiet && err.error ? -err.error : saved;
	return quiet && slot_travel(s)->result != 1 ? err.error : 0;
}

/* Tells those who wait for this thread, elsewhere, that it has ended here. */
void send_ended(const struct travel *t)
{
	uint32_t i;

	for (i = 0; i < t->nwaiters && i < PSU_WAITERS; i++) {
		struct iovec v = {.iov_base = (void *)(uintptr_t)&t->thread,
				  .iov_len = sizeof(t->thread)};
		int64_t deadline = wire_now() + 2000000000LL;
		struct err err = ERR_INIT;
		struct link *l = NULL;
		struct wire_addr a;
		int ret;

		if (!memcmp(&t->waiters[i].instance, &psu.instance, sizeof(psu.instance)))
			continue;
		ret = wire_resolve(t->waiters[i].addr, 0, &a, 1, &err);
		if (ret == 1)
			ret = link_open(&a, deadline, &l, &err);
		if (!ret)
			ret = wire_send(&l->w, F_ENDED, &v, 1, &err);
		if (!ret)
			ret = await(l, F_ENDED, &err);
		if (ret)
			psu_info("cannot tell %s that the thread ended: %s", t->waiters[i].addr,
				 err.what);
		link_free(l);
	}
}
