/*
 * Cut while inside a handler, on the alternate stack, above a frame with live
 * vector registers; the handler then returns, and another leaves by siglongjmp.
 * test: build=static
 */
#include <setjmp.h>
#include <signal.h>

#include "subject.h"

static char alt[1 << 16];
static volatile int in_alt;
static sigjmp_buf env;

static void handler(int s, siginfo_t *si, void *ctx)
{
	char here;

	(void)si, (void)ctx;
	in_alt = &here >= alt && &here < alt + sizeof(alt);
	if (s == SIGUSR1)
		subject_wait();
	else
		siglongjmp(env, 5);
}

int main(int argc, char **argv)
{
	stack_t ss = {.ss_sp = alt, .ss_size = sizeof(alt)};
	struct sigaction sa = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_ONSTACK};
	unsigned char in[256] __attribute__((aligned(64))), out[256] __attribute__((aligned(64)));
	sigset_t cur;
	long result;

	subject_init(argc, argv);
	must(sigaltstack(&ss, NULL));
	sigaddset(&sa.sa_mask, SIGHUP);
	must(sigaction(SIGUSR1, &sa, NULL));
	must(sigaction(SIGURG, &sa, NULL));
	fill(in, sizeof(in), 44);
	pid_t pid = getpid(), tid = gettid();
	/* tgkill by hand: its return value, like the vectors, must survive the handler. */
	__asm__ volatile(".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n\t"
			 "movdqa \\n*16(%[in]), %%xmm\\n\n\t"
			 ".endr\n\t"
			 "syscall\n\t"
			 ".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n\t"
			 "movdqa %%xmm\\n, \\n*16(%[out])\n\t"
			 ".endr"
			 : "=a"(result)
			 : "a"((long)SYS_tgkill), "D"((long)pid), "S"((long)tid),
			   "d"((long)SIGUSR1), [in] "r"(in), [out] "r"(out)
			 : "rcx", "r11", "memory", "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4",
			   "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12",
			   "xmm13", "xmm14", "xmm15");
	check(result == 0, "tgkill returned %ld after the handler", result);
	check(in_alt, "the handler was not on the alternate stack");
	check(!memcmp(in, out, sizeof(in)), "vector registers differ after the handler");
	sigprocmask(SIG_BLOCK, NULL, &cur);
	check(!sigismember(&cur, SIGUSR1) && !sigismember(&cur, SIGHUP), "the mask is not back");
	in_alt = 0;
	int r = sigsetjmp(env, 1);
	if (!r)
		raise(SIGURG);
	check(r == 5 && in_alt, "siglongjmp out of a handler fails");
	check(sigaltstack(NULL, &ss) == 0 && !(ss.ss_flags & SS_ONSTACK), "still on the stack");
	return subject_done();
}
