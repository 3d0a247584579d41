/* The engine, a static program, as bytes in libckpt.so: see libckpt.c. */
	.section .rodata
	.balign 64
	.globl	ckpt_engine, ckpt_engine_end
	.hidden	ckpt_engine, ckpt_engine_end
ckpt_engine:
	.incbin ENGINE_FILE
ckpt_engine_end:
	.byte 0
	.section .note.GNU-stack, "", @progbits
