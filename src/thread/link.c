/* Connections to other hosts, as the side that connects: opened, kept, used again. */
#include "thread/psu.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define IDLE_LINKS 64
static struct link *idle; /* psu.lock */

void link_free(struct link *l)
{
	if (!l)
		return;
	wire_done(&l->w);
	free(l);
}

static struct link *link_reuse(const char *name)
{
	struct link **p, *l = NULL, *stale = NULL;
	uint32_t generation = modules_generation();

	pthread_mutex_lock(&psu.lock);
	for (p = &idle; *p && !l;) {
		if (strcmp((*p)->name, name) != 0) {
			p = &(*p)->next;
			continue;
		}
		l = *p;
		*p = l->next;
		if (l->generation != generation || !wire_idle_ok(&l->w)) {
			l->next = stale;
			stale = l;
			l = NULL;
		}
	}
	pthread_mutex_unlock(&psu.lock);
	while (stale) {
		struct link *next = stale->next;

		link_free(stale);
		stale = next;
	}
	return l;
}

void link_keep(struct link *l)
{
	struct link *i;
	int n = 0;

	l->is_fresh = false;
	pthread_mutex_lock(&psu.lock);
	for (i = idle; i; i = i->next)
		n++;
	if (n < IDLE_LINKS) {
		l->next = idle;
		idle = l;
		l = NULL;
	}
	pthread_mutex_unlock(&psu.lock);
	link_free(l);
}

static int secure(struct link *l, struct err *err)
{
	if (wire_is_loopback(&l->addr))
		return 0;
	if (psu.has_key)
		return wire_tls_start(&l->w, false, psu.key, err);
	if (psu.insecure) {
		psu_say("warning: PSU_INSECURE=1: a thread goes to %s in clear, unauthenticated",
			l->w.peer);
		return 0;
	}
	if (!wire_has_tls()) {
		err_refuse(err, "%s is another machine, and the library was built without TLS",
			   l->w.peer);
		return err_hint(err, "build it again where libssl-dev is installed");
	}
	err_perm(err, "%s is another machine, and there is no key", l->w.peer);
	return err_hint(err, "godwit key ~/.config/godwit/key, and copy that file, mode 0600, to "
			     "the other host");
}

int link_open(const struct wire_addr *a, int64_t deadline, struct link **ret, struct err *err)
{
	__cleanup_free struct module_table *ours = io_alloc(2, sizeof(*ours), err);
	struct link *l = io_alloc(1, sizeof(*l), err);
	int fd, e;

	if (!l || !ours) {
		free(l);
		return err->error;
	}
	l->addr = *a;
	l->is_fresh = true;
	fd = wire_connect(a, deadline, err);
	if (fd < 0) {
		free(l);
		return fd;
	}
	wire_init(&l->w, fd);
	wire_deadline(&l->w, psu.step_ms);
	e = secure(l, err);
	if (!e)
		e = greet(&l->w, &l->peer, &ours[1], err);
	psu_fault("got-welcome", &l->w);
	if (!e)
		e = modules_current(&ours[0], err);
	if (!e) {
		l->generation = ours[0].generation;
		if (memcmp(&l->peer.instance, &psu.instance, sizeof(psu.instance)) != 0)
			e = modules_remap(&ours[0], &ours[1], psu.strict || l->peer.strict,
					  &l->remaps, err);
	}
	if (e) {
		link_free(l);
		return e;
	}
	*ret = l;
	return 0;
}

static bool names_port(const char *host)
{
	const char *colon = strrchr(host, ':');

	if (host[0] == '[')
		return strstr(host, "]:") != NULL;
	return colon && strchr(host, ':') == colon;
}

/* Where host may be: the addresses of its name, with the default port or with
 * that of the process where the thread comes from, if it is on that host. */
static int candidates(const char *host, const struct travel *t, struct wire_addr *a, int max,
		      struct err *err)
{
	int i, n = wire_resolve(host, psu.port, a, max - 1, err);
	struct wire_addr home;
	struct err ignored = ERR_INIT;

	if (n < 0)
		return n;
	for (i = 0; i < n; i++)
		wire_to_loopback(&a[i]);
	if (names_port(host) || !t->home.addr[0] ||
	    wire_resolve(t->home.addr, 0, &home, 1, &ignored) != 1)
		return n;
	for (i = 0; i < n; i++) {
		char here[WIRE_NAME], there[WIRE_NAME];

		wire_format_ip(&a[i], here);
		wire_format_ip(&home, there);
		if (!wire_is_loopback(&a[i]) && !strcmp(here, there)) {
			memmove(a + 1, a, (size_t)n * sizeof(*a));
			a[0] = home;
			return n + 1;
		}
	}
	return n;
}

static bool may_come(int e)
{
	return e == -ECONNREFUSED || e == -EHOSTUNREACH || e == -ENETUNREACH || e == -ETIMEDOUT;
}

int link_connect(const char *host, const struct travel *t, struct link **ret, struct err *err)
{
	int64_t deadline = wire_now() + psu.connect_ms * 1000000LL;
	struct wire_addr a[8];
	char name[352];
	int i, e = 0, n;

	/* The same name can mean another process to a thread of another home. */
	snprintf(name, sizeof(name), "%.255s|%s", host, names_port(host) ? "" : t->home.addr);
	*ret = link_reuse(name);
	if (*ret)
		return 0;
	n = candidates(host, t, a, 8, err);
	if (n < 0)
		return n;
	for (;;) {
		struct timespec nap = {.tv_nsec = 50000000};

		for (i = 0; i < n; i++) {
			*err = ERR_INIT;
			e = link_open(&a[i], deadline, ret, err);
			if (!e) {
				memcpy((*ret)->name, name, sizeof(name));
				return 0;
			}
			if (!may_come(e))
				return e;
		}
		/* The other program may not have been started yet. */
		if (wire_now() + nap.tv_nsec >= deadline)
			return e;
		nanosleep(&nap, NULL);
	}
}
