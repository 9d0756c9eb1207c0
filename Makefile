# SPDX-License-Identifier: Apache-2.0
# Tidemark. `make help` lists the targets.

FLAVOUR  ?= release
B        := $(if $(filter release,$(FLAVOUR)),build,build/$(FLAVOUR))
CC       ?= cc
PKGS     := rdkafka rocksdb luajit libxxhash
PREFIX   ?= /usr/local

WARN     := -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wvla
CFLAGS.release := -O2 -g
CFLAGS.test    := -O2 -g -DTIDE_FAILPOINTS
CFLAGS.asan    := -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined -DTIDE_FAILPOINTS
CFLAGS.tsan    := -O1 -g -fno-omit-frame-pointer -fsanitize=thread -DTIDE_FAILPOINTS
ALL_CFLAGS = -std=gnu11 -D_GNU_SOURCE -fPIC $(WARN) $(if $(DEV),-Werror) $(CFLAGS.$(FLAVOUR)) -Isrc \
             $(shell pkg-config --cflags rdkafka luajit libxxhash 2>/dev/null) -MMD -MP $(CFLAGS)
LIBS      = $(shell pkg-config --libs rdkafka luajit libxxhash 2>/dev/null) -lrocksdb -lm -lpthread -ldl

ROOMS    := base record source broker decode time job state checkpoint sink serve run
SRC      := $(foreach r,$(ROOMS),$(wildcard src/$(r)/*.c))
OBJ      := $(SRC:src/%.c=$(B)/obj/%.o)
ROOM_OBJ := $(filter-out $(B)/obj/run/main.o,$(OBJ))
UNIT     := $(patsubst tests/unit/%.c,$(B)/unit/%,$(wildcard tests/unit/test_*.c))
V        ?= @

all: $(B)/tidemark ## the program, at build/tidemark

$(B)/tidemark: $(OBJ)
	@echo "  LD   $@"
	$(V)$(CC) $(ALL_CFLAGS) -rdynamic -o $@ $^ $(LIBS)

# The rooms as a library, so that busted can load the FFI entries.
$(B)/libtidemark.so: $(ROOM_OBJ)
	@echo "  LD   $@"
	$(V)$(CC) $(ALL_CFLAGS) -shared -o $@ $^ $(LIBS)

$(B)/obj/%.o: src/%.c
	@mkdir -p $(@D)
	@echo "  CC   $<"
	$(V)$(CC) $(ALL_CFLAGS) -c -o $@ $<

$(B)/unit/%: tests/unit/%.c $(ROOM_OBJ)
	@mkdir -p $(@D)
	@echo "  CC   $<"
	$(V)$(CC) $(ALL_CFLAGS) -Itests/unit -rdynamic -o $@ $(filter %.c %.o,$^) -lcmocka $(LIBS)

-include $(OBJ:.o=.d) $(UNIT:=.d)
.PHONY: all
