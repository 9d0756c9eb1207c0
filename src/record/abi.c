/* SPDX-License-Identifier: Apache-2.0 */
/* What ffi.cdef computes from abi.h, held to be what the C compiler does. */
#include "record/abi.h"

#include <stddef.h>

#define SIZE_IS(type, size) _Static_assert(sizeof(struct type) == (size), "abi.h: size of " #type)
#define AT(type, field, offset)                                  \
	_Static_assert(offsetof(struct type, field) == (offset), \
	               "abi.h: offset of " #type "." #field)

SIZE_IS(tide_view, 16);
AT(tide_view, addr_, 0);
AT(tide_view, len_, 8);
AT(tide_view, gen_, 12);

SIZE_IS(tide_header, 32);
AT(tide_header, name_, 0);
AT(tide_header, value_, 16);

SIZE_IS(tide_rec, 64);
AT(tide_rec, key_, 0);
AT(tide_rec, value_, 16);
AT(tide_rec, offset_, 32);
AT(tide_rec, timestamp_ms_, 40);
AT(tide_rec, headers_addr_, 48);
AT(tide_rec, header_count, 56);
AT(tide_rec, gen_, 60);

SIZE_IS(tide_batch, 40);
AT(tide_batch, recs, 0);
AT(tide_batch, count, 8);
AT(tide_batch, gen, 12);
AT(tide_batch, topic, 16);
AT(tide_batch, topic_len, 24);
AT(tide_batch, partition, 28);
AT(tide_batch, arena, 32);

SIZE_IS(tide_cell, 16);
AT(tide_cell, i, 0);
AT(tide_cell, d, 0);
AT(tide_cell, p, 0);
AT(tide_cell, len, 8);
AT(tide_cell, spare, 12);

SIZE_IS(tide_field, 16);
AT(tide_field, path, 0);
AT(tide_field, path_len, 8);
AT(tide_field, type, 12);
AT(tide_field, nullable, 13);
AT(tide_field, spare, 14);

SIZE_IS(tide_scan_error, 124);
AT(tide_scan_error, code, 0);
AT(tide_scan_error, field, 4);
AT(tide_scan_error, at, 8);
AT(tide_scan_error, text, 12);

SIZE_IS(tide_pair, 16);
AT(tide_pair, into, 0);
AT(tide_pair, from, 8);

SIZE_IS(tide_mark, 80);
AT(tide_mark, time_us, 0);
AT(tide_mark, untimed, 8);
AT(tide_mark, max_us, 16);
AT(tide_mark, limit_us, 24);
AT(tide_mark, watermark_us, 32);
AT(tide_mark, ahead, 40);
AT(tide_mark, most_us, 48);
AT(tide_mark, min_us, 56);
AT(tide_mark, count, 64);
AT(tide_mark, sum_us, 72);

SIZE_IS(tide_state_ops, 72);
AT(tide_state_ops, push, 0);
AT(tide_state_ops, drop, 8);
AT(tide_state_ops, resolve, 16);
AT(tide_state_ops, forget, 24);
AT(tide_state_ops, push_timed, 32);
AT(tide_state_ops, claim, 40);
AT(tide_state_ops, drop_timed, 48);
AT(tide_state_ops, sift, 56);
AT(tide_state_ops, drop_sift, 64);
SIZE_IS(tide_queue, 32);
AT(tide_queue, states, 8);
AT(tide_queue, args, 16);
AT(tide_queue, rows, 24);

SIZE_IS(tide_run_result, 16);
AT(tide_run_result, rows_in, 0);
AT(tide_run_result, rows_filtered, 4);
AT(tide_run_result, rows_failed, 8);
AT(tide_run_result, rows_malformed, 12);

/* Values that reach checkpoints and generated Lua. */
_Static_assert(TIDE_INT == 1 && TIDE_DOUBLE == 2 && TIDE_BOOL == 3 && TIDE_STRING == 4 &&
                       TIDE_BYTES == 5 && TIDE_TIMESTAMP == 6,
               "abi.h: enum tide_type is on disk");
_Static_assert(sizeof(enum tide_type) == 4, "abi.h: an enum is an int to LuaJIT");
_Static_assert(sizeof(void *) == 8, "addresses cross to Lua as 64 bits");
