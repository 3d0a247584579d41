/* Signals of descriptors (F_SETOWN, fcntl(2)): what a restart calls when the threads are there. */
#ifndef GODWIT_STATE_FILE_SIGNALS_H
#define GODWIT_STATE_FILE_SIGNALS_H

#include "state/state.h"

/* Adds the calls of the first thread; r->new_tids are known. */
int file_signals_restore(struct restore *r, const struct process *p, struct err *err) __must_check;

#endif
