/* SPDX-License-Identifier: Apache-2.0 */
/* Memory for lists of words that scripts walk and may keep too long.
 *
 * A script holds such a word by address. So this memory never goes back to the
 * system while the VM lives and never holds anything but words: a kept address
 * always reads as a word, and once its batch is over as one whose generation is
 * dead. A segment rests for a while before it is used again, which is how long
 * such a mistake is sure to be noticed. */
#ifndef TIDE_JOB_POOL_H
#define TIDE_JOB_POOL_H

#include <stdbool.h>
#include <stdint.h>

#include "job/ctx.h"

enum {
	TIDE_POOL_SEGMENT = 4096, /* words: 96 KiB */
	TIDE_POOL_RESTING_MIN = 8 /* segments: 768 KiB */
};

struct tide_pool *tide_pool_new(void);
void tide_pool_free(struct tide_pool *pool);
/* From now on what is taken belongs to `gen`; segments of generations that
 * `alive` denies go to rest. */
void tide_pool_turn(struct tide_pool *pool, uint32_t gen,
                    bool (*alive)(const struct tide_ctx *ctx, uint32_t gen),
                    const struct tide_ctx *ctx);
/* What this generation has taken goes to rest already: its addresses read as words of
 * whoever comes next. */
void tide_pool_rewind(struct tide_pool *pool);
/* Adjacent places; NULL without memory. */
struct tide_word *tide_pool_take(struct tide_pool *pool, uint32_t count);
/* Give back the end of what was taken last. */
void tide_pool_trim(struct tide_pool *pool, const struct tide_word *end);

#endif
