/* Probes of what one process may do with another: ptrace and its kin. */
#include "cli/doctor.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>
#include <linux/kcmp.h>

#include "base/io.h"
#include "proc/maps.h"
#include "proc/pagemap.h"
#include "proc/status.h"
#include "remote/remote.h"

#define YAMA "/proc/sys/kernel/yama/ptrace_scope"

static void explain_ptrace(struct finding *f, int error, bool stranger)
{
	long scope = probe_read_number(YAMA, 0);
	struct proc_status st = {0};
	__cleanup_buf struct buf b = {0};
	struct err ignored = ERR_INIT;

	finding_no(f, "%s; kernel.yama.ptrace_scope is %ld", strerror(error), scope);
	if (!io_read_file(AT_FDCWD, "/proc/self/status", &b) &&
	    !proc_parse_status(b.p, &st, &ignored) && st.tracer)
		finding_remedy(f, "run doctor outside of the debugger or strace that traces it");
	else if (scope == 3)
		finding_remedy(f, "ptrace is switched off until the next boot "
				  "(kernel.yama.ptrace_scope = 3); boot with 0, 1 or 2");
	else if (scope == 2)
		finding_remedy(f, "be root, or: sysctl kernel.yama.ptrace_scope=0");
	else if (scope == 1 && stranger)
		finding_remedy(f,
			       "sysctl kernel.yama.ptrace_scope=0, or be root, or start programs "
			       "with LD_PRELOAD=libckpt.so");
	else
		finding_refused(f, "ptrace", error, "3.4");
}

/* Seizes and stops pid.  0 or a positive errno. */
static int seize_stop(pid_t pid)
{
	int status;

	if (ptrace(PTRACE_SEIZE, pid, 0, 0) || ptrace(PTRACE_INTERRUPT, pid, 0, 0))
		return errno;
	return waitpid(pid, &status, __WALL) == pid && WIFSTOPPED(status) ? 0 : ESRCH;
}

/* Is this a stopped thread whose registers can be read and written? */
static int try_registers(pid_t pid)
{
	struct user_regs_struct regs;
	uint64_t mask;

	if (ptrace(PTRACE_GETREGS, pid, 0, &regs) || ptrace(PTRACE_SETREGS, pid, 0, &regs) ||
	    ptrace(PTRACE_GETSIGMASK, pid, sizeof(mask), &mask) ||
	    ptrace(PTRACE_SETSIGMASK, pid, sizeof(mask), &mask))
		return errno;
	return ptrace(PTRACE_DETACH, pid, 0, 0) ? errno : 0;
}

/* The tracer must not be an ancestor: those Yama lets through. */
static void probe_attach(struct finding *f)
{
	pid_t target = probe_idle_child(f), tracer = probe_fork(f);
	int status = 0;

	if (tracer == 0) {
		int error = seize_stop(target);

		_exit(error ? error : try_registers(target));
	}
	waitpid(tracer, &status, 0);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		finding_yes(f, "%s", "");
	else
		explain_ptrace(f, WIFEXITED(status) ? WEXITSTATUS(status) : EPERM, true);
	probe_end_child(target);
}

/* As restart and libckpt.so do it: a child seizes its parent, which allowed it. */
static void probe_parent(struct finding *f)
{
	int go[2], status = 0;
	pid_t tracer;
	char c = 0;

	if (pipe(go)) {
		finding_no(f, "pipe: %s", strerror(errno));
		return;
	}
	tracer = probe_fork(f);
	if (tracer == 0) {
		int error = read(go[0], &c, 1) == 1 ? seize_stop(getppid()) : EIO;

		_exit(error ? error : try_registers(getppid()));
	}
	prctl(PR_SET_PTRACER, tracer, 0, 0, 0); /* EINVAL without Yama: not needed then */
	if (write(go[1], &c, 1) != 1)
		finding_no(f, "pipe: %s", strerror(errno));
	while (waitpid(tracer, &status, 0) < 0 && errno == EINTR)
		;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		finding_yes(f, "%s", "");
	else
		explain_ptrace(f, WIFEXITED(status) ? WEXITSTATUS(status) : EPERM, false);
}

/* The engine itself, on a child: one remote getpid(), then the child must be
 * as it was. */
static int try_engine(struct remote *r, pid_t pid, struct err *err)
{
	__cleanup_buf struct buf text = {0};
	struct proc_maps maps = {0};
	struct program prog;
	struct call *call;
	int ret = io_read_file(r->procfd, "maps", &text);

	if (!ret)
		ret = proc_parse_maps(text.p, &maps, err);
	if (!ret)
		ret = remote_check(r, &maps, err);
	if (!ret)
		ret = remote_prepare(r, &maps, err);
	proc_maps_done(&maps);
	if (ret)
		return err_set(err, ret, "%s", strerror(-ret));
	program_init(&prog, r->data, REMOTE_DATA_LEN, REMOTE_CALL_CAP, err);
	call = program_call(&prog, "ask for its id", SYS_getpid, 0, 0, 0, 0, 0, 0);
	call->expect = EXPECT_ANY;
	ret = remote_run(r, &prog, err);
	if (!ret && prog.batches[0].calls[0].ret != pid)
		ret = err_set(err, -EIO, "a remote getpid() gave a wrong number");
	program_done(&prog);
	return ret;
}

static void probe_engine(struct finding *f)
{
	struct err err = ERR_INIT;
	pid_t pid = probe_idle_child(f);
	struct remote r;
	int ret;

	/* Yama lets the parent in without being asked. */
	if (!(ret = remote_seize(&r, pid, &err))) {
		ret = try_engine(&r, pid, &err);
		remote_release(&r);
	}
	if (!ret) {
		finding_yes(f, "%s", "");
	} else {
		finding_no(f, "%s", err.what);
		finding_remedy(f, "%s",
			       access("/proc/self/maps", R_OK) ? "mount /proc"
			       : err.hint[0]                   ? err.hint
					     : "see the lines about ptrace and /proc");
	}
	probe_end_child(pid);
}

static void probe_vm_readv(struct finding *f)
{
	volatile uint64_t magic = 0x1122334455667788;
	uint64_t got = 0;
	pid_t pid = probe_idle_child(f);
	struct iovec local = {&got, sizeof(got)},
		     remote = {(void *)(uintptr_t)&magic, sizeof(magic)};

	if (process_vm_readv(pid, &local, 1, &remote, 1, 0) != sizeof(got))
		finding_refused(f, "process_vm_readv", errno,
				"3.2 with CONFIG_CROSS_MEMORY_ATTACH");
	else if (process_vm_writev(pid, &local, 1, &remote, 1, 0) != sizeof(got))
		finding_refused(f, "process_vm_writev", errno, "3.2");
	else if (got == magic)
		finding_yes(f, "%s", "");
	else
		finding_no(f, "it read other bytes than are there");
	probe_end_child(pid);
}

static void probe_getfd(struct finding *f)
{
	int p[2], pidfd, got = -1;
	struct stat a, b;
	pid_t pid;

	if (pipe(p)) {
		finding_no(f, "pipe: %s", strerror(errno));
		return;
	}
	pid = probe_idle_child(f);
	pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (pidfd >= 0)
		got = (int)syscall(SYS_pidfd_getfd, pidfd, p[1], 0);
	if (pidfd < 0)
		finding_refused(f, "pidfd_open", errno, "5.3");
	else if (got < 0)
		finding_refused(f, "pidfd_getfd", errno, "5.6");
	else if (!fstat(got, &a) && !fstat(p[1], &b) && a.st_ino == b.st_ino)
		finding_yes(f, "%s", "");
	else
		finding_no(f, "it gave another file than was asked for");
	probe_end_child(pid);
}

static void probe_kcmp(struct finding *f)
{
	pid_t pid = probe_idle_child(f);
	long same = syscall(SYS_kcmp, getpid(), pid, KCMP_FILE, 2, 2);

	if (same == 0)
		finding_yes(f, "%s", "");
	else if (same > 0)
		finding_no(f, "it says that one file is two");
	else
		finding_refused(f, "kcmp", errno, "3.5 with CONFIG_KCMP");
	probe_end_child(pid);
}

struct seen {
	uint64_t first, pages;
};

static int count_pages(void *arg, uint64_t start, uint64_t end, bool unchanged)
{
	struct seen *s = arg;

	(void)unchanged;
	if (!s->pages)
		s->first = start;
	s->pages += (end - start) / PAGE_SIZE_4K;
	return 0;
}

/* 64 pages, of which two are touched: exactly those must be found. */
static void probe_pagemap(struct finding *f)
{
	size_t len = 64 * PAGE_SIZE_4K;
	char *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint64_t base = (uint64_t)(uintptr_t)p;
	struct seen seen = {0};
	struct err err = ERR_INIT;
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);

	if (p == MAP_FAILED || fd < 0) {
		finding_no(f, "/proc/self/pagemap: %s", strerror(errno));
		return;
	}
	p[20 * PAGE_SIZE_4K] = 1;
	p[40 * PAGE_SIZE_4K] = 1;
	if (pagemap_walk(fd, base, base + len, PAGEMAP_PRIVATE, count_pages, &seen, &err))
		finding_no(f, "%s", err.what);
	else if (seen.pages != 2 || seen.first != base + 20 * PAGE_SIZE_4K)
		finding_no(f, "it shows %llu touched pages where there are 2",
			   (unsigned long long)seen.pages);
	else if (pagemap_has_scan(fd))
		finding_yes(f, "%s", "");
	else
		finding_no(f, "this kernel lacks it; each page is asked for instead");
	if (!f->works)
		finding_remedy(f,
			       "Linux 6.7 or later; without it programs that reserve much memory "
			       "(Go, Java) take longer to checkpoint");
}

/* From <linux/ptrace.h>, which does not go together with <sys/ptrace.h>. */
#define REQUEST_GET_RSEQ 0x420f
struct rseq_configuration {
	uint64_t address;
	uint32_t size, signature, flags, pad;
};

static void probe_rseq(struct finding *f)
{
	struct rseq_configuration c = {0};
	pid_t pid = probe_idle_child(f);
	int error = seize_stop(pid);

	if (error)
		explain_ptrace(f, error, false);
	else if (ptrace(REQUEST_GET_RSEQ, pid, sizeof(c), &c) < 0)
		finding_refused(f, "PTRACE_GET_RSEQ_CONFIGURATION", errno,
				"5.13 with CONFIG_RSEQ and CONFIG_CHECKPOINT_RESTORE");
	else
		finding_yes(f, "area of %u bytes", c.size);
	probe_end_child(pid);
}

static void probe_xstate(struct finding *f)
{
	static uint8_t area[64 << 10];
	struct iovec iov = {area, sizeof(area)};
	pid_t pid = probe_idle_child(f);
	int error = seize_stop(pid);
	uint64_t xcr0;

	if (error) {
		explain_ptrace(f, error, false);
	} else if (ptrace(PTRACE_GETREGSET, pid, NT_X86_XSTATE, &iov) ||
		   ptrace(PTRACE_SETREGSET, pid, NT_X86_XSTATE, &iov)) {
		finding_refused(f, "PTRACE_GETREGSET(NT_X86_XSTATE)", errno, "2.6.35");
	} else {
		/* Linux keeps XCR0 in the software-reserved bytes, at 464. */
		memcpy(&xcr0, area + 464, sizeof(xcr0));
		finding_yes(f, "%zu bytes: SSE%s%s%s", iov.iov_len, xcr0 & 4 ? ", AVX" : "",
			    (xcr0 & 0xe0) == 0xe0 ? ", AVX-512" : "",
			    xcr0 >> 18 & 1 ? ", AMX" : "");
	}
	probe_end_child(pid);
}

const struct probe doctor_tracing[] = {
	{"ptrace_parent", "ptrace, own parent", NEED_ALWAYS,
	 "restart; checkpoint by LD_PRELOAD=libckpt.so", probe_parent},
	{"ptrace_attach", "ptrace, any own program", NEED_SOME,
	 "godwit checkpoint PID of a program that nobody prepared", probe_attach},
	{"engine", "remote system calls", NEED_ALWAYS,
	 "everything: ptrace, /proc/PID/mem, room behind the vdso", probe_engine},
	{"process_vm_readv", "process_vm_readv, writev", NEED_ALWAYS,
	 "reading the program's memory", probe_vm_readv},
	{"pidfd_getfd", "pidfd_getfd", NEED_SOME,
	 "programs with pipes, sockets, eventfd, epoll, shared memory", probe_getfd},
	{"kcmp", "kcmp", NEED_SOME, "programs whose descriptors share one file offset", probe_kcmp},
	{"pagemap_scan", "PAGEMAP_SCAN", NEED_SOME,
	 "speed with programs that reserve much memory (Go, Java)", probe_pagemap},
	{"rseq", "rseq through ptrace", NEED_SOME, "programs with glibc 2.35 or later", probe_rseq},
	{"xstate", "vector registers", NEED_ALWAYS, "x87, SSE, AVX, AVX-512 and AMX registers",
	 probe_xstate},
	{0},
};
