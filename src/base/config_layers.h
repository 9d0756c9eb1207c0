/* SPDX-License-Identifier: Apache-2.0 */
/* How layers lie in memory: for the config files, nobody else. */
#ifndef TIDE_BASE_CONFIG_LAYERS_H
#define TIDE_BASE_CONFIG_LAYERS_H

#include "base/config.h"

/* What one layer says about one setting, or one key of a PAIRS setting. */
struct entry {
	const struct tide_setting *setting;
	enum tide_layer layer;
	char *key;
	char *text;
	char *origin;
};

struct tide_config {
	enum tide_family family;
	char job[128];
	char uuid[37];
	struct entry *entries;
	size_t count;
	char **warnings;
	size_t warning_count;
};

/* Where a value goes and where it comes from. */
struct place {
	const struct tide_setting *setting;
	enum tide_layer layer;
	const char *key;
	const char *origin;
};

/* Checks a value and stores it; blank is nothing. */
int tide_config_put(struct tide_config *config, const struct place *place, const char *raw,
                    struct tide_error *err);
int tide_config_warn(struct tide_config *config, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
void tide_config_drop_layer(struct tide_config *config, enum tide_layer layer);
/* The strongest entry of a setting (and key), or NULL. */
struct entry *tide_config_entry(const struct tide_config *config,
                                const struct tide_setting *setting, const char *key);
/* Processors this process may use, at most what workers allows. */
int tide_config_cores(void);
bool tide_config_key_is_secret(const char *key);

#endif
