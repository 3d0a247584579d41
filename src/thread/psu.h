/*
 * The thread hop library, inside.
 *
 *   api.c      the public calls; what a create() waits for
 *   layout.c   same addresses on every host: ASLR off, once, before main
 *   modules.c  which executable and libraries, where; how two hosts differ
 *   slot.c     a thread's slot: address range, native thread, scratch stack
 *   scan.c     one pass over the thread's memory, for the two next
 *   guards.c   state of a thread that cannot travel: found and named
 *   link.c     connections to other hosts
 *   send.c     the leaving side of the protocol
 *   serve.c    the listener and its connections
 *   arrive.c   the arriving side of the protocol
 *   fixup.c    words of an arrived stack that must change
 *   jmpbuf.c   setjmp here, longjmp there
 *   carry.c    registered globals, descriptors, __thread variables
 *   arena.c    psu_malloc
 *   isomalloc.c  PSU_ISOMALLOC=1
 *   trace.c    PSU_TRACE=1
 *   config.c   environment, messages
 *
 * Who may run what: user code runs on slot stacks, with a canary that may be a
 * foreign one; library threads (listener, one a connection) run on ordinary
 * stacks with all signals blocked.  One lock, psu.lock, guards every slot's
 * state and every list; nothing slow is done under it.
 */
#ifndef GODWIT_THREAD_PSU_H
#define GODWIT_THREAD_PSU_H

#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "arch/x86_64/hop.h"
#include "base/err.h"
#include "base/io.h"
#include "psu_thread.h"
#include "wire/wire.h"

#define PSU_PUBLIC __attribute__((visibility("default")))

/* ---- the address window: a slot has the same address on every host ---- */
#define PSU_WINDOW 0x100000000000UL
#define PSU_SLOT_SIZE (64UL << 20)
#define PSU_SLOTS (1UL << 20) /* 64 TiB of addresses, of which a slot takes 64 MiB */
#define PSU_BLOCK 64UL        /* slots a process takes for its own threads at a time */
#define PSU_STACK_SIZE (16UL << 20)
#define PSU_GUARD_SIZE (1UL << 20)
/* In a slot: travel page and arena, guard, stack with TLS and TCB at its top. */
#define PSU_ARENA_SIZE (PSU_SLOT_SIZE - PSU_STACK_SIZE - PSU_GUARD_SIZE)

struct psu_id {
	uint8_t b[16];
};

struct psu_place {
	char addr[WIRE_NAME]; /* "address:port" of a process's listener */
	struct psu_id instance;
};

#define PSU_WAITERS 8
#define PSU_FDS 16

struct psu_fd {
	int32_t fd;
	uint32_t flags;
	uint64_t offset;
	char path[1000];
};

/* The head of every slot's arena: what a thread knows of itself, on every host. */
struct travel {
	uint64_t magic;
	struct psu_id thread;
	uint32_t hops;
	int32_t result; /* of the last hop, as psu_thread_migrate_result */
	char reason[256];
	struct psu_place home;
	struct psu_place waiters[PSU_WAITERS]; /* to be told when the thread ends */
	uint32_t nwaiters;
	uint32_t nfds;
	int32_t fds[PSU_FDS];
	uint32_t arena_lock;
	uint64_t arena_top; /* offset in the slot: what is above is not in use */
	uint64_t top_size;  /* of the topmost block */
	uint64_t bins[32];  /* free lists, by size class: addresses */
};
#define TRAVEL_MAGIC 0x31766172547573ULL
#define ARENA_START ALIGN_UP(sizeof(struct travel), 64)

/* ---- slots ---- */
enum slot_state {
	SLOT_FREE = 0, /* not mapped */
	SLOT_STARTING, /* native thread on its way to the scratch stack */
	SLOT_PARKED,   /* native thread waits on the scratch stack */
	SLOT_FILLING,  /* parked, and a connection writes frames into it */
	SLOT_RUNNING,  /* user code */
	SLOT_LEAVING,  /* its thread is being handed over; soon parked, or running */
	SLOT_ENDED,    /* user function returned: native thread is ending */
	SLOT_REAPED,   /* somebody waits for the native thread's end */
};
enum slot_cmd { CMD_NONE = 0, CMD_RUN, CMD_RESUME, CMD_EXIT };

struct stay;

/* Keys of thread-specific data that have a value. */
#define PSU_KEYS PTHREAD_KEYS_MAX
struct psu_keys {
	uint64_t bits[PSU_KEYS / 64];
};

struct slot {
	struct hop_stacks st; /* first: hop_switch.S and the loop know the slot by it */
	uintptr_t addr;
	uint32_t index;
	pthread_t native;
	void *scratch;
	_Atomic int state; /* enum slot_state; also a futex */
	_Atomic int cmd;   /* enum slot_cmd; a futex */
	uint64_t tp;       /* thread pointer */
	int tid;
	uintptr_t cleanup_base;  /* glibc's cleanup chain with no handler pending */
	void **robust;           /* the head of its list of robust mutexes */
	struct psu_keys keys;    /* thread-specific data that are not the program's */
	uintptr_t dtors_base;    /* destructors of thread_local objects, likewise */
	_Atomic bool in_library; /* allocations are not the program's */
	/* for CMD_RUN */
	void *(*func)(void *);
	void *arg;
	/* for CMD_RESUME */
	struct hop_regs regs;
	uint64_t canary;
	uint64_t sigmask;
	int saved_errno;
	int cancel_state;
	bool has_altstack;
	stack_t altstack;
	uint64_t caught, uncaught;
	struct stay *stay; /* the create() that waits for this thread, or NULL */
	uint64_t touched;  /* when it was parked, for reuse in order of age */
	struct slot *next; /* list of mapped slots */
};

static inline struct travel *slot_travel(const struct slot *s)
{
	return (struct travel *)s->addr;
}

/* What one psu_thread_create() waits for. */
struct stay {
	bool assigned; /* thread is known */
	bool wait_return;
	bool done;
	int error; /* 0, or what create() fails with */
	struct psu_id thread;
	struct stay *next;
};

/* ---- modules ---- */
#define PSU_MODULES 128

struct module {
	char name[64];
	uint8_t build_id[32];
	uint64_t base;   /* load bias */
	uint64_t lo, hi; /* address range */
	uint64_t tls_size;
	int64_t tls_offset; /* from the thread pointer; 0: none or not static */
	uint32_t id_len;
	uint32_t id_is_hash; /* no build-id: hash of the code instead */
};

struct module_table {
	uint32_t n;
	uint32_t generation; /* changes when a library is loaded or unloaded */
	struct module m[PSU_MODULES];
};

struct remap {
	uint64_t lo, hi; /* on the source */
	int64_t delta;   /* destination - source; unknown if missing */
	bool missing;
	char name[64];
};
struct remaps {
	uint32_t n;
	bool moved;        /* at least one delta is not 0 */
	bool missing;      /* at least one module is not on the destination */
	uint64_t min, max; /* hull of the ranges that need work */
	struct remap r[PSU_MODULES];
};

/* ---- protocol: docs/THREAD-HOP.md has the table ---- */
enum psu_frame {
	F_HELLO = 1,
	F_WELCOME,
	F_REFUSE,
	F_HOP,
	F_READY,
	F_COMMIT,
	F_RUNNING,
	F_QUERY,
	F_ANSWER,
	F_ENDED,
};
#define PSU_PROTOCOL 3u

struct hello {
	uint32_t protocol;
	uint32_t port; /* of the listener */
	struct psu_id instance;
	uint64_t window, slot_size, stack_size, page_size;
	uint32_t strict; /* PSU_LAYOUT=strict */
	uint32_t nmodules;
	/* nmodules struct module follow */
};

struct hop_head {
	struct psu_id hop;
	struct psu_id thread;
	uint64_t slot_addr;
	uint64_t base_sp, tp; /* must be the same over there */
	struct hop_regs regs;
	uint64_t canary, guard;
	uint64_t sigmask;
	int32_t err_no;
	int32_t cancel_state;
	uint32_t has_altstack;
	uint32_t altstack_flags;
	uint64_t altstack_sp, altstack_size;
	uint64_t caught, uncaught; /* C++ exception globals */
	uint64_t stack_len, arena_len, globals_len;
	uint32_t ntls, nfds, njmpbufs;
	uint32_t wants_notice; /* this process waits for the thread's end */
	uint64_t sum;          /* of the bytes that follow */
	/* stack, arena, globals, tls (struct tls_head + bytes), fds, jmp_bufs' addresses follow */
};

struct tls_head {
	uint64_t addr; /* absolute: the slot's */
	uint64_t len;
};

/* ---- the process ---- */
struct fault {
	char step[24];
	int action; /* 0 none, 'k' kill, 'c' cut, 's' stall */
};

struct psu {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool is_ready;
	atomic_bool is_open; /* psu_thread_create() was called: threads may arrive */
	int mode;
	struct psu_id instance;
	int port;        /* of the peers, when the program names none */
	char host[256];  /* from server_sock_info.in */
	int own_port;    /* where a client listens; 0: anywhere */
	int listen_port; /* ours */
	int listen_fds[2];
	bool has_key;
	uint8_t key[WIRE_KEY_BYTES];
	char key_path[512];
	bool insecure, trace, verbose, wait_return, strict, isomalloc;
	int connect_ms, step_ms;
	struct fault fault;
	struct slot *slots;
	struct stay *stays;
	int orphans_done;
	uint32_t block; /* first slot of our block */
	atomic_int exit_code;
	bool result_asked;
	bool jmpbuf_known;
	struct err cannot; /* why no thread can leave, if error is set */
};
extern struct psu psu;

/* config.c */
void psu_config(void);
/* One line on stderr, always. */
void psu_say(const char *fmt, ...) __printf_like(1, 2);
/* A step, on a terminal or with PSU_VERBOSE=1. */
void psu_info(const char *fmt, ...) __printf_like(1, 2);
/* An [info] line each with how to make a key. */
void psu_key_steps(void);
void psu_random(void *p, size_t n);
/* Test hook: PSU_FAULT=step:kill|cut|stall. */
void psu_fault(const char *step, struct wire *w);
/* Makes the process end with code instead of 0. */
void psu_set_exit(int code);

/* modules.c */
int modules_read(struct module_table *t, struct err *err) __must_check;
/* The current table; refreshed when libraries came or went. */
int modules_current(struct module_table *ret, struct err *err) __must_check;
uint32_t modules_generation(void);
/* How src's addresses map to dst's.  Refuses, naming the first module that
 * differs, what can never work. */
int modules_remap(const struct module_table *src, const struct module_table *dst, bool strict,
		  struct remaps *ret, struct err *err) __must_check;
/* The executable's writable data, [lo, hi) pieces; returns how many. */
int modules_exe_data(uintptr_t (*ret)[2], int max);
/* The C library's thread-local variables, or, in a static program, all: offset
 * from the thread pointer, and size.  -ENOENT if there are none. */
int modules_libc_tls(int64_t *ret_offset, uint64_t *ret_len);
/* Whether the C library is part of the executable. */
bool modules_is_static(void);
/* The executable's TLS block: offset from tp and size, 0 if none. */
void modules_exe_tls(int64_t *ret_offset, uint64_t *ret_len, uint64_t *ret_init_len);

/* slot.c */
struct slot *slot_of(uintptr_t addr);
struct slot *slot_current(void);
/* Maps a slot and starts its native thread; returns it parked, taken by the
 * caller (SLOT_FILLING).  addr 0: a free one of our block. */
int slot_take(uintptr_t addr, struct slot **ret, struct err *err) __must_check;
/* Gives a taken slot back unused. */
void slot_untake(struct slot *s);
void slot_command(struct slot *s, enum slot_cmd cmd);
/* Ends a parked slot's native thread, or waits for an ended one; unmaps. */
void slot_release(struct slot *s);
/* Releases slots whose thread ended, and parked ones beyond what is worth keeping. */
void slot_reap(void);
void slot_set_state(struct slot *s, enum slot_state state);
/* Waits until state is no longer not_this; false at the deadline. */
bool slot_wait_state(struct slot *s, int not_this, int64_t deadline);

/* scan.c */
#define PSU_JMPBUFS 256
struct scan {
	const void *lock; /* one that the thread holds, or NULL */
	bool is_rwlock;
	bool has_signal_frame; /* perhaps only the remains of one */
	int njmpbufs;          /* what looks like one, dead or alive */
	uint64_t jmpbufs[PSU_JMPBUFS];
	/* for its own use */
	uint64_t stack_lo, stack_hi;
	struct hop_pattern owner, jmpbuf_sp;
};
void scan_thread(const struct slot *s, const struct hop_regs *regs, struct scan *ret);

/* guards.c */
/* Once, on any thread. */
void guards_setup(void);
/* On each slot's native thread: once; before user code starts or goes on. */
void guards_init(struct slot *s);
void guards_begin(struct slot *s);
/* Around what a hop that fails does on the thread: OpenSSL keeps something there. */
void guards_enter(const struct slot *s, struct psu_keys *ret_keys);
void guards_leave(struct slot *s, const struct psu_keys *at_entry);
/* Before the scan: the stack is the thread's own, and there is room. */
int guards_check_stack(const struct slot *s, const struct hop_regs *regs,
		       struct err *err) __must_check;
int guards_check(const struct slot *s, const struct scan *scan, const struct psu_keys *keys,
		 struct hop_head *h, struct err *err) __must_check;
bool guards_exceptions_known(void);
void guards_set_exceptions(uint64_t caught, uint64_t uncaught);

/* link.c */
/* A standing connection. */
struct link {
	struct wire w;
	char name[352]; /* what the program called the host, and where it is from */
	struct wire_addr addr;
	struct hello peer;
	struct remaps remaps;
	uint32_t generation;
	bool is_fresh;
	struct link *next;
};
/* One attempt at one address; to be kept or freed. */
int link_open(const struct wire_addr *a, int64_t deadline, struct link **ret,
	      struct err *err) __must_check;
/* A connection to host, as the thread of t means it: a standing one, or a new one,
 * for which it waits until the other program has been started. */
int link_connect(const char *host, const struct travel *t, struct link **ret,
		 struct err *err) __must_check;
/* Leaves it standing, for the next hop. */
void link_keep(struct link *l);
void link_free(struct link *l);

/* send.c */
int psu_hop_from(const char *host, int quiet, const struct hop_regs *regs);
void send_ended(const struct travel *t);

/* serve.c */
int serve_start(struct err *err) __must_check;
/* HELLO and WELCOME, as the side that connected. */
int greet(struct wire *w, struct hello *ret_peer, struct module_table *ret_table,
	  struct err *err) __must_check;
int refuse_with(struct wire *w, const struct err *why);
/* Reads the text of a REFUSE frame into *err. */
int read_refusal(struct wire *w, const struct wire_head *head, struct err *err);

/* A connection, as the side that was connected to. */
struct peer {
	struct wire *w;
	struct hello hello;
	struct remaps remaps;
	char place[WIRE_NAME]; /* where the peer can be reached */
	bool in_doubt;         /* a thread came whose sender may not know that it runs */
	struct psu_id hop;     /* that one */
	struct peer *next;
};
/* A thread of hop is started: from now on the sender may be in doubt. */
void peer_doubts(struct peer *p, const struct psu_id *hop);
/* At the end of the process: waits until no sender is in doubt, within limits. */
void serve_settle(void);

/* arrive.c */
int arrive(struct peer *p, const struct wire_head *head, struct err *err) __must_check;
int arrive_setup(struct err *err) __must_check;
void await_query(const struct psu_id *hop);
int answer_query(struct peer *p, const struct wire_head *head, struct err *err) __must_check;
int take_notice(struct peer *p, const struct wire_head *head, struct err *err) __must_check;

/* fixup.c */
struct fixup {
	const struct remaps *maps;
	uint64_t guard_src, guard_dst;
	uintptr_t stack_lo, stack_hi; /* what came */
	uintptr_t arena_lo, arena_hi;
	uint64_t changed; /* words */
};
void fixup_words(struct fixup *f, void *p, size_t len);
uint64_t fixup_word(const struct remaps *maps, uint64_t w);
/* The first word of [p, p + len) that points into a module the destination
 * lacks; NULL if none. */
const struct remap *fixup_find_missing(const struct remaps *maps, const void *p, size_t len);
/* A checksum against damage, not against attackers. */
uint64_t psu_sum(uint64_t seed, const void *p, size_t len);

/* jmpbuf.c */
/* The addresses of the live jmp_bufs among those found; at most PSU_JMPBUFS. */
int jmpbuf_find(const struct scan *scan, uint64_t *ret);
void jmpbuf_fix(const struct fixup *f, const uint64_t *list, int n);

/* carry.c */
int carry_global_ranges(struct tls_head *ret, int max);
/* Appends the registered globals (each with a small head) to b. */
void carry_pack_globals(struct buf *b);
/* Checks what came against what is registered here, then (apply) copies it. */
int carry_globals(const void *p, size_t len, struct fixup *fix, bool apply,
		  struct err *err) __must_check;
/* Refuses where the program's __thread variables cannot be found. */
int carry_check_tls(struct err *err) __must_check;
int carry_tls_ranges(const struct slot *s, struct tls_head *ret, int max);
int carry_pack_fds(const struct travel *t, struct psu_fd *ret, struct err *err) __must_check;
/* Opens the files; opened[] holds them until carry_place_fds or carry_drop_fds. */
int carry_open_fds(const struct psu_fd *f, int n, int *opened, struct err *err) __must_check;
void carry_place_fds(const struct psu_fd *f, int n);
void carry_drop_fds(const int *opened, int n);

/* arena.c */
void arena_init(struct travel *t);
void *arena_alloc(struct travel *t, size_t align, size_t size);
void arena_free(struct travel *t, void *p);
size_t arena_usable(const void *p);
/* The arena that p lies in, or NULL. */
struct travel *arena_of(const void *p);
/* The C library's own, which isomalloc.c finds anew before it redirects calls:
 * ours, in a program linked with the static library, are among them. */
struct real_alloc {
	void *(*malloc)(size_t);
	void *(*aligned_alloc)(size_t, size_t);
	void *(*realloc)(void *, size_t);
	void (*free)(void *);
	size_t (*usable_size)(void *);
};
extern struct real_alloc real_alloc;

/* isomalloc.c */
void isomalloc_start(void);

/* trace.c */
void trace_frames(const struct slot *s, const struct hop_regs *regs, const char *to);

#endif
