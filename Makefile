# Godwit.  `make` builds, `make check` tests, `make demo` shows it at work.
# Knobs: V=1 (show commands), B=dir (build folder), CC=, SAN=address,undefined,
# PREFIX=, DESTDIR=, WERROR=1.  (B is made relative: the lists of dependencies hold one name a file.)
B ?= build
override B := $(patsubst $(CURDIR)/%,%,$(B))
CC = gcc
AR = ar
PREFIX ?= /usr/local
VERSION := 0.1.0
ARCH ?= x86_64

Q := $(if $(V),,@)
comma := ,
say = $(if $(V),,@printf '  %-7s %s\n' $(1) $(2))

WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla
OPT ?= -O2 -g
ALL_CFLAGS := -std=gnu11 $(OPT) $(WARN) $(if $(WERROR),-Werror) -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 \
	-DGODWIT_VERSION='"$(VERSION)"' -Isrc -Iinclude -ffunction-sections -fdata-sections $(CFLAGS)
# The programs are static: they start faster and work as the only file of ours
# on a machine.  The sanitizers' runtimes cannot be linked so.
ALL_LDFLAGS := -Wl,--gc-sections $(if $(SAN),,-static) $(LDFLAGS)
ifdef SAN
ALL_CFLAGS += -fsanitize=$(SAN) -fno-omit-frame-pointer -fno-sanitize-recover=all
ALL_LDFLAGS += -fsanitize=$(SAN)
endif

ENGINE_DIRS := base arch/$(ARCH) proc remote image state track code checkpoint restart wire migrate run
# Without OpenSSL's headers there is migration by ssh alone, and threads hop on one
# machine only.
PKG_CONFIG ?= pkg-config
SSL_LIBS := $(if $(shell $(CC) $(CPPFLAGS) -include openssl/ssl.h -xc -E /dev/null >/dev/null 2>&1 && echo y), \
	$(or $(shell $(PKG_CONFIG) --libs libssl libcrypto 2>/dev/null),-lssl -lcrypto))
# Names of hosts are looked up as this machine's C library does it, which the linker
# finds worth a warning in a static program.
WIRE_LIBS := $(SSL_LIBS) -lzstd $(if $(SAN),,-Wl,--no-warnings)
NOT_HERE := $(patsubst %,src/wire/%.c,$(if $(SSL_LIBS),tls_none,tls tls_cert tls_why))
ENGINE_SRC := $(filter-out $(NOT_HERE),$(foreach d,$(ENGINE_DIRS),$(wildcard src/$(d)/*.c src/$(d)/*.S)))
CLI_SRC := $(filter-out src/cli/myrestart.c,$(wildcard src/cli/*.c))
# unit.c and unit.S are two objects: the whole name stays.
obj = $(patsubst %,$(B)/obj/%.o,$(1))

.PHONY: all clean
all: $(B)/godwit $(B)/myrestart $(B)/libckpt.so $(B)/count

$(B)/libengine.a: $(call obj,$(ENGINE_SRC))
	$(call say,AR,$@)
	$(Q)rm -f $@; $(AR) rcs $@ $^

# Called only where the CPU has it.
$(B)/obj/src/arch/x86_64/hash_avx2.c.o: ALL_CFLAGS += -mavx2

$(B)/godwit: $(call obj,$(CLI_SRC)) $(B)/libengine.a
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_CFLAGS) -o $@ $^ $(ALL_LDFLAGS) $(WIRE_LIBS)

$(B)/myrestart: $(call obj,src/cli/myrestart.c src/cli/leave.c src/cli/print.c src/cli/status.c) $(B)/libengine.a
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_CFLAGS) -o $@ $^ $(ALL_LDFLAGS) -lzstd

# libckpt.so carries the engine as a static program in its read-only data and
# uses no C library of its own, so that it can be preloaded into anything.
$(B)/ckpt-engine: $(call obj,src/preload/engine.c src/preload/interval.c) $(B)/libengine.a
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_CFLAGS) -s -o $@ $^ $(ALL_LDFLAGS) -lzstd

PRELOAD_CFLAGS := -std=gnu11 -O2 -g $(WARN) $(if $(WERROR),-Werror) -Isrc -Iinclude -fPIC -ffreestanding \
	-fno-stack-protector -fvisibility=hidden $(CFLAGS)
$(B)/libckpt.so: src/preload/libckpt.c src/preload/embed.S $(B)/ckpt-engine
	$(call say,LD,$@)
	$(Q)$(CC) $(PRELOAD_CFLAGS) -shared -nostdlib -Wl,-soname,libckpt.so -Wl,-z,noexecstack \
		-DENGINE_FILE='"$(B)/ckpt-engine"' -o $@ src/preload/libckpt.c src/preload/embed.S $(LDFLAGS)

$(B)/obj/%.c.o: %.c
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

$(B)/obj/%.S.o: %.S
	@mkdir -p $(@D)
	$(call say,AS,$<)
	$(Q)$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

# Subjects: what tests checkpoint; dynamic, and, where a head asks for it (build=), +static and +nopie.
SUBJECT_CFLAGS := -std=gnu11 -O1 -g $(WARN) $(if $(WERROR),-Werror) -D_GNU_SOURCE -pthread
SUBJECT_CXXFLAGS := -std=c++17 -O1 -g -Wall -Wextra $(if $(WERROR),-Werror) -pthread
built = $(patsubst tests/subjects/%,$(B)/subjects/%$(1),$(basename $(2)))
heads_with = $(shell grep -lE 'test:.*build=[a-z,]*$(1)' tests/subjects/*.c tests/subjects/*.cc)
SUBJECTS := $(call built,,$(filter-out %/refuse32.c,$(wildcard tests/subjects/*.c tests/subjects/*.cc))) \
	$(call built,+static,$(call heads_with,static)) $(call built,+nopie,$(call heads_with,nopie))

$(B)/subjects/%+static: LINK = -static
$(B)/subjects/%+nopie: LINK = -no-pie -fno-pie
define subject_rule
$(B)/subjects/%$(1): tests/subjects/%.$(2) $(wildcard tests/subjects/*.h)
	@mkdir -p $$(@D)
	$$(call say,SUBJECT,$$@)
	$$(Q)$(3) -o $$@ $$< $$(LINK)
endef
$(foreach v,+static +nopie _,$(eval $(call subject_rule,$(v:_=),c,$(CC) $(SUBJECT_CFLAGS))) \
	$(eval $(call subject_rule,$(v:_=),cc,$(CXX) $(SUBJECT_CXXFLAGS))))

$(B)/subjects/refuse32: tests/subjects/refuse32.c
	@mkdir -p $(@D)
	$(call say,SUBJECT,$@)
	$(Q)$(CC) -m32 -O1 -ffreestanding -fno-stack-protector -fno-pie -no-pie -nostdlib -static -o $@ $<

# Programs that the tests of migrations move.
MOVED := $(patsubst tests/migrate/prog/%.c,$(B)/migrate/%,$(wildcard tests/migrate/prog/*.c))
.PHONY: subjects check lint res demo install dist
subjects: $(SUBJECTS) $(MOVED) $(B)/subjects/refuse32 $(B)/faulty/godwit

# godwit, whose calls on files fail as tests/faulty/inject.c is told.
WRAPPED := write pwrite64 read pread64 fsync ftruncate64 fchmod flock futimens mkdir unlink unlinkat \
	rename renameat renameat2 linkat close open64 openat64 stat64 lstat64 fstatat64 fstat64 lseek64
$(B)/faulty/godwit: $(call obj,$(CLI_SRC) tests/faulty/inject.c) $(B)/libengine.a
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_CFLAGS) -o $@ $^ $(addprefix -Wl$(comma)--wrap=,$(WRAPPED)) $(ALL_LDFLAGS) $(WIRE_LIBS)

# Unit tests: each tests/unit/*.c is a program that prints TAP.
UNIT := $(patsubst tests/unit/%.c,$(B)/unit/%,$(wildcard tests/unit/*.c))
$(B)/unit/%: tests/unit/%.c $(B)/libengine.a $(wildcard tests/unit/*.h)
	@mkdir -p $(@D)
	$(call say,UNIT,$@)
	$(Q)$(CC) $(ALL_CFLAGS) -o $@ $< $(B)/libengine.a $(ALL_LDFLAGS) $(WIRE_LIBS)

# Fuzz targets (tests/fuzz/fuzz.h) with the driver that knows the corpus and prints TAP.  `make fuzz`
# links them with libFuzzer and searches: FUZZ_SECONDS= for each target (60), FUZZ_TARGETS= names.
FUZZ := $(patsubst tests/fuzz/%.c,$(B)/fuzz/%,$(filter-out %/main.c,$(wildcard tests/fuzz/*.c)))
$(B)/fuzz/%: tests/fuzz/%.c tests/fuzz/main.c $(B)/libengine.a $(wildcard tests/unit/*.h tests/fuzz/*.h)
	@mkdir -p $(@D)
	$(call say,FUZZ,$@)
	$(Q)$(CC) $(ALL_CFLAGS) -o $@ $(filter %.c %.a,$^) $(ALL_LDFLAGS) $(WIRE_LIBS)
$(B)/libfuzzer/%: tests/fuzz/%.c $(B)/libengine.a
	@mkdir -p $(@D)
	$(call say,FUZZER,$@)
	$(Q)$(CC) $(ALL_CFLAGS) -fsanitize=fuzzer -o $@ $^ $(ALL_LDFLAGS) $(WIRE_LIBS)
.PHONY: fuzz-programs fuzz
fuzz-programs: $(FUZZ)
fuzz:
	@tests/fuzz/run.sh "$(B)" $(FUZZ_TARGETS)

$(B)/migrate/%: tests/migrate/prog/%.c
	@mkdir -p $(@D)
	$(call say,SUBJECT,$@)
	$(Q)$(CC) $(SUBJECT_CFLAGS) -o $@ $<

$(B)/count: examples/count.c
	@mkdir -p $(@D)
	$(call say,CC,$@)
	$(Q)$(CC) -O1 -g -Wall -o $@ $<

# Begins with the classic round, then runs all tests.  TESTS= chooses some.
TESTS ?= $(shell tests/list.sh) $(UNIT) $(FUZZ)
check: all subjects $(UNIT) $(FUZZ) $(B)/count
	@./setup.sh build test
	@B=$(B) tests/classic.sh
	@B=$(B) prove -j$$(($$(nproc) + 1)) --timer --failures --comments --state=save $(TESTS)

res: $(B)/myrestart
	@test -e myckpt || { echo "make res: there is no ./myckpt yet: make check writes it" >&2; exit 1; }
	$(B)/myrestart myckpt

demo: all
	@./setup.sh build test
	@B=$(B) scripts/demo.sh
	@B=$(B) scripts/demo-hop.sh
	@B=$(B) scripts/demo-migrate.sh

lint:
	@./setup.sh build lint
	@tests/lint/run.sh

install: all
	install -d $(addprefix $(DESTDIR)$(PREFIX)/,bin lib/godwit lib/systemd/user)
	install $(B)/godwit $(B)/myrestart $(DESTDIR)$(PREFIX)/bin
	install $(B)/libckpt.so $(DESTDIR)$(PREFIX)/lib/godwit
	sed 's|=godwit |=$(PREFIX)/bin/godwit |' scripts/godwit-serve.service >$(DESTDIR)$(PREFIX)/lib/systemd/user/godwit-serve.service
	install -D -m 644 completions/godwit $(DESTDIR)$(PREFIX)/share/bash-completion/completions/godwit
	install -D -m 644 include/godwit.h $(DESTDIR)$(PREFIX)/include/godwit.h
	for s in 1 3 5 7; do for f in man/*.$$s; do test -e "$$f" || continue; \
		install -D -m 644 "$$f" $(DESTDIR)$(PREFIX)/share/man/man$$s/$${f##*/}; done; done

# The sources as one archive, with or without git.
dist:
	$(Q)scripts/dist.sh godwit-$(VERSION) $(B)

include bench/rules.mk

# ---- the thread hop library: libpsu_thread.{a,so}, examples/app1 ... app5 ----
OBJCOPY ?= objcopy
HOP_SRC := src/base/err.c src/base/io.c $(filter-out $(NOT_HERE) %/tls_cert.c,$(wildcard src/wire/*.c)) \
	$(wildcard src/thread/*.c src/arch/$(ARCH)/hop*.[cS] src/arch/$(ARCH)/hash*.c)
HOP_OBJ := $(patsubst %,$(B)/pic/%.o,$(basename $(HOP_SRC)))
HOP_CFLAGS := -std=gnu11 $(OPT) $(WARN) $(if $(WERROR),-Werror) -D_GNU_SOURCE -Isrc -Iinclude -fPIC \
	-fvisibility=hidden $(CPPFLAGS) $(CFLAGS)
$(B)/pic/src/arch/x86_64/hash_avx2.o: HOP_CFLAGS += -mavx2
APPS := $(patsubst %.c,%,$(wildcard examples/app*.c))
.PHONY: hop
hop: $(B)/libpsu_thread.a $(B)/libpsu_thread.so $(B)/psu_thread.pc $(APPS)
	$(if $(SSL_LIBS),,@echo '  NOTE    openssl/ssl.h is missing (apt-get install libssl-dev): threads hop on this machine only')
all: hop

$(B)/pic/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(HOP_CFLAGS) -MMD -MP -c -o $@ $<
$(B)/pic/%.o: %.S
	@mkdir -p $(@D)
	$(call say,AS,$<)
	$(Q)$(CC) $(HOP_CFLAGS) -MMD -MP -c -o $@ $<
# One object whose inner names are local: a program may have a buf_add of its own.
$(B)/libpsu_thread.a: $(HOP_OBJ)
	$(call say,AR,$@)
	$(Q)$(LD) -r -o $(B)/pic/psu_thread.o $^ && $(OBJCOPY) --localize-hidden $(B)/pic/psu_thread.o
	$(Q)rm -f $@; $(AR) rcs $@ $(B)/pic/psu_thread.o
$(B)/libpsu_thread.so: $(HOP_OBJ)
	$(call say,LD,$@)
	$(Q)$(CC) $(HOP_CFLAGS) -shared -Wl,-soname,libpsu_thread.so.0 -Wl,-z,defs -o $@ $^ $(SSL_LIBS) $(LDFLAGS)
	$(Q)ln -sf libpsu_thread.so $@.0
$(B)/psu_thread.pc: src/thread/psu_thread.pc.in
	$(Q)sed 's|@PREFIX@|$(PREFIX)|; s|@VERSION@|$(VERSION)|; s|@SSL@|$(if $(SSL_LIBS),libssl libcrypto)|' $< >$@
# With the flags that distributions build with; the students' `int a = (int *)arg` needs -w.
examples/app%: examples/app%.c $(B)/libpsu_thread.a
	$(call say,CC,$@)
	$(Q)$(CC) -O2 -fPIE -pie -fstack-protector-strong -w -Iinclude -o $@ $< $(B)/libpsu_thread.a $(SSL_LIBS)
.PHONY: install-hop
install: install-hop
install-hop: hop
	install -D -m 644 man/psu_thread.3 $(DESTDIR)$(PREFIX)/share/man/man3/psu_thread.3
	install -D -m 644 include/psu_thread.h $(DESTDIR)$(PREFIX)/include/psu_thread.h
	install -D -m 644 $(B)/libpsu_thread.a $(DESTDIR)$(PREFIX)/lib/libpsu_thread.a
	install -D $(B)/libpsu_thread.so $(DESTDIR)$(PREFIX)/lib/libpsu_thread.so.0
	ln -sf libpsu_thread.so.0 $(DESTDIR)$(PREFIX)/lib/libpsu_thread.so
	$(Q)rm -f $(B)/psu_thread.pc && $(MAKE) -s $(B)/psu_thread.pc
	install -D -m 644 $(B)/psu_thread.pc $(DESTDIR)$(PREFIX)/lib/pkgconfig/psu_thread.pc
.PHONY: bench-hop
bench: bench-hop
bench-hop: hop
	$(Q)B=$(B) bench/hop/run.sh
# ---- end of the thread hop library ----

clean:
	rm -rf $(B) $(APPS)

-include $(shell find $(B)/obj $(B)/pic -name '*.d' 2>/dev/null)
