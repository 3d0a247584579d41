/*
 * The unit: the only code of ours that a target ever runs.  It is copied to the
 * tail of the target's vdso and to the scratch mapping, followed by its data;
 * it addresses nothing but that data, needs no stack and writes nothing but
 * the results of the calls.
 *
 *   unit_list  runs the list of calls; stops early at a result not expected
 *   unit_one   runs the one call that is already in the registers; result in r15
 *   unit_tiles touches the AMX tile registers, so that the kernel makes room for
 *              them in the thread's state; rdi points to 64 zeros
 *   unit_bell  tells the tracer: sends the thread a signal that the program
 *              ignores.  The tracer sees the signal-delivery-stop, swallows it
 *              and takes the thread from there.  Without a tracer the signal
 *              is ignored and the unit goes on:
 *   unit_heal  puts the program's signal mask and registers back.
 *
 * Order in unit_heal: flags and stack pointer come first, while all signals are
 * still blocked; then the mask, so that a handler that runs at once finds the
 * program's own stack; then the registers that the mask's system call needed;
 * mov and jmp leave the flags alone.
 *
 * Struct layouts: struct arch_unit_data and struct wire_call in arch/x86_64/unit.h.
 */
/* struct arch_unit_data, which follows the code. */
	.macro	fields p, at
	.equ	\p\()_tgid, \at
	.equ	\p\()_tid, \at + 8
	.equ	\p\()_signal, \at + 16
	.equ	\p\()_mask, \at + 24
	.equ	\p\()_flags, \at + 32
	.equ	\p\()_rsp, \at + 40
	.equ	\p\()_rip, \at + 48
	.equ	\p\()_r15, \at + 56
	.equ	\p\()_r14, \at + 64
	.equ	\p\()_r13, \at + 72
	.equ	\p\()_r12, \at + 80
	.equ	\p\()_rbp, \at + 88
	.equ	\p\()_rbx, \at + 96
	.equ	\p\()_r11, \at + 104
	.equ	\p\()_r10, \at + 112
	.equ	\p\()_r9, \at + 120
	.equ	\p\()_r8, \at + 128
	.equ	\p\()_rax, \at + 136
	.equ	\p\()_rcx, \at + 144
	.equ	\p\()_rdx, \at + 152
	.equ	\p\()_rsi, \at + 160
	.equ	\p\()_rdi, \at + 168
	.equ	\p\()_until, \at + 208
	.equ	\p\()_give_up, \at + 216
	.endm

/* Puts the program's signal mask and registers back, from the data p_...: unit_heal above. */
	.macro	heal p, made
	lea	\p\()_flags(%rip), %rsp
	popfq
	mov	\p\()_rsp(%rip), %rsp
	mov	$2, %edi		/* SIG_SETMASK */
	lea	\p\()_mask(%rip), %rsi
	mov	$0, %edx
	mov	$8, %r10d
	mov	$14, %eax		/* rt_sigprocmask */
	syscall
\made:
	mov	\p\()_r15(%rip), %r15
	mov	\p\()_r14(%rip), %r14
	mov	\p\()_r13(%rip), %r13
	mov	\p\()_r12(%rip), %r12
	mov	\p\()_rbp(%rip), %rbp
	mov	\p\()_rbx(%rip), %rbx
	mov	\p\()_r11(%rip), %r11
	mov	\p\()_r10(%rip), %r10
	mov	\p\()_r9(%rip), %r9
	mov	\p\()_r8(%rip), %r8
	mov	\p\()_rax(%rip), %rax
	mov	\p\()_rcx(%rip), %rcx
	mov	\p\()_rdx(%rip), %rdx
	mov	\p\()_rsi(%rip), %rsi
	mov	\p\()_rdi(%rip), %rdi
	jmp	*\p\()_rip(%rip)
	.endm

	.section .rodata.arch_unit, "a", @progbits
	.balign 64
	.globl	arch_unit_code, arch_unit_one, arch_unit_tiles, arch_unit_bell, arch_unit_rung, arch_unit_heal, arch_unit_end
arch_unit_code:
unit_list:				/* r12: first call, r13: how many */
1:	test	%r13, %r13
	jz	unit_bell
	mov	0(%r12), %rax
	mov	8(%r12), %rdi
	mov	16(%r12), %rsi
	mov	24(%r12), %rdx
	mov	32(%r12), %r10
	mov	40(%r12), %r8
	mov	48(%r12), %r9
	syscall
	mov	%rax, 56(%r12)
	cmpq	$1, 64(%r12)
	jb	2f			/* 0: any result will do */
	ja	3f			/* 2: exactly this one */
	cmp	$-4096, %rax		/* 1: no error */
	ja	unit_bell
	jmp	2f
3:	cmp	72(%r12), %rax
	jne	unit_bell
2:	add	$80, %r12
	dec	%r13
	jmp	1b

arch_unit_one:
	syscall
	mov	%rax, %r15

	jmp	unit_bell
arch_unit_tiles:
	.byte	0xc4, 0xe2, 0x78, 0x49, 0x07	/* ldtilecfg (%rdi) */
arch_unit_bell:
unit_bell:
	mov	d_tgid(%rip), %rdi
	mov	d_tid(%rip), %rsi
	mov	d_signal(%rip), %rdx
	mov	$234, %eax		/* tgkill */
	syscall
arch_unit_rung:
arch_unit_heal:
	heal	d, arch_unit_healing
	.balign 8
arch_unit_end:
	fields	d, arch_unit_end

/*
 * The unit of a thread that has a seccomp filter: one call, which may be one that its
 * filter kills for, and which must not be made once the tracer is dead: remote/guarded.c tells
 * how, and why.  r13: its number, r14: its third argument; the other arguments where it wants
 * them.  Its result is in r15, and r12 is 1 where it was made, else 0.  It rings by unblocking the
 * signal, which the tracer has sent.
 *
 * The time is read after the word that it is compared with: who is suspended in between finds
 * that it has passed.
 */
	.balign 64
	.globl	arch_guarded_code, arch_guarded_rung, arch_guarded_healing, arch_guarded_end
arch_guarded_code:
1:	mov	g_until(%rip), %rcx
	mov	g_give_up(%rip), %rbp
	lfence
	rdtsc
	shl	$32, %rdx
	or	%rdx, %rax
	cmp	%rcx, %rax
	jb	2f
	cmp	%rbp, %rax
	jae	3f
	pause
	jmp	1b
2:	mov	%r14, %rdx
	mov	%r13, %rax
	syscall
	mov	%rax, %r15
	mov	$1, %r12d
3:	mov	$1, %edi		/* SIG_UNBLOCK */
	lea	g_signal(%rip), %rsi	/* here the set of it */
	xor	%edx, %edx
	mov	$8, %r10d
	mov	$14, %eax		/* rt_sigprocmask */
	syscall
arch_guarded_rung:
	heal	g, arch_guarded_healing
	.balign 8
arch_guarded_end:
	fields	g, arch_guarded_end
	.section .note.GNU-stack, "", @progbits
