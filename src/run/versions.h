/* SPDX-License-Identifier: Apache-2.0 */
/* Which Tidemark this is, and which libraries it runs on. */
#ifndef TIDE_RUN_VERSIONS_H
#define TIDE_RUN_VERSIONS_H

#include <stdbool.h>

#include "base/buf.h"

#define TIDE_VERSION "0.1.0"

void tide_versions(bool json, struct tide_buf *out);

#endif
