/* Does code in use need what a CPU lacks?  See code.h. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "code/internal.h"

#define ENVIRONMENT_MAX (16u << 20)

static int refuse_entered(const struct code *c, const struct code_fn *f, const char *features,
			  struct err *err)
{
	char place[512];

	code_place(c, f->start, place, sizeof(place));
	err_set(err, -EAGAIN,
		"a thread stands in a function that was chosen for a CPU with %s, which the one "
		"there lacks: %s",
		features, place);
	err->exit = EXIT_UNSUPPORTED;
	return err_hint(err, "try again: wait a moment, until it has left that function");
}

static int refuse_used(const struct code *c, const struct code_fn *f,
		       const struct arch_features *lacks, const char *features, struct err *err)
{
	char place[512];

	code_place(c, code_first_site(c, f, lacks), place, sizeof(place));
	err_refuse(err, "it uses %s, which the CPU there lacks: first at %s", features, place);
	if (f->flags & FN_VARIANT)
		return err_hint(err,
				"start it with GLIBC_TUNABLES=glibc.cpu.hwcaps=... less these, and "
				"it never chooses what needs them: see LIMITS in godwit(1)");
	return err_hint(err, "take it to a CPU that has it; or start it without, if it can: see "
			     "godwit show --code, and LIMITS in godwit(1)");
}

/*
 * glibc has transactions (RTM) in its mutexes, which it uses only where the environment
 * says so: without, moving from a CPU that has them must not fail for that.
 */
static bool elides_locks(const struct code *c)
{
	const struct process *p = c->memory->p;
	size_t len = p->mm.env_end - p->mm.env_start;
	bool found = true; /* where it cannot be told */
	char *env;

	if (len > ENVIRONMENT_MAX || !(env = malloc(len + 1)))
		return true;
	if (!c->memory->read(c->memory->arg, p->mm.env_start, env, len)) {
		static const char word[] = "glibc.elision.enable=1";

		found = memmem(env, len, word, sizeof(word) - 1);
	}
	free(env);
	return found;
}

int code_refuse(const struct code *c, const struct arch_features *missing, bool with_chosen,
		struct err *err)
{
	struct arch_features all = {{0}};
	const struct code_fn *first = NULL, *entered = NULL;
	struct arch_features less = *missing;
	bool elides = elides_locks(c);
	char features[600];

	less.w[FEATURE_rtm / 64] &= ~(UINT64_C(1) << FEATURE_rtm % 64);
	for (size_t i = 0; i < c->nfns; i++) {
		const struct code_fn *f = &c->fns[i];
		bool of_libc = f->module == c->libc;
		struct arch_features lacks =
			arch_features_both(&f->needs, of_libc && !elides ? &less : missing);

		if (arch_features_empty(&lacks) || f->flags & FN_OUT ||
		    c->modules[f->module].is_vdso)
			continue;
		if (f->flags & FN_VARIANT && f->flags & FN_ENTERED)
			entered = f;
		else if (f->flags & FN_VARIANT && !with_chosen)
			continue;
		else if (!first)
			first = f;
		if (first)
			arch_features_join(&all, &lacks);
	}
	if (first)
		return refuse_used(c, first, missing,
				   arch_features_text(&all, features, sizeof(features)), err);
	if (!entered)
		return 0;
	all = arch_features_both(&entered->needs, missing);
	return refuse_entered(c, entered, arch_features_text(&all, features, sizeof(features)),
			      err);
}

int code_check(const struct code_memory *m, const struct arch_features *missing, bool with_threads,
	       struct err *err)
{
	struct code c;
	int ret;

	if (arch_features_empty(missing))
		return 0;
	if ((ret = code_read(m, &c, err)))
		return ret;
	for (size_t i = 0; i < c.nfns && !with_threads; i++)
		c.fns[i].flags &= ~(uint32_t)FN_ENTERED;
	ret = code_refuse(&c, missing, false, err);
	code_done(&c);
	return ret;
}
