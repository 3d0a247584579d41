/*
 * The code by which a program makes a copy of its memory: two clones, one below the
 * other, so that the copy is nobody's child that the program could meet.
 * remote/snapshot.c says how it is used; it is written behind the units.
 *
 *   the leader    starts the go-between, which has its memory, waits until that has
 *                 ended, and goes on at r12 (the bell of its unit); r15: process id
 *                 of the go-between, or what clone said
 *   go-between    blocks all signals, starts the snapshot, exits: 0, or the errno
 *   snapshot      lets go of what it has in common with the program, and exits.
 *                 The tracer holds it at PTRACE_EVENT_EXIT, where its memory is
 *                 still there: whatever happens to the tracer, it can only end.
 *
 * No stack, and nothing is written: the leader's memory is the go-between's, too.
 */
	call_clone = 56
	.section .rodata.arch_snapshot, "a", @progbits
	.balign 64
	.globl	arch_snapshot_code, arch_snapshot_end
arch_snapshot_code:
	mov	$0x500, %edi		/* CLONE_VM, CLONE_FILES; no exit signal */
	xor	%esi, %esi
	xor	%edx, %edx
	xor	%r10d, %r10d
	xor	%r8d, %r8d
	mov	$call_clone, %eax
	syscall
	mov	%rax, %r15
	test	%rax, %rax
	jz	3f
	js	2f
1:	mov	%r15, %rdi
	xor	%esi, %esi
	mov	$0x40000000, %edx	/* __WALL */
	xor	%r10d, %r10d
	mov	$61, %eax		/* wait4 */
	syscall
	cmp	$-4, %rax		/* EINTR */
	je	1b
2:	jmp	*%r12

3:	mov	$2, %edi		/* SIG_SETMASK */
	lea	all_signals(%rip), %rsi
	xor	%edx, %edx
	mov	$8, %r10d
	mov	$14, %eax		/* rt_sigprocmask */
	syscall
	mov	$0x400, %edi		/* CLONE_FILES */
	xor	%esi, %esi
	xor	%edx, %edx
	xor	%r10d, %r10d
	xor	%r8d, %r8d
	mov	$call_clone, %eax
	syscall
	xor	%edi, %edi
	test	%rax, %rax
	jz	4f
	jns	5f
	sub	%eax, %edi
	jmp	5f

4:	mov	$15, %edi		/* PR_SET_NAME */
	lea	name(%rip), %rsi
	mov	$157, %eax		/* prctl */
	syscall
	/* Its own, empty table of files: else a pipe that the program closes would stay
	 * open, and its working directory be in use. */
	xor	%edi, %edi
	mov	$-1, %esi
	mov	$2, %edx		/* CLOSE_RANGE_UNSHARE */
	mov	$436, %eax		/* close_range */
	syscall
	lea	root(%rip), %rdi
	mov	$80, %eax		/* chdir */
	syscall
	xor	%edi, %edi
5:	mov	$231, %eax		/* exit_group */
	syscall
	.balign 8
all_signals:
	.quad	-1
name:	.asciz	"godwit-snapshot"
root:	.asciz	"/"
	.balign 8
arch_snapshot_end:
	.section .note.GNU-stack, "", @progbits
