/*
 * What a migration would do: see migrate_explain.h.  The steps are those of the
 * migration's own lists (migrate/source.c); here is what each does, in words.
 */
#include "cli/migrate_explain.h"

#include <stdio.h>
#include <string.h>

#include "base/io.h"
#include "cli/migrate_report.h"

static const struct words {
	const char *name, *text;
	enum { AS_BEFORE, STANDS, RUNS, RUNS_THERE } then; /* the program, from this step on */
} words[] = {
	{"look", "read from outside, in /proc, what the kernel tells without stopping it", RUNS},
	{"stop", "stop all threads (ptrace)", STANDS},
	{"prepare", "refuse what cannot be moved; read the registers; map a scratch area", 0},
	{"collect", "have it tell, call by call, its signals, timers, files, limits", 0},
	{"track", "take a userfaultfd from it: the kernel will tell which pages it writes", 0},
	{"track no more", "give that userfaultfd back: it was only asked whether it can be had", 0},
	{"give back", "take the scratch area away: registers and masks are its own again", 0},
	{"early model", "keep its state as it is now, for the other host to look at", 0},
	{"let run", "let it run on", RUNS},
	{"send model", "send that state", 0},
	{"model", "send its state: threads, registers, mappings, files, signals", 0},
	{"verdict", "hear whether it can be taken: owner, CPU, kernel, ids, files, memory", 0},
	{"code", "see whether the other CPU can do what its code does", 0},
	{"files", "send the files that go along", 0},
	{"rounds", "send its memory, again and again what it wrote meanwhile", 0},
	{"files meanwhile", "send what was written to those files meanwhile", 0},
	{"look again", "as the first look", 0},
	{"stop again", "stop all threads, for good", STANDS},
	{"what is left", "which pages were written since the last round?", 0},
	{"files again", "send the rest of those files", 0},
	{"what comes later", "choose the pages that may follow when they are needed", 0},
	{"pages", "send the pages that are not there yet", 0},
	{"ready", "wait until the other host has built it, to the last register", 0},
	{"hand over", "note whom to ask; COMMIT; it goes on there; end the copy here", RUNS_THERE},
};

static const struct words *words_of(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (!strcmp(words[i].name, name))
			return &words[i];
	return NULL;
}

const char *migrate_step_text(const char *name)
{
	const struct words *w = words_of(name);

	return w ? w->text : NULL;
}

/* What the numbers of this program add to a step. */
static void numbers(struct report *rep, const char *name, const struct migrate_options *o,
		    const struct migrate_result *r)
{
	char all[16], needed[16];

	report_size(all, r->memory_bytes);
	report_size(needed, r->needed_bytes);
	if (!strcmp(name, "stop"))
		report_line(rep, "%33sthreads: %u", "", r->nthreads);
	if (!strcmp(name, "rounds") || (!strcmp(name, "pages") && o->mode == MODE_TOTAL))
		report_line(rep, "%33s%s, of which %s has all but %s", "", all, r->host, needed);
	if (!strcmp(name, "hand over") && r->nlocks)
		report_line(
			rep,
			"%33slocks for writing: %u, given up before COMMIT, had there before it "
			"goes on",
			"", r->nlocks);
	if (!strcmp(name, "rounds"))
		report_line(rep, "%33suntil the rest would take %d ms, or does not shrink", "",
			    o->max_pause_ms);
}

static bool is_left_out(const char *name, const struct migrate_options *o)
{
	return !o->copy_files && !strncmp(name, "files", 5);
}

void migrate_explain(struct report *rep, const struct migrate_options *o,
		     const struct migrate_result *r)
{
	static const char *const state[] = {"", "stands", "runs", "runs there"};
	/* Where writes cannot be seen, all is sent while it stands. */
	enum migrate_mode mode = *r->why_total ? MODE_TOTAL : o->mode;
	unsigned then = RUNS, n = 0;
	const char *name;

	report_list(rep, "steps", "Steps");
	report_line(rep, "%2s  %-10s  %-15s  %s", "", "program", "step", "what is done");
	for (size_t i = 0; (name = migrate_step_name(mode, i)); i++) {
		const struct words *w = words_of(name);

		if (is_left_out(name, o))
			continue;
		then = w && w->then ? (unsigned)w->then : then;
		report_item(rep);
		report_str(rep, "step", NULL, "%s", name);
		report_str(rep, "program", NULL, "%s", state[then]);
		report_str(rep, "what", NULL, "%s", w ? w->text : "");
		report_line(rep, "%2u  %-10s  %-15s  %s", ++n, state[then], name, w ? w->text : "");
		numbers(rep, name, o, r);
		report_end(rep);
	}
	report_end(rep);
}
