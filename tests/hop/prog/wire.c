/* Unit tests of src/wire, over socket pairs and loopback; wire.t builds this with
 * and without sanitizers. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "../../unit/tap.h"
#include "base/io.h"
#include "wire/wire.h"

static const uint8_t key[WIRE_KEY_BYTES] = "0123456789abcdef0123456789abcde";
static const uint8_t other_key[WIRE_KEY_BYTES] = "another";

struct ends {
	struct wire *a, *b;
};

static struct ends ends_new(void)
{
	struct ends e = {calloc(1, sizeof(struct wire)), calloc(1, sizeof(struct wire))};
	int sv[2];

	CHECK(!socketpair(AF_UNIX, SOCK_STREAM, 0, sv));
	wire_init(e.a, sv[0]);
	wire_init(e.b, sv[1]);
	return e;
}

static void ends_done(struct ends *e)
{
	wire_done(e->a);
	wire_done(e->b);
	free(e->a);
	free(e->b);
}

struct started {
	struct wire *w;
	const uint8_t *key;
	int result;
	struct err err;
};

static void *start_server(void *arg)
{
	struct started *s = arg;

	s->result = wire_tls_start(s->w, true, s->key, &s->err);
	return NULL;
}

static int handshake(struct ends *e, const uint8_t *server_key, struct started *server,
		     struct err *err)
{
	pthread_t t;
	int ret;

	*server = (struct started){.w = e->b, .key = server_key, .err = ERR_INIT};
	pthread_create(&t, NULL, start_server, server);
	ret = wire_tls_start(e->a, false, key, err);
	if (ret) /* hang up, as the callers do */
		shutdown(e->a->fd, SHUT_RDWR);
	pthread_join(t, NULL);
	return ret;
}

/* Deadlines far and near: the patient path and the polling one. */
static const int deadlines[] = {20000, 3000};

static void tls_takes_the_same_key_only(void)
{
	size_t i;

	for (i = 0; i < 2 * ARRAY_SIZE(deadlines); i++) {
		struct ends e = ends_new();
		struct err err = ERR_INIT;
		struct started server;
		bool same = i % 2;
		int ret;

		wire_deadline(e.a, deadlines[i / 2]);
		wire_deadline(e.b, deadlines[i / 2]);
		ret = handshake(&e, same ? key : other_key, &server, &err);
		if (same) {
			CHECK_INT(ret, 0);
			CHECK_INT(server.result, 0);
		} else {
			CHECK_INT(ret, -EPERM);
			CHECK_INT(server.result, -EPERM);
			CHECK(strstr(err.what, "TLS") && err.hint[0]);
		}
		ends_done(&e);
	}
}

struct stream {
	struct wire *w;
	size_t len;
	unsigned int seed;
};

static unsigned char byte_at(size_t i)
{
	return (unsigned char)(i * 2654435761U >> 11);
}

static void *send_stream(void *arg)
{
	struct stream *s = arg;
	unsigned char *p = malloc(s->len + 1);
	struct iovec v[15];
	struct err err = ERR_INIT;
	size_t i, at = 0;
	int n = 0;

	for (i = 0; i < s->len; i++)
		p[i] = byte_at(i);
	/* pieces of all sizes, empty ones too */
	for (; n < 15; n++) {
		size_t part = n == 14 ? s->len - at : (size_t)rand_r(&s->seed) % (s->len / 6 + 2);

		part = part < s->len - at ? part : s->len - at;
		v[n] = (struct iovec){p + at, part};
		at += part;
	}
	if (wire_send(s->w, 77, v, n, &err))
		fprintf(stderr, "# %s\n", err.what);
	free(p);
	return NULL;
}

static void receive(struct ends *e, size_t len, unsigned int seed)
{
	struct stream s = {.w = e->a, .len = len, .seed = seed};
	unsigned char *got = malloc(len + 1);
	struct err err = ERR_INIT;
	struct wire_head head;
	size_t at = 0, i;
	pthread_t t;

	pthread_create(&t, NULL, send_stream, &s);
	CHECK_INT(wire_recv(e->b, &head, len, &err), 0);
	CHECK_INT(head.type, 77);
	CHECK_INT(head.len, len);
	while (at < len) {
		size_t part = (size_t)rand_r(&seed) % 40000 + 1;

		part = part < len - at ? part : len - at;
		CHECK_INT(wire_read(e->b, got + at, part, &err), 0);
		at += part;
	}
	pthread_join(t, NULL);
	for (i = 0; i < len; i++)
		CHECK_INT(got[i], byte_at(i));
	free(got);
}

static void frames_of_all_sizes_arrive(void)
{
	static const size_t sizes[] = {0,     1,     15,    4079,  4080,   4081,   16367,  16368,
				       16369, 16384, 32768, 65536, 133120, 133121, 300000, 5000000};
	size_t i, k;

	for (k = 0; k < 4; k++) {
		struct ends e = ends_new();
		struct started server;
		struct err err = ERR_INIT;

		wire_deadline(e.a, deadlines[k / 2] * 2);
		wire_deadline(e.b, deadlines[k / 2] * 2);
		if (k % 2)
			CHECK_INT(handshake(&e, key, &server, &err), 0);
		for (i = 0; i < ARRAY_SIZE(sizes); i++)
			receive(&e, sizes[i], (unsigned int)(i + k));
		ends_done(&e);
	}
}

/* Whoever sends a byte now and then costs no more than the deadline. */
static void *trickle(void *arg)
{
	int fd = *(int *)arg, i;

	for (i = 0; i < 40 && send(fd, "x", 1, MSG_NOSIGNAL) == 1; i++)
		usleep(100000);
	return NULL;
}

static void deadline_holds_against_a_trickle(void)
{
	struct ends e = ends_new();
	struct err err = ERR_INIT;
	int64_t start = wire_now();
	char buf[1000];
	pthread_t t;

	pthread_create(&t, NULL, trickle, &e.a->fd);
	wire_deadline(e.b, 500);
	CHECK_INT(wire_read(e.b, buf, sizeof(buf), &err), -ETIMEDOUT);
	CHECK(wire_now() - start < 3000000000LL);
	shutdown(e.b->fd, SHUT_RDWR);
	pthread_join(t, NULL);
	ends_done(&e);
}

/* Longer than the kernel's limit, so that the patient path ends in the other. */
static void deadline_holds_against_silence(void)
{
	struct ends e = ends_new();
	struct err err = ERR_INIT;
	int64_t start = wire_now();
	char c;

	wire_deadline(e.b, 5000);
	CHECK_INT(wire_read(e.b, &c, 1, &err), -ETIMEDOUT);
	CHECK(wire_now() - start > 4900000000LL);
	ends_done(&e);
}

static void dead_peer_is_an_error_and_no_signal(void)
{
	struct ends e = ends_new();
	struct err err = ERR_INIT;
	char big[100000] = "";
	char c;

	wire_done(e.a);
	CHECK(wire_write(e.b, big, sizeof(big), &err) < 0);
	err = ERR_INIT;
	CHECK_INT(wire_read(e.b, &c, 1, &err), -ECONNRESET);
	CHECK(!wire_idle_ok(e.b));
	wire_done(e.b);
	free(e.a);
	free(e.b);
}

static void bad_frames_are_refused(void)
{
	struct ends e = ends_new();
	struct wire_head h = {.magic = WIRE_MAGIC, .type = 1, .len = 100};
	struct err err = ERR_INIT;

	CHECK(write(e.a->fd, &h, sizeof(h)) == sizeof(h));
	CHECK_INT(wire_recv(e.b, &h, 99, &err), -EMSGSIZE);
	h.magic++;
	CHECK(write(e.a->fd, &h, sizeof(h)) == sizeof(h));
	err = ERR_INIT;
	CHECK_INT(wire_recv(e.b, &h, 100, &err), -EPROTO);
	ends_done(&e);
}

static void addresses_are_understood(void)
{
	static const struct {
		const char *in, *out;
	} good[] = {{"127.0.0.1", "127.0.0.1:7"},
		    {"127.0.0.1:80", "127.0.0.1:80"},
		    {"::1", "[::1]:7"},
		    {"[::1]", "[::1]:7"},
		    {"[::1]:65535", "[::1]:65535"},
		    {"", "127.0.0.1:7"},
		    {"::ffff:10.1.2.3", "10.1.2.3:7"}};
	static const char *const bad[] = {"127.0.0.1:",   "127.0.0.1:0", "127.0.0.1:65536",
					  "127.0.0.1:8x", "[::1",        "[::1]x"};
	char text[WIRE_NAME], *longest = calloc(1, 400);
	struct wire_addr a;
	struct err err;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(good); i++) {
		err = ERR_INIT;
		CHECK(wire_resolve(good[i].in, 7, &a, 1, &err) == 1);
		wire_format(&a, text);
		CHECK_STR(text, good[i].out);
	}
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		err = ERR_INIT;
		CHECK(wire_resolve(bad[i], 7, &a, 1, &err) < 0 && err.what[0]);
	}
	memset(longest, 'a', 399);
	err = ERR_INIT;
	CHECK_INT(wire_resolve(longest, 7, &a, 1, &err), -ENAMETOOLONG);
	free(longest);
}

static void owner_of_a_loopback_connection(void)
{
	int fds[2], port, client, server;
	struct err err = ERR_INIT;
	struct wire_addr a;
	uid_t uid = 99;

	CHECK_INT(wire_listen(false, 0, fds, &port, &err), 0);
	CHECK(wire_resolve("127.0.0.1", port, &a, 1, &err) == 1);
	client = wire_connect(&a, wire_now() + 5000000000LL, &err);
	CHECK(client >= 0);
	server = accept(fds[0], NULL, NULL);
	CHECK(server >= 0);
	CHECK_INT(wire_loopback_uid(server, &uid), 0);
	CHECK_INT(uid, geteuid());
	CHECK_INT(wire_loopback_uid(client, &uid), 0);
	close(client);
	CHECK_INT(wire_loopback_uid(server, &uid), -ENOENT);
}

static void keys_are_read(void)
{
	static const struct {
		const char *text;
		int mode, result;
	} files[] = {
		{"00112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFF\n", 0600, 0},
		{"00112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFF", 0400, 0},
		{"00112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFF\n", 0640,
		 -EPERM},
		{"00112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEF", 0600, -EINVAL},
		{"00112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFF00", 0600,
		 -EINVAL},
		{"g0112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFF", 0600, -EINVAL},
		{"", 0600, -EINVAL},
	};
	char path[] = "/tmp/keyXXXXXX";
	uint8_t got[WIRE_KEY_BYTES];
	int fd = mkstemp(path);
	size_t i;

	for (i = 0; i < ARRAY_SIZE(files); i++) {
		struct err err = ERR_INIT;
		size_t len = strlen(files[i].text);

		CHECK(!ftruncate(fd, 0) && pwrite(fd, files[i].text, len, 0) == (ssize_t)len);
		fchmod(fd, (mode_t)files[i].mode);
		CHECK_INT(wire_load_key(path, got, &err), files[i].result);
		if (!files[i].result)
			CHECK(got[1] == 0x11 && got[31] == 0xff);
	}
	unlink(path);
}

int main(int argc, char **argv)
{
	static const struct tap_test tests[] = {
		TEST(tls_takes_the_same_key_only),
		TEST(frames_of_all_sizes_arrive),
		TEST(deadline_holds_against_a_trickle),
		TEST(deadline_holds_against_silence),
		TEST(dead_peer_is_an_error_and_no_signal),
		TEST(bad_frames_are_refused),
		TEST(addresses_are_understood),
		TEST(owner_of_a_loopback_connection),
		TEST(keys_are_read),
	};
	return tap_main(tests, ARRAY_SIZE(tests), argc, argv);
}
