/*
 * Has files of all sorts open in its working directory, works with them until a file
 * "stop" is there, and then looks whether each is as it should be.
 *
 *   carrier FOLDER [MIB]
 *
 *   log       appended to, a number a line, by stdio
 *   input     read in order, a block at a time, round and round; MIB of it
 *   table     a shared mapping, written all the time
 *   store     written at an offset that moves on
 *   locked    fcntl, flock and open file description locks are held on it
 *   below/    a folder that is open
 * When it ends it makes "made" with a name relative to its folder.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define BLOCK 4096
#define TABLE (64 * BLOCK)

static size_t blocks;

static void fill(uint64_t *b, uint64_t k)
{
	for (size_t i = 0; i < BLOCK / 8; i++)
		b[i] = (k * 512 + i) * 0x9e3779b97f4a7c15;
}

static int make_input(const char *name)
{
	int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0640);
	uint64_t b[BLOCK / 8];

	for (size_t k = 0; k < blocks; k++) {
		fill(b, k);
		if (write(fd, b, BLOCK) != BLOCK)
			return -1;
	}
	close(fd);
	return open(name, O_RDONLY);
}

static int lock(int fd)
{
	struct flock k = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 10, .l_len = 10};

	if (fcntl(fd, F_SETLK, &k) || flock(fd, LOCK_EX | LOCK_NB))
		return -1;
	k.l_start = 100;
	return fcntl(fd, F_OFD_SETLK, &k);
}

static int wrong(const char *what, long n)
{
	printf("wrong: %s at %ld\n", what, n);
	return 1;
}

int main(int argc, char **argv)
{
	uint64_t want[BLOCK / 8], got[BLOCK / 8], n;
	struct timespec t = {.tv_nsec = 2 * 1000 * 1000};
	int input, store, locked, table, below;
	volatile uint64_t *map;
	long line, last = 0;
	struct stat st;
	FILE *log;

	blocks = argc > 2 ? (size_t)atol(argv[2]) * 256 : 16;
	if (argc < 2 || chdir(argv[1]) || (mkdir("below", 0750) && errno != EEXIST))
		return 2;
	input = make_input("input");
	log = fopen("log", "a+");
	store = open("store", O_RDWR | O_CREAT, 0600);
	locked = open("locked", O_RDWR | O_CREAT, 0666);
	table = open("table", O_RDWR | O_CREAT, 0600);
	below = open("below", O_RDONLY | O_DIRECTORY);
	if (input < 0 || !log || store < 0 || locked < 0 || table < 0 || below < 0 ||
	    ftruncate(table, TABLE) || lock(locked))
		return 2;
	map = mmap(NULL, TABLE, PROT_READ | PROT_WRITE, MAP_SHARED, table, 0);
	close(table);
	if (map == MAP_FAILED)
		return 2;
	printf("ready\n");
	fflush(stdout);
	for (n = 1; access("stop", F_OK); n++) {
		fprintf(log, "%llu\n", (unsigned long long)n);
		fflush(log);
		map[n * 513 % (TABLE / 8)] = n;
		if (pwrite(store, &n, 8, (off_t)(n % 1000 * 8)) != 8 ||
		    lseek(store, 8, SEEK_CUR) != (off_t)n * 8)
			return wrong("the offset of store", (long)n);
		if (read(input, got, BLOCK) != BLOCK)
			return wrong("input ends", (long)n);
		fill(want, (n - 1) % blocks);
		if (memcmp(want, got, BLOCK))
			return wrong("input", (long)n);
		if (n % blocks == 0)
			lseek(input, 0, SEEK_SET);
		nanosleep(&t, NULL);
	}
	for (uint64_t k = n - 1; k && k + TABLE / 8 >= n; k--)
		if (map[k * 513 % (TABLE / 8)] != k)
			return wrong("table", (long)k);
	for (uint64_t k = n - 1; k && k + 1000 >= n; k--) {
		uint64_t v;

		if (pread(store, &v, 8, (off_t)(k % 1000 * 8)) != 8 || v != k)
			return wrong("store", (long)k);
	}
	rewind(log);
	while (fscanf(log, "%ld", &line) == 1)
		if (line != ++last)
			return wrong("log", line);
	if (last != (long)n - 1)
		return wrong("end of log", last);
	if (fstat(below, &st) || !S_ISDIR(st.st_mode))
		return wrong("folder", 0);
	if (close(open("made", O_WRONLY | O_CREAT, 0600)))
		return wrong("its working directory", 0);
	printf("ok\n");
	return 0;
}
