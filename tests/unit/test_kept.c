/* SPDX-License-Identifier: Apache-2.0 */
/* A record that waits in a row's cells comes back as it was. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "record/kept.h"

static struct tide_slice text(const char *p)
{
	return (struct tide_slice){ p, p == NULL ? 0 : strlen(p) };
}

static void assert_view(const struct tide_view *view, const char *wanted)
{
	assert_int_equal(view->len_, wanted == NULL ? -1 : (int)strlen(wanted));
	if (wanted != NULL)
		assert_memory_equal(tide_view_p(view), wanted, strlen(wanted));
}

static void record_comes_back_as_it_was(void **state)
{
	(void)state;
	static const char *const keys[] = { "k", "", NULL, "key with more" };
	struct tide_cell cells[TIDE_KEPT_CELLS];
	struct tide_ring *ring = tide_ring_new();
	for (size_t i = 0; i < 4; i++) {
		struct tide_batch *from = tide_ring_next(ring, "t", 0);
		struct tide_rec *rec = tide_batch_add(from, text(keys[i]), text(keys[3 - i]), 9,
		                                      i == 1 ? -1 : 1700000000123);
		assert_true(tide_batch_headers(from, (uint32_t)i));
		for (uint32_t h = 0; h < i; h++)
			assert_true(tide_batch_header_set(from, h, text("name"), text(keys[h])));
		assert_true(tide_kept_put(from, rec, cells));
		struct tide_batch *to = tide_ring_next(ring, "t", 0);
		assert_true(tide_kept_add(to, cells, 41));
		const struct tide_rec *back = &to->recs[0];
		assert_view(&back->key_, keys[i]);
		assert_view(&back->value_, keys[3 - i]);
		assert_int_equal(back->offset_, 41);
		assert_int_equal(back->timestamp_ms_, i == 1 ? -1 : 1700000000123);
		assert_int_equal(back->header_count, i);
		const struct tide_header *headers =
			(const struct tide_header *)(uintptr_t)back->headers_addr_;
		for (uint32_t h = 0; h < i; h++) {
			assert_view(&headers[h].name_, "name");
			assert_view(&headers[h].value_, keys[h]);
		}
	}
	tide_ring_free(ring);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(record_comes_back_as_it_was),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
