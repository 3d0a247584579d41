/* The CPU a program ran on, and another: see cpu.c. */
#ifndef GODWIT_STATE_CPU_H
#define GODWIT_STATE_CPU_H

#include "arch/x86_64/features.h"
#include "image/codec.h"
#include "state/process.h"

/* The record of the note CPU. */
void cpu_codec(struct codec *c, struct arch_cpu *cpu);
/* Can this CPU load the saved vector registers as they are? */
bool cpu_same_layout(const struct process *p, const struct arch_cpu *here);
/* What the CPU of the checkpoint could do and this one cannot; nothing where the image
 * does not tell. */
struct arch_features cpu_missing(const struct process *p, const struct arch_cpu *here);

#endif
