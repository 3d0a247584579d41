/*
 * psu_thread: a running thread hops to another host in the middle of a function.
 *
 *     psu_thread_setup_init(mode);      first in main; mode 0 client, 1 server
 *     psu_thread_create(func, arg);     runs func (client), or waits for a
 *                                       thread to arrive and runs it (server)
 *     psu_thread_migrate("host");       everything after this line happens there
 *
 * Both hosts run the same executable.  The stack, the callee-saved and control
 * registers, errno, the signal mask and the program's __thread variables travel;
 * globals and the heap stay behind, but for what is registered or allocated with
 * the calls below.  psu_thread(3) and docs/THREAD-HOP.md say it all.
 *
 * Usable from C99 on and from C++.  Linux, x86-64, glibc.
 */
#ifndef PSU_THREAD_H
#define PSU_THREAD_H

#if !defined(__x86_64__) || defined(__ILP32__)
#error "psu_thread needs a 64-bit x86-64 build: a thread's addresses do not fit in 32 bits (drop -m32 or -mx32)"
#endif

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct psu_thread_info psu_thread_info_t;

/* Prepares this process; the first call in main.  mode 0: client, the thread
 * starts here.  mode 1: server, threads arrive here.  Listens, so that threads
 * can arrive or come home; connects to nothing.  Where it cannot do its work
 * (port in use, bad key file) it says why on stderr and ends the process, exit
 * status not 0. */
void psu_thread_setup_init(int mode);

/* Runs user_func(user_args) in a new thread that can hop, and blocks.
 * Client: until that thread ended here or left.  Server: user_func is not
 * started; until one arrived thread ended here or left again.  With PSU_WAIT=1
 * in the environment: until the thread ended, wherever it is.
 * 0, or -1 with errno set: EAGAIN no resources, EOWNERDEAD the thread was handed
 * over and the peer died before it confirmed (it is not run twice). */
int psu_thread_create(void *(*user_func)(void *), void *user_args);

/* As psu_thread_create; flags is 0 or: */
#define PSU_WAIT_RETURN 1 /* as PSU_WAIT=1 */
int psu_thread_create_ex(void *(*user_func)(void *), void *user_args, int flags);

/* Moves the calling thread to host ("name", "name:port", IPv4, IPv6,
 * "[IPv6]:port"; NULL: the host in server_sock_info.in).  On success the call
 * returns there.  Where the hop is impossible the thread goes on here, one line
 * on stderr says why, and the process, if it ends with status 0, ends with 1, 3,
 * 4 or 6 instead, unless the program has asked psu_thread_migrate_result(). */
void psu_thread_migrate(const char *host);

/* The same for programs that handle failure themselves: 0 moved (or host is this
 * process), else a negative errno and the thread is still here.  Prints nothing. */
int psu_thread_hop(const char *host);

/* How the calling thread's last hop went: 0 moved; 1 host was this very process;
 * a negative errno: stayed.  *reason, if reason is not NULL, is one line of
 * text, valid until the thread's next hop. */
int psu_thread_migrate_result(const char **reason);

/* Where the calling thread was created, as "address:port" fit for
 * psu_thread_migrate(); "" while it is there, or in a thread that cannot hop.
 * Valid until the thread's next hop. */
const char *psu_thread_home(void);

/* Memory that travels with the calling thread, at the same address; at most
 * about 46 MiB a thread.  To be freed by that thread, on any host.  In a thread
 * that cannot hop they are malloc() and so on.  psu_memalign: align is a power
 * of two up to 1 MiB.  NULL and ENOMEM when the arena is full. */
void *psu_malloc(size_t size);
void *psu_calloc(size_t n, size_t size);
void *psu_realloc(void *p, size_t size);
void *psu_memalign(size_t align, size_t size);
char *psu_strdup(const char *s);
void psu_free(void *p);

/* A global or static variable (p, len bytes) whose content goes with each thread
 * that leaves and overwrites the one on arrival.  Call it in main, on both
 * hosts, in the same order, before psu_thread_create.  At most 64; 0, or -1 with
 * errno EINVAL (not in the program's own data) or ENOSPC. */
int psu_register_global(void *p, size_t len);

/* The calling thread takes the descriptor of a regular file along: the file is
 * opened by its path on the other host, at the same offset and with the same
 * number, and closed here.  At most 16 a thread.  0, or -1 with errno EINVAL
 * (not a regular file, or the thread cannot hop), EBADF or ENOSPC. */
int psu_fd_carry(int fd);

#ifdef __cplusplus
}
#endif
#endif
