/* Probes of what a process may do with itself: memory, files, /proc. */
#include "cli/doctor.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>

#include "base/io.h"
#include "proc/newer.h"
#include "proc/status.h"

/* Every value as it is: harmless, and refused where the call is not there. */
static void probe_mm_map(struct finding *f)
{
	__cleanup_buf struct buf b = {0};
	struct proc_stat st;
	struct err err = ERR_INIT;
	struct prctl_mm_map map = {.exe_fd = (uint32_t)-1};

	if (io_read_file(AT_FDCWD, "/proc/self/stat", &b) || proc_parse_stat(b.p, &st, &err)) {
		finding_no(f, "/proc/self/stat cannot be read");
		finding_remedy(f, "mount /proc");
		return;
	}
	map.start_code = st.start_code;
	map.end_code = st.end_code;
	map.start_data = st.start_data;
	map.end_data = st.end_data;
	map.start_brk = st.start_brk;
	map.brk = (uint64_t)(uintptr_t)sbrk(0);
	map.start_stack = st.start_stack;
	map.arg_start = st.arg_start;
	map.arg_end = st.arg_end;
	map.env_start = st.env_start;
	map.env_end = st.env_end;
	if (prctl(PR_SET_MM, PR_SET_MM_MAP, &map, sizeof(map), 0))
		finding_refused(f, "prctl(PR_SET_MM_MAP)", errno == EINVAL ? ENOSYS : errno,
				"3.18 with CONFIG_CHECKPOINT_RESTORE");
	else
		finding_yes(f, "%s", "");
}

/* The preload door runs its engine from a memfd. */
static void probe_memfd_exec(struct finding *f)
{
	/* mov edi, 42; mov eax, 60 (exit); syscall */
	static const uint8_t code[] = {0xbf, 42, 0, 0, 0, 0xb8, 60, 0, 0, 0, 0x0f, 0x05};
	struct {
		Elf64_Ehdr eh;
		Elf64_Phdr ph;
		uint8_t code[sizeof(code)];
	} prog = {
		.eh = {.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
		       .e_type = ET_EXEC,
		       .e_machine = EM_X86_64,
		       .e_version = EV_CURRENT,
		       .e_phoff = sizeof(Elf64_Ehdr),
		       .e_ehsize = sizeof(Elf64_Ehdr),
		       .e_phentsize = sizeof(Elf64_Phdr),
		       .e_phnum = 1},
		.ph = {.p_type = PT_LOAD,
		       .p_flags = PF_R | PF_X,
		       .p_vaddr = 0x400000,
		       .p_filesz = sizeof(prog),
		       .p_memsz = sizeof(prog),
		       .p_align = 4096},
	};
	int fd = (int)syscall(SYS_memfd_create, "godwit", MFD_CLOEXEC), status = 0;
	pid_t pid;

	prog.eh.e_entry = 0x400000 + sizeof(prog.eh) + sizeof(prog.ph);
	memcpy(prog.code, code, sizeof(code));
	if (fd < 0 || io_write_all(fd, &prog, sizeof(prog))) {
		finding_refused(f, "memfd_create", errno, "3.17");
		return;
	}
	pid = probe_fork(f);
	if (pid == 0) {
		char *none[] = {(char *)(uintptr_t) "godwit", NULL};

		syscall(SYS_execveat, fd, "", none, none + 1, AT_EMPTY_PATH);
		_exit(errno & 31);
	}
	waitpid(pid, &status, 0);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 42) {
		finding_yes(f, "%s", "");
		return;
	}
	finding_no(f, "a memfd cannot be executed; vm.memfd_noexec is %ld",
		   probe_read_number("/proc/sys/vm/memfd_noexec", 0));
	finding_remedy(f, "sysctl vm.memfd_noexec=0, or use: godwit checkpoint PID");
}

static void probe_tmpfile(struct finding *f)
{
	__cleanup_fd int fd = open(".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	if (fd >= 0 && !io_write_all(fd, "x", 1)) {
		finding_yes(f, "%s", "");
	} else if (errno == EACCES || errno == EROFS || errno == EPERM) {
		finding_no(f, "%s", strerror(errno));
		finding_remedy(f, "go to a directory that you may write to, or give one with -o");
	} else {
		finding_no(f, "%s", strerror(errno));
		finding_remedy(f, "not needed: a temporary name beside the image is used here");
	}
}

static void probe_proc(struct finding *f)
{
	char self[32] = "", want[32], path[64];
	__cleanup_buf struct buf b = {0};
	pid_t pid = probe_idle_child(f);

	snprintf(want, sizeof(want), "%d", getpid());
	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	if (io_readlink(AT_FDCWD, "/proc/self", self, sizeof(self))) {
		finding_no(f, "/proc is not mounted");
		finding_remedy(f, "mount -t proc proc /proc");
	} else if (strcmp(self, want)) {
		finding_no(f, "/proc belongs to another pid namespace");
		finding_remedy(f, "mount -t proc proc /proc inside this pid namespace");
	} else if (io_read_file(AT_FDCWD, path, &b) || !b.len) {
		finding_no(f, "%s cannot be read", path);
		finding_remedy(f, "mount -o remount,hidepid=0 /proc, or be root");
	} else if (access("/proc/sys/kernel", F_OK)) {
		finding_yes(f, "mounted with subset=pid");
	} else if (!io_read_file(AT_FDCWD, "/proc/self/mounts", &b) && strstr(b.p, "hidepid=") &&
		   !strstr(b.p, "hidepid=0") && !strstr(b.p, "hidepid=off")) {
		finding_yes(f, "mounted with hidepid: you see only your own programs");
	} else {
		finding_yes(f, "%s", "");
	}
	probe_end_child(pid);
}

static void probe_uffd(struct finding *f)
{
	size_t len = 16 * PAGE_SIZE_4K;
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
	struct uffdio_api api = {.api = UFFD_API,
				 .features = UFFD_FEATURE_WP_ASYNC | UFFD_FEATURE_WP_UNPOPULATED};
	struct uffdio_register reg = {.range = {(uintptr_t)p, len},
				      .mode = UFFDIO_REGISTER_MODE_WP};

	if (fd < 0)
		finding_refused(f, "userfaultfd", errno, "5.11 with CONFIG_USERFAULTFD");
	else if (ioctl(fd, UFFDIO_API, &api))
		finding_refused(f, "userfaultfd with WP_ASYNC", errno == EINVAL ? ENOSYS : errno,
				"6.7");
	else if (ioctl(fd, UFFDIO_REGISTER, &reg))
		finding_no(f, "UFFDIO_REGISTER: %s", strerror(errno));
	else
		finding_yes(f, "%s", "");
}

/* Asks for one end of a socket pair: the answer must name the other one. */
static bool ask_peer(int nl, const int sv[2], struct finding *f)
{
	struct {
		struct nlmsghdr h;
		struct unix_diag_req r;
	} req = {.h = {.nlmsg_len = sizeof(req),
		       .nlmsg_type = SOCK_DIAG_BY_FAMILY,
		       .nlmsg_flags = NLM_F_REQUEST},
		 .r = {.sdiag_family = AF_UNIX,
		       .udiag_states = ~0u,
		       .udiag_show = UDIAG_SHOW_PEER,
		       .udiag_cookie = {~0u, ~0u}}};
	union {
		struct nlmsghdr h;
		char bytes[4096];
	} ans;
	struct stat a, b;
	ssize_t n;

	if (fstat(sv[0], &a) || fstat(sv[1], &b))
		return false;
	req.r.udiag_ino = (uint32_t)a.st_ino;
	if (send(nl, &req, sizeof(req), 0) < 0 || (n = recv(nl, &ans, sizeof(ans), 0)) < 0) {
		finding_no(f, "%s", strerror(errno));
		return false;
	}
	if (ans.h.nlmsg_type == NLMSG_ERROR) {
		const struct nlmsgerr *e = NLMSG_DATA(&ans.h);

		finding_no(f, "%s", strerror(-e->error));
		return false;
	}
	/* The attribute UNIX_DIAG_PEER holds the peer's inode number. */
	for (size_t off = NLMSG_LENGTH(sizeof(struct unix_diag_msg)); off + 8 <= (size_t)n;
	     off += 4) {
		uint16_t type;
		uint32_t ino;

		memcpy(&type, ans.bytes + off + 2, sizeof(type));
		memcpy(&ino, ans.bytes + off + 4, sizeof(ino));
		if (type == UNIX_DIAG_PEER && ino == (uint32_t)b.st_ino)
			return true;
	}
	finding_no(f, "the answer does not name the peer");
	return false;
}

static void probe_unix_diag(struct finding *f)
{
	__cleanup_fd int nl = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
	int sv[2];

	if (nl < 0 || socketpair(AF_UNIX, SOCK_STREAM, 0, sv))
		finding_no(f, "%s", strerror(errno));
	else if (ask_peer(nl, sv, f))
		finding_yes(f, "%s", "");
	if (!f->works)
		finding_remedy(f, "modprobe unix_diag (CONFIG_UNIX_DIAG), and let the container's "
				  "filter allow netlink sockets");
}

static void probe_personality(struct finding *f)
{
	if (personality(0xffffffff) < 0 || personality(ADDR_NO_RANDOMIZE) < 0)
		finding_refused(f, "personality", errno, "2.6");
	else
		finding_yes(f, "%s", "");
}

#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#define PR_SET_VMA_ANON_NAME 0
#endif

static void probe_vma_name(struct finding *f)
{
	void *p = mmap(NULL, PAGE_SIZE_4K, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, p, PAGE_SIZE_4K, "godwit"))
		finding_refused(f, "prctl(PR_SET_VMA_ANON_NAME)", errno == EINVAL ? ENOSYS : errno,
				"5.17 with CONFIG_ANON_VMA_NAME");
	else
		finding_yes(f, "%s", "");
}

/* CPUID leaf 7, edx bit 24; the kernel must let a process ask for it. */
static void probe_amx(struct finding *f)
{
	const long req_xcomp_perm = 0x1023, tile_data = 18;

	if (!syscall(SYS_arch_prctl, req_xcomp_perm, tile_data)) {
		finding_yes(f, "%s", "");
		return;
	}
	finding_no(f, "this CPU or kernel has none");
	finding_remedy(f, "not needed, but for images of programs that use AMX: restart those on a "
			  "CPU that has it");
}

const struct probe doctor_kernel[] = {
	{"proc", "/proc", NEED_ALWAYS, "everything", probe_proc},
	{"mm_map", "PR_SET_MM_MAP", NEED_RESTART, "heap, arguments, environment after a restart",
	 probe_mm_map},
	{"memfd_exec", "execute a memfd", NEED_SOME, "checkpoint by LD_PRELOAD=libckpt.so",
	 probe_memfd_exec},
	{"tmpfile", "O_TMPFILE in this directory", NEED_SOME,
	 "an image without a temporary name while it is written", probe_tmpfile},
	{"personality", "personality", NEED_SOME, "programs run by setarch -R", probe_personality},
	{"amx", "AMX tiles", NEED_SOME, "programs that use AMX", probe_amx},
	{"unix_diag", "unix_diag", NEED_SOME, "programs with socket pairs inside", probe_unix_diag},
	{"vma_name", "names of mappings", NEED_SOME, "mappings that a program has named",
	 probe_vma_name},
	{"uffd_wp_async", "userfaultfd WP_ASYNC", NEED_SOME,
	 "tracking of written pages: copying a program while it runs", probe_uffd},
	{0},
};
