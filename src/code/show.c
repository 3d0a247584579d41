/* godwit show --code: what the analysis of an image's code found. */
#include <string.h>

#include "base/io.h"
#include "base/report.h"
#include "code/internal.h"
#include "state/vdso.h"

static void show_sum(const struct code_summary *s, struct report *rep)
{
	struct arch_features all = s->used;
	char text[1200];
	unsigned level;

	arch_features_join(&all, &s->chosen);
	level = arch_features_level(&all);
	report_u64(rep, "x86_64_level", NULL, level);
	if (level)
		report_line(rep, "  %-14s a CPU of x86-64-v%u has it all", "needs", level);
	else
		report_line(rep, "  %-14s more than any level of x86-64 has", "needs");
	report_str(rep, "used", "used", "%s", arch_features_text(&s->used, text, sizeof(text)));
	report_str(rep, "chosen", "chosen", "%s",
		   arch_features_text(&s->chosen, text, sizeof(text)));
	report_str(rep, "not_chosen", "not chosen", "%s",
		   arch_features_text(&s->variants, text, sizeof(text)));
	report_u64(rep, "functions", "functions", s->nfns);
	report_u64(rep, "variants", "variants", s->nvariants);
	report_u64(rep, "variants_chosen", "chosen of them", s->nchosen);
	report_bytes(rep, "bytes", "code", s->bytes);
	report_bytes(rep, "run_time_bytes", "no file has", s->run_time_bytes);
	report_u64(rep, "syscall_sites", "system calls", s->nsyscalls);
	report_u64(rep, "cpuid_sites", "asks the CPU", s->ncpuids);
}

/* A function in use that needs it, those chosen last. */
static const struct code_fn *first_with(const struct code *c, unsigned feature, bool chosen)
{
	for (size_t i = 0; i < c->nfns; i++)
		if (!c->modules[c->fns[i].module].is_vdso &&
		    arch_feature_in(&c->fns[i].needs, feature) && !(c->fns[i].flags & FN_OUT) &&
		    !!(c->fns[i].flags & FN_VARIANT) == chosen)
			return &c->fns[i];
	return NULL;
}

static void show_features(const struct code *c, const struct code_summary *s, struct report *rep)
{
	report_list(rep, "features", "Where (the first place)");
	for (unsigned f = 0; f < FEATURES; f++) {
		bool used = arch_feature_in(&s->used, f);
		struct arch_features one = {{0}};
		const struct code_fn *fn;
		char place[512];

		arch_feature_add(&one, f);
		fn = first_with(c, f, !used);
		if (!fn || (!used && !arch_feature_in(&s->chosen, f)))
			continue;
		code_place(c, code_first_site(c, fn, &one), place, sizeof(place));
		report_item(rep);
		report_str(rep, "name", NULL, "%s", arch_feature_name(f));
		report_str(rep, "how", NULL, "%s", used ? "used" : "chosen");
		report_str(rep, "first", NULL, "%s", place);
		report_line(rep, "%-16s %-7s %s", arch_feature_name(f), used ? "used" : "chosen",
			    place);
		report_end(rep);
	}
	report_end(rep);
}

static void show_module(const struct code *c, size_t k, struct report *rep)
{
	const struct code_module *m = &c->modules[k];
	struct arch_features used = {{0}}, chosen = {{0}};
	uint64_t bytes = 0, cpuids = 0, syscalls = 0;
	char a[1200], b[1200];

	for (size_t i = 0; i < c->nfns; i++) {
		const struct code_fn *f = &c->fns[i];

		if (f->module != k || f->flags & FN_OUT)
			continue;
		arch_features_join(f->flags & FN_VARIANT ? &chosen : &used, &f->needs);
		cpuids += f->cpuids;
		syscalls += f->syscalls;
	}
	for (size_t i = 0; i < c->nranges; i++)
		bytes += c->ranges[i].module == k ? c->ranges[i].len : 0;
	if (!bytes)
		return;
	arch_features_text(&used, a, sizeof(a));
	arch_features_text(&chosen, b, sizeof(b));
	report_item(rep);
	report_opt(rep, "name", NULL, m->name);
	report_hex(rep, "address", NULL, m->start);
	report_u64(rep, "bytes", NULL, bytes);
	report_str(rep, "used", NULL, "%s", a);
	report_str(rep, "chosen", NULL, "%s", b);
	report_u64(rep, "cpuid_sites", NULL, cpuids);
	report_u64(rep, "syscall_sites", NULL, syscalls);
	report_bool(rep, "functions_known", NULL, m->has_functions);
	report_line(rep, "%s", m->name ? m->name : "made at run time");
	report_line(rep, "    used: %s", *a ? a : "nothing beyond the first x86-64 CPUs");
	if (*b)
		report_line(rep, "    chosen: %s", b);
	if (cpuids && !m->is_loader)
		report_line(rep, "    asks the CPU itself, in %llu places: it may keep the answer",
			    (unsigned long long)cpuids);
	report_end(rep);
}

static void show_vdso(const struct code *c, struct report *rep)
{
	report_list(rep, "vdso", "Functions of the vdso");
	for (size_t i = 0; i < c->nranges; i++) {
		const struct code_range *r = &c->ranges[i];
		const char *name;
		uint64_t off, size;

		if (memcmp(r->bytes, "\177ELF", 4))
			continue;
		for (uint32_t k = 0;
		     k < 64 && vdso_function(r->bytes, r->len, k, &name, &off, &size) == 1; k++) {
			const struct code_fn *f = code_fn_at(c, r->start + off);
			bool kept = f && f->flags & FN_ROOT;

			if (strncmp(name, "__", 2))
				continue; /* the same once more */
			report_item(rep);
			report_str(rep, "name", NULL, "%s", name);
			report_bool(rep, "kept", NULL, kept);
			report_line(rep, "%-24s %s", name,
				    kept ? "a library keeps its address" : "");
			report_end(rep);
		}
	}
	report_end(rep);
}

int code_show(const struct process *p, struct image *img, struct report *rep, struct err *err)
{
	struct code_image *ci = NULL;
	struct code_memory memory;
	struct code_summary sum;
	struct code c;
	int ret = code_image_open(img, p, &ci, &memory, err);

	if (ret)
		return ret;
	if (!(ret = code_read(&memory, &c, err))) {
		code_sum(&c, &sum);
		report_section(rep, "code", "Machine code");
		show_sum(&sum, rep);
		show_features(&c, &sum, rep);
		report_list(rep, "modules", "Modules");
		for (size_t i = 0; i < c.nmodules; i++)
			show_module(&c, i, rep);
		report_end(rep);
		show_vdso(&c, rep);
		report_line(
			rep,
			"What this cannot know: which of the code that is used will ever run; what "
			"a program that asks the");
		report_line(
			rep,
			"CPU itself has remembered of the answer; code that will be loaded or made "
			"later; code that reads as");
		report_line(rep, "another's data, or data as code, where a file has no table of "
				 "its functions.");
		report_end(rep);
		code_done(&c);
	}
	code_image_close(ci);
	return ret;
}
