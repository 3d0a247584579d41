/*
 * The program of the golden images: as small as a program can be, without a C
 * library, with two threads, a pipe and a pair of sockets with something unread in
 * them, an epoll, an eventfd, a handler and a pending signal.
 */
#include <stdint.h>
#include <sys/syscall.h>

static long call(long nr, long a, long b, long c, long d)
{
	register long r10 __asm__("r10") = d;
	long ret;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10)
			 : "rcx", "r11", "memory");
	return ret;
}

static char stack[4096] __attribute__((aligned(16)));
static volatile char written[8192] __attribute__((aligned(4096)));

/* CLONE_VM | FS | FILES | SIGHAND | THREAD | SYSVSEM; the new thread only waits. */
static void start_thread(void)
{
	long ret;

	__asm__ volatile("syscall\n"
			 "	test %%eax, %%eax\n"
			 "	jnz 2f\n"
			 "1:	mov %[pause], %%eax\n"
			 "	syscall\n"
			 "	jmp 1b\n"
			 "2:"
			 : "=a"(ret)
			 : "a"(SYS_clone), "D"(0x50f00L), "S"(stack + sizeof(stack)),
			   "d"(0), [pause] "i"(SYS_pause)
			 : "rcx", "r11", "memory");
}

void _start(void);
void _start(void)
{
	struct {
		void *handler;
		uint64_t flags, restorer, mask;
	} action = {stack, 0x04000000, (uint64_t)(uintptr_t)stack, 2};
	uint64_t blocked = 1u << 9; /* SIGUSR1 */
	struct {
		uint32_t events;
		uint64_t data;
	} __attribute__((packed)) watch = {1, 0}; /* EPOLLIN */
	int fds[2];

	for (unsigned i = 0; i < sizeof(written); i++)
		written[i] = (char)(i * 7);
	call(SYS_pipe2, (long)fds, 0, 0, 0);
	call(SYS_write, fds[1], (long)"unread", 6, 0);
	watch.data = 77;
	call(SYS_epoll_ctl, call(SYS_epoll_create1, 0, 0, 0, 0), 1, fds[0], (long)&watch);
	call(SYS_pipe2, (long)fds, 040000, 0, 0); /* O_DIRECT: packets */
	call(SYS_write, fds[1], (long)"one", 3, 0);
	call(SYS_write, fds[1], (long)"three", 5, 0);
	call(SYS_socketpair, 1, 5, 0, (long)fds); /* AF_UNIX, SOCK_SEQPACKET */
	call(SYS_write, fds[0], (long)"message", 7, 0);
	call(SYS_shutdown, fds[0], 1, 0, 0);
	call(SYS_eventfd2, 7, 0, 0, 0);
	call(SYS_rt_sigaction, 12, (long)&action, 0, 8);
	call(SYS_rt_sigprocmask, 0, (long)&blocked, 0, 8);
	call(SYS_kill, call(SYS_getpid, 0, 0, 0, 0), 10, 0, 0);
	start_thread();
	call(SYS_write, 1, (long)"ready\n", 6, 0);
	for (;;)
		call(SYS_pause, 0, 0, 0, 0);
}
