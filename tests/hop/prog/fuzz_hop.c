/*
 * Fuzz target: what a peer may send, on either side.  The first byte says which:
 *
 *   0  a greeting, then frames, as the side that was connected to
 *   1  one HOP frame, its addresses set to those of a real slot, so that what
 *      follows the head is read; its sender is gone when it should commit
 *   2  the answer to a greeting
 *   3  an address, as a program or server_sock_info.in names it
 *
 * With HOP_SEEDS=FOLDER in the environment it writes its seeds there instead.
 * serve.c is included, not linked: its readers are static.
 */
#include "../../fuzz/fuzz.h"
#include "thread/serve.c"
#include "wire/addr.c"

static long carried[8] = {1};
static struct slot *slot;
static struct module_table *table;

static void prepare_process(void)
{
	struct err err = ERR_INIT;

	psu.block = 6400; /* above what the address sanitizer needs */
	psu_config();
	psu.verbose = false;
	psu.step_ms = 2000;
	psu.mode = 1;
	psu.is_open = psu.is_ready = true;
	psu.jmpbuf_known = true;
	table = calloc(1, sizeof(*table));
	ALWAYS(!modules_current(table, &err) && !arrive_setup(&err));
	guards_setup();
	ALWAYS(!psu_register_global(carried, sizeof(carried)));
	ALWAYS(!slot_take(0, &slot, &err));
	slot_untake(slot);
}

/* A peer that has sent this and hung up: what we answer finds nobody. */
static struct wire *sent_by_peer(const void *p, size_t len)
{
	struct wire *w = calloc(1, sizeof(*w));
	int sv[2], room = 4 << 20;

	ALWAYS(!socketpair(AF_UNIX, SOCK_STREAM, 0, sv));
	setsockopt(sv[0], SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
	wire_init(w, sv[1]);
	ALWAYS(send(sv[0], p, len, MSG_DONTWAIT) == (ssize_t)len || len == 0);
	close(sv[0]);
	wire_deadline(w, 2000);
	return w;
}

static void serve(const uint8_t *data, size_t size)
{
	struct module_table *theirs = calloc(1, sizeof(*theirs));
	struct peer p = {.w = sent_by_peer(data, size)};
	struct err err = ERR_INIT;
	int i;

	if (!read_hello(p.w, F_HELLO, &p.hello, theirs, &err)) {
		ALWAYS(theirs->n && theirs->n <= PSU_MODULES);
		if (modules_remap(theirs, table, false, &p.remaps, &err))
			ALWAYS(err.what[0]);
		err = ERR_INIT;
		for (i = 0; i < 20 && !one_request(&p, &err);)
			i++;
	}
	ALWAYS(err.error < 0 && err.what[0]);
	wire_done(p.w);
	free(p.w);
	free(theirs);
}

/* Sets what depends on this process, so that the rest is looked at: addresses, the
 * registered global's place, the thread-local variables. */
static void put_hop(struct buf *b, const uint8_t *data, size_t size)
{
	struct hop_head h;
	struct tls_head tls[4];
	uintptr_t areas[8][2];
	uint64_t offset, at;
	int i;

	if (size < sizeof(h)) {
		buf_add(b, data, size);
		return;
	}
	memcpy(&h, data, sizeof(h));
	h.slot_addr = slot->addr;
	h.base_sp = slot->st.base_sp;
	h.tp = slot->tp;
	h.regs.rsp = h.base_sp - h.stack_len;
	h.ntls = (uint32_t)carry_tls_ranges(slot, tls, 4);
	psu_random(&h.hop, sizeof(h.hop));
	buf_add(b, &h, sizeof(h));
	buf_add(b, data + sizeof(h), size - sizeof(h));
	at = sizeof(h) + h.stack_len + h.arena_len;
	if (h.stack_len > size || h.arena_len > size || h.globals_len > size ||
	    at + h.globals_len > size)
		return;
	ALWAYS(modules_exe_data(areas, 8) > 0);
	offset = (uintptr_t)carried - areas[0][0];
	if (h.globals_len >= sizeof(offset))
		memcpy(b->p + at, &offset, sizeof(offset));
	b->len = at + h.globals_len;
	for (i = 0; i < (int)h.ntls; i++) {
		buf_add(b, &tls[i], sizeof(tls[i]));
		buf_add(b, (void *)tls[i].addr, tls[i].len);
	}
	buf_add(b, data + at + h.globals_len, size - at - h.globals_len);
}

static void take_hop(const uint8_t *data, size_t size)
{
	struct wire_head head = {.magic = WIRE_MAGIC, .type = F_HOP};
	struct buf frame = {0}, body = {0};
	struct peer p = {0};
	struct err err = ERR_INIT;
	int e;

	put_hop(&body, data, size);
	head.len = body.len;
	buf_add(&frame, &head, sizeof(head));
	buf_add(&frame, body.p, body.len);
	p.w = sent_by_peer(frame.p, frame.len);
	ALWAYS(!modules_remap(table, table, false, &p.remaps, &err));
	e = wire_recv(p.w, &head, 1UL << 32, &err);
	if (!e)
		e = arrive(&p, &head, &err);
	/* Nothing may have been started: nobody committed. */
	ALWAYS(e < 0 && atomic_load(&slot->state) == SLOT_PARKED);
	if (fuzz_this_is_a_seed())
		ALWAYS(err.error == -EPIPE); /* READY found nobody: all was in order */
	wire_done(p.w);
	free(p.w);
	buf_done(&frame);
	buf_done(&body);
}

static void take_answer(const uint8_t *data, size_t size)
{
	struct module_table *theirs = calloc(1, sizeof(*theirs));
	struct wire *w = sent_by_peer(data, size);
	struct remaps *r = calloc(1, sizeof(*r));
	struct err err = ERR_INIT;
	struct hello h;

	if (read_hello(w, F_WELCOME, &h, theirs, &err))
		ALWAYS(err.error < 0 && err.what[0]);
	else if (modules_remap(table, theirs, true, r, &err))
		ALWAYS(err.what[0]);
	wire_done(w);
	free(w);
	free(r);
	free(theirs);
}

static void take_address(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1), host[256];
	struct err err = ERR_INIT;
	int port = 8080;

	memcpy(text, data, size);
	text[size] = '\0';
	if (split(text, &port, host, &err))
		ALWAYS(err.error < 0 && err.what[0]);
	else
		ALWAYS(port > 0 && port < 65536 && strlen(host) < sizeof(host));
	free(text);
}

static void write_seed(const char *name, uint8_t kind, const void *a, size_t alen, const void *b,
		       size_t blen)
{
	char path[300];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", getenv("HOP_SEEDS"), name);
	f = fopen(path, "w");
	ALWAYS(f && putc(kind, f) != EOF && fwrite(a, 1, alen, f) == alen &&
	       fwrite(b, 1, blen, f) == blen && !fclose(f));
}

static void write_seeds(void)
{
	struct {
		struct wire_head head;
		struct hello h;
		struct module m;
	} hello = {.head = {WIRE_MAGIC, F_HELLO, sizeof(hello.h) + sizeof(hello.m)}};
	struct {
		struct hop_head h;
		uint64_t stack[8];
		struct travel t;
		uint64_t arena[(ARENA_START - sizeof(struct travel)) / 8 + 4];
		struct {
			uint64_t offset, len;
			long bytes[8];
		} global;
	} hop = {.t = {.magic = TRAVEL_MAGIC}};
	struct wire_head query = {WIRE_MAGIC, F_QUERY, sizeof(struct psu_id)};
	struct psu_id id = {{7}};
	struct module_table one = {.n = 1};
	struct buf b = {0};

	one.m[0] = table->m[0];
	fill_hello(&hello.h, &one);
	hello.m = one.m[0];
	write_seed("hello", 0, &hello, sizeof(hello), "", 0);
	buf_add(&b, &query, sizeof(query));
	buf_add(&b, &id, sizeof(id));
	write_seed("query", 0, &hello, sizeof(hello), b.p, b.len);
	buf_done(&b);
	hello.head.type = F_WELCOME;
	write_seed("welcome", 2, &hello, sizeof(hello), "", 0);
	hop.global.len = sizeof(carried);
	hop.h.stack_len = sizeof(hop.stack);
	hop.h.arena_len = sizeof(hop.t) + sizeof(hop.arena);
	hop.h.globals_len = sizeof(hop.global);
	write_seed("hop", 1, &hop, sizeof(hop), "", 0);
	write_seed("address", 3, "[fe80::1]:8080", 14, "", 0);
	write_seed("name", 3, "host.example:1", 14, "", 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!table)
		prepare_process();
	if (getenv("HOP_SEEDS")) {
		write_seeds();
		exit(0);
	}
	if (!size || size > 1 << 20)
		return 0;
	switch (data[0] & 3) {
	case 0:
		serve(data + 1, size - 1);
		break;
	case 1:
		take_hop(data + 1, size - 1);
		break;
	case 2:
		take_answer(data + 1, size - 1);
		break;
	case 3:
		take_address(data + 1, size - 1);
		break;
	}
	return 0;
}
