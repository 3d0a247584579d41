/*
 * libckpt.so: the doorbell.
 *
 *     LD_PRELOAD=/abs/libckpt.so ./prog &  kill -12 $!  ->  ./myckpt
 *
 * Hard constraints: no wrapper around any function of the C library, and none
 * of them called, so that the library can be loaded into any program and its
 * handler can interrupt anything, malloc() with its lock held included.  So:
 * system calls only, no errno, no thread-local data, no memory but its own.
 *
 * The handler starts the engine, a static program that this library carries
 * (embed.S), and waits for it.  The engine stops the whole program, this handler
 * included, and copies it; a restarted program finds itself in the
 * handler, whose wait fails with ECHILD, and returns from it.
 *
 * GODWIT_IMAGE     where to, instead of "myckpt" in the working directory
 * GODWIT_SIGNAL    number of the signal, instead of 12 (SIGUSR2)
 * GODWIT_INTERVAL  a checkpoint that often, by a process outside, no child of the program's
 *
 * The functions of include/godwit.h are here, too.
 */
#define GODWIT_NO_WRAPPERS
#include "godwit.h"

#define SYS_read 0
#define SYS_write 1
#define SYS_close 3
#define SYS_rt_sigaction 13
#define SYS_rt_sigprocmask 14
#define SYS_sched_yield 24
#define SYS_getpid 39
#define SYS_clone 56
#define SYS_exit 60
#define SYS_wait4 61
#define SYS_prctl 157
#define SYS_gettid 186
#define SYS_pipe2 293
#define SYS_memfd_create 319
#define SYS_execveat 322

#define SIGUSR2 12
#define SA_RESTORER 0x04000000UL
#define SA_RESTART 0x10000000UL
#define CLONE_VM 0x100
#define CLONE_VFORK 0x4000
#define WAIT_ALL 0x40000000 /* __WALL: the engine has no exit signal */
#define MFD_CLOEXEC 1
#define AT_EMPTY_PATH 0x1000
#define PR_SET_PTRACER 0x59616d61
#define PAGE 4096UL
#define EINTR 4
#define ECHILD 10

struct kernel_sigaction {
	void (*handler)(int);
	unsigned long flags;
	void (*restorer)(void);
	unsigned long mask;
};

extern const char ckpt_engine[], ckpt_engine_end[];
extern char **environ __attribute__((weak, visibility("default")));

static char image[4096] = "myckpt";
static char engine_stack[16384] __attribute__((aligned(16)));
static volatile int busy, again;
/* Ranges that images do without; to == 0: free. */
#define EXCLUDED_MAX 64
static struct {
	unsigned long from, to;
} excluded[EXCLUDED_MAX];
static volatile int excluded_busy;
static const char *interval;      /* GODWIT_INTERVAL */
static long tracer;               /* the process of the interval, or 0 */
static volatile long ringing_tid; /* who has `busy` */
static struct godwit_callbacks callbacks[GODWIT_CALLBACKS_MAX];
static volatile int ncallbacks;

static long call(long nr, long a, long b, long c, long d, long e)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	long ret;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
			 : "rcx", "r11", "memory");
	return ret;
}

void ckpt_sigreturn(void);
__asm__(".text\n.hidden ckpt_sigreturn\n.type ckpt_sigreturn, @function\n"
	"ckpt_sigreturn: mov $15, %eax\n syscall\n");

static void say(const char *text)
{
	long n = 0;

	while (text[n])
		n++;
	call(SYS_write, 2, (long)text, n, 0, 0);
}

static char *decimal(char buf[24], long v)
{
	char *p = buf + 23;

	*p = '\0';
	do
		*--p = (char)('0' + v % 10);
	while (v /= 10);
	return p;
}

static char *hex(char *at, unsigned long v)
{
	for (int shift = 60; shift >= 0; shift -= 4)
		*at++ = "0123456789abcdef"[v >> shift & 15];
	return at;
}

/* The engine's last argument: FROM-TO, in hexadecimal, for each range. */
static char *excluded_text(void)
{
	static char text[EXCLUDED_MAX * 34 + 1];
	char *at = text;

	for (int i = 0; i < EXCLUDED_MAX; i++) {
		unsigned long to = __atomic_load_n(&excluded[i].to, __ATOMIC_SEQ_CST);

		if (!to)
			continue;
		at = hex(at, excluded[i].from);
		*at++ = '-';
		at = hex(at, to);
		*at++ = ',';
	}
	*at = '\0';
	return text;
}

/* In the child: it shares our memory until it executes, so it must touch
 * nothing but its own stack. */
static __attribute__((noreturn, used)) void ckpt_start_engine(char **argv)
{
	static const char none[] = "";
	char *none_at_all[] = {0}, **env = &environ && environ ? environ : none_at_all;
	const char *p = ckpt_engine;
	long fd = call(SYS_memfd_create, (long)"godwit-engine", MFD_CLOEXEC, 0, 0, 0);

	while (fd >= 0 && p < ckpt_engine_end) {
		long n = call(SYS_write, fd, (long)p, ckpt_engine_end - p, 0, 0);

		if (n <= 0)
			break;
		p += n;
	}
	if (p == ckpt_engine_end)
		call(SYS_execveat, fd, (long)none, (long)argv, (long)env, AT_EMPTY_PATH);
	say("godwit: cannot start the checkpoint engine (memfd_create or execveat failed)\n");
	call(SYS_exit, 1, 0, 0, 0, 0);
	__builtin_unreachable();
}

/* clone(CLONE_VM | CLONE_VFORK): the child runs on a stack of its own. */
static long spawn(char **argv)
{
	register long r10 __asm__("r10") = 0;
	register long r8 __asm__("r8") = 0;
	register char **args __asm__("r12") = argv;
	long ret;

	__asm__ volatile("syscall\n\t"
			 "test %%rax, %%rax\n\t"
			 "jnz 1f\n\t"
			 "xor %%ebp, %%ebp\n\t"
			 "mov %%r12, %%rdi\n\t"
			 "call ckpt_start_engine\n"
			 "1:"
			 : "=a"(ret)
			 : "a"(SYS_clone), "D"(CLONE_VM | CLONE_VFORK),
			   "S"(engine_stack + sizeof(engine_stack)), "d"(0), "r"(r10), "r"(r8),
			   "r"(args)
			 : "rcx", "r11", "memory");
	return ret;
}

/* Starts the engine; its id, or what clone(2) says.  No handler of the program may run in
 * the child. */
static long start_engine(char **argv)
{
	unsigned long all = ~0UL, old;
	long pid;

	call(SYS_rt_sigprocmask, 2, (long)&all, (long)&old, sizeof(all), 0);
	pid = spawn(argv);
	call(SYS_rt_sigprocmask, 2, (long)&old, 0, sizeof(old), 0);
	if (pid <= 0)
		say("godwit: cannot start the checkpoint engine (clone failed)\n");
	return pid;
}

static long wait_engine(long pid, int *status)
{
	long got;

	do
		got = call(SYS_wait4, pid, (long)status, WAIT_ALL, 0, 0);
	while (got == -EINTR);
	return got;
}

/* The process that makes checkpoints at intervals: the engine leaves it behind, as nobody's
 * child, and tells its id. */
static void start_interval(void)
{
	char number[24], pipe_number[24];
	int status, ends[2];
	int id = 0;
	long pid;

	if (!interval || !*interval || call(SYS_pipe2, (long)ends, 0, 0, 0, 0))
		return;
	char *argv[] = {(char *)"godwit-interval",
			decimal(number, call(SYS_getpid, 0, 0, 0, 0, 0)),
			(char *)interval,
			image,
			decimal(pipe_number, ends[1]),
			0};

	pid = start_engine(argv);
	call(SYS_close, ends[1], 0, 0, 0, 0);
	if (pid > 0)
		wait_engine(pid, &status);
	if (call(SYS_read, ends[0], (long)&id, sizeof(id), 0, 0) == sizeof(id))
		tracer = id;
	call(SYS_close, ends[0], 0, 0, 0, 0);
	/* Where Yama is on, only a named process may attach; elsewhere EINVAL. */
	call(SYS_prctl, PR_SET_PTRACER, tracer, 0, 0, 0);
}

static int checkpoint_once(void)
{
	char number[24];
	long me = call(SYS_getpid, 0, 0, 0, 0, 0), pid, got;
	char *argv[] = {(char *)"godwit-engine", decimal(number, me), image, excluded_text(), 0};
	int n = ncallbacks, status = 0;

	for (int i = n; i-- > 0;)
		if (callbacks[i].before)
			callbacks[i].before(callbacks[i].arg);
	pid = start_engine(argv);
	/* Where Yama is on, only a named process may attach; elsewhere EINVAL. */
	if (pid > 0)
		call(SYS_prctl, PR_SET_PTRACER, pid, 0, 0, 0);
	got = pid > 0 ? wait_engine(pid, &status) : pid;
	if (pid > 0)
		call(SYS_prctl, PR_SET_PTRACER, tracer, 0, 0, 0);
	/* A restarted program wakes up here, and has no such child. */
	if (pid > 0 && got == -ECHILD)
		start_interval();
	for (int i = 0; i < n; i++) {
		const struct godwit_callbacks *c = &callbacks[i];

		if (pid > 0 && got == -ECHILD) {
			if (c->restarted)
				c->restarted(c->arg, call(SYS_getpid, 0, 0, 0, 0, 0) != me);
		} else if (c->after) {
			c->after(c->arg, got == pid && !status);
		}
	}
	if (pid > 0 && got == -ECHILD)
		return GODWIT_RESTARTED;
	return got == pid && pid > 0 && !status ? GODWIT_SAVED : GODWIT_FAILED;
}

/* Those who came too late to ring by themselves have left a note. */
static void ring_for_others(void)
{
	while (__atomic_load_n(&again, __ATOMIC_SEQ_CST) &&
	       !__atomic_exchange_n(&busy, 1, __ATOMIC_SEQ_CST)) {
		ringing_tid = call(SYS_gettid, 0, 0, 0, 0, 0);
		while (__atomic_exchange_n(&again, 0, __ATOMIC_SEQ_CST))
			checkpoint_once();
		ringing_tid = 0;
		__atomic_store_n(&busy, 0, __ATOMIC_SEQ_CST);
	}
}

/* Threads take signals independently of each other: one rings the bell, the
 * others leave a note that it be rung once more. */
static void on_signal(int sig)
{
	(void)sig;
	__atomic_store_n(&again, 1, __ATOMIC_SEQ_CST);
	ring_for_others();
}

/* --- include/godwit.h --- */

__attribute__((visibility("default"))) int godwit_lib_checkpoint(void)
{
	long me = call(SYS_gettid, 0, 0, 0, 0, 0);
	int ret;

	if (ringing_tid == me)
		return GODWIT_FAILED; /* from a callback */
	while (__atomic_exchange_n(&busy, 1, __ATOMIC_SEQ_CST))
		call(SYS_sched_yield, 0, 0, 0, 0, 0);
	ringing_tid = me;
	ret = checkpoint_once();
	ringing_tid = 0;
	__atomic_store_n(&busy, 0, __ATOMIC_SEQ_CST);
	ring_for_others();
	return ret;
}
__attribute__((visibility("default"))) int godwit_lib_callbacks(const struct godwit_callbacks *c)
{
	static volatile int locked;
	int ret = -1;

	while (__atomic_exchange_n(&locked, 1, __ATOMIC_SEQ_CST))
		call(SYS_sched_yield, 0, 0, 0, 0, 0);
	if (ncallbacks < GODWIT_CALLBACKS_MAX) {
		callbacks[ncallbacks] = *c;
		/* Only now: a bell may ring in between. */
		__atomic_store_n(&ncallbacks, ncallbacks + 1, __ATOMIC_SEQ_CST);
		ret = 0;
	}
	__atomic_store_n(&locked, 0, __ATOMIC_SEQ_CST);
	return ret;
}

static void lock_excluded(void)
{
	while (__atomic_exchange_n(&excluded_busy, 1, __ATOMIC_SEQ_CST))
		call(SYS_sched_yield, 0, 0, 0, 0, 0);
}

static void unlock_excluded(void)
{
	__atomic_store_n(&excluded_busy, 0, __ATOMIC_SEQ_CST);
}

/* The whole pages of it: the first one, and the one behind the last. */
static int whole_pages(const void *p, unsigned long len, unsigned long *from, unsigned long *to)
{
	*from = ((unsigned long)p + PAGE - 1) & ~(PAGE - 1);
	*to = ((unsigned long)p + len) & ~(PAGE - 1);
	return *to > *from;
}

__attribute__((visibility("default"))) int godwit_lib_exclude(void *p, unsigned long len)
{
	unsigned long from, to;
	int ret = -1;

	if (!whole_pages(p, len, &from, &to))
		return 0;
	lock_excluded();
	for (int i = 0; i < EXCLUDED_MAX && ret; i++)
		if (!excluded[i].to) {
			excluded[i].from = from;
			__atomic_store_n(&excluded[i].to, to, __ATOMIC_SEQ_CST);
			ret = 0;
		}
	unlock_excluded();
	return ret;
}

__attribute__((visibility("default"))) int godwit_lib_include(void *p, unsigned long len)
{
	unsigned long from, to;
	int ret = -1;

	if (!whole_pages(p, len, &from, &to))
		return 0;
	lock_excluded();
	for (int i = 0; i < EXCLUDED_MAX && ret; i++)
		if (excluded[i].to == to && excluded[i].from == from) {
			__atomic_store_n(&excluded[i].to, 0, __ATOMIC_SEQ_CST);
			ret = 0;
		}
	unlock_excluded();
	return ret;
}

static const char *env(const char *name)
{
	char **e = &environ ? environ : 0;

	for (; e && *e; e++) {
		const char *p = *e, *n = name;

		while (*n && *p == *n)
			p++, n++;
		if (!*n && *p == '=')
			return p + 1;
	}
	return 0;
}

static __attribute__((constructor)) void hang_bell(void)
{
	struct kernel_sigaction sa = {on_signal, SA_RESTORER | SA_RESTART, ckpt_sigreturn, 0};
	const char *name = env("GODWIT_IMAGE"), *number = env("GODWIT_SIGNAL");
	long sig = SIGUSR2, n = 0;

	if (name && *name) {
		while (n < (long)sizeof(image) - 1 && name[n]) {
			image[n] = name[n];
			n++;
		}
		image[n] = '\0';
	}
	interval = env("GODWIT_INTERVAL");
	if (number && *number) {
		for (sig = 0; *number >= '0' && *number <= '9' && sig < 1000; number++)
			sig = sig * 10 + (*number - '0');
		if (*number || sig < 1 || sig > 64 ||
		    call(SYS_rt_sigaction, sig, (long)&sa, 0, 8, 0))
			say("godwit: GODWIT_SIGNAL is not the number of a signal that can be "
			    "caught\n");
	} else {
		call(SYS_rt_sigaction, sig, (long)&sa, 0, 8, 0);
	}
	start_interval();
}
