/*
 * The arriving side: see send.c for the protocol.
 *
 * Every hop has an id and, once its frames are here, a state that changes once:
 * PREPARED becomes STARTED by a COMMIT, or ABORTED by a failure or by a QUERY.
 * Both happen under hops_lock, so a QUERY and a late COMMIT cannot both win.  A
 * QUERY for an unknown id leaves an ABORTED mark behind, so that frames which
 * arrive after it are refused.
 *
 * STARTED becomes TOLD when the sender has asked.  The process does not end before
 * the sender knows, within a time (serve.c): the thread may do its work and end
 * main() in less time than a broken connection takes to be noticed.
 */
#include "thread/psu.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum hop_state { H_NONE, H_PREPARED, H_STARTED, H_TOLD, H_ABORTED };

/* Found by the id, which is random enough; in a full row the oldest goes: its
 * sender has long had its answer.  On the heap, since the program's own data are
 * searched at each hop (guards.c). */
#define ROWS 1024
#define PER_ROW 8
struct hop_row {
	struct {
		struct psu_id id;
		enum hop_state state;
	} hop[PER_ROW];
	unsigned int newest;
};
static struct hop_row *rows;
static pthread_mutex_t hops_lock = PTHREAD_MUTEX_INITIALIZER;

int arrive_setup(struct err *err)
{
	rows = io_alloc(ROWS, sizeof(*rows), err);
	return rows ? 0 : err->error;
}

/* Sets a hop's state if it is `from` now; returns what it is afterwards. */
static enum hop_state hop_turn(const struct psu_id *id, enum hop_state from, enum hop_state to)
{
	struct hop_row *r = &rows[(id->b[0] | id->b[1] << 8) % ROWS];
	enum hop_state now;
	unsigned int i;

	pthread_mutex_lock(&hops_lock);
	for (i = 0; i < PER_ROW; i++)
		if (r->hop[i].state != H_NONE && !memcmp(&r->hop[i].id, id, sizeof(*id)))
			break;
	if (i == PER_ROW && from == H_NONE && to != H_NONE) {
		i = r->newest++ % PER_ROW;
		r->hop[i].id = *id;
		r->hop[i].state = to;
	} else if (i < PER_ROW && r->hop[i].state == from) {
		r->hop[i].state = to;
	}
	now = i < PER_ROW ? r->hop[i].state : H_NONE;
	pthread_mutex_unlock(&hops_lock);
	return now;
}

int answer_query(struct peer *p, const struct wire_head *head, struct err *err)
{
	uint32_t started;
	struct iovec v = {.iov_base = &started, .iov_len = sizeof(started)};
	struct psu_id id;
	int e;

	if (head->len != sizeof(id))
		return err_set(err, -EPROTO, "%s sent a malformed query", p->w->peer);
	e = wire_read(p->w, &id, sizeof(id), err);
	if (e)
		return e;
	hop_turn(&id, H_NONE, H_ABORTED);
	started = hop_turn(&id, H_PREPARED, H_ABORTED) != H_ABORTED;
	e = wire_send(p->w, F_ANSWER, &v, 1, err);
	hop_turn(&id, H_STARTED, H_TOLD);
	return e;
}

int take_notice(struct peer *p, const struct wire_head *head, struct err *err)
{
	struct psu_id id;
	struct stay *y;
	int e;

	if (head->len != sizeof(id))
		return err_set(err, -EPROTO, "%s sent a malformed notice", p->w->peer);
	e = wire_read(p->w, &id, sizeof(id), err);
	if (e)
		return e;
	pthread_mutex_lock(&psu.lock);
	for (y = psu.stays; y; y = y->next)
		if (y->assigned && !memcmp(&y->thread, &id, sizeof(id)))
			y->done = true;
	pthread_cond_broadcast(&psu.changed);
	pthread_mutex_unlock(&psu.lock);
	return wire_send(p->w, F_ENDED, NULL, 0, err);
}

/* A hop on its way in. */
struct guest {
	struct hop_head head;
	struct slot *slot;
	char *globals;
	struct tls_head tls[4];
	struct psu_fd fds[PSU_FDS];
	uint64_t jmpbufs[PSU_JMPBUFS];
	int opened[PSU_FDS];
	int nopened;
	uint64_t left; /* bytes of the frame not yet read */
	uint64_t sum;
};

static int take(struct peer *p, struct guest *g, void *to, uint64_t len, bool counted,
		struct err *err)
{
	int e;

	if (len > g->left)
		return err_set(err, -EPROTO, "%s sent a frame whose parts do not fit in it",
			       p->w->peer);
	e = wire_read(p->w, to, len, err);
	if (e)
		return e;
	g->left -= len;
	if (counted && p->w->checked)
		g->sum = psu_sum(g->sum, to, len);
	return 0;
}

static int check_head(const struct hop_head *h, struct err *err)
{
	uint64_t at = h->slot_addr - PSU_WINDOW, top = h->slot_addr + PSU_SLOT_SIZE;

	if (at >= PSU_SLOTS * PSU_SLOT_SIZE || at % PSU_SLOT_SIZE || h->base_sp >= top ||
	    h->stack_len > PSU_STACK_SIZE || h->base_sp - h->stack_len != h->regs.rsp ||
	    h->regs.rsp < top - PSU_STACK_SIZE || h->arena_len < ARENA_START ||
	    h->arena_len > PSU_ARENA_SIZE || h->globals_len > 1UL << 30 || h->ntls > 4 ||
	    h->nfds > PSU_FDS || h->njmpbufs > PSU_JMPBUFS || h->err_no < 0)
		return err_set(err, -EPROTO, "malformed hop");
	return 0;
}

/* The native thread over here must have its control block and its first frame
 * where the sender's has them. */
static int check_slot(const struct guest *g, struct err *err)
{
	const struct hop_head *h = &g->head;
	const struct slot *s = g->slot;

	if (h->tp == s->tp && h->base_sp == s->st.base_sp)
		return 0;
	return err_refuse(err,
			  "the C libraries lay out a thread differently "
			  "(control block at %#llx here, %#llx there)",
			  (unsigned long long)s->tp, (unsigned long long)h->tp);
}

static int read_tls(struct peer *p, struct guest *g, struct err *err)
{
	struct tls_head ours[4];
	int i, n = carry_tls_ranges(g->slot, ours, 4);

	if (n != (int)g->head.ntls)
		return err_refuse(err, "the two programs have other thread-local variables");
	for (i = 0; i < n; i++) {
		int e = take(p, g, &g->tls[i], sizeof(g->tls[i]), true, err);

		if (e)
			return e;
		if (memcmp(&g->tls[i], &ours[i], sizeof(ours[i])) != 0)
			return err_refuse(err,
					  "the two programs have other thread-local variables");
		e = take(p, g, (void *)ours[i].addr, ours[i].len, true, err);
		if (e)
			return e;
	}
	return 0;
}

static int read_body(struct peer *p, struct guest *g, struct err *err)
{
	struct hop_head *h = &g->head;
	int e, i;

	/* Straight to their place: the native thread is on its scratch stack. */
	e = take(p, g, (void *)h->regs.rsp, h->stack_len, true, err);
	if (!e)
		e = take(p, g, (void *)h->slot_addr, sizeof(struct travel), true, err);
	if (!e)
		e = take(p, g, (char *)h->slot_addr + sizeof(struct travel),
			 h->arena_len - sizeof(struct travel), true, err);
	if (!e && h->globals_len) {
		g->globals = malloc(h->globals_len);
		if (!g->globals)
			return err_set(err, -ENOMEM, "out of memory");
	}
	if (!e)
		e = take(p, g, g->globals, h->globals_len, true, err);
	if (!e)
		e = read_tls(p, g, err);
	if (!e)
		e = take(p, g, g->fds, h->nfds * sizeof(g->fds[0]), true, err);
	if (!e)
		e = take(p, g, g->jmpbufs, h->njmpbufs * sizeof(g->jmpbufs[0]), true, err);
	if (!e && (g->left || (p->w->checked && g->sum != h->sum)))
		e = err_set(err, -EBADMSG, "the thread's bytes were damaged on the way");
	if (!e && slot_travel(g->slot)->magic != TRAVEL_MAGIC)
		e = err_set(err, -EPROTO, "malformed hop");
	for (i = 0; !e && i < (int)h->nfds; i++)
		g->fds[i].path[sizeof(g->fds[i].path) - 1] = '\0';
	return e;
}

static void fix(struct peer *p, struct guest *g, struct fixup *f)
{
	struct hop_head *h = &g->head;
	uint64_t *r = &h->regs.rbx;
	int i;

	*f = (struct fixup){
		.maps = &p->remaps,
		.guard_src = h->guard,
		.guard_dst = hop_pointer_guard(),
		.stack_lo = h->regs.rsp,
		.stack_hi = h->base_sp,
		.arena_lo = h->slot_addr + ARENA_START,
		.arena_hi = h->slot_addr + h->arena_len,
	};
	fixup_words(f, (void *)h->regs.rsp, h->stack_len);
	fixup_words(f, (char *)h->slot_addr + ARENA_START, h->arena_len - ARENA_START);
	for (i = 0; i < (int)h->ntls; i++)
		fixup_words(f, (void *)g->tls[i].addr, g->tls[i].len);
	for (i = 0; p->remaps.moved && i < 8; i++) {
		uint64_t v = fixup_word(&p->remaps, r[i]);

		f->changed += v != r[i];
		r[i] = v;
	}
	if (psu.trace && p->remaps.moved)
		psu_say("delta mode: %llu words of the thread changed",
			(unsigned long long)f->changed);
}

/* The listener is there before main() has registered its globals.  For three
 * quarters of a step: the sender shall hear the reason. */
static int wait_open(struct err *err)
{
	int64_t end = wire_now() + psu.step_ms * 750000LL;
	struct timespec nap = {.tv_nsec = 2000000};

	while (!atomic_load(&psu.is_open) && wire_now() < end)
		nanosleep(&nap, NULL);
	return psu.is_open ? 0 : err_refuse(err, "the receiver has not called psu_thread_create");
}

/* A client's main() ends when its thread has left, unless it waits for it: a
 * thread that came all the same would die with it. */
static int check_waiting(const struct hop_head *h, struct err *err)
{
	bool found = psu.mode == 1;
	struct stay *y;

	pthread_mutex_lock(&psu.lock);
	for (y = psu.stays; y && !found; y = y->next)
		found = y->assigned && !y->done &&
			!memcmp(&y->thread, &h->thread, sizeof(h->thread));
	pthread_mutex_unlock(&psu.lock);
	return found ? 0
		     : err_refuse(err, "nobody waits for the thread there; start that program with "
				       "PSU_WAIT=1");
}

static int prepare(struct peer *p, struct guest *g, struct fixup *f, struct err *err)
{
	int e = take(p, g, &g->head, sizeof(g->head), false, err);

	if (!e)
		e = check_head(&g->head, err);
	if (!e)
		e = wait_open(err);
	if (!e)
		e = check_waiting(&g->head, err);
	if (!e)
		e = slot_take(g->head.slot_addr, &g->slot, err);
	if (!e)
		e = check_slot(g, err);
	if (!e)
		e = read_body(p, g, err);
	if (!e && g->head.caught && !guards_exceptions_known())
		e = err_refuse(err, "the receiver has no C++ runtime for the exception in flight");
	if (!e)
		fix(p, g, f);
	if (!e)
		e = carry_globals(g->globals, g->head.globals_len, f, false, err);
	if (!e)
		e = carry_open_fds(g->fds, (int)g->head.nfds, g->opened, err);
	if (!e)
		g->nopened = (int)g->head.nfds;
	return e;
}

static void note_places(struct peer *p, struct guest *g)
{
	struct travel *t = slot_travel(g->slot);
	struct psu_place place = {.instance = p->hello.instance};

	memcpy(place.addr, p->place, sizeof(place.addr));
	if (!t->home.addr[0])
		t->home = place;
	if (g->head.wants_notice && t->nwaiters < PSU_WAITERS)
		t->waiters[t->nwaiters++] = place;
}

/* The create() that this thread belongs to: one that waits for its return, else
 * one that waits for anybody.  psu.lock held. */
static struct stay *find_stay(const struct psu_id *thread)
{
	struct stay *y, *any = NULL;

	for (y = psu.stays; y; y = y->next) {
		if (y->assigned && !y->done && !memcmp(&y->thread, thread, sizeof(*thread)))
			return y;
		if (!y->assigned && !y->done)
			any = y;
	}
	if (any) {
		any->assigned = true;
		any->thread = *thread;
	}
	return any;
}

/* After COMMIT: nothing here may fail. */
static void start(struct peer *p, struct guest *g, struct fixup *f)
{
	struct hop_head *h = &g->head;
	struct slot *s = g->slot;
	struct err ignored = ERR_INIT;

	if (carry_globals(g->globals, h->globals_len, f, true, &ignored))
		psu_say("registered globals changed during a hop; they were not carried");
	jmpbuf_fix(f, g->jmpbufs, (int)h->njmpbufs);
	carry_place_fds(g->fds, g->nopened);
	g->nopened = 0;
	note_places(p, g);
	s->regs = h->regs;
	s->canary = h->canary;
	s->sigmask = h->sigmask;
	s->saved_errno = h->err_no;
	s->cancel_state = h->cancel_state;
	s->has_altstack = h->has_altstack;
	s->altstack = (stack_t){.ss_sp = (void *)h->altstack_sp,
				.ss_size = h->altstack_size,
				.ss_flags = (int)h->altstack_flags};
	s->caught = h->caught;
	s->uncaught = h->uncaught;
	pthread_mutex_lock(&psu.lock);
	s->stay = find_stay(&h->thread);
	slot_set_state(s, SLOT_RUNNING);
	pthread_mutex_unlock(&psu.lock);
}

static int await_commit(struct peer *p, struct err *err)
{
	struct wire_head head;
	int e = wire_recv(p->w, &head, 0, err);

	if (!e && head.type != F_COMMIT)
		e = err_set(err, -EPROTO, "%s sent frame %u, not COMMIT", p->w->peer, head.type);
	return e;
}

/* Waits, within limits, for the sender to ask about a hop whose confirmation may
 * not have reached it. */
void await_query(const struct psu_id *hop)
{
	int64_t deadline = wire_now() + psu.step_ms * 1000000LL;
	struct timespec nap = {.tv_nsec = 5000000};

	while (hop_turn(hop, H_NONE, H_NONE) == H_STARTED && wire_now() < deadline)
		nanosleep(&nap, NULL);
}

static int conclude(struct peer *p, struct guest *g, struct fixup *f, struct err *err)
{
	struct slot *s = g->slot;
	int e;

	if (hop_turn(&g->head.hop, H_NONE, H_PREPARED) != H_PREPARED)
		return err_set(err, -ECANCELED, "the sender has given this hop up");
	psu_fault("send-ready", p->w);
	e = wire_send(p->w, F_READY, NULL, 0, err);
	psu_fault("sent-ready", p->w);
	wire_deadline(p->w, psu.step_ms);
	if (!e)
		e = await_commit(p, err);
	psu_fault("got-commit", p->w);
	if (hop_turn(&g->head.hop, H_PREPARED, e ? H_ABORTED : H_STARTED) != H_STARTED)
		return e ? e : err_set(err, -ECANCELED, "the sender has given this hop up");
	peer_doubts(p, &g->head.hop);
	start(p, g, f);
	/* First the confirmation: the thread may end the process at once.  If it
	 * gets lost the sender asks. */
	psu_fault("send-running", p->w);
	e = wire_send(p->w, F_RUNNING, NULL, 0, err);
	psu_fault("sent-running", p->w);
	psu_info("read %llu bytes of stack from %s", (unsigned long long)g->head.stack_len,
		 p->w->peer);
	g->slot = NULL;
	slot_command(s, CMD_RESUME);
	return e;
}

int arrive(struct peer *p, const struct wire_head *head, struct err *err)
{
	struct guest *g = calloc(1, sizeof(*g));
	struct fixup f;
	bool broken = false;
	int e;

	if (!g)
		return err_set(err, -ENOMEM, "out of memory");
	g->left = head->len;
	psu_fault("got-hop", p->w);
	e = prepare(p, g, &f, err);
	if (e) {
		/* What is unread must be read, or the reason would be lost with
		 * the connection's reset. */
		struct err rest = ERR_INIT;

		broken = wire_skip(p->w, g->left, &rest) != 0;
		if (!broken)
			broken = refuse_with(p->w, err) != 0;
		psu_info("refused a thread from %s: %s", p->w->peer, err->what);
		if (!broken) {
			*err = ERR_INIT;
			e = 0;
		}
	} else {
		e = conclude(p, g, &f, err);
	}
	if (g->slot)
		slot_untake(g->slot);
	carry_drop_fds(g->opened, g->nopened);
	free(g->globals);
	free(g);
	return e;
}
