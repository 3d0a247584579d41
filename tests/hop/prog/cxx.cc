// C++: cxx CASE PEER MODE.  As hard.c, for exceptions, destructors, containers.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>
#include <unistd.h>

#include "psu_thread.h"

static char remote[256];
static const char *myname;

static void *report(const char *text)
{
	printf("%s: %s\n", myname, text);
	return nullptr;
}

struct Guard {
	int *count;
	explicit Guard(int *c) : count(c) {}
	~Guard()
	{
		++*count;
	}
};

__attribute__((noinline)) static void hop_and_throw(int *count)
{
	Guard g(count);

	psu_thread_migrate(remote);
	throw std::runtime_error("from here");
}

__attribute__((noinline)) static void middle(int *count)
{
	Guard g(count);

	hop_and_throw(count);
	printf("not reached\n");
}

// Thrown on the server, caught in a frame that came with the thread.
static void *throw_after(void *)
{
	int count = 0, was = getpid();

	try {
		middle(&count);
	} catch (const std::exception &e) {
		if (!strcmp(e.what(), "from here") && count == 2 && getpid() != was)
			return report("ok");
	}
	return report("wrong");
}

// Inside a catch block: the exception is on the heap, so this is refused...
static void *in_catch(void *)
{
	int r = 0, was = getpid();
	const char *why = "";

	try {
		throw std::runtime_error("caught");
	} catch (const std::exception &e) {
		r = psu_thread_hop(remote);
		psu_thread_migrate_result(&why);
		if (strcmp(e.what(), "caught"))
			return report("exception changed");
	}
	if (getenv("PSU_ISOMALLOC")) // ... unless it is in memory that travels
		return report(r == 0 && getpid() != was ? "ok" : why);
	if (r >= 0 || !strstr(why, "catch") || getpid() != was)
		return report("not refused");
	psu_thread_migrate(remote);
	return report(getpid() != was ? "ok" : "did not move");
}

// An exception object that is rethrown on the other host.
static void *rethrow(void *)
{
	int was = getpid();

	try {
		try {
			throw std::string(100, 'x');
		} catch (...) {
			psu_thread_migrate(remote);
			throw;
		}
	} catch (const std::string &s) {
		return report(s == std::string(100, 'x') && getpid() != was ? "ok" : "wrong");
	}
	return report("not caught");
}

struct Leaver {
	const char *why = "";
	int *result;
	explicit Leaver(int *r) : result(r) {}
	~Leaver()
	{
		*result = psu_thread_hop(remote);
		psu_thread_migrate_result(&why);
	}
};

static void *in_destructor(void *)
{
	int r = 0;

	try {
		Leaver l(&r);
		throw 1;
	} catch (int) {
	}
	if (r >= 0)
		return report("not refused");
	psu_thread_migrate(remote);
	return report("ok");
}

static void *containers(void *)
{
	std::map<std::string, std::vector<int>> m;
	int was = getpid(), n = 0;

	for (int i = 0; i < 300; i++)
		m["a key that is too long for the small string, number " + std::to_string(i)] =
			std::vector<int>(i, i);
	psu_thread_migrate(remote);
	for (auto &e : m)
		for (int v : e.second)
			n += v == (int)e.second.size();
	m["new"].resize(10000);
	m.clear();
	return report(n == 299 * 300 / 2 && getpid() != was ? "ok" : "wrong");
}

static void *sorting(void *)
{
	int v[100], was = getpid(), calls = 0, here = was;

	for (int i = 0; i < 100; i++)
		v[i] = (i * 37) % 100;
	std::sort(v, v + 100, [&](int a, int b) {
		if (++calls == 50) {
			psu_thread_migrate(remote);
			here = getpid();
		}
		return a < b;
	});
	return report(std::is_sorted(v, v + 100) && here != was ? "ok" : "wrong");
}

struct Plain {
	int n = 5;
};
struct Ends {
	int n = 6;
	~Ends()
	{
		n = 0;
	}
};
static thread_local Plain plain;
static thread_local Ends ends;

// An object that is destroyed at the thread's end belongs to this host's thread.
static void *thread_local_objects(void *)
{
	const char *why = "";
	int was = getpid();

	plain.n++;
	if (psu_thread_hop(remote) == 0) {
		// Not touched yet, so nothing pends: moved.
		if (getpid() == was || plain.n != 6)
			return report("wrong");
		if (ends.n != 6)
			return report("not made here");
		if (psu_thread_hop(psu_thread_home()) >= 0)
			return report("taken along");
		psu_thread_migrate_result(&why);
		return report(strstr(why, "thread_local") ? "ok" : why);
	}
	return report("stayed");
}

int main(int argc, char **argv)
{
	struct {
		const char *name;
		void *(*func)(void *);
	} cases[] = {{"throw_after", throw_after},
		     {"in_catch", in_catch},
		     {"thread_local", thread_local_objects},
		     {"rethrow", rethrow},
		     {"in_destructor", in_destructor},
		     {"containers", containers},
		     {"sorting", sorting}};

	if (argc < 4)
		return 2;
	myname = atoi(argv[3]) ? "server" : "client";
	psu_thread_setup_init(atoi(argv[3]));
	snprintf(remote, sizeof(remote), "%s", argv[2]);
	for (auto &c : cases)
		if (!strcmp(c.name, argv[1]))
			return psu_thread_create(c.func, nullptr) ? 9 : 0;
	return 2;
}
