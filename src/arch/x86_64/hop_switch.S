/* Stack switches of the thread hop: see hop.h for the picture and the contracts. */
#define BASE_SP 0
#define LOOP_SP 8
#define SCRATCH_SP 16
#define OWN_CANARY 24
#define RETVAL 32
#define OWN_MXCSR 40
#define OWN_FCW 44

	.text

	.macro save_callee
	pushq %rbp
	pushq %rbx
	pushq %r12
	pushq %r13
	pushq %r14
	pushq %r15
	.endm
	.macro restore_callee
	popq %r15
	popq %r14
	popq %r13
	popq %r12
	popq %rbx
	popq %rbp
	.endm
	.macro begin name
	.globl \name
	.type \name, @function
	.p2align 4
\name:
	.cfi_startproc
	endbr64
	.endm
	.macro end name
	.cfi_endproc
	.size \name, .-\name
	.endm

	.hidden hop_base_enter
begin hop_base_enter
	save_callee
	pushq %rdi		/* found at base_sp by code that has no register left */
	.cfi_def_cfa_offset 64
	movq %rsp, BASE_SP(%rdi)
	movq %rdi, %rbx
	movq SCRATCH_SP(%rdi), %rsp
	.cfi_undefined %rip	/* the loop's callers are on the other stack */
	call *%rsi
	movq BASE_SP(%rbx), %rsp
	addq $8, %rsp
	restore_callee
	ret
end hop_base_enter

	/* Notes the loop's context in *%rdi. */
	.macro leave_loop
	save_callee
	movq %rsp, LOOP_SP(%rdi)
	movq %fs:0x28, %rax
	movq %rax, OWN_CANARY(%rdi)
	stmxcsr OWN_MXCSR(%rdi)
	fnstcw OWN_FCW(%rdi)
	.endm

	.hidden hop_run
begin hop_run
	leave_loop
	movq BASE_SP(%rdi), %rsp
	movq %rdx, %rdi
	xorl %ebp, %ebp
	.cfi_undefined %rip	/* unwinders and debuggers: the outermost frame */
	call *%rsi
	/* A migrated thread's function returns here too, on whichever host it
	 * is: no register can be trusted but rax and rsp. */
	movq (%rsp), %rdi
	movq %rax, RETVAL(%rdi)
	xorl %eax, %eax
	jmp back_to_loop
end hop_run

	.hidden hop_depart
begin hop_depart
	movl $1, %eax
back_to_loop:
	movq OWN_CANARY(%rdi), %rdx
	movq %rdx, %fs:0x28
	ldmxcsr OWN_MXCSR(%rdi)
	fldcw OWN_FCW(%rdi)
	cld
	movq LOOP_SP(%rdi), %rsp
	restore_callee
	ret
end hop_depart

	.hidden hop_resume
begin hop_resume
	leave_loop
	movq %rdx, %fs:0x28
	ldmxcsr 64(%rsi)
	fldcw 68(%rsi)
	movq 0(%rsi), %rbx
	movq 8(%rsi), %rbp
	movq 16(%rsi), %r12
	movq 24(%rsi), %r13
	movq 32(%rsi), %r14
	movq 40(%rsi), %r15
	movq 48(%rsi), %rsp
	movq 56(%rsi), %rdx
	xorl %eax, %eax		/* what psu_thread_hop() returns */
	notrack jmp *%rdx	/* a return address carries no endbr64 */
end hop_resume

	/* The two public doors.  They must be assembly: the registers are the
	 * caller's only here, and rsp after the return is the return address + 8. */
	.hidden psu_hop_from
begin psu_thread_hop
	movl $1, %esi
	jmp 1f
end psu_thread_hop

begin psu_thread_migrate
	xorl %esi, %esi
1:	movq (%rsp), %rcx
	leaq 8(%rsp), %rax
	subq $88, %rsp
	.cfi_def_cfa_offset 96
	movq %rbx, 0(%rsp)
	movq %rbp, 8(%rsp)
	movq %r12, 16(%rsp)
	movq %r13, 24(%rsp)
	movq %r14, 32(%rsp)
	movq %r15, 40(%rsp)
	movq %rax, 48(%rsp)
	movq %rcx, 56(%rsp)
	movq $0, 64(%rsp)
	stmxcsr 64(%rsp)
	fnstcw 68(%rsp)
	movq %rsp, %rdx
	call psu_hop_from	/* (host, quiet, regs); returns if the thread stays */
	addq $88, %rsp
	.cfi_def_cfa_offset 8
	ret
end psu_thread_migrate

	.section .note.GNU-stack,"",@progbits

	.section .note.gnu.property,"a",@note
	.p2align 3
	.long 4, 16, 5
	.asciz "GNU"
	.long 0xc0000002, 4, 1, 0
