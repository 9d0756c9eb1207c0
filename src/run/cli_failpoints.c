/* SPDX-License-Identifier: Apache-2.0 */
/* --failpoints: the places where a test build can be made to fail. */
#include <stdio.h>

#include "base/failpoint.h"
#include "run/cli.h"

#ifdef TIDE_FAILPOINTS

int tide_cli_failpoints(struct tide_error *err)
{
	const struct tide_failpoint_note *note;
	(void)err;
	for (int i = 0; (note = tide_failpoint_at(i)) != NULL; i++)
		printf("%-22s %-11s %-31s %s\n", note->name, note->room,
		       note->fails ? "kill,exit,delay,stop,io,enospc" : "kill,exit,delay,stop",
		       note->what);
	return TIDE_OK;
}

#else

int tide_cli_failpoints(struct tide_error *err)
{
	return tide_fail(err, TIDE_ERR_USAGE,
	                 "fail points are compiled out of this build; `make FLAVOUR=test "
	                 "build/test/tidemark` makes one that has them");
}

#endif
