/*
 * The CPU that the program ran on, as its programs see it: what it can do, and how it
 * lays out registers.  So it can be told whether another one will do, and the registers
 * can be laid out as that one has them.
 *
 * Whether the program needs what another CPU lacks, its machine code tells: code/needs.h.
 */
#include <errno.h>
#include <string.h>

#include "base/report.h"
#include "state/cpu.h"
#include "state/state.h"

#define WORDS_MAX 64u /* of later versions: what we do not know is passed over */

static int capture(struct capture *c, struct process *p, struct err *err)
{
	(void)c;
	(void)err;
	arch_cpu_here(&p->cpu);
	p->has_cpu = true;
	return 0;
}

static bool is_needed(const struct process *p)
{
	return p->has_cpu;
}

static void codec_words(struct codec *c, struct arch_cpu *cpu)
{
	uint32_t n = CPU_WORDS, other = 0;

	codec_u32(c, &n);
	c->bad |= n > WORDS_MAX;
	for (uint32_t i = 0; i < n && !c->bad; i++)
		codec_u32(c, i < CPU_WORDS ? &cpu->word[i] : &other);
}

static void codec_parts(struct codec *c, struct arch_cpu *cpu)
{
	uint32_t n = 0, number, off, len;

	for (unsigned i = 2; i < ARCH_XSAVE_PARTS; i++)
		n += cpu->part[i].len > 0;
	codec_u32(c, &n);
	c->bad |= n > ARCH_XSAVE_PARTS - 2;
	for (uint32_t k = 0, next = 2; k < n && !c->bad; k++) {
		while (c->writing && !cpu->part[next].len)
			next++;
		number = next;
		off = c->writing ? cpu->part[next].off : 0;
		len = c->writing ? cpu->part[next].len : 0;
		codec_u32(c, &number);
		codec_u32(c, &off);
		codec_u32(c, &len);
		c->bad |= number < next || number >= ARCH_XSAVE_PARTS || !len;
		if (c->bad)
			return;
		if (!c->writing) { /* a writing codec reads only */
			cpu->part[number].off = off;
			cpu->part[number].len = len;
		}
		next = number + 1;
	}
}

void cpu_codec(struct codec *c, struct arch_cpu *cpu)
{
	codec_words(c, cpu);
	codec_u64(c, &cpu->xcr0);
	codec_u32(c, &cpu->xsave_size);
	codec_parts(c, cpu);
}

static void codec(struct codec *c, struct process *p)
{
	if (!c->writing)
		p->has_cpu = true;
	cpu_codec(c, &p->cpu);
}

static int validate(const struct process *p, struct err *err)
{
	if (!p->has_cpu)
		return 0;
	if (p->cpu.xcr0 != p->system.xfeatures || p->cpu.xsave_size != p->system.xstate_size)
		return err_image(err, "the notes on the system and on the CPU do not agree");
	for (unsigned i = 2; i < ARCH_XSAVE_PARTS; i++)
		if (p->cpu.part[i].len &&
		    (p->cpu.part[i].off < 576 || p->cpu.part[i].len > p->cpu.xsave_size ||
		     p->cpu.part[i].off > p->cpu.xsave_size - p->cpu.part[i].len))
			return err_image(err, "part %u of the registers is outside of them", i);
	return 0;
}

bool cpu_same_layout(const struct process *p, const struct arch_cpu *here)
{
	if (p->system.xstate_size != here->xsave_size || p->system.xfeatures != here->xcr0)
		return false;
	/* Without the note: the same size and the same parts have to do. */
	return !p->has_cpu || !memcmp(p->cpu.part, here->part, sizeof(here->part));
}

struct arch_features cpu_missing(const struct process *p, const struct arch_cpu *here)
{
	struct arch_features had = arch_cpu_features(&p->cpu), has = arch_cpu_features(here);

	return p->has_cpu ? arch_features_minus(&had, &has) : (struct arch_features){{0}};
}

static int check(struct restore *r, const struct process *p, struct err *err)
{
	struct arch_cpu here;

	(void)r;
	arch_cpu_here(&here);
	if (p->has_cpu || cpu_same_layout(p, &here))
		return 0;
	err_refuse(err,
		   "this CPU lays its registers out in another way than the one it was made on "
		   "(XCR0 %#llx, %u bytes; here %#llx, %u bytes), and the image does not say how",
		   (unsigned long long)p->system.xfeatures, p->system.xstate_size,
		   (unsigned long long)here.xcr0, here.xsave_size);
	return err_hint(err, "restart it on a CPU like '%s'", p->system.cpu);
}

static void show(const struct process *p, struct report *rep)
{
	struct arch_features has = arch_cpu_features(&p->cpu);
	char text[1200];

	if (!p->has_cpu)
		return;
	report_section(rep, "cpu_features", NULL);
	report_u64(rep, "x86_64_level", NULL, arch_features_has_level(&has));
	report_line(rep, "  %-14s x86-64-v%u", "CPU level", arch_features_has_level(&has));
	report_str(rep, "features", NULL, "%s", arch_features_text(&has, text, sizeof(text)));
	report_end(rep);
}

const struct state_ops state_cpu = {
	.name = "the CPU",
	.note = NOTE_CPU,
	.optional = true,
	.capture = capture,
	.is_needed = is_needed,
	.codec = codec,
	.validate = validate,
	.check = check,
	.show = show,
};
