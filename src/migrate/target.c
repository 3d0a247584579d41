/*
 * The destination, up to the fork of the program's process; from there on the
 * guardian has the wire (feed.c).  A stream is the work of anybody who holds the key:
 * every length has its limit, and the notes go through the image's own reader.
 */
#include "migrate/target.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/report.h"
#include "migrate/feed.h"
#include "migrate/files.h"
#include "migrate/model_in.h"
#include "migrate/outcome.h"
#include "migrate/owner.h"
#include "migrate/postcopy.h"
#include "migrate/relay.h"
#include "migrate/room.h"
#include "restart/restart.h"
#include "state/vdso.h"

struct target {
	struct wire *w;
	const struct target_options *o;
	struct proto_reader reader;
	struct proto_hello hello;
	struct journal journal;
	struct model_in model;
	struct carry_in carry;
	struct process proc;
	bool *known;
	int64_t begun;
	int io[3];    /* the program's 0, 1, 2 */
	int relay[3]; /* our ends of them, or -1 */
	uid_t uid;    /* whose program it is */
	gid_t gid;
};

static void say(const struct target *t, const char *fmt, ...) __printf_like(2, 3);
static void say(const struct target *t, const char *fmt, ...)
{
	char text[1400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	/* Names are the other side's: a log is no place for its control characters. */
	for (char *p = text; *p; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			*p = '?';
	if (t->o->log)
		t->o->log(t->o->arg, text);
}

static void notice(void *arg, const char *text)
{
	const struct target *t = arg;
	struct err ignored = ERR_INIT;
	size_t n = strnlen(text, 2000);

	if (proto_send(t->w, FRAME_NOTICE, text, n, &ignored))
		return; /* the next step finds out */
}

/* --- the greeting --- */

static int check_version(const struct target *t, struct err *err)
{
	const struct proto_hello *h = &t->hello;

	if (h->version != PROTO_VERSION || h->required & ~PROTO_REQUIRED_KNOWN) {
		err_set(err, -EPROTONOSUPPORT,
			"this host has godwit " GODWIT_VERSION
			", which speaks version %u of the protocol; the other one has %s, which "
			"speaks version %u",
			PROTO_VERSION, h->tool ? h->tool : "another", h->version);
		err->exit = EXIT_UNSUPPORTED;
		return err_hint(err, "install the same version of godwit on both hosts");
	}
	return 0;
}

static int read_hello(struct target *t, struct err *err)
{
	char buf[PROTO_SMALL_MAX];
	size_t len;
	int ret = proto_expect(t->w, &t->reader, FRAME_HELLO, buf, sizeof(buf), &len, err);
	struct codec c = codec_reader(buf, len);

	if (ret)
		return ret;
	proto_hello_codec(&c, &t->hello);
	/* The version comes first: what follows it may be another version's. */
	if (!c.bad || t->hello.version != PROTO_VERSION)
		ret = check_version(t, err);
	if (!ret && (!codec_ended(&c) || !t->hello.tool || !t->hello.host))
		ret = err_set(err, -EPROTO, "%s sent a malformed greeting", t->w->peer);
	return ret;
}

static int send_welcome(struct target *t, struct err *err)
{
	__cleanup_buf struct buf b = {0};
	struct codec c = codec_writer(&b);
	struct proto_welcome me = {.version = PROTO_VERSION, .free_memory = room_memory()};
	char host[128] = "?";
	struct utsname u;
	int ret;

	gethostname(host, sizeof(host) - 1);
	uname(&u);
	me.tool = (char *)(uintptr_t) "godwit " GODWIT_VERSION;
	me.host = host;
	me.kernel = u.release;
	arch_cpu_here(&me.cpu);
	if ((ret = vdso_here(&me.vdso_hash, err)))
		return ret;
	proto_welcome_codec(&c, &me);
	return proto_send_buf(t->w, FRAME_WELCOME, &b, err);
}

/* --- the model --- */

static int read_model(struct target *t, struct err *err)
{
	__cleanup_free uint8_t *buf = io_alloc(1, PROTO_FILES_MAX, err);
	int ret = buf ? model_in_open(&t->model, err) : err->error;
	bool has_asked = false;

	t->model.carry = &t->carry;
	while (!ret) {
		size_t len;

		wire_deadline(t->w, t->o->timeout_ms);
		ret = proto_recv(t->w, &t->reader, buf, PROTO_FILES_MAX, &len, err);
		if (ret == FRAME_ASK_LATER && !t->model.at && !has_asked)
			ret = postcopy_answer(t->w, buf, len, err);
		else if (ret >= 0)
			ret = model_in_frame(&t->model, (uint32_t)ret, buf, len, err);
		has_asked = true; /* once, and before all else */
	}
	return ret < 0 ? ret : 0;
}

static int load_model(struct target *t, struct err *err)
{
	struct image *img = NULL;
	int ret = image_open_fd(t->model.fd, "the program's state", &img, err);

	if (!ret)
		ret = process_load(img, &t->proc, err);
	image_close(img);
	return ret;
}

/* --- files that come along --- */

/* Which of them come: as their owner, who is the one to put them there. */
static int judge_files(struct target *t, struct err *err)
{
	bool ignored;
	int ret = owner_enter(t->uid, t->gid, err);

	if (ret)
		return ret;
	ret = carry_in_judge(&t->carry, &t->proc, &ignored, err);
	owner_leave();
	return ret;
}

static int take_lot(struct target *t, struct err *err)
{
	__cleanup_free uint8_t *buf = io_alloc(1, CARRY_FRAME_MAX, err);
	int ret = buf ? carry_in_prepare(&t->carry, err) : err->error;

	while (!ret) {
		size_t len;

		wire_deadline(t->w, t->o->timeout_ms);
		ret = proto_recv(t->w, &t->reader, buf, CARRY_FRAME_MAX, &len, err);
		if (ret == FRAME_CARRIED && !len)
			return carry_in_end(&t->carry, t->model.look == LOOK_LAST, err);
		if (ret == FRAME_FILE)
			ret = carry_in_take(&t->carry, buf, len, err);
		else if (ret >= 0)
			ret = err_set(err, -EPROTO, "%s sent a frame of type %d among the files",
				      t->w->peer, ret);
	}
	return ret;
}

static int take_files(struct target *t, struct err *err)
{
	int ret = t->carry.is_used ? owner_enter(t->uid, t->gid, err) : 0;

	if (ret || !t->carry.is_used)
		return ret;
	ret = take_lot(t, err);
	owner_leave();
	return ret;
}

static void drop_files(struct target *t)
{
	struct err ignored = ERR_INIT;

	if (!t->carry.is_used || owner_enter(t->uid, t->gid, &ignored))
		return;
	carry_in_undo(&t->carry);
	owner_leave();
}

/* --- what is said to it --- */

static struct restart_options restart_options(const struct target *t,
					      const struct restart_feed *feed)
{
	return (struct restart_options){
		.image = "the migrated program",
		.feed = feed,
		.ids = t->o->ids,
		.files = t->o->files,
	};
}

/* All that can be known before the first page comes. */
static int check_model(struct target *t, struct err *err)
{
	int ret = read_model(t, err);
	size_t n = t->model.nhash;

	if (ret || (ret = load_model(t, err)))
		return ret;
	if (n != t->proc.nmapped_files)
		return err_set(err, -EPROTO, "malformed list of files");
	t->known = io_alloc(n + 1, sizeof(*t->known), err);
	if (!t->known)
		return err->error;
	files_compare(&t->proc, t->model.hash, t->known);
	t->uid = t->proc.uid;
	t->gid = t->proc.gid;
	if ((ret = owner_check(t->uid, t->gid, t->o, err)))
		return ret;
	if (t->o->stdio == STDIO_FILE && (ret = room_file(t->o->stdio_file, err)))
		return ret;
	room_files(&t->proc, notice, t);
	if (t->carry.is_used && (ret = judge_files(t, err)))
		return ret;
	struct feed look = {.first = &t->proc, .known = t->known, .carry = &t->carry};
	struct restart_feed feed = {.model_fd = t->model.fd,
				    .is_early = t->model.look == LOOK_EARLY,
				    .know = feed_know,
				    .stand_in = feed_stand_in,
				    .arg = &look};
	struct restart_options o = restart_options(t, &feed);

	/* As another user it is checked when that user's process looks. */
	return t->uid == geteuid() ? restart_check(&o, notice, t, err) : 0;
}

static int send_verdict(struct target *t, struct err *err)
{
	return feed_send_verdict(t->w, t->known, t->proc.nmapped_files, &t->carry, err);
}

/* --- the program's process --- */

static int open_stdio(struct target *t, struct err *err)
{
	const char *file = t->o->stdio == STDIO_FILE ? t->o->stdio_file : "/dev/null";

	if (t->o->stdio == STDIO_WIRE)
		return relay_open(t->io, t->relay, err);
	t->io[0] = open("/dev/null", O_RDWR | O_CLOEXEC);
	t->io[1] = open(file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0600);
	t->io[2] = t->io[1] < 0 ? -1 : fcntl(t->io[1], F_DUPFD_CLOEXEC, 3);
	if (t->io[0] < 0 || t->io[1] < 0 || t->io[2] < 0)
		return err_sys(err, -errno, "cannot open '%s' for the program", file);
	return 0;
}

static void take_stdio(const struct target *t)
{
	for (int i = 0; i < 3; i++)
		if (dup2(t->io[i], i) < 0)
			_exit(EXIT_FAILED);
}

/* As the program ended, whose thin parent this is.  Never returns. */
static void end_as(int status)
{
	struct rlimit none = {0, 0};
	sigset_t set;

	if (WIFSIGNALED(status)) {
		setrlimit(RLIMIT_CORE, &none);
		signal(WTERMSIG(status), SIG_DFL);
		raise(WTERMSIG(status)); /* waits until it may come */
		sigemptyset(&set);
		sigaddset(&set, WTERMSIG(status));
		sigprocmask(SIG_UNBLOCK, &set, NULL);
	}
	_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

/* Never returns. */
static void be_program(struct target *t, int done_fd, const int go[2])
{
	struct feed f = {
		.w = t->w,
		.journal = &t->journal,
		.done_fd = done_fd,
		.pid = getpid(),
		.timeout_ms = t->o->timeout_ms,
		.first = &t->proc,
		.known = t->known,
		.carry = &t->carry,
		.id = t->hello.id,
	};
	struct restart_feed feed = {.model_fd = t->model.fd,
				    .is_early = t->model.look == LOOK_EARLY};
	struct restart_options o = restart_options(t, &feed);
	struct err err = ERR_INIT;
	int status = 0, ret;
	char c;

	/* 1. we lock the record and read it; 2. who has forked us writes it, and what we wrote
	 * there meanwhile is gone.  The lock is his, too: so it is waited for. */
	close(go[1]);
	if (io_read_all(go[0], &c, 1))
		_exit(EXIT_FAILED);
	close(go[0]);
	fault_init();
	fault_set_front(getppid());
	setsid();
	for (int i = 0; i < 3; i++)
		io_close_fd(&t->relay[i]);
	take_stdio(t);
	ret = feed_init(&f, &feed, &err);
	if (!ret)
		ret = owner_become(t->uid, t->gid, &err);
	if (!ret)
		/* Its notices have been given, when it was asked whether it can be done. */
		ret = restart(&o, NULL, NULL, &status, &err);
	if (ret < 0) {
		feed.failed(&f, &err);
		_exit(err.exit);
	}
	end_as(status);
}

static int refuse_replay(struct err *err)
{
	return err_perm(err, "this migration was heard of before: a replayed stream");
}

/* Early, and once more when the record is made. */
static int check_replay(struct target *t, struct err *err)
{
	struct err ignored = ERR_INIT;
	struct journal j;

	if (journal_open(&t->hello.id, ROLE_TARGET, &j, &ignored))
		return 0;
	journal_close(&j);
	return refuse_replay(err);
}

static int start_program(struct target *t, int *ret_done, pid_t *ret_pid, struct err *err)
{
	struct journal_record r = {.state = STATE_READY};
	int done[2], go[2], ret;

	if ((ret = open_stdio(t, err)))
		return ret;
	journal_boot_id(r.boot);
	snprintf(r.program, sizeof(r.program), "%.16s", t->proc.comm);
	snprintf(r.from, sizeof(r.from), "%.100s", t->hello.host);
	if (journal_create(&t->hello.id, ROLE_TARGET, &r, &t->journal, err)) {
		if (err->error != -EEXIST)
			return err->error;
		*err = ERR_INIT;
		return refuse_replay(err);
	}
	if (pipe2(done, O_CLOEXEC) || pipe2(go, O_CLOEXEC))
		return err_sys(err, -errno, "cannot make a pipe");
	*ret_pid = fork();
	if (*ret_pid < 0)
		ret = err_sys(err, -errno, "cannot start a process");
	if (*ret_pid == 0) {
		close(done[0]);
		be_program(t, done[1], go);
	}
	close(done[1]);
	close(go[0]);
	fault_init();
	fault_point("process made");
	fault_off(); /* the others are the guardian's */
	*ret_done = done[0];
	r.pid = *ret_pid;
	r.start = journal_start_time(*ret_pid);
	if (!ret)
		ret = journal_write(&t->journal, &r, err);
	if (ret && *ret_pid > 0)
		kill(*ret_pid, SIGKILL);
	/* The lock belongs to the description that the guardian has, too: given up here
	 * once; from now on ours would outlive it. */
	journal_unlock(&t->journal);
	journal_close(&t->journal);
	/* One that has ended is seen to have. */
	if (!ret && write(go[1], "", 1) != 1)
		say(t, "%s has ended before it began", t->proc.comm);
	close(go[1]);
	for (int i = 0; i < 3; i++)
		io_close_fd(&t->io[i]);
	return ret;
}

/* The program, or what should have become it, has ended. */
static void note_end(struct target *t, bool was_done, int status)
{
	struct err ignored = ERR_INIT;
	struct journal_record r;
	struct journal j;
	bool ours = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;

	if (!was_done && !journal_open(&t->hello.id, ROLE_TARGET, &j, &ignored)) {
		if (!journal_lock(&j, 2000) && !journal_read(&j, &r, &ignored) &&
		    (r.state == STATE_READY || r.state == STATE_GOING || r.state == STATE_LACKS)) {
			/* Killed before it was let go: by the end of the guardian. */
			ours = ours || (WIFEXITED(status) && WEXITSTATUS(status) == 128 + SIGKILL);
			r.state = r.state == STATE_READY           ? STATE_NEVER
				  : ours && r.state == STATE_GOING ? STATE_ENDED
								   : STATE_TAKEN;
			if (journal_write(&j, &r, &ignored))
				ignored = ERR_INIT;
		}
		journal_close(&j);
	}
	if (WIFEXITED(status))
		say(t, "%s ended with status %d", t->proc.comm, WEXITSTATUS(status));
	else
		say(t, "%s was ended by signal %d", t->proc.comm, WTERMSIG(status));
}

/* Waits until the guardian has something to say; false: it has ended. */
static bool wait_done(int done, struct arrival *ret)
{
	ssize_t n;

	do
		n = read(done, ret, sizeof(*ret));
	while (n < 0 && errno == EINTR);
	return n == sizeof(*ret);
}

/* One line for each program that came. */
static void say_arrived(const struct target *t, pid_t pid, const struct arrival *a)
{
	char size[16], rounds[32] = "all at once";

	/* The last one comes with the stop. */
	if (a->how == 'l')
		snprintf(rounds, sizeof(rounds), "the rest follows");
	else if (a->rounds > 1)
		snprintf(rounds, sizeof(rounds), "%u round%s and a stop", a->rounds - 1,
			 a->rounds == 2 ? "" : "s");
	say(t, "%s, process %d of %s, goes on here as process %d: %s of memory in %.2f s, %s",
	    t->proc.comm, t->proc.pid, t->hello.host, pid, report_size(size, a->bytes),
	    (double)(wire_now() - t->begun) / 1e9, rounds);
}

/* Post-copy: says what becomes of it, until nobody is left who could.  True: it has all
 * its pages; else it has ended with its pager, since they shared a pid namespace. */
static bool wait_pages(const struct target *t, int done)
{
	struct arrival a = {0};

	while (wait_done(done, &a))
		say(t,
		    a.how == 't'   ? "%s has all its memory; %s is needed no more"
		    : a.how == 'c' ? "%s waits for pages: the connection to %s is cut"
		    : a.how == 'x'
			    ? "%s lacks pages that are gone on %s: it can never go on, end it"
		    : a.how == 'f' ? "%s could not be followed, and was ended: settle it on %s"
				   : "%s runs; its pages are on %s",
		    t->proc.comm, t->hello.host);
	return a.how == 't';
}

static int run_program(struct target *t, struct err *err)
{
	int done = -1, status = 0, ret;
	struct arrival arrival;
	bool lacks = false;
	pid_t pid = -1;

	if ((ret = start_program(t, &done, &pid, err)))
		return ret;
	/* The other side must see it at once when the guardian dies. */
	if (t->o->stdio != STDIO_WIRE)
		wire_done(t->w);
	ret = wait_done(done, &arrival);
	if (ret)
		say_arrived(t, pid, &arrival);
	lacks = ret && arrival.how == 'l' && !wait_pages(t, done);
	close(done);
	if (ret && t->o->stdio == STDIO_WIRE)
		relay_serve(t->w, t->relay, pid, &status);
	else if (!ret || t->o->stays || lacks)
		while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
			;
	else
		return 0;
	note_end(t, ret && !lacks, status);
	return ret ? 0 : err_set(err, -ECANCELED, "%s did not come over", t->proc.comm);
}

/* --- the conversation --- */

static int converse(struct target *t, struct err *err)
{
	int ret;

	wire_deadline(t->w, t->o->timeout_ms);
	if ((ret = read_hello(t, err)))
		return ret;
	if (t->hello.purpose == PURPOSE_SETTLE)
		return outcome_tell(t->w, &t->hello.id, err);
	if (t->hello.purpose == PURPOSE_PAGES)
		return postcopy_carry(t->w, &t->hello.id, t->o->timeout_ms, err);
	if (t->hello.purpose != PURPOSE_MIGRATE && t->hello.purpose != PURPOSE_ASK)
		return err_set(err, -EPROTO, "%s wants something unknown", t->w->peer);
	if ((ret = carry_in_init(&t->carry, &t->hello.id, err)) || (ret = check_replay(t, err)) ||
	    (ret = send_welcome(t, err)) || (ret = check_model(t, err)) ||
	    (ret = send_verdict(t, err)))
		return ret;
	if (t->hello.purpose == PURPOSE_MIGRATE)
		return (ret = take_files(t, err)) ? ret : run_program(t, err);
	say(t, "%s asks about %s, process %d: it could come", t->hello.host, t->proc.comm,
	    t->proc.pid);
	return 0;
}

int target_serve(struct wire *w, const struct target_options *o, struct err *err)
{
	struct target t = {.w = w,
			   .begun = wire_now(),
			   .o = o,
			   .journal = {.fd = -1},
			   .model = {.fd = -1},
			   .carry = {.log = -1},
			   .io = {-1, -1, -1},
			   .relay = {-1, -1, -1}};
	int ret = converse(&t, err);

	if (ret)
		drop_files(&t);
	if (ret && !t.reader.is_refused && w->fd >= 0) {
		wire_deadline(w, 2000);
		proto_refuse(w, err);
	}
	wire_done(w);
	journal_close(&t.journal);
	model_in_done(&t.model);
	carry_in_done(&t.carry);
	for (int i = 0; i < 3; i++) {
		io_close_fd(&t.io[i]);
		io_close_fd(&t.relay[i]);
	}
	proto_hello_done(&t.hello);
	process_done(&t.proc);
	free(t.known);
	return ret;
}
