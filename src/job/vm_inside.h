/* SPDX-License-Identifier: Apache-2.0 */
/* A job's VM, as the files that make and call its Lua states see it. */
#ifndef TIDE_JOB_VM_INSIDE_H
#define TIDE_JOB_VM_INSIDE_H

#include <lua.h>

#include "job/hang.h"
#include "job/heap.h"
#include "job/vm.h"

enum tide_vm_entry {
	ENTRY_LOAD,
	ENTRY_LINT,
	ENTRY_SAMPLE,
	ENTRY_FOUND,
	ENTRY_BIND,
	ENTRY_RUN,
	ENTRY_SEARCH,
	ENTRY_CONDEMN,
	ENTRY_TRACE,
	ENTRY_MERGE,
	ENTRY_FINISH,
	ENTRY_MIGRATE,
	ENTRY_COUNT
};

/* Beside the statuses: the call was ended, and its state is gone. */
enum { ENTRY_ENDED = 1 };

/* LuaJIT's own: all that goes when it is given up. */
struct tide_vm_state {
	lua_State *lua;
	struct tide_heap heap;
	int entries[ENTRY_COUNT]; /* in the registry */
	struct tide_vm_state *next;
};

struct tide_vm {
	struct tide_vm_state *state; /* NULL: given up, and nobody needs another */
	struct tide_vm_state *given_up;
	struct tide_ctx *ctx;
	struct tide_hang hang;
	char *lua_dir, *path; /* of the library, and of the job that is loaded */
	size_t memory_max;
	bool jit_off, trying;
	bool full;                    /* the call that was ended last wanted too much memory */
	struct tide_sampler *sampler; /* NULL: nobody asks where time goes */
	int number;                   /* that it has there */
};

int tide_vm_state_new(struct tide_vm *vm, bool jit_off, struct tide_error *err);
void tide_vm_state_free(struct tide_vm_state *state);
/* States that calls were ended in, once nothing of theirs is wanted. */
void tide_vm_forget_given_up(struct tide_vm *vm);

/* An entry, on what vm->ctx->call says. */
int tide_vm_call(struct tide_vm *vm, enum tide_vm_entry entry, struct tide_error *err);
/* Likewise, where a call that is ended ends the job. */
int tide_vm_call_whole(struct tide_vm *vm, enum tide_vm_entry entry, const char *what,
                       struct tide_error *err);
/* After ENTRY_RUN was ended: the row that it was about fails, and the rest of the batch runs. */
int tide_vm_condemn(struct tide_vm *vm, struct tide_error *err);
/* Where the newest line of the job was, as far as anybody looked. */
void tide_vm_put_place(const struct tide_vm *vm, char *out, size_t size);
int tide_vm_full(const struct tide_vm *vm, struct tide_error *err, const char *what);

#endif
