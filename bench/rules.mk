# Included by the Makefile.
# Measurements, no part of the tests.  BENCH_DIR= says where the images go.
BENCH := $(patsubst bench/%.c,$(B)/bench/%,$(wildcard bench/*.c))
$(B)/bench/%: bench/%.c bench/control.h
	@mkdir -p $(@D)
	$(call say,BENCH,$@)
	$(Q)$(CC) -std=gnu11 -O2 -g $(WARN) -D_GNU_SOURCE -pthread -o $@ $< $(SSL_LIBS)

.PHONY: bench
bench: all $(BENCH)
	$(Q)B=$(B) bench/run.py

# A native program beside one of Mono's, phase by phase: docs/CLASSIC.md.
.PHONY: bench-classic
bench-classic: all $(B)/bench/classic/native $(B)/bench/classic/Clr.exe
	$(Q)B=$(B) bench/classic/run.py
$(B)/bench/classic/Clr.exe: bench/classic/Clr.cs
	@mkdir -p $(@D)
	$(call say,MCS,$@)
	$(Q)mcs -out:$@ $<
