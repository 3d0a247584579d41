/*
 * A directory whose entries are read half; kept, or refused.
 * test: doors=attach refuse=ok
 */
#include <dirent.h>
#include <sys/stat.h>

#include "subject.h"

int main(int argc, char **argv)
{
	bool seen[3000] = {0};
	char name[40];
	struct dirent *e;
	int entries = 0;

	subject_init(argc, argv);
	mkdir("listed", 0755);
	for (int i = 0; i < 3000; i++) { /* more than one getdents64() gives */
		snprintf(name, sizeof(name), "listed/%d", i);
		close(must(open(name, O_CREAT | O_RDWR, 0600)));
	}
	DIR *d = opendir("listed");
	while (entries < 10 && (e = readdir(d)))
		if (*e->d_name != '.') {
			seen[atoi(e->d_name)] = true;
			entries++;
		}
	subject_wait();

	while ((e = readdir(d)))
		if (*e->d_name != '.') {
			check(!seen[atoi(e->d_name)], "entry %s comes a second time", e->d_name);
			seen[atoi(e->d_name)] = true;
		}
	for (int i = 0; i < 3000; i++)
		check(seen[i], "entry %d is lost", i);
	return subject_done();
}
