/* A crew of tracers: see crew.h. */
#include "remote/crew.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

#define HELPERS_MAX 7u

struct helper {
	struct crew *crew;
	unsigned worker;
	pthread_t thread;
};

struct crew {
	pthread_mutex_t lock;
	pthread_cond_t begin, end;
	unsigned round; /* rises with each job */
	unsigned busy;  /* helpers that have not finished the job */
	bool stop;
	void (*fn)(void *arg, unsigned worker);
	void *arg;
	unsigned n;
	struct helper helpers[HELPERS_MAX];
};

static void *help(void *arg)
{
	struct helper *h = arg;
	struct crew *c = h->crew;
	unsigned seen = 0;

	pthread_mutex_lock(&c->lock);
	for (;;) {
		while (c->round == seen && !c->stop)
			pthread_cond_wait(&c->begin, &c->lock);
		if (c->stop)
			break;
		seen = c->round;
		pthread_mutex_unlock(&c->lock);
		c->fn(c->arg, h->worker);
		pthread_mutex_lock(&c->lock);
		if (!--c->busy)
			pthread_cond_signal(&c->end);
	}
	pthread_mutex_unlock(&c->lock);
	return NULL;
}

int crew_start(struct crew **ret, unsigned helpers)
{
	struct crew *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	pthread_mutex_init(&c->lock, NULL);
	pthread_cond_init(&c->begin, NULL);
	pthread_cond_init(&c->end, NULL);
	while (c->n < helpers && c->n < HELPERS_MAX) {
		struct helper *h = &c->helpers[c->n];

		*h = (struct helper){.crew = c, .worker = c->n + 1};
		if (pthread_create(&h->thread, NULL, help, h))
			break;
		c->n++;
	}
	if (!c->n) {
		free(c);
		return -EAGAIN;
	}
	*ret = c;
	return 0;
}

void crew_stop(struct crew *c)
{
	if (!c)
		return;
	pthread_mutex_lock(&c->lock);
	c->stop = true;
	pthread_cond_broadcast(&c->begin);
	pthread_mutex_unlock(&c->lock);
	for (unsigned i = 0; i < c->n; i++)
		pthread_join(c->helpers[i].thread, NULL);
	free(c);
}

unsigned crew_size(const struct crew *c)
{
	return c ? c->n + 1 : 1;
}

void crew_run(struct crew *c, void (*fn)(void *arg, unsigned worker), void *arg)
{
	if (!c) {
		fn(arg, 0);
		return;
	}
	pthread_mutex_lock(&c->lock);
	c->fn = fn;
	c->arg = arg;
	c->busy = c->n;
	c->round++;
	pthread_cond_broadcast(&c->begin);
	pthread_mutex_unlock(&c->lock);
	fn(arg, 0);
	pthread_mutex_lock(&c->lock);
	while (c->busy)
		pthread_cond_wait(&c->end, &c->lock);
	pthread_mutex_unlock(&c->lock);
}
