/* godwit(1) names every kind of descriptor that is saved, with what is kept of it,
 * and everything that is refused, with the remedy; and it names nothing else.  The
 * lists in the code are the truth. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "base/refusal.h"
#include "state/files.h"
#include "tap.h"

/* The page between `title` and the next heading, its lines joined. */
static char *read_section(const char *title)
{
	struct buf b = {0};
	char *p, *end;

	CHECK_INT(io_read_file(AT_FDCWD, "man/godwit.1", &b), 0);
	p = strstr(b.p, title);
	CHECK(p != NULL);
	end = strstr(p + strlen(title), "\n.S");
	if (end)
		end[1] = '\0';
	for (char *nl = p; (nl = strchr(nl, '\n'));)
		*nl = ' ';
	return p;
}

/* How many entries the section has. */
static size_t entries(const char *section)
{
	size_t n = 0;

	while ((section = strstr(section, ".It "))) {
		section += 4;
		n++;
	}
	return n;
}

/* Each line of the lists of that kind is an entry, and no other entry is there. */
static void compare(const char *kind, const char *title)
{
	char *list = NULL, *line, *rest;
	size_t len, n = 0;
	FILE *out = open_memstream(&list, &len);
	const char *section = read_section(title);

	CHECK(out != NULL);
	refusals_print(out);
	files_print_kinds(out);
	fclose(out);
	for (line = strtok_r(list, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
		__cleanup_buf struct buf want = {0};
		char *name = strchr(line, '\t') + 1, *text = strchr(name, '\t');

		if (strncmp(line, kind, strlen(kind)))
			continue;
		*text++ = '\0';
		CHECK(*name && *text && strcmp(name, "(null)") && strcmp(text, "(null)"));
		n++;
		buf_printf(&want, ".It %s %s ", name, text);
		if (strstr(section, want.p))
			continue;
		printf("# the page lacks: %s (%s)\n", name, text);
		fflush(stdout);
		_exit(1);
	}
	CHECK_INT(entries(section), n);
	CHECK(n > 15);
}

static void page_names_every_kind_of_descriptor(void)
{
	compare("saved", ".Ss Descriptors");
}

static void page_names_everything_that_is_refused(void)
{
	compare("refused", ".Ss What is refused");
}

int main(int argc, char **argv)
{
	static const struct tap_test tests[] = {
		TEST(page_names_every_kind_of_descriptor),
		TEST(page_names_everything_that_is_refused),
	};

	return tap_main(tests, ARRAY_SIZE(tests), argc, argv);
}
