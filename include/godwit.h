/*
 * godwit.h: for programs that want to take part in their own checkpoints.
 *
 * Everything here works in a program that runs with libckpt.so (LD_PRELOAD, see libckpt(7)),
 * and does nothing in one that runs without it: no library is linked, the symbols are weak.
 * (So the program must be position-independent, as compilers make it unless told otherwise, and
 * not static; in others all of this does nothing.)
 * C99 and later, C++11 and later; gcc and clang.
 */
#ifndef GODWIT_H
#define GODWIT_H

#ifdef __cplusplus
extern "C" {
#endif

/* What godwit_checkpoint() returns. */
#define GODWIT_SAVED 0     /* the image is there, the program goes on */
#define GODWIT_RESTARTED 1 /* the program has just been restarted from it */
#define GODWIT_FAILED                                                                              \
	(-1) /* no image was made: standard error says why, unless there is no libckpt.so */

#define GODWIT_CALLBACKS_MAX 32

/*
 * Called at each checkpoint that the program makes by godwit_checkpoint() or because of
 * the signal of libckpt.so; not at one that is made from outside: by GODWIT_INTERVAL,
 * `godwit checkpoint` or `godwit run`.  By a signal they run in its handler: only what
 * signal-safety(7) allows. Each may be NULL.  before: last registered, first called; the others in
 * order.
 */
struct godwit_callbacks {
	void (*before)(void *arg);
	/* The program goes on; is_saved: the image is there. */
	void (*after)(void *arg, int is_saved);
	/* It goes on from the image.  has_new_ids: its process id is another one; many such
	 * copies of one image may run at once: the time to seed random numbers anew. */
	void (*restarted)(void *arg, int has_new_ids);
	void *arg;
};

/* The library's, and not to be called without a look whether they are there. */
#define GODWIT_WEAK __attribute__((weak, visibility("default")))
extern GODWIT_WEAK int godwit_lib_checkpoint(void);
extern GODWIT_WEAK int godwit_lib_callbacks(const struct godwit_callbacks *c);
extern GODWIT_WEAK int godwit_lib_exclude(void *p, unsigned long len);
extern GODWIT_WEAK int godwit_lib_include(void *p, unsigned long len);

#ifndef GODWIT_NO_WRAPPERS

/* Does the program run with libckpt.so? */
static inline int godwit_is_present(void)
{
	return godwit_lib_checkpoint ? 1 : 0;
}

/* Makes a checkpoint now, of all threads: GODWIT_SAVED, _RESTARTED or _FAILED. */
static inline int godwit_checkpoint(void)
{
	return godwit_lib_checkpoint ? godwit_lib_checkpoint() : GODWIT_FAILED;
}

/* Registers callbacks for good; *c is copied.  0, or -1: too many, or no libckpt.so. */
static inline int godwit_register(const struct godwit_callbacks *c)
{
	return godwit_lib_callbacks ? godwit_lib_callbacks(c) : -1;
}

/*
 * The whole pages in [p, p + len), private anonymous memory (malloc, mmap), are left out of the
 * images that godwit_checkpoint() and the signal of libckpt.so make; in a restarted program they
 * are zeros.  For caches and scratch memory.  What comes from outside (GODWIT_INTERVAL,
 * `godwit checkpoint`, `run`, `migrate`) saves all.  Take a range back before its memory
 * is freed, by the same arguments.  0, or -1: more than 64, not found, or no libckpt.so; what
 * could not be excluded is saved as ever.
 */
static inline int godwit_exclude(void *p, unsigned long len)
{
	return godwit_lib_exclude ? godwit_lib_exclude(p, len) : -1;
}
static inline int godwit_include(void *p, unsigned long len)
{
	return godwit_lib_include ? godwit_lib_include(p, len) : -1;
}

#endif
#ifdef __cplusplus
}
#endif
#endif
