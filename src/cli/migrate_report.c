/* What is told of a migration: see migrate_report.h. */
#include "cli/migrate_report.h"

#include <stdio.h>
#include <string.h>

#include "base/report.h"
#include "cli/migrate_explain.h"
#include "cli/status.h"
#include "migrate/progress.h"

const char *migrate_mode_name(enum migrate_mode mode)
{
	return mode == MODE_TOTAL ? "total" : mode == MODE_PRECOPY ? "pre-copy" : "post-copy";
}

uint64_t migrate_dirty_rate(const struct migrate_result *r, uint32_t i)
{
	const struct migrate_round *v = &r->rounds[i];
	uint64_t took = i ? v->begun - v[-1].begun : 0;

	return took ? (uint64_t)((double)v->pages * 4096 * 1e9 / (double)took) : 0;
}

/* --- while it goes on --- */

static double mib(uint64_t bytes)
{
	return (double)bytes / 1048576;
}

static void show_round(const struct migrate_progress *m)
{
	char amount[40], rate[32] = "", dirty[40] = "", pause[40] = "";

	if (m->rate)
		snprintf(rate, sizeof(rate), ", %.0f MiB/s", mib(m->rate));
	if (m->dirty_rate)
		snprintf(dirty, sizeof(dirty), ", it writes %.1f MiB/s", mib(m->dirty_rate));
	if (m->pause_ns)
		snprintf(pause, sizeof(pause), ", pause %.0f ms", (double)m->pause_ns / 1e6);
	status_show("godwit: round %u: %s%s%s%s", m->round, status_amount(amount, m->done, m->all),
		    rate, dirty, pause);
}

static void show_rest(const char *what, const struct migrate_progress *m)
{
	char amount[40], rate[32] = "";

	if (m->rate)
		snprintf(rate, sizeof(rate), ", %.0f MiB/s", mib(m->rate));
	status_show("godwit: %s: %s%s", what, status_amount(amount, m->done, m->all), rate);
}

void migrate_show_progress(void *arg, const void *p, size_t len)
{
	struct migrate_progress m;

	(void)arg;
	if (len != sizeof(m))
		return;
	memcpy(&m, p, sizeof(m));
	switch (m.stage) {
	case STAGE_ROUND:
		show_round(&m);
		break;
	case STAGE_REST:
		show_rest("stopped", &m);
		break;
	case STAGE_FETCH:
		show_rest("it runs over there; its memory follows", &m);
		break;
	case STAGE_HANDOVER:
		status_show("godwit: handover");
		break;
	}
}

/* --- at the end --- */

static void amount(struct report *rep, const char *key, const char *label, uint64_t bytes)
{
	char text[16];

	report_u64(rep, key, NULL, bytes);
	report_line(rep, "%-24s %12s", label, report_size(text, bytes));
}

static void phase(struct report *rep, const char *key, const char *label, uint64_t ns)
{
	report_u64(rep, key, NULL, ns);
	report_line(rep, "%-24s %12.3f ms", label, (double)ns / 1e6);
}

static void phases(struct report *rep, const struct migrate_result *r)
{
	report_section(rep, "phases", "Phases");
	if (r->bulk)
		phase(rep, "bulk_ns", "while it ran", r->bulk);
	phase(rep, "suspension_ns", "suspension", r->suspension);
	phase(rep, "checkpoint_ns", "checkpoint", r->checkpoint);
	phase(rep, "transfer_ns", "transfer", r->transfer);
	phase(rep, "address_space_ns", "address-space restoring", r->mapping);
	phase(rep, "context_ns", "context restoring", r->building);
	phase(rep, "handover_ns", "handover", r->handover);
	if (r->later)
		phase(rep, "later_ns", "pages that came later", r->later);
	phase(rep, "total_ns", "total", r->total);
	report_u64(rep, "downtime_ns", NULL, r->downtime);
	report_u64(rep, "downtime_min_ns", NULL, r->downtime_min);
	report_u64(rep, "downtime_max_ns", NULL, r->downtime_max);
	report_line(rep, "%-24s %12.3f ms  as the program saw it: %.3f to %.3f", "downtime",
		    (double)r->downtime / 1e6, (double)r->downtime_min / 1e6,
		    (double)r->downtime_max / 1e6);
	report_end(rep);
}

static void amounts(struct report *rep, const struct migrate_result *r)
{
	char from[16], to[16];

	report_section(rep, "memory", "Memory");
	amount(rep, "stored", "of the program", r->memory_bytes);
	amount(rep, "known", "in files over there", r->known_bytes);
	amount(rep, "zero", "zeros, not sent", r->zero_pages * 4096);
	amount(rep, "sent", "sent", r->sent_bytes);
	if (r->packed_from)
		report_line(rep, "%-24s %12s  of %s", "packed", report_size(to, r->packed_to),
			    report_size(from, r->packed_from));
	if (r->later) {
		report_u64(rep, "asked_pages", "pages waited for", r->asked_pages);
		report_u64(rep, "pushed_pages", "pages pushed", r->pushed_pages);
	}
	report_end(rep);
	report_section(rep, "compression", NULL);
	report_u64(rep, "from", NULL, r->packed_from);
	report_u64(rep, "to", NULL, r->packed_to);
	report_end(rep);
}

static void round_keys(struct report *rep, const struct migrate_round *v)
{
	report_u64(rep, "begun_ns", NULL, v->begun);
	report_u64(rep, "ns", NULL, v->ns);
	report_u64(rep, "bytes", NULL, v->pages * 4096);
	report_u64(rep, "pages", NULL, v->pages);
	report_u64(rep, "sent", NULL, v->sent_bytes);
}

static void round_line(struct report *rep, const struct migrate_round *v, const char *name,
		       uint64_t dirty)
{
	char memory[16], sent[16], rate[16], end[32] = "";

	if (dirty)
		snprintf(end, sizeof(end), "  %15s/s", report_size(rate, dirty));
	report_line(rep, "%-5s %12s %12s %13.3f ms%s", name, report_size(memory, v->pages * 4096),
		    report_size(sent, v->sent_bytes), (double)v->ns / 1e6, end);
}

static void files(struct report *rep, const struct migrate_result *r)
{
	bool asked = r->outcome == MIGRATE_ASKED;

	report_section(rep, "files", asked ? "Files that would come along" : "Files taken along");
	report_u64(rep, "number", NULL, r->files);
	report_line(rep, "%-24s %12llu", "number", (unsigned long long)r->files);
	amount(rep, "bytes", asked ? "of them" : "sent", r->files_bytes);
	if (!asked)
		amount(rep, "stopped_bytes", "while it stood still", r->files_last_bytes);
	report_end(rep);
}

static void rounds(struct report *rep, const struct migrate_result *r)
{
	char name[12];

	report_list(rep, "rounds", r->nrounds ? "Rounds" : NULL);
	if (r->nrounds)
		report_line(rep, "%-5s %12s %12s %16s  %17s", "", "memory", "sent", "time",
			    "the program wrote");
	for (uint32_t i = 0; i < r->nrounds; i++) {
		uint64_t dirty = migrate_dirty_rate(r, i);

		report_item(rep);
		round_keys(rep, &r->rounds[i]);
		report_u64(rep, "dirty_bytes_per_second", NULL, dirty);
		snprintf(name, sizeof(name), "%u", i + 1);
		round_line(rep, &r->rounds[i], name, dirty);
		report_end(rep);
	}
	if (r->nrounds)
		round_line(rep, &r->rest, "stop", 0);
	report_end(rep);
	report_section(rep, "stop", NULL);
	if (rep->is_json)
		round_keys(rep, &r->rest);
	report_end(rep);
}

static void destination(struct report *rep, const struct migrate_options *o,
			const struct migrate_result *r)
{
	report_section(rep, "destination", NULL);
	report_str(rep, "address", NULL, "%s", o->peer.to);
	report_str(rep, "host", NULL, "%s", r->host);
	report_str(rep, "tool", NULL, "%s", r->tool);
	report_str(rep, "kernel", NULL, "%s", r->kernel);
	report_u64(rep, "free_memory", NULL, r->free_memory);
	report_i64(rep, "pid", NULL, r->pid);
	report_end(rep);
}

static void answer(struct report *rep, const struct migrate_options *o,
		   const struct migrate_result *r)
{
	bool moved = r->outcome == MIGRATE_MOVED;
	char there[40] = "";

	if (r->pid)
		snprintf(there, sizeof(there), ", as process %d", r->pid);
	report_str(rep, "outcome", NULL, "%s", moved ? "moved" : "possible");
	report_i64(rep, "pid", NULL, o->pid);
	report_str(rep, "host", NULL, "%s", r->host);
	report_str(rep, "program", NULL, "%s", r->program);
	report_u64(rep, "threads", NULL, r->nthreads);
	report_str(rep, "mode_asked", NULL, "%s", migrate_mode_name(o->mode));
	report_opt(rep, "mode", NULL, moved ? migrate_mode_name(r->mode) : NULL);
	if (*r->why_total || rep->is_json)
		report_opt(rep, "stopped_because", "stopped for all of it, since",
			   *r->why_total ? r->why_total : NULL);
	if (moved)
		report_line(rep, "process %d goes on on %s%s (%s, Linux %s)", o->pid, r->host,
			    there, r->tool, r->kernel);
	else
		report_line(rep, "%s (%s, Linux %s) can take process %d: nothing was moved",
			    r->host, r->tool, r->kernel, o->pid);
	if (rep->is_json || r->cpu_differs)
		report_bool(rep, "cpu_differs", NULL, r->cpu_differs);
	if (r->cpu_differs)
		report_line(
			rep,
			"its CPU lacks what the one here has, and nothing that the program uses");
	if (!moved) {
		amount(rep, "needed", "memory it needs there", r->needed_bytes);
		amount(rep, "free", "memory free there", r->free_memory);
	}
}

void migrate_report(const struct migrate_options *o, const struct migrate_result *r, bool json)
{
	struct report rep;

	report_init(&rep, json || o->explain ? stdout : stderr, json);
	answer(&rep, o, r);
	destination(&rep, o, r);
	if (o->explain && r->outcome == MIGRATE_ASKED)
		migrate_explain(&rep, o, r);
	if (r->total && r->outcome == MIGRATE_MOVED) {
		rounds(&rep, r);
		phases(&rep, r);
		amounts(&rep, r);
	}
	if (o->copy_files)
		files(&rep, r);
	if (report_done(&rep))
		return; /* nobody reads it */
}
