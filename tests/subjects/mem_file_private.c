/* Private mappings of a file: clean, written, past an offset, and read-only. */
#include "subject.h"

#define PG 4096

int main(int argc, char **argv)
{
	static char buf[16 * PG];

	subject_init(argc, argv);
	int fd = must(open("mapped-private", O_CREAT | O_TRUNC | O_RDWR | O_CLOEXEC, 0644));
	fill(buf, sizeof(buf), 1);
	must(write(fd, buf, sizeof(buf)));
	char *clean = must(mmap(NULL, 16 * PG, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0));
	char *dirty = must(mmap(NULL, 16 * PG, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0));
	char *part = must(mmap(NULL, 4 * PG, PROT_READ, MAP_PRIVATE, fd, 8 * PG));
	/* Mapped further than the file goes: those pages give SIGBUS, before and after. */
	char *beyond = must(mmap(NULL, 18 * PG, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0));
	close(fd);
	fill(dirty + 3 * PG, PG, 77);
	fill(dirty + 15 * PG, PG, 78);
	beyond[15 * PG] ^= 1;
	subject_wait();

	check(!memcmp(clean, buf, sizeof(buf)), "the clean mapping differs");
	check(is_filled(dirty + 3 * PG, PG, 77), "a written page is lost");
	check(is_filled(dirty + 15 * PG, PG, 78), "the written last page is lost");
	check(!memcmp(dirty, buf, 3 * PG) && !memcmp(dirty + 4 * PG, buf + 4 * PG, 11 * PG),
	      "pages beside the written ones differ");
	check(!memcmp(part, buf + 8 * PG, 4 * PG), "the mapping at an offset differs");
	check(!memcmp(beyond, buf, 15 * PG) && (beyond[15 * PG] ^ 1) == buf[15 * PG],
	      "the mapping that is longer than the file differs");
	/* Private stays private. */
	clean[0] ^= 1;
	fd = must(open("mapped-private", O_RDONLY));
	char c;
	must(read(fd, &c, 1));
	check(c == buf[0], "a write to a private mapping reached the file");
	return subject_done();
}
