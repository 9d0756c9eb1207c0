/* SPDX-License-Identifier: Apache-2.0 */
/* Every setting, its value and its origin, for people and for programs. */
#include <string.h>

#include "base/config.h"
#include "base/config_layers.h"

enum { NAME_WIDTH = 26, VALUE_WIDTH = 40 };

static const char MASK[] = "********";

/* What may be shown. @file and env:NAME are shown as they were written: they
 * say where the secret is, not what it is. */
static const char *shown(const struct entry *entry)
{
	bool secret = entry->setting->secret ||
	              (entry->key != NULL && tide_config_key_is_secret(entry->key));
	const char *text = entry->text;
	bool reference = entry->key != NULL &&
	                 (strncmp(text, "env:", 4) == 0 || (text[0] == '@' && text[1] != '@'));
	return secret && !reference ? MASK : text;
}

/* Calls `put` for each setting, and for each key of a PAIRS setting; `entry` is
 * NULL for a setting without a value. */
static void each(const struct tide_config *config,
                 void (*put)(const struct tide_setting *, const struct entry *, struct tide_buf *),
                 struct tide_buf *out)
{
	const struct tide_setting *setting;
	for (size_t i = 0; (setting = tide_setting_at(i)) != NULL; i++) {
		if (setting->type != TIDE_SETTING_PAIRS) {
			put(setting, tide_config_entry(config, setting, NULL), out);
			continue;
		}
		for (size_t k = 0; k < config->count; k++) {
			const struct entry *entry = &config->entries[k];
			if (entry->setting == setting &&
			    tide_config_entry(config, setting, entry->key) == entry)
				put(setting, entry, out);
		}
	}
}

static void put_text(const struct tide_setting *setting, const struct entry *entry,
                     struct tide_buf *out)
{
	size_t start = out->len;
	tide_buf_printf(out, "%s", setting->name);
	if (entry != NULL && entry->key != NULL)
		tide_buf_printf(out, " %s", entry->key);
	size_t width = out->len - start;
	tide_buf_printf(out, "%*s %-*s %s\n", width < NAME_WIDTH ? (int)(NAME_WIDTH - width) : 0,
	                "", VALUE_WIDTH, entry != NULL ? shown(entry) : "-",
	                entry != NULL ? entry->origin : "unset");
}

void tide_config_dump_text(const struct tide_config *config, struct tide_buf *out)
{
	each(config, put_text, out);
}

static void put_json_text(struct tide_buf *out, const char *text)
{
	tide_buf_json(out, text, strlen(text));
}

static void put_json(const struct tide_setting *setting, const struct entry *entry,
                     struct tide_buf *out)
{
	if (out->len > 0 && out->p[out->len - 1] != '[')
		tide_buf_put(out, ",", 1);
	tide_buf_printf(out, "\n{\"name\":");
	put_json_text(out, setting->name);
	if (entry != NULL && entry->key != NULL) {
		tide_buf_printf(out, ",\"key\":");
		put_json_text(out, entry->key);
	}
	tide_buf_printf(out, ",\"value\":");
	if (entry != NULL)
		put_json_text(out, shown(entry));
	else
		tide_buf_printf(out, "null");
	tide_buf_printf(out, ",\"origin\":");
	put_json_text(out, entry != NULL ? entry->origin : "unset");
	tide_buf_printf(out, "}");
}

void tide_config_dump_json(const struct tide_config *config, struct tide_buf *out)
{
	tide_buf_printf(out, "[");
	each(config, put_json, out);
	tide_buf_printf(out, "\n]\n");
}
