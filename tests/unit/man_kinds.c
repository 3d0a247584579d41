/* godwit(1) names every kind of descriptor that is saved, with what is kept of
 * it, and every one that is refused: the table in the code is the truth. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "state/files.h"
#include "tap.h"

static char *page;

/* The page's text after `title`, its lines joined. */
static void read_page(const char *title)
{
	struct buf b = {0};
	char *p;

	CHECK_INT(io_read_file(AT_FDCWD, "man/godwit.1", &b), 0);
	p = strstr(b.p, title);
	CHECK(p != NULL);
	page = p;
	while ((p = strchr(p, '\n')))
		*p = ' ';
}

static bool is_there(const char *macro, const char *name, const char *after)
{
	__cleanup_buf struct buf want = {0};

	buf_printf(&want, "%s%s%s", macro, name, after);
	return strstr(page, want.p) != NULL;
}

static void page_names_every_kind_of_descriptor(void)
{
	char *list = NULL, *line, *rest;
	size_t len, n = 0;
	FILE *out = open_memstream(&list, &len);

	CHECK(out != NULL);
	files_print_kinds(out);
	fclose(out);
	read_page(".Ss Descriptors");
	for (line = strtok_r(list, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest), n++) {
		char *name = strchr(line, '\t') + 1, *text = strchr(name, '\t');

		*text++ = '\0';
		if (!strncmp(line, "saved", 5)
			    ? is_there(".It ", name, " ") && is_there("", text, "")
			    : is_there(".It ", name, " "))
			continue;
		printf("# the page lacks: %s (%s)\n", name, text);
		fflush(stdout);
		_exit(1);
	}
	CHECK(n > 30);
}

int main(int argc, char **argv)
{
	static const struct tap_test tests[] = {TEST(page_names_every_kind_of_descriptor)};

	return tap_main(tests, ARRAY_SIZE(tests), argc, argv);
}
