/* SPDX-License-Identifier: Apache-2.0 */
/* The text of a setting as a value: for the config files, nobody else. */
#ifndef TIDE_BASE_CONFIG_VALUE_H
#define TIDE_BASE_CONFIG_VALUE_H

#include "base/config.h"

bool tide_value_bool(const char *text, bool *out);
bool tide_value_int(const char *text, int64_t *out);
bool tide_value_double(const char *text, double *out);
bool tide_value_bytes(const char *text, int64_t *out);
/* The number of an INT, SPAN or BYTES setting. */
bool tide_value_number(enum tide_setting_type type, const char *text, int64_t *out);
/* May the setting have this value? */
bool tide_value_fits(const struct tide_setting *setting, const char *text);

/* Checks of the table. */
bool tide_value_is_broker(const char *item);
bool tide_value_is_topics(const char *text);
bool tide_value_is_start(const char *text);
bool tide_value_is_listen(const char *text);

/* Insertions, deletions, changes and swaps that turn a into b. */
size_t tide_value_distance(const char *a, const char *b);
/* Whether `distance` is near enough to be worth asking about. */
bool tide_value_is_near(const char *name, size_t distance);

#endif
