/*
 * Runs one fuzz target without libFuzzer: every file of its corpus, then
 * mutations of them, always the same ones.  TAP on stdout, a test a file.
 *
 *	fuzz/NAME [FILE...]      default: all of tests/fuzz/corpus/NAME
 *
 * FUZZ_ROUNDS= mutations a file (1000).  An input that kills the target is
 * left beside the program, NAME.crash; run it alone by naming it.
 */
#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/io.h"
#include "fuzz.h"

#define INPUT_MAX (1u << 20)
#define SECONDS 120 /* for a file with its mutations */

/* Shared with the child, so that the input that killed it can be kept. */
static struct current {
	size_t len;
	uint8_t bytes[INPUT_MAX];
} * now;

static uint64_t state;
int fuzz_is_seed;

/* xorshift64: the same sequence everywhere. */
static uint64_t random_below(uint64_t n)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return n ? state % n : 0;
}

static void change_number(void)
{
	static const uint64_t odd[] = {
		0,          1,         2,          0x7f,       0xff,
		0x100,      4095,      4096,       INT32_MAX,  UINT32_MAX,
		1ull << 32, INT64_MAX, 1ull << 63, UINT64_MAX, UINT64_MAX - 4095};
	size_t width = (size_t)1 << random_below(4);
	uint64_t v = odd[random_below(ARRAY_SIZE(odd))];

	if (now->len >= width)
		memcpy(now->bytes + random_below(now->len - width + 1), &v, width);
}

static void remove_some(void)
{
	size_t at = random_below(now->len), n = 1 + random_below(now->len - at);

	memmove(now->bytes + at, now->bytes + at + n, now->len - at - n);
	now->len -= n;
}

static void repeat_some(void)
{
	size_t at = random_below(now->len), n = 1 + random_below(now->len - at);

	if (n > 4096)
		n = 4096;
	if (n > INPUT_MAX - now->len)
		return;
	memmove(now->bytes + at + n, now->bytes + at, now->len - at);
	now->len += n;
}

static void mutate(void)
{
	for (uint64_t i = 1 + random_below(4); i > 0 && now->len; i--)
		switch (random_below(8)) {
		case 0:
			remove_some();
			break;
		case 1:
			repeat_some();
			break;
		case 2:
		case 3:
			change_number();
			break;
		default:
			now->bytes[random_below(now->len)] ^= (uint8_t)(1u << random_below(8));
		}
}

static void set_input(const struct buf *b)
{
	now->len = b->len < INPUT_MAX ? b->len : INPUT_MAX;
	memcpy(now->bytes, b->p, now->len);
}

/* The bytes on the heap, so that a sanitizer sees a step beyond. */
static void feed(void)
{
	uint8_t *copy = malloc(now->len ? now->len : 1);

	memcpy(copy, now->bytes, now->len);
	LLVMFuzzerTestOneInput(copy, now->len);
	free(copy);
}

static void keep_input(const char *program)
{
	char file[300];
	int fd;

	snprintf(file, sizeof(file), "%s.crash", program);
	fd = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd >= 0 && !io_write_all(fd, now->bytes, now->len))
		printf("# the input is in %s: run %s %s\n", file, program, file);
	if (fd >= 0)
		close(fd);
}

static bool run_file(const char *program, const char *path, unsigned long rounds)
{
	__cleanup_buf struct buf b = {0};
	int status = 0;
	pid_t pid;

	if (io_read_file(AT_FDCWD, path, &b)) {
		printf("# cannot read %s\n", path);
		return false;
	}
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		alarm(SECONDS);
		set_input(&b);
		fuzz_is_seed = rounds > 0;
		feed();
		fuzz_is_seed = 0;
		state = 88172645463325252ull;
		for (unsigned long i = 0; i < rounds; i++) {
			set_input(&b);
			mutate();
			feed();
		}
		buf_done(&b);
		exit(0);
	}
	if (pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) && !WEXITSTATUS(status))
		return true;
	printf("# %s: status 0x%x\n", path, status);
	keep_input(program);
	return false;
}

static int not_hidden(const struct dirent *e)
{
	return e->d_name[0] != '.';
}

static int run_corpus(const char *program, const char *name, unsigned long rounds)
{
	struct dirent **files = NULL;
	char dir[300], path[600];
	int n, failed = 0;

	snprintf(dir, sizeof(dir), "tests/fuzz/corpus/%s", name);
	n = scandir(dir, &files, not_hidden, alphasort);
	if (n <= 0)
		printf("not ok 1 - %s: no corpus in %s\n", name, dir);
	for (int i = 0; i < n; i++) {
		bool good;

		snprintf(path, sizeof(path), "%s/%s", dir, files[i]->d_name);
		good = run_file(program, path, rounds);
		failed += !good;
		printf("%sok %d - %s: %s\n", good ? "" : "not ", i + 1, name, files[i]->d_name);
		free(files[i]);
	}
	free(files);
	printf("1..%d\n", n > 0 ? n : 1);
	return n <= 0 || failed;
}

int main(int argc, char **argv)
{
	const char *rounds = getenv("FUZZ_ROUNDS"), *slash = strrchr(argv[0], '/');
	const char *name = slash ? slash + 1 : argv[0];
	int failed = 0;

	now = mmap(NULL, sizeof(*now), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (now == MAP_FAILED)
		return 1;
	if (argc < 2)
		return run_corpus(argv[0], name, rounds ? strtoul(rounds, NULL, 10) : 1000);
	for (int i = 1; i < argc; i++)
		failed |= !run_file(argv[0], argv[i], 0);
	return failed;
}
