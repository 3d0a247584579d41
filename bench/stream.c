/*
 * What a stream between two processes of this machine carries, by OpenSSL used plainly:
 * TLS 1.3 over loopback, with the cipher that godwit uses.  One process sends
 * MIB mebibytes of memory that it has filled, the other takes them and drops them.
 *
 *     stream MIB
 *
 * prints the nanoseconds from the first byte to the last, or "-" where OpenSSL was
 * missing when this was built.
 */
#include <stdio.h>
#include <stdlib.h>

#if __has_include(<openssl/ssl.h>)
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PIECE (512u << 10) /* as godwit's frames */

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void fail(const char *what)
{
	fprintf(stderr, "stream: %s\n", what);
	exit(1);
}

static unsigned key(unsigned char *psk, unsigned max)
{
	if (max < 32)
		return 0;
	memset(psk, 7, 32);
	return 32;
}

static unsigned client_key(SSL *ssl, const char *hint, char *identity, unsigned max_identity,
			   unsigned char *psk, unsigned max)
{
	(void)ssl;
	(void)hint;
	snprintf(identity, max_identity, "bench");
	return key(psk, max);
}

static unsigned server_key(SSL *ssl, const char *identity, unsigned char *psk, unsigned max)
{
	(void)ssl;
	(void)identity;
	return key(psk, max);
}

static SSL *session(int fd, int is_server)
{
	SSL_CTX *c = SSL_CTX_new(TLS_method());
	SSL *s;

	if (!c || !SSL_CTX_set_min_proto_version(c, TLS1_3_VERSION) ||
	    !SSL_CTX_set_ciphersuites(c, "TLS_AES_128_GCM_SHA256"))
		fail("no TLS 1.3");
	SSL_CTX_set_psk_client_callback(c, client_key);
	SSL_CTX_set_psk_server_callback(c, server_key);
	SSL_CTX_set_num_tickets(c, 0);
	s = SSL_new(c);
	if (!s || !SSL_set_fd(s, fd) || (is_server ? SSL_accept(s) : SSL_connect(s)) != 1)
		fail("no session");
	return s;
}

static void take_all(int listener)
{
	static char buf[PIECE];
	SSL *s = session(accept(listener, NULL, NULL), 1);

	while (SSL_read(s, buf, sizeof(buf)) > 0)
		;
}

static uint64_t send_all(struct sockaddr_in *to, char *p, size_t len)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
	uint64_t begun;
	SSL *s;

	if (connect(fd, (struct sockaddr *)to, sizeof(*to)))
		fail("connect");
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	s = session(fd, 0);
	begun = now_ns();
	for (size_t at = 0; at < len; at += PIECE)
		if (SSL_write(s, p + at, (int)(len - at < PIECE ? len - at : PIECE)) <= 0)
			fail("SSL_write");
	SSL_shutdown(s);
	close(fd);
	return begun;
}

int main(int argc, char **argv)
{
	size_t len = argc == 2 ? strtoul(argv[1], NULL, 10) << 20 : 0;
	int listener = socket(AF_INET, SOCK_STREAM, 0), status;
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	socklen_t alen = sizeof(a);
	uint64_t begun;
	pid_t pid;
	char *p;

	if (!len) {
		fprintf(stderr, "usage: %s MIB\n", argv[0]);
		return 2;
	}
	p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED || bind(listener, (struct sockaddr *)&a, alen) || listen(listener, 1) ||
	    getsockname(listener, (struct sockaddr *)&a, &alen))
		fail("no memory, or no socket");
	memset(p, 5, len);
	if ((pid = fork()) == 0) {
		munmap(p, len);
		take_all(listener);
		_exit(0);
	}
	begun = send_all(&a, p, len);
	waitpid(pid, &status, 0);
	printf("%llu\n", (unsigned long long)(now_ns() - begun));
	return status != 0;
}
#else
int main(void)
{
	puts("-");
	return 0;
}
#endif
