/*
 * Framed byte streams over TCP, in clear or under TLS 1.3 with a shared key.
 * Knows bytes and frames, not what they mean.
 *
 * Hard constraints:
 * - every wait has a deadline: a peer that stalls, or that sends one byte a
 *   second, costs no more time than wire_deadline() allows;
 * - a dead peer is an error, never a SIGPIPE;
 * - nothing that was read is trusted: a frame's length is checked by its reader
 *   against what that reader can take.
 */
#ifndef GODWIT_WIRE_WIRE_H
#define GODWIT_WIRE_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "base/err.h"

#define WIRE_KEY_BYTES 32
#define WIRE_MAGIC 0x31504847u /* "GHP1" */
#define WIRE_NAME 80

struct wire {
	int fd;
	int out_fd;     /* a pipe to write to, where fd only reads; or -1 */
	int cancel_fd;  /* readable: -ECANCELED from every wait; or -1 */
	uint32_t magic; /* of the frames: WIRE_MAGIC, unless set otherwise */
	bool is_exact;  /* reads no further than asked: others read on (not with TLS) */
	bool is_pipe;   /* made by wire_init_pair: the kernel keeps no time for it */
	/* While it waits: called when side_fd is readable.  Must not use the wire.  NULL: none */
	void (*side)(void *arg);
	void *side_arg;
	int side_fd;
	void *tls;            /* SSL *, or NULL in clear */
	void *tls_io;         /* its buffers, in tls.c */
	int64_t deadline;     /* CLOCK_MONOTONIC, ns */
	bool checked;         /* in clear over a network: checksums are to be added */
	char peer[WIRE_NAME]; /* "address:port", for messages */
	size_t rpos, rlen;
	char rbuf[4096];
};

/* What goes before each frame, little endian. */
struct wire_head {
	uint32_t magic;
	uint32_t type;
	uint64_t len; /* bytes that follow */
};

int64_t wire_now(void); /* CLOCK_MONOTONIC, ns */

/* Takes fd (a stream socket): makes it close-on-exec, without delay, and blocking,
 * with a time limit in the kernel; transfers keep to the deadline all the same. */
void wire_init(struct wire *w, int fd);
/* The same for what need be no socket; out is -1 where fd is one and goes both ways,
 * else the caller sees to SIGPIPE. */
void wire_init_pair(struct wire *w, int fd, int out, const char *peer);
void wire_done(struct wire *w);
/* All that follows must be over in ms milliseconds from now. */
void wire_deadline(struct wire *w, int ms);

int wire_write(struct wire *w, const void *p, size_t len, struct err *err) __must_check;
int wire_read(struct wire *w, void *p, size_t len, struct err *err) __must_check;
/* Waits until something has come, and takes none of it. */
int wire_await(struct wire *w, struct err *err) __must_check;
/* Reads and drops len bytes. */
int wire_skip(struct wire *w, uint64_t len, struct err *err) __must_check;
/* Sends one frame made of n pieces, at most 15. */
int wire_send(struct wire *w, uint32_t type, const struct iovec *iov, int n,
	      struct err *err) __must_check;
/* Reads the head of the next frame; refuses a wrong magic and len > max. */
int wire_recv(struct wire *w, struct wire_head *head, uint64_t max, struct err *err) __must_check;
/* Whether an idle stream is still good: nothing came, nobody hung up. */
bool wire_idle_ok(const struct wire *w);
/* The first byte that will be read, without taking it; negative errno. */
int wire_peek(struct wire *w, struct err *err) __must_check;
/* Sleeps until fd is ready for events (POLLIN, POLLOUT) or the deadline. */
int wire_wait(const struct wire *w, short events, struct err *err) __must_check;

/* TLS, in tls.c, or tls_none.c where OpenSSL was missing.  key: WIRE_KEY_BYTES
 * secret bytes that both sides hold. */
bool wire_has_tls(void);
int wire_tls_start(struct wire *w, bool is_server, const uint8_t *key,
		   struct err *err) __must_check;
int wire_tls_write(struct wire *w, const void *p, size_t len, struct err *err) __must_check;
/* As wire_tls_write, but what was put may stay here until it is flushed. */
int wire_tls_put(struct wire *w, const void *p, size_t len, struct err *err) __must_check;
int wire_tls_flush(struct wire *w, struct err *err) __must_check;
/* At least one byte, at most len; returns the number. */
int wire_tls_read(struct wire *w, void *p, size_t len, struct err *err) __must_check;
void wire_tls_done(struct wire *w);

/*
 * How the two sides know each other, by the names of files: a key that both share, or,
 * each its own, a certificate with its private key, and the authority that must have signed
 * the other's.  In tls_cert.c.
 */
struct wire_creds {
	const char *key;
	const char *cert, *cert_key, *ca; /* cert: then key is not used; cert_key NULL: in cert */
};
struct wire_trust; /* those files, loaded */
/* Refuses a secret that others can read, and a certificate that is not valid now. */
int wire_trust_load(const struct wire_creds *c, struct wire_trust **ret,
		    struct err *err) __must_check;
void wire_trust_free(struct wire_trust *t);
/* The handshake.  name: the host that the client called, which the server's certificate
 * must have as a DNS name or IP address. */
int wire_trust_start(struct wire *w, const struct wire_trust *t, bool is_server, const char *name,
		     struct err *err) __must_check;
/* Has the peer's certificate this DNS name, address or mail address? */
bool wire_trust_is(const struct wire *w, const char *name);
/* Its names, for messages; "no name" without any, or without a certificate. */
void wire_trust_names(const struct wire *w, char *out, size_t cap);

/* Bytes are there that were read from the socket already. */
bool wire_tls_pending(const struct wire *w);
#define WIRE_RECORD 16384UL /* content of a full TLS record */

/* Inside: one system call, which may sleep if the deadline is far; as sendmsg(2)
 * and recv(2), EAGAIN means: wire_wait(). */
ssize_t wire_raw_send(struct wire *w, struct iovec *iov, int n);
ssize_t wire_raw_recv(struct wire *w, void *p, size_t len);

/* Addresses, in addr.c. */
struct wire_addr {
	struct sockaddr_storage ss;
	socklen_t len;
};

/* Listens on one address, whose port may be 0: *a becomes what it is.  v6only: an IPv6
 * address does not take IPv4.  A descriptor that does not block, or a negative errno. */
int wire_listen_on(struct wire_addr *a, bool v6only, struct err *err) __must_check;

/* "name", "name:port", "[v6]:port", bare addresses; at most max results, the
 * number is returned.  "" and the wildcard addresses mean this machine. */
int wire_resolve(const char *host, int port, struct wire_addr *out, int max,
		 struct err *err) __must_check;
void wire_format(const struct wire_addr *a, char out[WIRE_NAME]);
/* The address alone, without the port. */
void wire_format_ip(const struct wire_addr *a, char out[WIRE_NAME]);
int wire_port(const struct wire_addr *a);
void wire_set_port(struct wire_addr *a, int port);
bool wire_is_loopback(const struct wire_addr *a);
/* If a is any address of this machine, turns it into the loopback address of
 * its family and returns true. */
bool wire_to_loopback(struct wire_addr *a);
int wire_peer_addr(int fd, struct wire_addr *ret);
int wire_own_addr(int fd, struct wire_addr *ret);
/* A connected socket, or negative errno; one attempt. */
int wire_connect(const struct wire_addr *a, int64_t deadline, struct err *err) __must_check;
/* Listens on port (0: any); loopback alone or everywhere.  Fills at most two
 * sockets (-1: none), and the port. */
int wire_listen(bool everywhere, int port, int fds[2], int *ret_port, struct err *err) __must_check;
/* In owner.c: the user who holds the other end of a loopback connection; -ENOENT
 * if unknown. */
int wire_loopback_uid(int fd, uid_t *ret_uid) __must_check;

/* Reads 64 hex digits from a file that only its owner may read. */
int wire_load_key(const char *path, uint8_t key[WIRE_KEY_BYTES], struct err *err) __must_check;

#endif
