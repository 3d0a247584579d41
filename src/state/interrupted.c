/*
 * Interrupted system calls.  Most need nothing: the registers of the first stop
 * name the call, and arch_restart_regs() has it entered again.  A wait that was
 * stopped before, by whomever, has lost its number: arch/x86_64/interrupted.h.
 */
#include "state/interrupted.h"

#include "arch/x86_64/interrupted.h"

static int read_memory(void *arg, uint64_t addr, void *buf, size_t len, bool code)
{
	/* Code may be in memory that can be executed only. */
	return code ? remote_read_force(arg, addr, buf, len) : remote_read(arg, addr, buf, len);
}

int interrupted_find(const struct remote *r, struct thread *th, struct err *err)
{
	const struct arch_memory mem = {.read = read_memory, .arg = (void *)(uintptr_t)r};
	long nr;

	if (!arch_call_is_lost(&th->regs, &mem))
		return 0;
	nr = arch_find_lost_call(&th->regs, &mem);
	if (nr < 0) {
		return err_refuse_as(err, REFUSED_LOST_CALL,
				     "thread %d was stopped before, in the wait that it is in, and "
				     "Linux does not tell any more which system call it is",
				     th->tid);
	}
	arch_put_lost_call(&th->regs, nr);
	return 0;
}
