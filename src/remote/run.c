/* Running programs in a stopped process: see remote.h. */
#include "remote/internal.h"

#include <errno.h>
#include <string.h>
#include <sys/ptrace.h>

#include "base/fault.h"
#include "base/io.h"

static int check_result(const struct call *c, struct err *err)
{
	bool failed = c->ret < 0 && c->ret > -4096;

	if (c->expect == EXPECT_ANY || (c->expect == EXPECT_OK && !failed) ||
	    (c->expect == EXPECT_VALUE && c->ret == c->want))
		return 0;
	if (failed)
		return err_sys(err, (int)c->ret, "%s", c->why ? c->why : "a system call failed");
	return err_set(err, -EPROTO, "%s: the kernel answered %#llx, not %#llx",
		       c->why ? c->why : "a system call", (unsigned long long)c->ret,
		       (unsigned long long)c->want);
}

/* No call returns it: a call that has it was not made. */
#define NOT_MADE INT64_MIN

static void to_wire(struct wire_call *w, const struct call *c)
{
	*w = (struct wire_call){.nr = c->nr, .expect = c->expect, .want = c->want, .ret = NOT_MADE};
	memcpy(w->arg, c->arg, sizeof(w->arg));
}

/* One after the other, up to the first that is not answered as expected. */
static int run_guarded(struct remote *r, struct batch *b, struct err *err)
{
	int ret = b->data_len ? remote_write(r, r->data, b->data, b->data_len) : 0;

	if (ret)
		return err_sys(err, ret, "cannot write to the scratch mapping");
	for (size_t i = 0; i < b->n && !ret; i++) {
		struct call *c = &b->calls[i];

		ret = remote_guarded_call(r, &r->threads[b->thread], remote_unit(r, b->thread),
					  c->nr, c->arg, &c->ret, err);
		if (!ret)
			ret = check_result(c, err);
	}
	return ret;
}

static int run_batch(struct remote *r, struct batch *b, struct err *err)
{
	struct tracee *t = &r->threads[b->thread];
	struct user_regs_struct regs = t->regs;
	__cleanup_free struct wire_call *w = io_alloc(b->n, sizeof(*w), err);
	size_t done;
	int ret;

	if (!w)
		return err->error;
	for (size_t i = 0; i < b->n; i++)
		to_wire(&w[i], &b->calls[i]);
	if ((ret = remote_write(r, r->calls, w, b->n * sizeof(*w))) ||
	    (b->data_len && (ret = remote_write(r, r->data, b->data, b->data_len))))
		return ret == -ESRCH ? remote_died(r, err)
				     : err_sys(err, ret, "cannot write to the scratch mapping");
	arch_enter_list(&regs, remote_unit(r, b->thread), r->calls, b->n);
	if ((ret = remote_enter(r, t, &regs, err)) ||
	    (ret = remote_wait_bell(r, t, remote_unit(r, b->thread), &regs, err)))
		return ret;
	done = b->n - arch_calls_left(&regs);
	if (done < b->n)
		done++; /* the one that it stopped at has a result as well */
	if ((ret = remote_read(r, r->calls, w, done * sizeof(*w))))
		return err_sys(err, ret, "cannot read from the scratch mapping");
	for (size_t i = 0; i < done; i++) {
		b->calls[i].ret = w[i].ret;
		if ((ret = check_result(&b->calls[i], err)))
			return ret;
	}
	return 0;
}

int remote_run(struct remote *r, struct program *p, struct err *err)
{
	if (p->failed)
		return err->error ? err->error : err_set(err, -ENOMEM, "out of memory");
	for (size_t i = 0; i < p->n; i++) {
		int ret;

		if (!p->batches[i].n)
			continue;
		if (p->batches[i].thread >= r->n)
			return err_set(err, -EINVAL, "program for a thread that does not exist");
		ret = r->guarded ? run_guarded(r, &p->batches[i], err)
				 : run_batch(r, &p->batches[i], err);
		if (ret)
			return ret;
		fault_point("program ran");
	}
	return 0;
}

static int read_calls(struct remote *r, struct wire_call *w, size_t n, struct err *err)
{
	int ret = remote_read(r, r->calls, w, n * sizeof(*w));

	return ret ? err_sys(err, ret, "cannot read from the scratch mapping") : 0;
}

/* Nobody looks at its registers (1.4 us a thread): the results will tell whether it is done. */
static int finish_one(struct remote *r, size_t thread, struct err *err)
{
	int ret = remote_wait_bell(r, &r->threads[thread], 0, NULL, err);

	if (ret)
		return ret;
	return remote_give_back(&r->threads[thread]) ? remote_died(r, err) : 0;
}

static int enter_one(struct remote *r, size_t thread, uint64_t calls, size_t n, struct err *err)
{
	struct tracee *t = &r->threads[thread];
	struct user_regs_struct regs = t->regs;

	arch_enter_list(&regs, remote_unit(r, thread), calls, n);
	return remote_enter(r, t, &regs, err);
}

/*
 * A signal like the bell came from elsewhere before the thread had made all its calls: it makes
 * them again, from where they stand.
 */
static int run_again(struct remote *r, size_t thread, uint64_t calls, size_t n, struct err *err)
{
	struct user_regs_struct regs;
	int ret = enter_one(r, thread, calls, n, err);

	if (!ret)
		ret = remote_wait_bell(r, &r->threads[thread], remote_unit(r, thread), &regs, err);
	return ret;
}

/* So many threads are on their way at once: the first of them is done when the last is woken,
 * and what is left to do for it costs nothing while others run. */
#define ON_THEIR_WAY 250u

static int run_all(struct remote *r, size_t first, size_t count, size_t n, struct err *err)
{
	struct remote_spread spread = {0};
	size_t done = 0;
	int ret;

	for (size_t i = 0; i < count; i++) {
		uint64_t calls = r->calls + i * n * sizeof(struct wire_call);

		remote_spread(&spread);
		if ((ret = enter_one(r, first + i, calls, n, err)))
			return ret;
		if (i >= ON_THEIR_WAY && (ret = finish_one(r, first + done++, err)))
			return ret;
	}
	/* The last first: while we sleep until it is done, all cores run the others, and most of
	 * them have stopped when we come to ask. */
	for (size_t i = count; i-- > done;)
		if ((ret = finish_one(r, first + i, err)))
			return ret;
	return 0;
}

/* The same, one call after the other. */
static int run_all_guarded(struct remote *r, size_t first, size_t count, size_t n,
			   struct wire_call *w, struct err *err)
{
	int ret = 0;

	for (size_t i = 0; i < count && !ret; i++) {
		size_t k = first + i;

		for (size_t c = i * n; c < (i + 1) * n && !ret; c++)
			ret = remote_guarded_call(r, &r->threads[k], remote_unit(r, k), w[c].nr,
						  w[c].arg, &w[c].ret, err);
		if (!ret && remote_give_back(&r->threads[k]))
			ret = remote_died(r, err);
	}
	return ret;
}

/* Calls and data of one group of threads, laid out one thread after the other. */
static int run_group(struct remote *r, size_t first, size_t count, const struct call *calls,
		     size_t n, size_t data_len, struct wire_call *w, uint8_t *data, struct err *err)
{
	bool again = false;
	int ret;

	for (size_t i = 0; i < count; i++)
		for (size_t k = 0; k < n; k++) {
			struct wire_call *c = &w[i * n + k];

			to_wire(c, &calls[k]);
			for (int a = 0; a < 6; a++)
				if (calls[k].pointers >> a & 1)
					c->arg[a] += r->data + i * data_len;
		}
	if ((ret = remote_write(r, r->calls, w, count * n * sizeof(*w))))
		return err_sys(err, ret, "cannot write to the scratch mapping");
	if (r->guarded)
		ret = run_all_guarded(r, first, count, n, w, err);
	else if (!(ret = run_all(r, first, count, n, err)))
		ret = read_calls(r, w, count * n, err);
	if (ret)
		return ret;
	for (size_t i = 0; i < count && !r->guarded; i++)
		if (w[i * n + n - 1].ret == NOT_MADE) {
			again = true;
			if ((ret = run_again(r, first + i, r->calls + i * n * sizeof(*w), n, err)))
				return ret;
		}
	if (again && (ret = read_calls(r, w, count * n, err)))
		return ret;
	if ((ret = remote_read(r, r->data, data, count * data_len)))
		return err_sys(err, ret, "cannot read from the scratch mapping");
	return 0;
}

int remote_run_each(struct remote *r, const struct call *calls, size_t n, size_t data_len,
		    remote_result_fn result, void *arg, struct err *err)
{
	size_t cap = remote_call_cap(r->max_threads), group = cap / n;
	__cleanup_free struct wire_call *w = io_alloc(cap, sizeof(*w), err);
	__cleanup_free uint8_t *data = io_alloc(1, REMOTE_DATA_LEN, err);

	if (!w || !data)
		return err->error;
	if (data_len && group > REMOTE_DATA_LEN / data_len)
		group = REMOTE_DATA_LEN / data_len;
	for (size_t first = 0; first < r->n; first += group) {
		size_t count = r->n - first < group ? r->n - first : group;
		int ret = run_group(r, first, count, calls, n, data_len, w, data, err);

		for (size_t i = 0; i < count && !ret; i++)
			ret = result(arg, first + i, &w[i * n], data + i * data_len, err);
		if (ret)
			return ret;
	}
	fault_point("threads asked");
	return 0;
}

int remote_touch_tiles(struct remote *r, size_t thread, struct err *err)
{
	static const uint8_t zeros[64];
	struct user_regs_struct regs = r->threads[thread].regs;
	int ret = remote_write(r, r->data, zeros, sizeof(zeros));

	if (ret)
		return err_sys(err, ret, "cannot write to the scratch mapping");
	arch_enter_tiles(&regs, remote_unit(r, thread), r->data);
	if ((ret = remote_enter(r, &r->threads[thread], &regs, err)))
		return ret;
	return remote_wait_bell(r, &r->threads[thread], remote_unit(r, thread), &regs, err);
}
