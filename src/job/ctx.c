/* SPDX-License-Identifier: Apache-2.0 */
/* Contexts: made once, turned from batch to batch. */
#include <assert.h>
#include <stdlib.h>

#include "job/ffi.h"
#include "job/pool.h"
#include "job/sources.h"
#include "record/batch.h"

/* Generations of text that belongs to no batch; rings count from 1. */
enum { SCRATCH_GEN = 0x80000000u >> 1 };

struct tide_ctx *tide_ffi_ctx_new(void)
{
	struct tide_ctx *ctx = calloc(1, sizeof *ctx);
	if (ctx == NULL)
		return NULL;
	ctx->pool = tide_pool_new();
	ctx->scratch = tide_arena_new();
	if (ctx->pool == NULL || ctx->scratch == NULL) {
		tide_ffi_ctx_free(ctx);
		return NULL;
	}
	ctx->made_max = UINT64_MAX;
	tide_ffi_ctx_scratch(ctx);
	return ctx;
}

void tide_ffi_ctx_free(struct tide_ctx *ctx)
{
	if (ctx == NULL)
		return;
	tide_pool_free(ctx->pool);
	tide_arena_free(ctx->scratch);
	tide_sources_free(ctx->sources);
	free(ctx);
}

bool tide_ffi_alive(const struct tide_ctx *ctx, uint32_t gen)
{
	if (gen == 0)
		return false;
	if (gen == ctx->gen)
		return true;
	return ctx->ring != NULL && tide_ring_find(ctx->ring, gen) != NULL;
}

void tide_ffi_ctx_batch(struct tide_ctx *ctx, struct tide_batch *batch)
{
	assert(batch->gen != 0 && batch->arena != NULL);
	ctx->batch = batch;
	ctx->arena = batch->arena;
	ctx->gen = batch->gen;
	ctx->row = 0;
	ctx->begun = 0;
	ctx->filtered = 0;
	ctx->malformed = 0;
	ctx->made = 0;
	tide_arena_mark(ctx->arena);
	tide_pool_turn(ctx->pool, ctx->gen, tide_ffi_alive, ctx);
}

void tide_ffi_ctx_scratch(struct tide_ctx *ctx)
{
	ctx->scratch_gen = (ctx->scratch_gen + 1) % SCRATCH_GEN;
	ctx->batch = NULL;
	ctx->arena = ctx->scratch;
	ctx->gen = SCRATCH_GEN + ctx->scratch_gen;
	ctx->row = 0;
	ctx->calls = 0;
	ctx->made = 0;
	tide_arena_reset(ctx->scratch);
	tide_pool_turn(ctx->pool, ctx->gen, tide_ffi_alive, ctx);
}
