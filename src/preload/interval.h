/* GODWIT_INTERVAL: checkpoints from outside. */
#ifndef GODWIT_PRELOAD_INTERVAL_H
#define GODWIT_PRELOAD_INTERVAL_H

#include <sys/types.h>

/*
 * In a child of the program: leaves a process behind, nobody's child, that makes a checkpoint
 * of the program every so many seconds ("90", "1.5", "30s", "10m", "2h"); it ends with the program,
 * or when that has executed another one.  Its id goes to the descriptor `told`.  image: relative to
 * the program's working directory of that moment.  Returns the exit status; the process
 * left behind does not.
 */
int save_from_outside(pid_t pid, const char *interval, const char *image, int told);

#endif
