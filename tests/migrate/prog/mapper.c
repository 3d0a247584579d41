/*
 * Memory of different sorts, which its file descriptors do not show: waits until a file
 * NAME.stop is there, and then looks whether all of it is as it was.
 *
 *   mapper NAME ZEROS TEXT [FILE]
 *
 * ZEROS MiB that hold zeros and were written to; TEXT MiB of hexadecimal digits, which can
 * be packed to about half; a private mapping of FILE, every page of it looked at.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static char *memory(size_t len)
{
	char *p = mmap(NULL, len + 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

static void write_text(char *p, size_t len)
{
	uint64_t x = 88172645463325252u;

	for (size_t i = 0; i < len; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		p[i] = "0123456789abcdef"[x >> 60];
	}
}

static uint64_t sum(const char *p, size_t len)
{
	uint64_t s = 0;

	for (size_t i = 0; i < len; i++)
		s = s * 31 + (unsigned char)p[i];
	return s;
}

int main(int argc, char **argv)
{
	size_t zeros, text, len = 0;
	struct timespec t = {.tv_nsec = 5 * 1000 * 1000};
	char *z, *x, *f = NULL, stop[4096];
	uint64_t of_text, of_file;

	if (argc < 4)
		return 2;
	zeros = (size_t)atol(argv[2]) << 20;
	text = (size_t)atol(argv[3]) << 20;
	z = memory(zeros);
	x = memory(text);
	if (argc > 4) {
		int fd = open(argv[4], O_RDONLY);
		struct stat st;

		if (fd < 0 || fstat(fd, &st))
			return 2;
		len = (size_t)st.st_size;
		f = mmap(NULL, len, PROT_READ, MAP_PRIVATE, fd, 0);
		close(fd);
		if (f == MAP_FAILED)
			return 2;
	}
	if (!z || !x)
		return 2;
	memset(z, 1, zeros);
	memset(z, 0, zeros);
	write_text(x, text);
	of_text = sum(x, text);
	of_file = sum(f, len);
	snprintf(stop, sizeof(stop), "%s.stop", argv[1]);
	printf("ready\n");
	fflush(stdout);
	while (access(stop, F_OK))
		nanosleep(&t, NULL);
	for (size_t i = 0; i < zeros; i++)
		if (z[i])
			return 1;
	printf(sum(x, text) == of_text && sum(f, len) == of_file ? "ok\n" : "wrong\n");
	return 0;
}
