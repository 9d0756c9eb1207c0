/* SPDX-License-Identifier: Apache-2.0 */
/* Names of folders: what may be synced is, what may not is left out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/durable.h"

static struct tide_error err;

/* How many descriptors are open: none may stay behind. */
static int open_count(void)
{
	int count = 0;
	for (int fd = 0; fd < 64; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

static void folders_up_to_the_mount_are_synced(void **state)
{
	(void)state;
	char root[] = "/tmp/test_durable.XXXXXX", deep[64];
	int before = open_count();
	assert_non_null(mkdtemp(root));
	snprintf(deep, sizeof deep, "%s/deep", root);
	assert_int_equal(mkdir(deep, 0755), 0);
	assert_int_equal(tide_durable_names(deep, &err), TIDE_OK);
	assert_int_equal(tide_durable_names("/", &err), TIDE_OK);
	assert_int_equal(tide_durable_names("/proc/self", &err), TIDE_OK);
	assert_int_equal(open_count(), before);
	rmdir(deep);
	rmdir(root);
}

static void folder_that_cannot_be_opened_is_left_out(void **state)
{
	(void)state;
	int before = open_count();
	assert_int_equal(tide_durable_names("/no/such/folder", &err), TIDE_OK);
	assert_int_equal(open_count(), before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(folders_up_to_the_mount_are_synced),
		cmocka_unit_test(folder_that_cannot_be_opened_is_left_out),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
