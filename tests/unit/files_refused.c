/* What is refused, by name, with a remedy. */
#include "files_fixture.h"

/* --- refusals --- */

static void build_connected(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(a);

	CHECK_INT(socket(AF_INET, SOCK_STREAM, 0), 3);
	CHECK(!bind(3, (struct sockaddr *)&a, sizeof(a)) && !listen(3, 1));
	CHECK(!getsockname(3, (struct sockaddr *)&a, &len));
	CHECK_INT(socket(AF_INET, SOCK_STREAM, 0), 4);
	CHECK_INT(connect(4, (struct sockaddr *)&a, len), 0);
}

static void build_netlink(void)
{
	CHECK_INT(socket(AF_NETLINK, SOCK_RAW, 0), 3);
}

static void build_unix_connected(void)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};

	snprintf(a.sun_path, sizeof(a.sun_path), "%s", in_dir("sock"));
	CHECK_INT(socket(AF_UNIX, SOCK_STREAM, 0), 3);
	CHECK_INT(socket(AF_UNIX, SOCK_STREAM, 0), 4);
	CHECK(!bind(4, (struct sockaddr *)&a, sizeof(a)) && !listen(4, 1));
	CHECK_INT(connect(3, (struct sockaddr *)&a, sizeof(a)), 0);
}

static void build_renamed(void)
{
	CHECK_INT(open(in_dir("was"), O_RDWR | O_CREAT, 0600), 3);
	CHECK_INT(link(in_dir("was"), in_dir("is")), 0);
	CHECK_INT(unlink(in_dir("was")), 0);
}

static void build_path(void)
{
	CHECK_INT(mkdir(in_dir("gone"), 0700), 0);
	CHECK_INT(open(in_dir("gone"), O_PATH), 3);
	CHECK_INT(rmdir(in_dir("gone")), 0);
}

static void build_ptmx(void)
{
	CHECK_INT(open("/dev/ptmx", O_RDWR | O_NOCTTY), 3);
}

static void build_other_proc(void)
{
	CHECK_INT(open("/proc/1/stat", O_RDONLY), 3);
}

static void build_fifo_end(void)
{
	CHECK_INT(mkfifo(in_dir("fifo"), 0600), 0);
	CHECK_INT(open(in_dir("fifo"), O_RDONLY | O_NONBLOCK), 3);
}

static void build_pidfd(void)
{
	CHECK_INT(pidfd_open(getpid(), 0), 3);
}

static void build_namespace(void)
{
	CHECK_INT(open("/proc/self/ns/net", O_RDONLY), 3);
}

static void *sleep_forever(void *arg)
{
	CHECK_INT(unshare(CLONE_FILES), 0);
	*(volatile int *)arg = gettid();
	for (;;)
		pause();
	return NULL;
}

static void the_rest_is_refused_by_name(void)
{
	static const struct {
		void (*build)(void);
		const char *says;
	} cases[] = {
		{build_connected, "established TCP connection to 127.0.0.1:"},
		{build_netlink, "netlink"},
		{build_unix_connected, "connected Unix socket '/tmp/godwit-files-"},
		{build_renamed, "renamed"},
		{build_other_proc, "another process"},
		{build_path, "O_PATH"},
		{build_fifo_end, "other end"},
		{build_ptmx, "never opened"},
		{build_pidfd, "pidfd"},
		{build_namespace, "namespace"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		CHECK_INT(capture_only(cases[i].build, NULL), -ENOTSUP);
		if (!strstr(err.what, cases[i].says))
			printf("# %zu: %s\n", i, err.what);
		CHECK(strstr(err.what, cases[i].says));
		CHECK(strstr(err.what, "fd ") && strstr(err.what, "of process "));
		CHECK(err.hint[0]);
		CHECK_INT(err.exit, EXIT_UNSUPPORTED);
		state_files.done(&proc);
	}
	remove_dir();
}

static void a_thread_with_descriptors_of_its_own_is_refused(void)
{
	volatile int ready = 0;
	struct tracee threads[2] = {0};
	struct remote self = {.pid = getpid(), .speaker = getpid(), .threads = threads, .n = 2};
	struct capture c = {.remote = &self, .proc = &proc, .notice = take_notice};
	pthread_t t;

	err = ERR_INIT;
	CHECK_INT(pthread_create(&t, NULL, sleep_forever, (void *)&ready), 0);
	while (!ready)
		usleep(1000);
	threads[0].tid = getpid();
	threads[1].tid = ready;
	self.procfd = open("/proc/self", O_PATH | O_DIRECTORY);
	CHECK_INT(state_files.capture(&c, &proc, &err), -ENOTSUP);
	CHECK(strstr(err.what, "descriptors of its own"));
}

int main(int argc, char **argv)
{
	static const struct tap_test tests[] = {
		TEST(the_rest_is_refused_by_name),
		TEST(a_thread_with_descriptors_of_its_own_is_refused),
	};

	return files_main(tests, ARRAY_SIZE(tests), argc, argv);
}
