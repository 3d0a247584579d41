/*
 * The model: everything a checkpoint knows of a process, in plain structs.
 * Capture fills it, the image stores it, restart builds from it, `godwit show`
 * prints it.  Addresses are the target's; lengths are bytes; times are
 * nanoseconds unless said otherwise.  All pointers are owned by the struct.
 */
#ifndef GODWIT_STATE_PROCESS_H
#define GODWIT_STATE_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/user.h>

#include "arch/x86_64/features.h"
#include "proc/status.h"

/* Where and when the checkpoint was made. */
struct system_info {
	char *tool;      /* "godwit 0.1.0" */
	int64_t time_ns; /* CLOCK_REALTIME, since the epoch */
	int64_t monotonic_ns, boottime_ns;
	char *host, *kernel, *machine, *cpu, *boot_id;
	uint64_t xfeatures; /* XCR0 */
	uint32_t xstate_size;
	uint64_t vdso_hash; /* of the bytes of [vdso] */
};

enum mapping_kind {
	MAPPING_ANON = 1,   /* private anonymous, heap, stacks */
	MAPPING_FILE = 2,   /* private, of a file */
	MAPPING_SHARED = 3, /* shared, of a file: the content is the file's */
	MAPPING_SHMEM = 4,  /* shared anonymous, of this process alone */
	MAPPING_VDSO = 5,
	MAPPING_VVAR = 6, /* [vvar], [vvar_vclock], ... */
	MAPPING_HUGE = 7, /* of huge pages, without a file: state/memory_huge.h */
};

enum mapping_flag {
	MAPPING_GROWSDOWN = 1u << 0,
	MAPPING_NORESERVE = 1u << 1,
	MAPPING_HEAP = 1u << 2,  /* [heap] */
	MAPPING_STACK = 1u << 3, /* [stack] */
	/* MAPPING_SHMEM of a file without a name (state/contents.h): nothing is stored of it */
	MAPPING_OF_CONTENT = 1u << 5,
	MAPPING_SYSV = 1u << 6,         /* MAPPING_SHMEM by shmat(2): state/memory_sysv.h */
	MAPPING_SYSV_REMOVED = 1u << 7, /* marked by IPC_RMID */
	MAPPING_HUGE_SHARED = 1u << 8,  /* a MAPPING_HUGE that is shared, of this process alone */
	MAPPING_DELETED =
		1u << 4, /* the file has no name any more: stored whole, restored as anonymous */
	/* Capture: who touches a missing page of it waits for a userfaultfd.  Never stored. */
	MAPPING_AWAITED = 1u << 30,
};

struct mapping {
	uint64_t start, end; /* page-aligned, [start, end) */
	uint64_t offset;     /* in the file or shared object, bytes */
	uint32_t prot;       /* PROT_* */
	uint32_t kind, flags;
	uint32_t file;   /* index in process.mapped_files + 1, 0 = none */
	uint64_t object; /* MAPPING_SHMEM: inode, the same for mappings of one object */
	uint64_t stored; /* bytes of it in the image */
	char *name;      /* as /proc/PID/maps has it, or NULL */
};

/* Is it the kernel's own, the vdso or its data? */
static inline bool mapping_is_special(const struct mapping *m)
{
	return m->kind == MAPPING_VDSO || m->kind == MAPPING_VVAR;
}

struct mapped_file {
	char *path;
	uint64_t dev, ino, size; /* bytes */
	int64_t mtime_ns;
	uint8_t build_id[20];
	uint32_t build_id_len; /* 0: none */
};

enum run_flag {
	/* The same bytes are in the mapped file: needed only where the file is
	 * missing or another one. */
	RUN_CLEAN = 1u << 0,
	/* Not in the data area: in the image's parent, at the same address. */
	RUN_PARENT = 1u << 1,
	/* Capture of a tracked program: nobody wrote to it since the last round.
	 * Never stored. */
	RUN_UNCHANGED = 1u << 31,
};

/* A range of pages that is stored.  The data area holds the runs one after
 * the other, unless places_given (state/places.c). */
struct run {
	uint64_t start, len;
	uint32_t mapping; /* index */
	uint32_t flags;
	uint64_t place; /* offset in the data area; 0 for RUN_PARENT */
};

struct pending_signal {
	uint8_t info[128]; /* siginfo_t as the kernel has it */
};

/* One that came after the model was made. */
struct late_signal {
	uint32_t thread; /* 0: to the process, else to the thread of this index + 1 */
	struct pending_signal signal;
};

struct thread {
	int32_t tid; /* in the innermost pid namespace of the program */
	char comm[16];
	struct user_regs_struct regs;
	uint64_t sigmask;
	uint64_t altstack_sp, altstack_size;
	uint32_t altstack_flags;
	uint64_t robust_list, robust_len;
	uint64_t tid_address; /* set_tid_address, CLONE_CHILD_CLEARTID */
	uint64_t rseq_addr;
	uint32_t rseq_len, rseq_sig, rseq_flags;
	struct pending_signal *pending;
	size_t npending;
	uint64_t xstate_off; /* in the image: the NT_X86_XSTATE note's bytes */
	uint32_t xstate_len;
	const uint8_t *xstate; /* while it is saved: in process.xstates; NULL: not kept */
};

/* Scheduling of one thread, as sched_getattr(2) has it. */
struct sched_state {
	uint32_t policy, flags; /* SCHED_*, SCHED_FLAG_RESET_ON_FORK */
	int32_t nice;
	uint32_t priority;
	void *cpus; /* bit mask of the CPUs it may use */
	size_t cpus_len;
};

/* What a thread has told the kernel about itself: state/settings.c. */
struct thread_settings {
	uint64_t timerslack_ns;
	uint32_t death_signal; /* of its parent: PR_SET_PDEATHSIG */
	uint32_t securebits;   /* capabilities(7) */
	uint32_t ioprio;       /* ioprio_get(2) */
	uint32_t io_flusher;
};

/* Seccomp filters of a thread: state/seccomp.c. */
struct thread_filters {
	uint32_t no_new_privs;
	uint32_t *v; /* [n]: indices in process.filters, in the order in which they were set */
	size_t n;
};

struct settings {
	int32_t oom_score_adj;
	uint32_t coredump_filter;
	uint32_t lock_future; /* 1: mlockall(MCL_FUTURE), 2: with MCL_ONFAULT */
	uint32_t mdwe;        /* PR_SET_MDWE */
	struct thread_settings *threads;
	size_t nthreads;
};

/* A range that madvise(2) or mlock(2) was called for; flags: see state/advice.c. */
struct advice {
	uint64_t start, end;
	uint32_t flags;
};

struct sigaction_state {
	uint64_t handler, flags, restorer, mask; /* the kernel's struct sigaction */
};

struct rlimit_state {
	uint64_t cur, max;
};

/* prctl(PR_SET_MM_MAP): where things are in the address space. */
struct mm_layout {
	uint64_t start_code, end_code, start_data, end_data, start_brk, brk, start_stack;
	uint64_t arg_start, arg_end, env_start, env_end;
	void *auxv;
	size_t auxv_len;
};

/* The image below an incremental one (state/parent.c). */
struct parent_ref {
	char *name;        /* of the file, without its directory */
	char *path;        /* where it was, absolute; NULL: there is none */
	uint64_t id, size; /* image_id(), bytes */
	int64_t time_ns;   /* when it was made, CLOCK_REALTIME */
	uint32_t depth;    /* how many images are below */
};

struct seccomp_filter; /* remote/bpf.h */
struct file_table;     /* state/files.h */
struct file_content;   /* state/contents.h */

/* setitimer(2): what was left and the interval, in microseconds. */
struct itimer_state {
	uint64_t value_us, interval_us;
};

/* timer_create(2). */
struct posix_timer {
	int32_t id, clock, signal;
	uint64_t value;  /* sigev_value */
	bool is_silent;  /* SIGEV_NONE */
	uint32_t thread; /* SIGEV_THREAD_ID: index in threads; UINT32_MAX: the process */
	int64_t left_ns, interval_ns; /* left_ns 0: not armed */
};

/* Stored in images: numbers are never reused. */
enum file_owner {
	FILE_OWNER_NONE,
	FILE_OWNER_PROCESS,
	FILE_OWNER_THREAD,
	FILE_OWNER_GROUP /* the program's process group */
};

/* F_SETOWN_EX, F_SETSIG, O_ASYNC (fcntl(2)) of an open file. */
struct file_signal {
	int32_t fd;      /* its lowest descriptor */
	uint32_t owner;  /* enum file_owner */
	uint32_t thread; /* index in threads; UINT32_MAX where no thread is the owner */
	uint32_t signal; /* 0: SIGIO without details */
	bool is_async;
};

/* termios(3), where the program has turned off lines or echo. */
struct terminal_modes {
	bool is_set;
	uint32_t iflag, oflag, lflag;
	uint8_t cc[19];
};

struct process {
	struct system_info system;
	struct arch_cpu cpu; /* it ran on */
	bool has_cpu;        /* images of earlier versions do not tell */
	/* identity */
	int32_t pid, ppid, pgid, sid; /* in the program's innermost pid namespace */
	uint32_t uid, euid, suid, fsuid, gid, egid, sgid, fsgid;
	char *exe; /* path of the executable */
	struct mapped_file exe_file;
	char comm[16];
	char **argv; /* for people; the real one is in memory */
	size_t argc;
	char **job; /* the command line of godwit run, which made the image; njob 0: another did */
	size_t njob;
	/* surroundings */
	char *cwd, *root;
	uint32_t umask, personality;
	uint32_t no_new_privs, dumpable;
	struct rlimit_state rlimits[16];
	/* memory */
	struct mm_layout mm;
	struct mapping *mappings;
	size_t nmappings, mappings_cap;
	struct mapped_file *mapped_files;
	size_t nmapped_files, mapped_files_cap;
	struct run *runs;
	size_t nruns, runs_cap;
	struct parent_ref parent;
	bool places_given;   /* runs do not simply follow each other in the data area */
	uint64_t xcomp_perm; /* arch_prctl(ARCH_GET_XCOMP_PERM) */
	/* threads; [0] is the leader, unless that has ended */
	struct thread *threads;
	uint8_t *xstates; /* vector registers that were kept */
	size_t nthreads;
	bool leader_ended;         /* as a zombie it is none of the threads */
	uint32_t leader_status;    /* its exit status, 0 to 255 */
	struct sched_state *sched; /* [i] belongs to threads[i] */
	size_t nsched;
	uint64_t timerslack_ns; /* of threads[0] */
	uint32_t subreaper, thp_disable;
	struct settings settings;
	struct proc_caps caps;
	bool has_caps;                  /* the image says which */
	struct seccomp_filter *filters; /* remote/bpf.h */
	size_t nfilters;
	struct thread_filters *thread_filters; /* [i] belongs to threads[i]; NULL: there are none */
	size_t nthread_filters;
	struct advice *advice;
	size_t nadvice;
	/* signals */
	struct sigaction_state sigactions[64]; /* [signo - 1] */
	struct pending_signal *pending;        /* process-directed */
	size_t npending;
	struct itimer_state itimers[3];   /* ITIMER_REAL, _VIRTUAL, _PROF */
	struct posix_timer *posix_timers; /* ids ascend */
	size_t nposix_timers;
	struct file_table *files;
	struct file_signal *file_signals; /* fds ascend */
	size_t nfile_signals;
	struct terminal_modes terminal;
	struct file_content *contents;
	size_t ncontents;
};

/* Several processes that belong together.  A checkpoint of one has n == 1. */
struct process_tree {
	struct process *procs;
	size_t n;
};

/* Frees everything that belongs to the process, through the state files. */
void process_done(struct process *p);

#endif
