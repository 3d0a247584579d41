/*
 * A 32-bit program, without any C library, so that no 32-bit one is needed.
 * Contract as in subject.h:   refuse32 CTL
 */
static long call(long nr, long a, long b, long c)
{
	long r;

	__asm__ volatile("int $0x80" : "=a"(r) : "a"(nr), "b"(a), "c"(b), "d"(c) : "memory");
	return r;
}

static void join(char *to, const char *dir, const char *name)
{
	while (*dir)
		*to++ = *dir++;
	while ((*to++ = *name++))
		;
}

__attribute__((used)) static void begin(long *stack)
{
	static char ping[600], release[600];
	const long span[2] = {0, 3000000};

	if (stack[0] < 2)
		call(1, 2, 0, 0);
	join(ping, (const char *)stack[2], "/ping");
	join(release, (const char *)stack[2], "/release");
	call(4, 1, (long)"ready\n", 6);
	while (call(33, (long)release, 0, 0)) {
		call(10, (long)ping, 0, 0);
		call(162, (long)span, 0, 0);
	}
	call(4, 1, (long)"ok\n", 3);
	call(1, 0, 0, 0);
}

__asm__(".globl _start\n_start: mov %esp, %eax; push %eax; call begin\n");
