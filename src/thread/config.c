/* The environment, the two-line file, and what the library says on stderr. */
#include "thread/psu.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

struct psu psu = {
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.changed = PTHREAD_COND_INITIALIZER,
	.listen_fds = {-1, -1},
};

static void say(const char *head, const char *fmt, va_list ap)
{
	char line[1200];
	int n = snprintf(line, sizeof(line), "%s", head);

	vsnprintf(line + n, sizeof(line) - (size_t)n - 1, fmt, ap);
	strcat(line, "\n");
	/* One write: lines of several threads and processes do not mix. */
	if (write(2, line, strlen(line)) < 0)
		return;
}

void psu_say(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say("psu_thread: ", fmt, ap);
	va_end(ap);
}

void psu_info(const char *fmt, ...)
{
	va_list ap;

	if (!psu.verbose)
		return;
	va_start(ap, fmt);
	say("[info] ", fmt, ap);
	va_end(ap);
}

void psu_key_steps(void)
{
	if (!wire_has_tls()) {
		psu_say("built without TLS (libssl-dev was missing): this machine only");
		return;
	}
	psu_say("no key: other machines cannot reach this program, and it sends no thread to them");
	psu_say("to use two machines: godwit key ~/.config/godwit/key, "
		"then copy that file, mode 0600, to the other one");
}

void psu_random(void *p, size_t n)
{
	char *c = p;

	while (n) {
		ssize_t got = getrandom(c, n, 0);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			abort(); /* no kernel we can run on */
		c += got;
		n -= (size_t)got;
	}
}

void psu_set_exit(int code)
{
	int none = 0;

	atomic_compare_exchange_strong(&psu.exit_code, &none, code);
}

static bool flag(const char *name)
{
	const char *v = getenv(name);

	return v && *v && strcmp(v, "0") != 0;
}

static int seconds(const char *name, double preset)
{
	const char *v = getenv(name);
	double s = preset;
	char *end;

	if (v && *v) {
		s = strtod(v, &end);
		if (*end || s < 0.01 || s > 86400) {
			psu_say("%s=%s is no time in seconds (0.01 to 86400)", name, v);
			exit(EXIT_USAGE);
		}
	}
	return (int)(s * 1000);
}

static int port_of(const char *where, const char *v, long least)
{
	char *end;
	long n = strtol(v, &end, 10);

	if (end == v || (*end && *end != '\n' && *end != ' ') || n < least || n > 65535) {
		psu_say("%s: '%.20s' is no port (%ld-65535)", where, v, least);
		exit(EXIT_USAGE);
	}
	return (int)n;
}

/* "hostname: X" and "port: N", as the course's skeleton has it. */
static void read_info_file(void)
{
	FILE *f = fopen("server_sock_info.in", "re");
	char line[512], *v;

	if (!f)
		return;
	while (fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\r\n")] = '\0';
		v = strchr(line, ':');
		if (!v)
			continue;
		*v++ = '\0';
		v += strspn(v, " \t");
		if (!strcmp(line, "hostname"))
			snprintf(psu.host, sizeof(psu.host), "%.*s", (int)strcspn(v, " \t"), v);
		else if (!strcmp(line, "port"))
			psu.port = port_of("server_sock_info.in", v, 1024);
	}
	fclose(f);
}

static void read_key(void)
{
	const char *path = getenv("PSU_KEY"), *home = getenv("HOME"),
		   *xdg = getenv("XDG_CONFIG_HOME");
	struct err err = ERR_INIT;
	bool asked = path && *path;

	if (asked)
		snprintf(psu.key_path, sizeof(psu.key_path), "%s", path);
	else if (xdg && *xdg)
		snprintf(psu.key_path, sizeof(psu.key_path), "%s/godwit/key", xdg);
	else if (home && *home)
		snprintf(psu.key_path, sizeof(psu.key_path), "%s/.config/godwit/key", home);
	else
		return;
	if (!asked && access(psu.key_path, F_OK))
		return;
	if (wire_load_key(psu.key_path, psu.key, &err)) {
		psu_say("%s", err.what);
		exit(err.exit);
	}
	if (!wire_has_tls()) {
		psu_say("the key is of no use: the library was built without TLS "
			"(libssl-dev was missing); other machines cannot be reached");
		return;
	}
	psu.has_key = true;
}

static void read_fault(void)
{
	const char *v = getenv("PSU_FAULT"), *colon;

	if (!v || !(colon = strchr(v, ':')) || colon - v >= (int)sizeof(psu.fault.step))
		return;
	memcpy(psu.fault.step, v, (size_t)(colon - v));
	psu.fault.action = colon[1];
}

void psu_config(void)
{
	const char *v;

	psu.port = 8080;
	read_info_file();
	v = getenv("PSU_PORT");
	if (v && *v)
		psu.port = port_of("PSU_PORT", v, 1);
	v = getenv("PSU_LISTEN_PORT");
	if (v && *v)
		psu.own_port = port_of("PSU_LISTEN_PORT", v, 1);
	v = getenv("PSU_LAYOUT");
	psu.strict = v && !strcmp(v, "strict");
	psu.insecure = flag("PSU_INSECURE");
	psu.trace = flag("PSU_TRACE");
	psu.wait_return = flag("PSU_WAIT");
	psu.isomalloc = flag("PSU_ISOMALLOC");
	psu.verbose = getenv("PSU_VERBOSE") ? flag("PSU_VERBOSE") : isatty(2);
	psu.connect_ms = seconds("PSU_CONNECT_TIMEOUT", 10);
	psu.step_ms = seconds("PSU_TIMEOUT", 10);
	read_key();
	read_fault();
}

void psu_fault(const char *step, struct wire *w)
{
	if (!psu.fault.action || strcmp(step, psu.fault.step) != 0)
		return;
	switch (psu.fault.action) {
	case 'k':
		kill(getpid(), SIGKILL);
		break;
	case 'c': /* once: a cut connection, not a broken host */
		psu.fault.action = 0;
		shutdown(w->fd, SHUT_RDWR);
		break;
	case 's':
		psu.fault.action = 0;
		sleep((unsigned int)(psu.step_ms / 1000 * 3 + 3));
		break;
	}
}
