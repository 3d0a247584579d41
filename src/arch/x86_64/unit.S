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
	lea	d_flags(%rip), %rsp
	popfq
	mov	d_rsp(%rip), %rsp
	mov	$2, %edi		/* SIG_SETMASK */
	lea	d_mask(%rip), %rsi
	mov	$0, %edx
	mov	$8, %r10d
	mov	$14, %eax		/* rt_sigprocmask */
	syscall
	mov	d_r15(%rip), %r15
	mov	d_r14(%rip), %r14
	mov	d_r13(%rip), %r13
	mov	d_r12(%rip), %r12
	mov	d_rbp(%rip), %rbp
	mov	d_rbx(%rip), %rbx
	mov	d_r11(%rip), %r11
	mov	d_r10(%rip), %r10
	mov	d_r9(%rip), %r9
	mov	d_r8(%rip), %r8
	mov	d_rax(%rip), %rax
	mov	d_rcx(%rip), %rcx
	mov	d_rdx(%rip), %rdx
	mov	d_rsi(%rip), %rsi
	mov	d_rdi(%rip), %rdi
	jmp	*d_rip(%rip)
	.balign 8
arch_unit_end:
/* struct arch_unit_data follows the code. */
d_tgid   = arch_unit_end
d_tid    = d_tgid + 8
d_signal = d_tgid + 16
d_mask   = d_tgid + 24
d_flags  = d_tgid + 32
d_rsp    = d_tgid + 40
d_rip    = d_tgid + 48
d_r15  = d_tgid + 56
d_r14  = d_tgid + 64
d_r13  = d_tgid + 72
d_r12  = d_tgid + 80
d_rbp  = d_tgid + 88
d_rbx  = d_tgid + 96
d_r11  = d_tgid + 104
d_r10  = d_tgid + 112
d_r9   = d_tgid + 120
d_r8   = d_tgid + 128
d_rax  = d_tgid + 136
d_rcx  = d_tgid + 144
d_rdx  = d_tgid + 152
d_rsi  = d_tgid + 160
d_rdi  = d_tgid + 168
	.section .note.GNU-stack, "", @progbits
