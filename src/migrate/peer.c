/*
 * Connections to another host: TLS, or a child that runs ssh,
 * which starts `godwit receive` over there.
 */
#include "migrate/peer.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/io.h"
#include "migrate/proto.h"

#define TLS "tls://"
#define ADDRESSES 8
/* Exit status of the child where there is no ssh; ssh itself has 255, and others' below. */
#define NO_SSH 222

static bool is_tls(const struct peer *p)
{
	return !strncmp(p->to, TLS, strlen(TLS));
}

static int bad_words(struct err *err, const char *fmt, const char *to)
{
	err_set(err, -EINVAL, fmt, to);
	err->exit = EXIT_USAGE;
	return err->error;
}

static int bad_name(struct err *err, const char *fmt, const char *to)
{
	bad_words(err, fmt, to);
	return err_hint(err, "[user@]host goes by ssh, tls://host:port to a godwit serve");
}

int creds_check(const struct wire_creds *c, const char *who, struct err *err)
{
	if (!c->key == !c->cert)
		err_set(err, -EINVAL,
			c->key ? "'%s': --key or --cert, not both"
			       : "'%s' needs the shared key, or certificates",
			who);
	else if (c->cert ? !c->ca : c->ca || c->cert_key)
		err_set(err, -EINVAL,
			c->cert ? "'%s': --cert needs --ca, the authority of the other side"
				: "'%s': --ca and --cert-key belong to --cert",
			who);
	else
		return 0;
	err->exit = EXIT_USAGE;
	return err_hint(err, "--key FILE ('godwit key FILE' makes one, for both hosts); or --cert "
			     "FILE --cert-key FILE --ca FILE");
}

static int check_ssh(const struct peer *p, struct err *err)
{
	const char *at = strrchr(p->to, '@'), *host = at ? at + 1 : p->to;
	const char *colon = strchr(host, ':');

	if (strstr(p->to, "://"))
		return bad_name(err, "'%s' is no way to a host", p->to);
	if (!*host || at == p->to)
		return bad_name(err, "'%s' is no host", p->to);
	if (colon && !strchr(colon + 1, ':')) {
		bad_words(err, "'%s' has a port, which ssh does not take here", p->to);
		return err_hint(err,
				"to a godwit serve: tls://%s; by ssh on another port: --ssh 'ssh "
				"-p %s'",
				host, colon + 1);
	}
	if (p->creds.key || p->creds.cert) {
		bad_words(err,
			  "a key or certificate is for tls://HOST:PORT; '%s' is reached by ssh",
			  p->to);
		return err_hint(err, "tls://%s:PORT, where a godwit serve waits; or without it",
				host);
	}
	return 0;
}

int peer_check(const struct peer *p, struct err *err)
{
	const char *colon;

	if (!*p->to || *p->to == '-' || strpbrk(p->to, " \t\n'\"\\$`;&|<>") || strlen(p->to) > 255)
		return bad_name(err, "'%s' is no host", p->to);
	if (!is_tls(p))
		return check_ssh(p, err);
	colon = strrchr(p->to, ':');
	if (colon <= p->to + strlen(TLS) || strchr(colon, ']') || atoi(colon + 1) < 1)
		return bad_name(err, "'%s' names no port", p->to);
	return creds_check(&p->creds, p->to, err);
}

/* --- TLS --- */

static int connect_any(const char *name, int timeout_ms, struct err *err)
{
	struct wire_addr a[ADDRESSES];
	int n = wire_resolve(name, 0, a, ADDRESSES, err), fd = n;

	for (int i = 0; i < n; i++) {
		*err = ERR_INIT;
		fd = wire_connect(&a[i], wire_now() + timeout_ms * INT64_C(1000000), err);
		if (fd >= 0)
			return fd;
	}
	if (n > 0 && fd == -ECONNREFUSED)
		return err_hint(err,
				"nobody listens there: start 'godwit serve --listen %s' on that "
				"host, and look at its firewall",
				name);
	if (n > 0)
		return err_hint(err, "look at the name, the port, the network and the firewall");
	return err_hint(err, "tls://host:port; look at the spelling, or give an address");
}

/* "name:port", "[v6]:port": the name alone. */
static void host_of(const char *to, char out[256])
{
	const char *from = *to == '[' ? to + 1 : to, *end = strrchr(to, *to == '[' ? ']' : ':');

	snprintf(out, 256, "%.*s", end ? (int)(end - from) : 255, from);
}

static int dial_tls(const struct peer *p, int timeout_ms, struct peer_link *l, struct err *err)
{
	struct wire_trust *trust = NULL;
	char host[256];
	int ret = wire_trust_load(&p->creds, &trust, err), fd;

	if (ret)
		return ret;
	fd = connect_any(p->to + strlen(TLS), timeout_ms, err);
	if (fd >= 0) {
		wire_init(&l->w, fd);
		wire_deadline(&l->w, timeout_ms);
		host_of(p->to + strlen(TLS), host);
		ret = wire_trust_start(&l->w, trust, false, host, err);
		if (ret)
			wire_done(&l->w);
	}
	wire_trust_free(trust);
	return fd < 0 ? fd : ret;
}

/* --- ssh --- */

static void exec_ssh(const struct peer *p, int timeout_ms, int sock)
{
	char script[2200], command[4096], patience[40];
	char *argv[] = {(char[]){"sh"}, (char[]){"-c"}, script, (char[]){"ssh"},
			(char *)(uintptr_t)(p->batch ? "-oBatchMode=yes" : "-oBatchMode=no"),
			/* Else it tries for minutes, even when nobody waits for it any more. */
			patience, (char[]){"-T"}, (char[]){"--"}, (char *)(uintptr_t)p->to, command,
			NULL};
	sigset_t none;

	snprintf(patience, sizeof(patience), "-oConnectTimeout=%d", (timeout_ms + 999) / 1000);
	/* sh and a remote sh that find nothing would look the same. */
	snprintf(script, sizeof(script),
		 "command -v %.*s >/dev/null 2>&1 || exit %d; exec %s \"$@\"",
		 (int)strcspn(p->ssh ? p->ssh : "ssh", " \t\n"), p->ssh ? p->ssh : "ssh", NO_SSH,
		 p->ssh ? p->ssh : "ssh");
	snprintf(command, sizeof(command), "%s receive %s", p->remote ? p->remote : "godwit",
		 p->args ? p->args : "");
	/* Ctrl-C is for godwit, which knows whether it may still be called off. */
	signal(SIGINT, SIG_IGN);
	signal(SIGQUIT, SIG_IGN);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (dup2(sock, 0) < 0 || dup2(sock, 1) < 0)
		_exit(126);
	execv("/bin/sh", argv);
	_exit(127);
}

static int dial_ssh(const struct peer *p, int timeout_ms, struct peer_link *l, struct err *err)
{
	int pair[2], big = 4 << 20;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		return err_sys(err, -errno, "cannot make a socket pair");
	setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &big, sizeof(big));
	l->ssh = fork();
	if (l->ssh == 0)
		exec_ssh(p, timeout_ms, pair[1]);
	close(pair[1]);
	if (l->ssh < 0) {
		close(pair[0]);
		return err_sys(err, -errno, "cannot start ssh");
	}
	wire_init_pair(&l->w, pair[0], -1, p->to);
	/* A person may have to type a password first. */
	wire_deadline(&l->w, p->batch ? timeout_ms : 120 * 1000);
	return 0;
}

int peer_dial(const struct peer *p, int timeout_ms, struct peer_link *l, struct err *err)
{
	int ret;

	*l = (struct peer_link){.w = {.fd = -1, .out_fd = -1, .cancel_fd = -1}};
	ret = is_tls(p) ? dial_tls(p, timeout_ms, l, err) : dial_ssh(p, timeout_ms, l, err);
	l->w.magic = PROTO_MAGIC;
	return ret;
}

/* ssh's exit status, or -1 while it runs. */
static int ssh_status(struct peer_link *l)
{
	struct timespec step = {.tv_nsec = 10 * 1000 * 1000};
	int status;

	for (int i = 0; l->ssh > 0 && i < 100; i++) {
		if (waitpid(l->ssh, &status, WNOHANG) == l->ssh) {
			l->ssh = 0;
			return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
		}
		nanosleep(&step, NULL);
	}
	return -1;
}

void peer_explain(const struct peer *p, struct peer_link *l, struct err *err)
{
	bool ended = err->error == -ECONNRESET || err->error == -EPIPE;
	int status = l->ssh > 0 && ended ? ssh_status(l) : -1;

	if (status == NO_SSH) {
		*err = ERR_INIT;
		err_set(err, -ENOENT, "there is no '%.*s' here",
			(int)strcspn(p->ssh ? p->ssh : "ssh", " \t\n"), p->ssh ? p->ssh : "ssh");
		err_hint(err, "install it (package openssh-client), or name another: --ssh, "
			      "GODWIT_SSH; or go by tls://HOST:PORT");
	} else if (status == 127 || status == 126) {
		*err = ERR_INIT;
		err_set(err, -ENOENT, "there is no '%s' on %s", p->remote ? p->remote : "godwit",
			p->to);
		err_hint(err, "install godwit there, or say where it is: --remote-godwit PATH");
	} else if (status == 255) {
		*err = ERR_INIT;
		err_set(err, -ECONNREFUSED, "ssh cannot reach %s", p->to);
		err_hint(err, "what it said stands above; try: ssh %s true", p->to);
	} else if (err->error == -EPROTO && !err->hint[0]) {
		err_hint(err,
			 l->ssh > 0 ? "a shell over there may print something when it starts; "
				      "see: ssh %s true"
				    : "something else than godwit serve answers at %s",
			 p->to);
	}
}

void peer_close(struct peer_link *l)
{
	int status;

	wire_done(&l->w);
	if (l->ssh > 0 && ssh_status(l) < 0 && l->ssh > 0) {
		kill(l->ssh, SIGTERM);
		waitpid(l->ssh, &status, 0);
	}
	l->ssh = 0;
}
