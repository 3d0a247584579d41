/*
 * The frames of a migration: docs/PROTOCOL.md is normative.  What is here knows how
 * frames look and how long they may be; who says what when is in source.c, target.c
 * and feed.c.
 */
#ifndef GODWIT_MIGRATE_PROTO_H
#define GODWIT_MIGRATE_PROTO_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/io.h"
#include "image/codec.h"
#include "state/cpu.h"
#include "wire/wire.h"

#define PROTO_MAGIC 0x314d5747u /* "GWM1" */
#define PROTO_VERSION 1u
/* Features without which the other side cannot go on: none is defined yet. */
#define PROTO_REQUIRED_KNOWN UINT64_C(0)

enum proto_frame {
	FRAME_HELLO = 1,    /* source: who, what for */
	FRAME_WELCOME = 2,  /* destination: who */
	FRAME_REFUSE = 3,   /* either: why not; the last frame */
	FRAME_NOTICE = 4,   /* destination: a line for the person */
	FRAME_MODEL = 5,    /* source: a piece of the image without data */
	FRAME_FILES = 6,    /* source: that was all of it; hashes of the mapped files */
	FRAME_VERDICT = 7,  /* destination: it can be done; which files it has */
	FRAME_PAGES = 8,    /* source */
	FRAME_END = 9,      /* source: that was all */
	FRAME_READY = 10,   /* destination: the program is built */
	FRAME_COMMIT = 11,  /* source: it is yours */
	FRAME_DONE = 12,    /* destination: it runs */
	FRAME_OUTCOME = 13, /* destination: what became of a migration */
	FRAME_OUTPUT = 14,  /* destination: the program wrote this */
	FRAME_INPUT = 15,   /* source: the program shall read this; empty: end of file */
	FRAME_EXIT = 16,    /* destination: the program has ended */
	FRAME_ROUND = 17,   /* source: the pages that follow replace earlier ones */
	FRAME_CARRY = 18,   /* source: files that can be taken along */
	FRAME_FILE = 19,    /* source: a piece of one */
	FRAME_SIGNALS = 20, /* source: the last that came there */
	FRAME_CARRIED = 21, /* source: that was all of the files */
	FRAME_TAKEN = 22,   /* destination: all that came so far is in its place */
	/* Post-copy: postcopy.h. */
	FRAME_ASK_LATER = 32, /* source: may pages come later? */
	FRAME_MAY_LATER = 33, /* destination: yes, or why not */
	FRAME_LATER = 34,     /* source: these do */
	FRAME_WANT = 35,      /* destination: these are missing */
	FRAME_NEED = 36,      /* destination: this one first, somebody waits for it */
	FRAME_GOT = 37,       /* destination: so many frames of pages have been taken */
	FRAME_ALL = 38,       /* destination: nothing is missing any more */
	FRAME_LOST = 39,      /* source: the pages are no more */
	FRAME_MEANWHILE = 40, /* source: as SIGNALS, and not the last */
};

/* Longest frames, bytes. */
#define PROTO_SMALL_MAX 8192u
#define PROTO_PIECE (1u << 20) /* of the model */
#define PROTO_MODEL_MAX ((UINT64_C(1) << 30) + (64u << 20))
#define PROTO_ROUNDS_MAX 1000u
#define PROTO_USER_END UINT64_C(0x7ffffffff000) /* of a program's addresses */
#define PROTO_FILES_MAX (16u << 20)
#define PROTO_PAGES_DATA (512u << 10) /* of one PAGES frame, unpacked */
#define PROTO_RANGES_MAX (PROTO_PAGES_DATA / 4096u + 1)
#define PROTO_PAGES_MAX (PROTO_PAGES_DATA + 16u + 16u * PROTO_RANGES_MAX)

enum proto_purpose {
	PURPOSE_MIGRATE = 1,
	PURPOSE_ASK = 2,
	PURPOSE_SETTLE = 3,
	PURPOSE_PAGES = 4, /* as 3; and if pages are missing, here they come */
};

struct migration_id {
	uint8_t bytes[16];
};

struct proto_hello {
	uint32_t version;
	uint64_t required; /* feature bits */
	uint32_t purpose;  /* enum proto_purpose */
	struct migration_id id;
	char *tool, *host;
};

struct proto_welcome {
	uint32_t version;
	uint64_t required;
	char *tool, *host, *kernel;
	uint64_t free_memory; /* bytes */
	uint64_t vdso_hash;   /* as in the note SYSTEM */
	struct arch_cpu cpu;
};

/* What the destination measured, ns. */
struct proto_times {
	uint64_t mapping, building;
	/* In DONE, since COMMIT was heard: until the program was to be let go, until all of
	 * it was, and until this was said. */
	uint64_t releasing, released, answering;
	uint32_t pid; /* in DONE: of the program over there */
};

/* Of a model, in FILES. */
enum proto_look {
	LOOK_LAST = 1,  /* the program stands still: this is what is to go on */
	LOOK_EARLY = 2, /* it runs on: a later model will take its place */
};

/* What became of a migration, as the destination knows it. */
enum proto_outcome {
	OUTCOME_NEVER = 1,   /* it has not taken the program, and never will */
	OUTCOME_TAKEN = 2,   /* the program went on there */
	OUTCOME_PENDING = 3, /* not decided: ask again */
	OUTCOME_UNKNOWN = 4, /* it began to go on and has ended: nobody saw how */
	OUTCOME_LACKS = 5,   /* it went on there, and lacks pages that the source has */
};

/* Each also frees what it filled when decoding fails; the caller frees after success. */
void proto_hello_codec(struct codec *c, struct proto_hello *h);
void proto_hello_done(struct proto_hello *h);
/* The first frame of a source: who we are, and what for. */
int proto_send_hello(struct wire *w, uint32_t purpose, const struct migration_id *id,
		     struct err *err) __must_check;
void proto_welcome_codec(struct codec *c, struct proto_welcome *h);
void proto_welcome_done(struct proto_welcome *h);
void proto_times_codec(struct codec *c, struct proto_times *t);

/* A range of a PAGES frame. */
struct proto_range {
	uint64_t addr, len; /* len: bytes, a multiple of 4096, at most PROTO_PAGES_DATA */
	bool is_zero;       /* no bytes of it follow */
};

struct proto_pages {
	struct proto_range range[PROTO_RANGES_MAX];
	size_t n;
	const uint8_t *data; /* of the ranges that are not zero, one after the other */
	size_t len;
};

/* The head of a PAGES frame to *out: what comes before the data. */
void proto_pages_encode(const struct proto_pages *p, uint32_t packing, struct buf *out);
/* Decodes a frame; data points into it, or into unpacked (PROTO_PAGES_DATA bytes).
 * -EBADMSG in err where it is malformed. */
int proto_pages_decode(const void *frame, size_t len, uint8_t *unpacked, struct proto_pages *ret,
		       struct err *err) __must_check;

enum proto_packing { PACKING_NONE = 0, PACKING_ZSTD = 1 };

/* Sends a frame of one piece.  len may be 0. */
int proto_send(struct wire *w, uint32_t type, const void *p, size_t len,
	       struct err *err) __must_check;
int proto_send_buf(struct wire *w, uint32_t type, const struct buf *b,
		   struct err *err) __must_check;
/* Tells the other side why not; never fails. */
void proto_refuse(struct wire *w, const struct err *why);

/*
 * Reads the next frame to buf (max bytes).  Returns its type.  A REFUSE becomes its
 * error, with the peer's name in front; a NOTICE goes to notice(), where that is
 * not NULL, and the next frame is read.
 */
struct proto_reader {
	void (*notice)(void *arg, const char *text);
	void *arg;
	bool is_refused; /* the error is the peer's last word */
};
int proto_recv(struct wire *w, struct proto_reader *r, void *buf, size_t max, size_t *ret_len,
	       struct err *err) __must_check;
/* The same, and it must be of this type. */
int proto_expect(struct wire *w, struct proto_reader *r, uint32_t type, void *buf, size_t max,
		 size_t *ret_len, struct err *err) __must_check;

/* 32 hex digits and a NUL. */
void migration_id_text(const struct migration_id *id, char out[33]);
int migration_id_new(struct migration_id *ret, struct err *err) __must_check;

#endif
