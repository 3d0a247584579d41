/*
 * Seccomp filters (classic BPF, seccomp(2)): what one says to a call, without the kernel.
 */
#ifndef GODWIT_REMOTE_BPF_H
#define GODWIT_REMOTE_BPF_H

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A filter as it was installed. */
struct seccomp_filter {
	uint32_t flags; /* SECCOMP_FILTER_FLAG_LOG or 0 */
	struct sock_filter *insns;
	size_t n; /* 1 to BPF_MAXINSNS */
};

/* SECCOMP_RET_*, with its data.  A program that the kernel would not take kills. */
uint32_t bpf_run(const struct seccomp_filter *f, const struct seccomp_data *call);
/* Would a process with all of v[n] be let make the call? */
bool bpf_lets_pass(const struct seccomp_filter *v, size_t n, const struct seccomp_data *call);
/* May its answer be one that asks another process (SECCOMP_RET_USER_NOTIF)? */
bool bpf_asks_a_listener(const struct seccomp_filter *f);
/* The call as a filter sees it. */
struct seccomp_data bpf_call(long nr, const uint64_t arg[6], uint64_t ip);

#endif
