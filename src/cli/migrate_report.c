/* What a migration took: for a person on stderr, or as JSON on stdout. */
#include "cli/migrate_report.h"

#include <stdio.h>

#include "base/report.h"

static void phase(struct report *rep, const char *key, const char *label, uint64_t ns)
{
	char text[32];

	snprintf(text, sizeof(text), "%.3f ms", (double)ns / 1e6);
	report_u64(rep, key, NULL, ns);
	report_line(rep, "%-24s %12s", label, text);
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
	phase(rep, "total_ns", "total", r->total);
	phase(rep, "downtime_ns", "downtime", r->downtime);
	report_end(rep);
}

static void amounts(struct report *rep, const struct migrate_result *r)
{
	report_section(rep, "memory", "Memory");
	report_bytes(rep, "stored", "of the program", r->memory_bytes);
	report_bytes(rep, "known", "in files over there", r->known_bytes);
	report_bytes(rep, "zero", "zeros, not sent", r->zero_pages * 4096);
	report_bytes(rep, "sent", "sent", r->sent_bytes);
	report_end(rep);
}

static void rounds(struct report *rep, const struct migrate_result *r)
{
	report_list(rep, "rounds", r->nrounds ? "Rounds" : NULL);
	for (uint32_t i = 0; i < r->nrounds; i++) {
		const struct migrate_round *v = &r->rounds[i];

		report_item(rep);
		report_u64(rep, "bytes", NULL, v->pages * 4096);
		report_u64(rep, "ns", NULL, v->ns);
		report_line(rep, "%2u  %10.1f MiB  %10.3f ms", i + 1, (double)v->pages / 256,
			    (double)v->ns / 1e6);
		report_end(rep);
	}
	report_end(rep);
}

void migrate_report(const struct migrate_options *o, const struct migrate_result *r, bool json)
{
	struct report rep;

	report_init(&rep, json ? stdout : stderr, json);
	report_str(&rep, "outcome", NULL, "%s", r->outcome == MIGRATE_MOVED ? "moved" : "possible");
	report_i64(&rep, "pid", NULL, o->pid);
	report_str(&rep, "host", NULL, "%s", r->host);
	if (*r->why_total)
		report_str(&rep, "stopped_because", "stopped for all of it, since", "%s",
			   r->why_total);
	if (r->outcome == MIGRATE_MOVED)
		report_line(&rep, "process %d goes on on %s (%s, Linux %s)", o->pid, r->host,
			    r->tool, r->kernel);
	else
		report_line(&rep, "%s (%s, Linux %s) can take process %d: nothing was moved",
			    r->host, r->tool, r->kernel, o->pid);
	if (r->outcome == MIGRATE_ASKED) {
		report_bytes(&rep, "needed", "memory it needs there", r->needed_bytes);
		report_bytes(&rep, "free", "memory free there", r->free_memory);
	}
	if (r->total) {
		rounds(&rep, r);
		phases(&rep, r);
		amounts(&rep, r);
	}
	if (report_done(&rep))
		return; /* nobody reads it */
}
