/* Copying of listed pieces of memory to their places in the image. */
#ifndef GODWIT_CHECKPOINT_PIECES_H
#define GODWIT_CHECKPOINT_PIECES_H

#include "checkpoint/internal.h"
#include "checkpoint/slots.h"

/*
 * Copies each piece of the target's memory, by several threads.  mem: its
 * /proc/PID/mem.  is_running: pages may vanish meanwhile; they are left out.
 * The writer must have room for them (image_writer_reserve).
 */
int pieces_copy(struct job *j, const struct slot_list *pieces, int mem, bool is_running,
		struct err *err) __must_check;

#endif
