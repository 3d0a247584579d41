/*
 * The model of a process, from the notes of an image.  The input is the area of
 * the notes; an image is made around it, with right checksums.  What is
 * accepted must hold together, and must be written again as it was.
 */
#include "../unit/image_bytes.h"
#include "fuzz.h"
#include "state/memory.h"
#include "state/state.h"

static struct bytes image_around(const uint8_t *notes, size_t size)
{
	struct image_first_page page;
	Elf64_Phdr note;
	struct bytes b;

	image_layout(&page, 0, size, 1);
	note = image_note_phdr(&page.super);
	b = (struct bytes){calloc(1, page.super.file_size), page.super.file_size};
	memcpy(b.p, &page, sizeof(page));
	memcpy(b.p + IMAGE_DATA_START, notes, size);
	memcpy(b.p + page.super.phdr_off, &note, sizeof(note));
	bytes_seal(b);
	return b;
}

static struct image *open_bytes(struct bytes b)
{
	int fd = memfd_create("image", MFD_CLOEXEC);
	struct err err = ERR_INIT;
	struct image *img = NULL;
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (io_write_all(fd, b.p, b.n) || image_open(path, &img, &err))
		img = NULL;
	close(fd);
	return img;
}

/* What was read is written as it was. */
static void same_again(struct image *img, struct process *p)
{
	for (size_t i = 0; state_kinds[i]; i++) {
		struct codec c;
		struct image_note n;
		struct buf b = {0};

		ALWAYS(image_note_find(img, "GODWIT", state_kinds[i]->note, &n) == 1);
		c = codec_writer(&b);
		state_kinds[i]->codec(&c, p);
		ALWAYS(!c.bad && b.len == n.len && (!b.len || !memcmp(b.p, n.desc, b.len)));
		buf_done(&b);
	}
}

/* What everybody who uses the model relies on. */
static void holds_together(const struct process *p)
{
	uint64_t end = 0, sum = 0;

	ALWAYS(p->nthreads > 0);
	for (size_t i = 0; i < p->nmappings; i++) {
		const struct mapping *m = &p->mappings[i];

		ALWAYS(m->start >= end && m->end > m->start && !((m->start | m->end) & 4095));
		ALWAYS(m->file <= p->nmapped_files);
		end = m->end;
	}
	for (size_t i = 0; i < p->nmapped_files; i++)
		ALWAYS(p->mapped_files[i].path && p->mapped_files[i].build_id_len <= 20);
	for (size_t i = 0; i < p->nruns; i++) {
		const struct run *r = &p->runs[i];

		ALWAYS(r->mapping < p->nmappings && r->len && !((r->start | r->len) & 4095));
		ALWAYS(r->start >= p->mappings[r->mapping].start &&
		       r->len <= p->mappings[r->mapping].end - r->start);
		ALWAYS(!__builtin_add_overflow(sum, r->len, &sum));
	}
	ALWAYS(memory_stored_bytes(p) == sum && memory_dirty_bytes(p) <= sum);
	(void)memory_hole_needed(p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes b = image_around(data, size);
	struct image *img = open_bytes(b);
	struct err err = ERR_INIT;
	struct process p;

	free(b.p);
	if (!img)
		return 0;
	if (!process_load(img, &p, &err)) {
		same_again(img, &p);
		holds_together(&p);
		process_done(&p);
	} else {
		ALWAYS(err.error == -ENOMEM || err.exit == EXIT_BAD_IMAGE);
		ALWAYS(err.what[0]);
	}
	image_close(img);
	return 0;
}
