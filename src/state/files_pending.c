/* Stands in until state/files.c lands: no descriptors are saved. */
#include "state/state.h"
static void codec(struct codec *c, struct process *p)
{
	(void)c;
	(void)p;
}
const struct state_ops state_files = {.name = "files", .note = NOTE_FILES, .codec = codec};
