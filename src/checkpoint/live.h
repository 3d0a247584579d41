/*
 * --pause=live: the memory is written while the program runs, round by round, and
 * the program is stopped only for what it wrote to since the last round.
 *
 * --incremental: the tracking goes on after the checkpoint, in the hands of a keeper
 * (track/keeper.h), and the next one stores only what was written since.  There are
 * no rounds, unless --pause=live is given as well; with --pause=short what is to be
 * stored comes from a snapshot (remote/snapshot.h).
 */
#ifndef GODWIT_CHECKPOINT_LIVE_H
#define GODWIT_CHECKPOINT_LIVE_H

#include "checkpoint/internal.h"

/* Steps, in this order; between rounds and plan the program is stopped and its
 * state collected as in any checkpoint. */
int live_begin(struct job *j, struct err *err) __must_check;
int live_track(struct job *j, struct err *err) __must_check;
int live_rounds(struct job *j, struct err *err) __must_check;
int live_last_rounds(struct job *j, struct err *err) __must_check;
int live_last_look(struct job *j, struct err *err) __must_check;
int live_arm(struct job *j, struct err *err) __must_check;
int live_snapshot(struct job *j, struct err *err) __must_check;
int live_plan(struct job *j, struct err *err) __must_check;
int live_copy_rest(struct job *j, struct err *err) __must_check;
int live_copy_snapshot(struct job *j, struct err *err) __must_check;
int live_untrack(struct job *j, struct err *err) __must_check;
int live_copy_files(struct job *j, struct err *err) __must_check;
int live_settle(struct job *j, struct err *err) __must_check;

int live_keep(struct job *j, struct err *err) __must_check;

void live_done(struct live *l);

#endif
