/*
 * The plan of a restart, from the notes of an image: everything that `godwit
 * restart --explain` does, on whatever machine and as whatever user the image
 * was made.  It checks and plans, and must touch nothing.
 */
#include <fcntl.h>

#include "fuzz.h"
#include "image_around.h"
#include "restart/internal.h"
#include "state/memory.h"

#define DATA_MAX (1u << 20) /* bytes of memory: larger ones only cost time */

/* How much memory the notes tell of; 0 also when they are refused. */
static uint64_t memory_of(const uint8_t *notes, size_t size)
{
	struct bytes b = image_around(notes, size, 0);
	struct image *img = image_opened(b);
	struct err err = ERR_INIT;
	uint64_t sum = 0;
	struct process p;

	free(b.p);
	if (!img)
		return 0;
	if (!process_load(img, &p, &err)) {
		sum = memory_stored_bytes(&p);
		process_done(&p);
	}
	image_close(img);
	return sum;
}

/* The plan itself is not looked at. */
static void silence_stdout(void)
{
	static int done;

	if (!done && !freopen("/dev/null", "w", stdout))
		abort();
	done = 1;
}

/* All checks but those of this machine and this user. */
static int check(struct rebuild *b, struct err *err)
{
	for (size_t i = 0; state_kinds[i]; i++) {
		const struct state_ops *k = state_kinds[i];
		int ret;

		if (!k->check || k == &state_system || k == &state_ids)
			continue;
		if ((ret = k->check(&b->restore, &b->proc, err)))
			return ret;
	}
	return 0;
}

static void plan(struct image *img)
{
	struct restart_options o = {.explain = true, .ids = IDS_NEW};
	struct rebuild b = {.o = &o, .image = img, .remote = REMOTE_NONE};
	struct err err = ERR_INIT;
	int ret;

	ret = process_load(img, &b.proc, &err);
	ALWAYS(!ret); /* as the first time */
	b.tids = calloc(b.proc.nthreads, sizeof(*b.tids));
	b.restore = (struct restore){.explain = true,
				     .ids = IDS_NEW,
				     .image = img,
				     .image_fd = image_fd(img),
				     .proc = &b.proc,
				     .new_tids = b.tids,
				     .chain = &b.chain};
	/* An incremental one has no parent here: refused by name. */
	ret = chain_open(img, &b.proc, &b.chain, &err);
	if (!ret)
		ret = check(&b, &err);
	if (!ret)
		ret = rebuild_explain(&b, &err);
	ALWAYS(ret <= 0 && ret == err.error);
	ALWAYS(!ret || err.what[0]);
	if (ret && getenv("FUZZ_SHOW"))
		fprintf(stderr, "# %s\n", err.what);
	chain_done(&b.chain);
	process_done(&b.proc);
	free(b.restore.file_matches);
	free(b.tids);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint64_t sum = memory_of(data, size);
	struct image *img;
	struct bytes b;

	if (!sum || sum > DATA_MAX)
		return 0;
	silence_stdout();
	b = image_around(data, size, sum);
	img = image_opened(b);
	free(b.p);
	ALWAYS(img);
	plan(img);
	image_close(img);
	return 0;
}
