/* Terminals, pipes, named pipes. */
#include <sys/prctl.h>
#include "files_fixture.h"

/* --- what comes from the shell --- */

static void build_inherited(void)
{
	int fl = fcntl(0, F_GETFL);

	fcntl(0, F_SETFL, fl | O_NONBLOCK);
	CHECK_INT(dup2(1, 9), 9);
	CHECK_INT(fcntl(1, F_DUPFD_CLOEXEC, 20), 20);
}

static void verify_inherited(void)
{
	char c[4];

	MUST(fcntl(0, F_GETFL) & O_NONBLOCK);
	MUST(read(0, c, 4) == 2 && !memcmp(c, "in", 2));
	MUST(write(1, "1", 1) == 1 && write(9, "9", 1) == 1 && write(20, "20", 2) == 2);
	MUST(has_cloexec(20) && !has_cloexec(9));
}

static void pipes_to_others_become_the_shells(void)
{
	int in[2], out[2], new_in[2], new_out[2], std[3];
	char got[16] = "";

	CHECK(!pipe(in) && !pipe(out) && !pipe(new_in) && !pipe(new_out));
	CHECK_INT(write(in[1], "lost", 4), 4);
	std[0] = in[0];
	std[1] = std[2] = out[1];
	capture(build_inherited, std);
	CHECK(strstr(notices, "4 bytes"));
	CHECK_INT(files_find(proc.files, 20)->kind, FILE_INHERITED);
	CHECK_INT(write(new_in[1], "in", 2), 2);
	shell[0] = new_in[0];
	shell[1] = new_out[1];
	restore(verify_inherited);
	CHECK_INT(read(new_out[0], got, 16), 4);
	CHECK_STR(got, "1920");
}

/* A new pseudo-terminal: its terminal side; the master stays open. */
static int terminal(void)
{
	int master = posix_openpt(O_RDWR | O_NOCTTY), unlock = 0, fd;

	CHECK(master >= 0 && !ioctl(master, TIOCSPTLCK, &unlock));
	fd = open(ptsname(master), O_RDWR | O_NOCTTY);
	CHECK(fd >= 0);
	return fd;
}

static void build_terminal(void)
{
	CHECK_INT(dup3(0, 255, O_CLOEXEC), 255);
	CHECK_INT(dup2(open("/proc/self/fd/1", O_WRONLY | O_NOCTTY), 10), 10); /* on its own */
	CHECK_INT(close(3), 0);
	CHECK_INT(dup2(open("/dev/null", O_WRONLY), 2), 2);
	CHECK_INT(close(3), 0);
}

static void verify_terminal(void)
{
	struct stat shells, st;

	MUST(isatty(0) && isatty(1) && isatty(255) && isatty(10) && !isatty(2));
	MUST(!fstat(0, &shells) && !fstat(255, &st) && st.st_rdev == shells.st_rdev);
	MUST(!fstat(10, &st) && st.st_rdev == shells.st_rdev);
	MUST(has_cloexec(255) && !has_cloexec(10));
}

static void a_terminal_becomes_the_shells(void)
{
	int tty = terminal();
	int std[3] = {tty, tty, tty};

	capture(build_terminal, std);
	CHECK_INT(files_find(proc.files, 255)->kind, FILE_INHERITED);
	shell[0] = shell[1] = shell[2] = terminal();
	restore(verify_terminal);
}

static void build_terminal_elsewhere(void)
{
	CHECK_INT(dup2(0, 5), 5);
	CHECK_INT(dup2(1, 0), 0);
}

static void verify_no_terminal(void)
{
	struct stat st, null;

	MUST(!stat("/dev/null", &null) && !fstat(5, &st) && st.st_rdev == null.st_rdev);
}

/* No controlling terminal in this session: nothing better than /dev/null. */
static void a_terminal_that_none_matches_needs_a_terminal(void)
{
	int std[3] = {terminal(), -1, -1};

	setsid();
	capture(build_terminal_elsewhere, std);
	CHECK_INT(check_only(), 0);
	CHECK(strstr(notices, "/dev/null"));
	restore(verify_no_terminal);
}

static void build_ended_input(void) {}

static void verify_ended_input(void)
{
	char got[16];

	MUST(read(0, got, 16) == 4 && !memcmp(got, "rest", 4) && read(0, got, 16) == 0);
}

/* echo data | prog: the end of the input, and what was not read, are the program's. */
static void input_that_has_ended_is_kept(void)
{
	int in[2], std[3] = {-1, -1, -1};

	CHECK_INT(pipe2(in, O_CLOEXEC), 0);
	CHECK_INT(write(in[1], "rest", 4), 4);
	CHECK_INT(close(in[1]), 0);
	std[0] = in[0];
	capture(build_ended_input, std);
	CHECK_INT(files_find(proc.files, 0)->kind, FILE_PIPE);
	restore(verify_ended_input);
}

static void build_foreign_pipe(void)
{
	int p[2];

	CHECK_INT(pipe(p), 0);
	if (fork() == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(p[0]);
		for (;;)
			pause();
	}
	close(p[1]);
}

static void a_pipe_to_another_process_is_refused(void)
{
	CHECK_INT(capture_only(build_foreign_pipe, NULL), -ENOTSUP);
	CHECK_INT(err.exit, EXIT_UNSUPPORTED);
	CHECK(strstr(err.what, "cannot save 'pipe:[") && strstr(err.what, "(fd 3 of process"));
	CHECK(err.hint[0]);
}

/* --- pipes --- */

static void build_pipes(void)
{
	int p[2];
	char big[70000];

	memset(big, 'x', sizeof(big));
	CHECK_INT(pipe2(p, O_NONBLOCK), 0); /* 3, 4 */
	CHECK_INT(write(4, "unread", 6), 6);
	CHECK_INT(pipe2(p, O_CLOEXEC), 0); /* 5, 6: large, and the numbers swapped */
	CHECK(fcntl(6, F_SETPIPE_SZ, 1 << 20) > 0);
	CHECK_INT(write(6, big, sizeof(big)), sizeof(big));
	CHECK_INT(dup2(5, 10), 10);
	CHECK_INT(dup2(6, 5), 5);
	CHECK_INT(dup2(10, 6), 6);
	CHECK_INT(close(10), 0);
	CHECK_INT(pipe(p), 0); /* 7, 8: no more writer */
	CHECK_INT(write(8, "last", 4), 4);
	CHECK_INT(close(8), 0);
	CHECK_INT(pipe(p), 0); /* 8, 9: no more reader */
	CHECK_INT(close(8), 0);
	CHECK_INT(open("/proc/self/fd/3", O_RDONLY), 8); /* another description of a reader */
}

/* 1000 bytes do not fit behind 4000 in a page: full at 64,000 bytes. */
static void build_full(void)
{
	char part[1000];
	int p[2], n = 0;

	memset(part, 'f', sizeof(part));
	CHECK_INT(pipe2(p, O_NONBLOCK), 0);
	while (write(4, part, sizeof(part)) == sizeof(part))
		n++;
	CHECK_INT(n, 64);
	CHECK_INT(read(3, part, 300), 300);
}

static void verify_full(void)
{
	static char got[70000];

	MUST(write(4, got, 1000) == -1 && errno == EAGAIN);
	MUST(read(3, got, sizeof(got)) == 63700 && got[0] == 'f' && got[63699] == 'f');
	MUST(read(3, got, 1) == -1 && errno == EAGAIN);
}

static void a_full_pipe_is_full_again(void)
{
	capture(build_full, NULL);
	restore(verify_full);
}

static void build_packets(void)
{
	int p[2];

	CHECK_INT(pipe2(p, O_DIRECT), 0);
	CHECK_INT(write(4, "one", 3), 3);
	CHECK_INT(write(4, "three", 5), 5);
	CHECK_INT(pipe2(p, O_DIRECT | O_NONBLOCK), 0);
	CHECK_INT(write(6, "left", 4), 4);
	CHECK_INT(close(6), 0);
}

static void verify_packets(void)
{
	char got[100];

	MUST(read(3, got, 100) == 3 && read(3, got, 100) == 5 && !memcmp(got, "three", 5));
	MUST(write(4, "a", 1) == 1 && write(4, "b", 1) == 1 && read(3, got, 100) == 1);
	MUST(read(5, got, 100) == 4 && read(5, got, 100) == 0);
}

static void packets_are_kept_apart(void)
{
	capture(build_packets, NULL);
	restore(verify_packets);
}

static void verify_pipes(void)
{
	static char got[80000];
	ssize_t n = 0, k;

	MUST((fcntl(3, F_GETFL) & O_NONBLOCK) && (fcntl(4, F_GETFL) & O_NONBLOCK));
	MUST(!(fcntl(8, F_GETFL) & O_NONBLOCK) && !has_cloexec(3) && !has_cloexec(4));
	MUST(read(8, got, 3) == 3 && !memcmp(got, "unr", 3));
	MUST(read(3, got, 80000) == 3 && !memcmp(got, "ead", 3));
	MUST(read(3, got, 80000) == -1 && errno == EAGAIN);
	MUST(write(4, "more", 4) == 4 && read(3, got, 8) == 4);
	MUST(fcntl(6, F_GETPIPE_SZ) == 1 << 20);
	fcntl(6, F_SETFL, O_NONBLOCK);
	while ((k = read(6, got + n, sizeof(got) - (size_t)n)) > 0)
		n += k;
	MUST(n == 70000 && got[0] == 'x' && got[69999] == 'x');
	MUST(write(5, "y", 1) == 1 && read(6, got, 1) == 1);
	MUST(read(7, got, 100) == 4 && !memcmp(got, "last", 4) && read(7, got, 100) == 0);
	signal(SIGPIPE, SIG_IGN);
	MUST(write(9, "z", 1) == -1 && errno == EPIPE);
}

static void pipes_keep_content_capacity_and_hang_up(void)
{
	capture(build_pipes, NULL);
	restore(verify_pipes);
}

/* --- named pipes --- */

static void build_fifos(void)
{
	CHECK_INT(mkfifo(in_dir("fifo"), 0600), 0);
	CHECK_INT(open(in_dir("fifo"), O_RDONLY | O_NONBLOCK), 3);
	CHECK_INT(open(in_dir("fifo"), O_WRONLY | O_CLOEXEC), 4);
	CHECK_INT(open(in_dir("fifo"), O_RDONLY), 5);
	CHECK_INT(write(4, "unread", 6), 6);
	CHECK_INT(mkfifo(in_dir("both"), 0600), 0);
	CHECK_INT(open(in_dir("both"), O_RDWR), 6);
}

static void verify_fifos(void)
{
	char got[16];

	MUST((fcntl(3, F_GETFL) & O_NONBLOCK) && !(fcntl(5, F_GETFL) & O_NONBLOCK));
	MUST(!(fcntl(4, F_GETFL) & O_NONBLOCK) && has_cloexec(4) && !has_cloexec(3));
	MUST(read(5, got, 3) == 3 && read(3, got + 3, 13) == 3 && !memcmp(got, "unread", 6));
	MUST(write(6, "x", 1) == 1 && read(6, got, 16) == 1);
	MUST(close(4) == 0 && read(3, got, 1) == 0); /* nothing of ours holds it open */
}

static void named_pipes_keep_their_content(void)
{
	capture(build_fifos, NULL);
	restore(verify_fifos);
	remove_dir();
}

int main(int argc, char **argv)
{
	static const struct tap_test tests[] = {
		TEST(pipes_to_others_become_the_shells),
		TEST(a_terminal_becomes_the_shells),
		TEST(a_terminal_that_none_matches_needs_a_terminal),
		TEST(input_that_has_ended_is_kept),
		TEST(a_pipe_to_another_process_is_refused),
		TEST(pipes_keep_content_capacity_and_hang_up),
		TEST(a_full_pipe_is_full_again),
		TEST(packets_are_kept_apart),
		TEST(named_pipes_keep_their_content),
	};

	return files_main(tests, ARRAY_SIZE(tests), argc, argv);
}
