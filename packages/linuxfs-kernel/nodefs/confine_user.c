// SPDX-License-Identifier: GPL-2.0
/*
 * The process gives up what it does not need: whoever takes it over through a hostile image has the memory of a disk and
 * two sockets, and no other file, process or network.
 *
 * The filter is a list of the calls that a running kernel makes. It is in place before the first image is read.
 */
#include <errno.h>
#include <stddef.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

int nodefs_confine(void);

#define ALLOW(name) \
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_##name, 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)

int nodefs_confine(void)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		ALLOW(read),
		ALLOW(write),
		ALLOW(epoll_wait),
		ALLOW(epoll_pwait),
		ALLOW(rt_sigreturn),
		ALLOW(rt_sigprocmask),
		ALLOW(rt_sigsuspend),
		ALLOW(rt_sigaction),
		ALLOW(sigaltstack),
		ALLOW(clock_gettime),
		ALLOW(timer_settime),
		ALLOW(timer_gettime),
		ALLOW(getpid),
		ALLOW(mmap), /* of the kernel's own memory, for vmalloc */
		ALLOW(munmap),
		ALLOW(mprotect),
		ALLOW(madvise),
		ALLOW(exit_group),
		ALLOW(exit),
		ALLOW(fcntl), /* the end: no more signals from descriptors */
		ALLOW(close),
		ALLOW(getrandom),
		ALLOW(restart_syscall),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
	};
	struct sock_fprog program = { .len = sizeof(filter) / sizeof(filter[0]), .filter = filter };
	struct rlimit none = { 0, 0 };

	if (setrlimit(RLIMIT_CORE, &none) || setrlimit(RLIMIT_NPROC, &none))
		return -errno;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return -errno;
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) ? -errno : 0;
}
