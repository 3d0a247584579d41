/* The listener: who may connect, what they may ask. */
#include "thread/psu.h"

#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define CONNECTIONS 512
#define DAY_MS 86400000

static atomic_int connections;

/* Connections, for serve_settle(). */
static struct peer *peers;
static pthread_mutex_t peers_lock = PTHREAD_MUTEX_INITIALIZER;

int refuse_with(struct wire *w, const struct err *why)
{
	struct {
		int32_t error, exit;
		char what[sizeof(why->what)], hint[sizeof(why->hint)];
	} text;
	struct iovec v = {.iov_base = &text, .iov_len = sizeof(text)};
	struct err ignored = ERR_INIT;

	memset(&text, 0, sizeof(text));
	text.error = why->error;
	text.exit = (int32_t)why->exit;
	memcpy(text.what, why->what, sizeof(text.what));
	memcpy(text.hint, why->hint, sizeof(text.hint));
	return wire_send(w, F_REFUSE, &v, 1, &ignored);
}

static void printable(char *s, size_t size)
{
	size_t i;

	s[size - 1] = '\0';
	for (i = 0; s[i]; i++)
		if (s[i] < ' ' || s[i] > '~')
			s[i] = '?';
}

int read_refusal(struct wire *w, const struct wire_head *head, struct err *err)
{
	struct {
		int32_t error, exit;
		char what[sizeof(err->what)], hint[sizeof(err->hint)];
	} text;

	if (head->len != sizeof(text))
		return err_set(err, -EPROTO, "%s refuses, in words we do not know", w->peer);
	if (wire_read(w, &text, sizeof(text), err))
		return err->error;
	printable(text.what, sizeof(text.what));
	printable(text.hint, sizeof(text.hint));
	err_set(err, text.error < 0 && text.error > -4096 ? text.error : -EPROTO,
		"%.500s (says %s)", text.what, w->peer);
	err->exit = text.exit > 0 && text.exit <= EXIT_AFTER_COMMIT ? (enum exit_code)text.exit
								    : EXIT_FAILED;
	if (text.hint[0])
		err_hint(err, "%s", text.hint);
	return err->error;
}

static void fill_hello(struct hello *h, const struct module_table *t)
{
	*h = (struct hello){
		.protocol = PSU_PROTOCOL,
		.port = (uint32_t)psu.listen_port,
		.instance = psu.instance,
		.window = PSU_WINDOW,
		.slot_size = PSU_SLOT_SIZE,
		.stack_size = PSU_STACK_SIZE,
		.page_size = (uint64_t)sysconf(_SC_PAGESIZE),
		.strict = psu.strict,
		.nmodules = t->n,
	};
}

static int send_hello(struct wire *w, enum psu_frame type, struct err *err)
{
	__cleanup_free struct module_table *t = io_alloc(1, sizeof(*t), err);
	struct hello h;
	struct iovec v[2];
	int e;

	if (!t)
		return err->error;
	e = modules_current(t, err);
	if (e)
		return e;
	fill_hello(&h, t);
	v[0] = (struct iovec){.iov_base = &h, .iov_len = sizeof(h)};
	v[1] = (struct iovec){.iov_base = t->m, .iov_len = t->n * sizeof(t->m[0])};
	return wire_send(w, type, v, 2, err);
}

static int read_hello(struct wire *w, enum psu_frame type, struct hello *h, struct module_table *t,
		      struct err *err)
{
	struct wire_head head;
	uint32_t i;
	int e = wire_recv(w, &head, sizeof(*h) + sizeof(t->m), err);

	if (e)
		return e;
	if (head.type == F_REFUSE)
		return read_refusal(w, &head, err);
	if (head.type != (uint32_t)type || head.len < sizeof(*h))
		return err_set(err, -EPROTO, "%s does not greet as it should", w->peer);
	e = wire_read(w, h, sizeof(*h), err);
	if (e)
		return e;
	if (h->protocol != PSU_PROTOCOL || h->window != PSU_WINDOW ||
	    h->slot_size != PSU_SLOT_SIZE || h->stack_size != PSU_STACK_SIZE ||
	    h->page_size != (uint64_t)sysconf(_SC_PAGESIZE))
		return err_refuse(
			err, "another version of the thread library (protocol %u here, %u there)",
			PSU_PROTOCOL, h->protocol);
	if (!h->nmodules || h->nmodules > PSU_MODULES ||
	    head.len != sizeof(*h) + h->nmodules * sizeof(t->m[0]) || h->port > 65535)
		return err_set(err, -EPROTO, "%s sent a malformed greeting", w->peer);
	t->n = h->nmodules;
	e = wire_read(w, t->m, t->n * sizeof(t->m[0]), err);
	for (i = 0; !e && i < t->n; i++) {
		printable(t->m[i].name, sizeof(t->m[i].name));
		if (t->m[i].id_len > sizeof(t->m[i].build_id))
			e = err_set(err, -EPROTO, "%s sent a malformed module table", w->peer);
	}
	return e;
}

int greet(struct wire *w, struct hello *ret_peer, struct module_table *ret_table, struct err *err)
{
	int e = send_hello(w, F_HELLO, err);

	return e ? e : read_hello(w, F_WELCOME, ret_peer, ret_table, err);
}

/* Loopback is free for processes of the same user and of root; all others must
 * hold the key. */
static int admit(struct wire *w, struct err *err)
{
	struct wire_addr a;
	int first, e = wire_peer_addr(w->fd, &a);
	uid_t uid;

	if (e)
		return err_sys(err, e, "peer");
	first = wire_peek(w, err);
	if (first < 0)
		return first;
	if (first == 0x16) { /* a TLS ClientHello */
		if (!psu.has_key)
			return err_perm(err, "%s wants TLS, and this host has no key", w->peer);
		return wire_tls_start(w, true, psu.key, err);
	}
	if (wire_is_loopback(&a)) {
		if (wire_loopback_uid(w->fd, &uid) == 0 && (uid == geteuid() || uid == 0))
			return 0;
		err_perm(err, "loopback connections are for the same user only");
	} else if (psu.insecure) {
		psu_say("warning: PSU_INSECURE=1: %s connects in clear, unauthenticated", w->peer);
		return 0;
	} else {
		err_perm(err, "this host wants TLS with the shared key");
	}
	refuse_with(w, err);
	return err->error;
}

void peer_doubts(struct peer *p, const struct psu_id *hop)
{
	pthread_mutex_lock(&peers_lock);
	p->hop = *hop;
	p->in_doubt = true;
	pthread_mutex_unlock(&peers_lock);
}

/*
 * Whether the sender's host has all that was written, so that the sender will
 * read it whatever becomes of this process.  A sender that hung up without having
 * read it would have reset the connection.
 */
static bool is_delivered(const struct wire *w)
{
	struct tcp_info info;
	socklen_t len = sizeof(info);
	int left = 1;

	return !getsockopt(w->fd, IPPROTO_TCP, TCP_INFO, &info, &len) &&
	       (info.tcpi_state == TCP_ESTABLISHED || info.tcpi_state == TCP_CLOSE_WAIT) &&
	       !ioctl(w->fd, SIOCOUTQ, &left) && !left;
}

void serve_settle(void)
{
	int64_t deadline = wire_now() + 2 * psu.step_ms * 1000000LL;
	struct timespec nap = {.tv_nsec = 1000000};
	bool in_doubt = true;
	struct peer *p;

	while (in_doubt && wire_now() < deadline) {
		in_doubt = false;
		pthread_mutex_lock(&peers_lock);
		for (p = peers; p && !in_doubt; p = p->next)
			in_doubt = p->in_doubt && !is_delivered(p->w);
		pthread_mutex_unlock(&peers_lock);
		if (in_doubt)
			nanosleep(&nap, NULL);
	}
}

/* The connection is over; its last thread's sender may have to ask. */
static void end_doubt(struct peer *p)
{
	if (p->in_doubt && !is_delivered(p->w))
		await_query(&p->hop);
	p->in_doubt = false;
}

static int one_request(struct peer *p, struct err *err)
{
	struct wire_head head;
	int e;

	/* Between frames there is time; a frame that has begun must come. */
	wire_deadline(p->w, DAY_MS);
	e = wire_await(p->w, err);
	if (e)
		return e;
	p->in_doubt = false; /* or it would not ask for more here */
	wire_deadline(p->w, psu.step_ms);
	e = wire_recv(p->w, &head, 1UL << 32, err);
	if (e)
		return e;
	switch (head.type) {
	case F_HOP:
		return arrive(p, &head, err);
	case F_QUERY:
		return answer_query(p, &head, err);
	case F_ENDED:
		return take_notice(p, &head, err);
	}
	return err_set(err, -EPROTO, "%s sent frame %u", p->w->peer, head.type);
}

static int converse(struct peer *p, struct err *err)
{
	__cleanup_free struct module_table *t = io_alloc(2, sizeof(*t), err);
	uint32_t generation = 0;
	struct wire_addr a;
	int e;

	if (!t)
		return err->error;
	e = admit(p->w, err);
	if (!e)
		e = read_hello(p->w, F_HELLO, &p->hello, &t[0], err);
	if (e) {
		if (!p->w->tls && err->error == -ENOTSUP)
			refuse_with(p->w, err);
		return e;
	}
	if (wire_peer_addr(p->w->fd, &a) == 0) {
		wire_set_port(&a, (int)p->hello.port);
		wire_format(&a, p->place);
	}
	psu_fault("got-hello", p->w);
	e = send_hello(p->w, F_WELCOME, err);
	while (!e) {
		if (generation != modules_generation() || !p->remaps.n) {
			e = modules_current(&t[1], err);
			if (!e)
				e = modules_remap(&t[0], &t[1], psu.strict || p->hello.strict,
						  &p->remaps, err);
			if (e) {
				/* The sender saw both tables too, and says it; it
				 * hangs up by itself. */
				return e;
			}
			generation = t[1].generation;
		}
		e = one_request(p, err);
	}
	return e;
}

static void *connection(void *arg)
{
	struct peer *p = arg, **at;
	struct err err = ERR_INIT;

	pthread_mutex_lock(&peers_lock);
	p->next = peers;
	peers = p;
	pthread_mutex_unlock(&peers_lock);
	wire_deadline(p->w, psu.step_ms);
	converse(p, &err);
	/* A peer that hung up between two requests has done nothing wrong. */
	if (err.error && err.error != -ECONNRESET)
		psu_info("%s: %s", p->w->peer[0] ? p->w->peer : "a peer", err.what);
	end_doubt(p);
	pthread_mutex_lock(&peers_lock);
	for (at = &peers; *at != p; at = &(*at)->next)
		;
	*at = p->next;
	pthread_mutex_unlock(&peers_lock);
	wire_done(p->w);
	free(p->w);
	free(p);
	atomic_fetch_sub(&connections, 1);
	return NULL;
}

static int spawn(void *(*fn)(void *), void *arg)
{
	pthread_attr_t attr;
	sigset_t all, old;
	pthread_t t;
	int ret;

	sigfillset(&all);
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, 512UL << 10);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	ret = pthread_create(&t, &attr, fn, arg);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	return -ret;
}

static void take_connection(int listener)
{
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct peer *p;

	if (fd < 0)
		return;
	p = calloc(1, sizeof(*p));
	if (p)
		p->w = calloc(1, sizeof(*p->w));
	if (!p || !p->w || atomic_fetch_add(&connections, 1) >= CONNECTIONS) {
		if (p && p->w)
			atomic_fetch_sub(&connections, 1);
		goto drop;
	}
	wire_init(p->w, fd);
	if (spawn(connection, p) == 0)
		return;
	atomic_fetch_sub(&connections, 1);
drop:
	if (p)
		free(p->w);
	free(p);
	close(fd);
}

static void *listener(void *arg)
{
	struct pollfd f[2] = {{.fd = psu.listen_fds[0], .events = POLLIN},
			      {.fd = psu.listen_fds[1], .events = POLLIN}};
	int i;

	(void)arg;
	for (;;) {
		if (poll(f, 2, 1000) > 0)
			for (i = 0; i < 2; i++)
				if (f[i].revents)
					take_connection(f[i].fd);
		slot_reap();
	}
	return NULL;
}

int serve_start(struct err *err)
{
	bool everywhere = psu.has_key || psu.insecure;
	int port = psu.mode ? psu.port : psu.own_port;
	int e = wire_listen(everywhere, port, psu.listen_fds, &psu.listen_port, err);

	if (!e)
		e = spawn(listener, NULL);
	if (e)
		return err->error ? e : err_sys(err, e, "cannot start the listener");
	psu_info("listening on %s port %d", everywhere ? "every address," : "loopback,",
		 psu.listen_port);
	if (psu.mode && !everywhere)
		psu_key_steps();
	if (psu.insecure)
		psu_say("warning: PSU_INSECURE=1: anybody who reaches port %d can run code here",
			psu.listen_port);
	return 0;
}
