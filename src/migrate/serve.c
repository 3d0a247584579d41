/*
 * godwit serve: accepts, forks, and knows nothing else.  Whatever a connection does,
 * only its own process sees it; nothing but TLS records is read before the other
 * side has shown that it holds the key, or a certificate.
 */
#include "migrate/serve.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define CONNECTIONS_MAX 64
#define LISTENERS 4

struct server {
	const struct serve_options *o;
	struct wire_trust *trust;
	int fds[LISTENERS];
	size_t nfds;
	unsigned children; /* that have not been reaped: connections, and programs */
};

static void tell(const struct server *s, const char *text)
{
	if (s->o->target.log)
		s->o->target.log(s->o->target.arg, text);
}

/* "addr:port" in two; "" and "*" are every address. */
static int split(const char *listen, char host[256], int *ret_port, struct err *err)
{
	const char *colon = strrchr(listen, ':');
	char *end = NULL;
	long port = colon ? strtol(colon + 1, &end, 10) : -1;

	if (!colon || !colon[1] || *end || port < 0 || port > 65535 || colon - listen > 255) {
		err_set(err, -EINVAL, "'%s' is no address to listen on", listen);
		err->exit = EXIT_USAGE;
		return err_hint(err, "ADDRESS:PORT, or :PORT for every address");
	}
	snprintf(host, 256, "%.*s", (int)(colon - listen), listen);
	*ret_port = (int)port;
	return 0;
}

static int start_listening(struct server *s, struct err *err)
{
	struct wire_addr a[LISTENERS];
	char host[256], name[WIRE_NAME], text[WIRE_NAME + 32];
	int port = 0, n, ret = split(s->o->listen, host, &port, err);

	if (ret)
		return ret;
	if (!*host || !strcmp(host, "*"))
		strcpy(host, "0.0.0.0");
	n = wire_resolve(host, port ? port : 1, a, LISTENERS, err);
	for (int i = 0; i < n; i++) {
		wire_set_port(&a[i], port);
		ret = wire_listen_on(&a[i], true, err);
		if (ret < 0)
			return ret;
		port = wire_port(&a[i]);
		s->fds[s->nfds++] = ret;
		wire_format(&a[i], name);
		snprintf(text, sizeof(text), "listening on %s", name);
		tell(s, text);
	}
	return n < 0 ? n : 0;
}

/* A socket that is closed while something unread is in it tells the other side nothing
 * but that: what was said last would be lost. */
static void let_it_hear(struct wire *w)
{
	char buf[4096];

	shutdown(w->fd, SHUT_WR);
	for (int i = 0; i < 64; i++) {
		struct pollfd p = {.fd = w->fd, .events = POLLIN};

		if (poll(&p, 1, 1000) != 1 || recv(w->fd, buf, sizeof(buf), MSG_DONTWAIT) <= 0)
			return;
	}
}

static int check_name(const struct server *s, struct wire *w, struct err *err)
{
	char names[300];

	if (!s->o->nnames)
		return 0;
	for (size_t i = 0; i < s->o->nnames; i++)
		if (wire_trust_is(w, s->o->names[i]))
			return 0;
	wire_trust_names(w, names, sizeof(names));
	err_perm(err,
		 "this destination does not take programs from a host with the certificate of "
		 "%s",
		 names);
	err_hint(err, "godwit serve over there has to be told --allow-name");
	proto_refuse(w, err);
	return err->error;
}

static int authenticate(struct server *s, struct wire *w, struct err *err)
{
	int ret = wire_trust_start(w, s->trust, true, NULL, err);

	wire_trust_free(s->trust);
	s->trust = NULL;
	if (!ret)
		ret = check_name(s, w, err);
	if (ret)
		let_it_hear(w);
	return ret;
}

/* The process of one connection.  Never returns. */
static void serve_one(struct server *s, int fd)
{
	struct err err = ERR_INIT;
	struct wire w;
	char text[1200];
	int ret;

	for (size_t i = 0; i < s->nfds; i++)
		close(s->fds[i]);
	wire_init(&w, fd);
	w.magic = PROTO_MAGIC;
	wire_deadline(&w, s->o->target.timeout_ms);
	ret = authenticate(s, &w, &err);
	if (!ret)
		ret = target_serve(&w, &s->o->target, &err);
	if (ret) {
		snprintf(text, sizeof(text), "%s: %s", w.peer, err.what);
		tell(s, text);
	}
	_exit(ret ? err.exit : 0);
}

static void take_connection(struct server *s, int listener)
{
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	sigset_t none;
	pid_t pid;

	if (fd < 0)
		return;
	pid = s->children < CONNECTIONS_MAX ? fork() : -1;
	if (pid == 0) {
		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		serve_one(s, fd);
	}
	if (pid > 0)
		s->children++;
	else
		tell(s, "too many connections, or no process left: one was dropped");
	close(fd);
}

static void reap(struct server *s)
{
	while (waitpid(-1, NULL, WNOHANG) > 0)
		s->children--;
}

static int loop(struct server *s, int signals)
{
	for (;;) {
		struct pollfd p[LISTENERS + 1] = {{.fd = signals, .events = POLLIN}};
		struct signalfd_siginfo info;

		for (size_t i = 0; i < s->nfds; i++)
			p[i + 1] = (struct pollfd){.fd = s->fds[i], .events = POLLIN};
		if (poll(p, s->nfds + 1, -1) < 0)
			continue;
		for (size_t i = 0; i < s->nfds; i++)
			if (p[i + 1].revents)
				take_connection(s, s->fds[i]);
		if (p[0].revents && read(signals, &info, sizeof(info)) == sizeof(info)) {
			reap(s);
			if (info.ssi_signo != SIGCHLD)
				return 0;
		}
	}
}

int serve(const struct serve_options *o, struct err *err)
{
	struct server s = {.o = o};
	int ret = wire_trust_load(&o->creds, &s.trust, err), signals;
	sigset_t set;

	if (ret)
		return ret;
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (signals < 0)
		ret = err_sys(err, -errno, "cannot watch for signals");
	else
		ret = start_listening(&s, err);
	if (!ret)
		ret = loop(&s, signals);
	for (size_t i = 0; i < s.nfds; i++)
		close(s.fds[i]);
	io_close_fd(&signals);
	wire_trust_free(s.trust);
	return ret;
}
