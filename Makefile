# SPDX-License-Identifier: Apache-2.0
# Tidemark. `make help` lists the targets.
#
# FLAVOUR is release, test (with fail points), asan, tsan, fuzz (with CC=clang) or
# cover; each has a folder of its own. RDKAFKA=new links a newer librdkafka than
# Debian's, which tests/rdkafka builds once. DEV=1 turns warnings into errors, V= shows the commands.

.DEFAULT_GOAL := all
FLAVOUR  ?= release
RDKAFKA  ?= debian
NEW      := $(filter new,$(RDKAFKA))
FOLDER   := $(if $(filter release,$(FLAVOUR)),$(NEW),$(FLAVOUR)$(NEW:%=-%))
B        := build$(FOLDER:%=/%)
PREFIX   ?= /usr/local
DESTDIR  ?=
V        ?= @
ifeq ($(origin CC),default)
CC       := gcc
endif

PKGS     := $(if $(NEW),,rdkafka) luajit libxxhash
WARN     := -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wvla
CFLAGS.release := -O2 -g
CFLAGS.test    := -O2 -g -DTIDE_FAILPOINTS
CFLAGS.asan    := -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined -DTIDE_FAILPOINTS
CFLAGS.tsan    := -O1 -g -fno-omit-frame-pointer -fsanitize=thread -DTIDE_FAILPOINTS
CFLAGS.fuzz    := -O1 -g -fno-omit-frame-pointer -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined
CFLAGS.cover   := -O0 -g --coverage -DTIDE_FAILPOINTS
# Looked up once, and only when something is compiled: a fresh machine has no
# pkg-config until tests/deps has run.
PKG_CFLAGS = $(eval PKG_CFLAGS := $(shell pkg-config --cflags $(PKGS)))$(PKG_CFLAGS)
PKG_LIBS   = $(eval PKG_LIBS := $(shell pkg-config --libs $(PKGS)))$(PKG_LIBS)
ALL_CFLAGS = -std=gnu11 -D_GNU_SOURCE -fPIC $(WARN) $(if $(DEV),-Werror) $(CFLAGS.$(FLAVOUR)) -Isrc \
             $(NEW:%=-isystem $(NEW_DIR)/include) $(PKG_CFLAGS) $(CFLAGS)
LIBS       = $(PKG_LIBS) -lrocksdb $(NEW:%=$(NEW_LIBS)) -lm -lpthread -ldl
# Its LZ4 stays its own: RocksDB brings another.
NEW_DIR   := $(if $(NEW),$(shell tests/rdkafka --where))
NEW_LIBS  := $(NEW_DIR)/librdkafka.a -Wl,--exclude-libs,librdkafka.a -lssl -lcrypto -lz -lzstd -lrt

ROOMS    := base record source broker decode time job state checkpoint sink serve run
SRC      := $(foreach r,$(ROOMS),$(wildcard src/$(r)/*.c))
OBJ      := $(SRC:src/%.c=$(B)/obj/%.o)
ROOM_OBJ := $(filter-out $(B)/obj/run/main.o,$(OBJ))
UNIT_SRC := $(wildcard tests/unit/test_*.c)
UNIT     := $(UNIT_SRC:tests/unit/%.c=$(B)/unit/%)

all: $(B)/tidemark ## build the program: build/tidemark

help: ## this list
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# --- The program -----------------------------------------------------------

$(B)/tidemark: $(OBJ)
	@echo "  LD   $@"
	$(V)$(CC) $(ALL_CFLAGS) $(LDFLAGS) -rdynamic -o $@ $^ $(LIBS)

# The rooms as a library, so that busted can load the FFI entries.
$(B)/libtidemark.so: $(ROOM_OBJ)
	@echo "  LD   $@"
	$(V)$(CC) $(ALL_CFLAGS) $(LDFLAGS) -shared -o $@ $^ $(LIBS)

$(B)/obj/%.o: src/%.c $(B)/.flags | $(B)/.deps
	@mkdir -p $(@D)
	@echo "  CC   $<"
	$(V)$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

# Embedded by the assembler, whose reading -MMD does not see. The headers that
# job/ffi.c embeds are also included there; jobs/ and lua/ are read at run time.
$(B)/obj/serve/page.o: $(addprefix src/serve/,page.html page.css page.js icon.svg)

# Changes when the compiler or its flags do. DEV=1 changes no code.
FLAGS     = $(CC) $(WARN) $(CFLAGS.$(FLAVOUR)) $(CFLAGS) $(NEW_DIR)
$(B)/.flags: FORCE
	@mkdir -p $(@D)
	@echo '$(FLAGS)' | cmp -s - $@ || echo '$(FLAGS)' >$@

# Says what is missing and how to get it, before the compiler does it worse.
$(B)/.deps: tests/deps
	@mkdir -p $(@D)
	@tests/deps --check build
	$(if $(NEW),@tests/rdkafka)
	@touch $@

# The test flavour with one rule of the commit protocol broken (src/base/mutant.h),
# in a folder of its own; only files that name the rule are compiled anew.
ifneq ($(MUTANT),)
M        := build/mutant-$(MUTANT)
MUTATED  := $(shell grep -rlF --include=*.c 'tide_mutant($(MUTANT))' src)
M_OBJ    := $(filter-out $(MUTATED:src/%.c=$(B)/obj/%.o),$(OBJ)) $(MUTATED:src/%.c=$(M)/%.o)
$(M)/%.o: src/%.c $(B)/.flags
	@mkdir -p $(@D)
	@echo "  CC   $< ($(MUTANT))"
	$(V)$(CC) $(ALL_CFLAGS) -DTIDE_MUTANT=TIDE_MUTANT_$(MUTANT) -MMD -MP -c -o $@ $<

$(M)/tidemark: $(M_OBJ)
	@echo "  LD   $@"
	$(V)$(CC) $(ALL_CFLAGS) $(LDFLAGS) -rdynamic -o $@ $^ $(LIBS)

-include $(MUTATED:src/%.c=$(M)/%.d)
endif

# --- Tests' programs -------------------------------------------------------

$(B)/unit/%.o: tests/unit/%.c $(B)/.flags | $(B)/.deps
	@mkdir -p $(@D)
	@echo "  CC   $<"
	$(V)$(CC) $(ALL_CFLAGS) -Itests/unit -MMD -MP -c -o $@ $<

$(B)/unit/%: $(B)/unit/%.o $(ROOM_OBJ)
	@echo "  LD   $@"
	$(V)$(CC) $(ALL_CFLAGS) $(LDFLAGS) -rdynamic -o $@ $^ -lcmocka $(LIBS)

$(B)/kadmin: tests/integration/kadmin.c $(ROOM_OBJ)
	@echo "  CC   $@"
	$(V)$(CC) $(ALL_CFLAGS) $(LDFLAGS) -rdynamic -o $@ $^ $(LIBS)

$(B)/bench/%: tests/bench/%.c $(ROOM_OBJ)
	@mkdir -p $(@D)
	@echo "  CC   $@"
	$(V)$(CC) $(ALL_CFLAGS) $(LDFLAGS) -rdynamic -o $@ $^ $(LIBS)

# The whole program, with what its own objects allocate and where epochs end going
# through the counter.
comma    := ,
WRAPPED  := malloc calloc realloc reallocarray aligned_alloc posix_memalign strdup strndup \
            asprintf vasprintf fopen mmap lua_pcall tide_heap_alloc tide_vm_run tide_finished_new
$(B)/bench/allocations: tests/bench/allocations.c $(OBJ)
	@mkdir -p $(@D)
	@echo "  CC   $@"
	$(V)$(CC) $(ALL_CFLAGS) $(LDFLAGS) $(WRAPPED:%=-Wl$(comma)--wrap=%) -rdynamic -o $@ $^ $(LIBS)

$(B)/fault/%: tests/fault/%.c $(ROOM_OBJ)
	@mkdir -p $(@D)
	@echo "  CC   $@"
	$(V)$(CC) $(ALL_CFLAGS) $(LDFLAGS) -Itests/unit -rdynamic -o $@ $^ -lcmocka $(LIBS)

# The requests that a test counts.
$(B)/unit/test_look: LDFLAGS += -Wl,--wrap=rd_kafka_incremental_assign \
                                -Wl,--wrap=rd_kafka_offsets_for_times

# Allocations of our own objects go through the driver, and nobody else's.
$(B)/fault/memory: LDFLAGS += $(foreach f,malloc calloc realloc strdup strndup mmap,-Wl$(comma)--wrap=$f)

# To preload into a program of any flavour, so without a sanitizer of its own.
$(B)/fault/%_shim.so: tests/fault/%_shim.c
	@mkdir -p $(@D)
	@echo "  CC   $@"
	$(V)$(CC) -std=gnu11 -D_GNU_SOURCE -O2 -g $(WARN) -fPIC -shared -o $@ $< -ldl -lpthread

$(B)/fuzz/%: tests/fuzz/%.c $(ROOM_OBJ)
	@mkdir -p $(@D)
	@echo "  CC   $@"
	$(V)$(CC) $(ALL_CFLAGS) $(LDFLAGS) -fsanitize=fuzzer -rdynamic -o $@ $^ $(LIBS)

unit-programs: $(UNIT)
.SECONDARY: $(UNIT:=.o)

# --- What people type ------------------------------------------------------

demo: ## word count on an embedded broker, live; installs what is missing
	@tests/deps build demo
	@$(MAKE) --no-print-directory -s $(if $(findstring jobserver,$(MAKEFLAGS)),,-j$$(nproc)) all
# On a terminal it is a job of its own: Ctrl+C reaches it and not make, which
# then says what it says, exit 0.
	@if [ -t 0 ]; then exec bash -mc './build/tidemark demo $(DEMO_FLAGS); exit $$?'; \
	else exec ./build/tidemark demo $(DEMO_FLAGS); fi

deps: ## install the Debian packages that build, demo and test need
	@tests/deps build demo test

test: ## everything that must hold before a change goes in
	@tests/run

unit: ## C tests: plain, under ASan and UBSan, under TSan
	@tests/run unit unit-asan unit-tsan

spec: ## Lua tests, with the JIT on and off
	@tests/run spec spec-nojit

golden: ## job, input, expected output
	@tests/run golden

integration: ## against a real Kafka, which it starts and stops
	@tests/run integration

check: ## every check of the source: format, lint, layers, lengths
	@tests/run check

fmt: ## let clang-format rewrite the C sources
	$(V)clang-format -i --style=file $(shell find src tests -name '*.[ch]')

lint: ## cppcheck, luacheck and shellcheck
	@tests/check/cppcheck && tests/check/luacheck && tests/check/shellcheck

tidy: ## clang-tidy, for those who have minutes
	@clang-tidy --quiet $(SRC) -- -std=gnu11 -D_GNU_SOURCE -Isrc $(PKG_CFLAGS)

layers: ## who includes whom, against src/LAYERS
	@tests/check/layers

asan: ## C and integration tests under ASan and UBSan
	@tests/run unit-asan integration-asan

tsan: ## tests with threads under TSan
	@tests/run unit-tsan

fuzz: ## libFuzzer over tests/fuzz, FUZZ_SECONDS each (10)
	@tests/run fuzz

fault: ## the fault campaign, as often as CI strikes
	@tests/run fault

mutants: ## break each rule of the commit protocol in turn: the tests must notice
	@tests/deps build test
	@tests/integration/kafka/fetch
	@tests/fault/mutants

soak: ## the fault campaign at length, in stretches: it goes on where it stopped
	@tests/fault/soak

bench: ## figures against the raw consumer, on a real Kafka
	@tests/deps build test
	@$(MAKE) --no-print-directory -s all $(B)/libtidemark.so $(patsubst tests/bench/%.c,$(B)/bench/%,$(wildcard tests/bench/*.c))
	@$(MAKE) --no-print-directory -s FLAVOUR=test build/test/kadmin
	@tests/bench/run

cover: ## line coverage of the C tests
	@tests/deps build test cover
	@tests/run cover

MAN  := $(wildcard src/run/tidemark.1)
COMP := $(wildcard src/run/tidemark.bash)
install: all ## to PREFIX (/usr/local): program, Lua library, jobs, man page, completion
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/share/tidemark/jobs
	install -m 755 build/tidemark $(DESTDIR)$(PREFIX)/bin/tidemark
	cd lua && find . \( -name '*.lua' -o -path './tidemark/templates/*' \) -type f -exec install -D -m 644 {} $(DESTDIR)$(PREFIX)/share/tidemark/lua/{} \;
	install -m 644 $(wildcard jobs/*.lua) $(DESTDIR)$(PREFIX)/share/tidemark/jobs/
	$(if $(MAN),install -D -m 644 $(MAN) $(DESTDIR)$(PREFIX)/share/man/man1/tidemark.1)
	$(if $(COMP),install -D -m 644 $(COMP) $(DESTDIR)$(PREFIX)/share/bash-completion/completions/tidemark)

clean: ## remove build/; the Kafka for tests stays in the cache
	$(V)rm -rf build

-include $(OBJ:.o=.d) $(UNIT:=.d)
.PHONY: FORCE all help unit-programs demo deps test unit spec golden integration check fmt lint tidy \
        layers asan tsan fuzz fault mutants soak bench cover install clean
