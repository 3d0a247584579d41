/*
 * Fault points: places where a test makes us die.  Nothing happens unless
 * GODWIT_FAULT=N is in the environment of the command: then the process that
 * passes the Nth fault point kills itself with SIGKILL (with GODWIT_FAULT_BOTH=1
 * also its parent, with GODWIT_FAULT_STOP=1 stops itself instead); GODWIT_FAULT=NAME: that
 * passes a point of this name.  GODWIT_FAULT=list prints each point to stderr as it is passed.
 */
#ifndef GODWIT_BASE_FAULT_H
#define GODWIT_BASE_FAULT_H

void fault_init(void);
/* None from here on: for a process that goes on in the place of one that died at one. */
void fault_off(void);
void fault_point(const char *name);
/* The process that dies together with us under GODWIT_FAULT_BOTH: the command. */
void fault_set_front(int pid);

#endif
