/*
 * C++: an exception is thrown before and caught after; stack unwinding, typeid and
 * thread-local destructors work.
 * test: build=static
 */
#include <memory>
#include <stdexcept>
#include <string>
#include <typeinfo>
#include <vector>

extern "C" {
#include <fcntl.h>
#include <time.h>
#include <unistd.h>
}

static std::string ping, release;
static int destroyed;

struct Guard {
	/* Waits while the stack is being unwound: the exception is in flight. */
	bool waits;
	explicit Guard(bool w) : waits(w) {}
	~Guard()
	{
		destroyed++;
		if (!waits)
			return;
		if (write(1, "ready\n", 6) != 6)
			_exit(98);
		while (access(release.c_str(), F_OK)) {
			struct timespec t = {0, 3000000};

			unlink(ping.c_str());
			nanosleep(&t, nullptr);
		}
	}
};

struct Base {
	virtual ~Base() = default;
};
struct Derived : Base {
	int v = 9;
};

static void thrower(int depth, const std::vector<std::string> &words)
{
	Guard g(depth == 5);

	if (depth == 0)
		throw std::runtime_error("thrown before: " + words.at(3));
	thrower(depth - 1, words);
}

int main(int argc, char **argv)
{
	std::vector<std::string> words = {"a", "b", "c", "the word"};
	std::unique_ptr<Base> p(new Derived);

	if (argc < 2)
		return 2;
	ping = std::string(argv[1]) + "/ping";
	release = std::string(argv[1]) + "/release";
	try {
		thrower(10, words);
		return 1;
	} catch (const std::logic_error &) {
		return 1;
	} catch (const std::exception &e) {
		if (std::string(e.what()) != "thrown before: the word" || destroyed != 11)
			return 1;
	}
	try {
		words.at(10);
		return 1;
	} catch (const std::out_of_range &) {
	}
	if (typeid(*p) != typeid(Derived) || dynamic_cast<Derived &>(*p).v != 9)
		return 1;
	return write(1, "ok\n", 3) == 3 ? 0 : 1;
}
