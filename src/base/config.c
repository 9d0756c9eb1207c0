/* SPDX-License-Identifier: Apache-2.0 */
/* Layers of settings: loaded, checked, and the strongest found. */
#include "base/config.h"

#include <assert.h>
#include <ctype.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/config_layers.h"
#include "base/config_value.h"

static void entry_fini(struct entry *entry)
{
	free(entry->key);
	free(entry->text);
	free(entry->origin);
}

void tide_config_free(struct tide_config *config)
{
	if (config == NULL)
		return;
	for (size_t i = 0; i < config->count; i++)
		entry_fini(&config->entries[i]);
	for (size_t i = 0; i < config->warning_count; i++)
		free(config->warnings[i]);
	free(config->entries);
	free(config->warnings);
	free(config);
}

bool tide_config_key_is_secret(const char *key)
{
	static const char *const parts[] = { "password", "passphrase",        "secret",
		                             "token",    "credential",        "jaas",
		                             "key.pem",  "oauthbearer.config" };
	for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
		if (strcasestr(key, parts[i]) != NULL)
			return true;
	return false;
}

struct entry *tide_config_entry(const struct tide_config *config,
                                const struct tide_setting *setting, const char *key)
{
	struct entry *best = NULL;
	for (size_t i = 0; i < config->count; i++) {
		struct entry *entry = &config->entries[i];
		if (entry->setting != setting || (best != NULL && entry->layer < best->layer))
			continue;
		if (key == NULL || strcmp(entry->key, key) == 0)
			best = entry;
	}
	return best;
}

static struct entry *entry_in_layer(struct tide_config *config, const struct place *place)
{
	for (size_t i = 0; i < config->count; i++) {
		struct entry *entry = &config->entries[i];
		if (entry->setting == place->setting && entry->layer == place->layer &&
		    (place->key == NULL || strcmp(entry->key, place->key) == 0))
			return entry;
	}
	return NULL;
}

static int no_memory(struct tide_error *err)
{
	return tide_fail(err, TIDE_ERR_NOMEM, "no memory for settings");
}

/* Replaces what the same layer said before. */
static int entry_put(struct tide_config *config, const struct place *place, const char *text,
                     struct tide_error *err)
{
	struct entry made = { .setting = place->setting, .layer = place->layer };
	made.key = place->key != NULL ? strdup(place->key) : NULL;
	made.text = strdup(text);
	made.origin = strdup(place->origin);
	struct entry *entry = entry_in_layer(config, place);
	if (entry == NULL) {
		struct entry *grown = realloc(config->entries, (config->count + 1) * sizeof *grown);
		if (grown != NULL) {
			config->entries = grown;
			entry = &grown[config->count];
			memset(entry, 0, sizeof *entry);
		}
	}
	if (entry == NULL || made.text == NULL || made.origin == NULL ||
	    (place->key != NULL && made.key == NULL)) {
		entry_fini(&made);
		return no_memory(err);
	}
	if (entry == &config->entries[config->count])
		config->count++;
	entry_fini(entry);
	*entry = made;
	return TIDE_OK;
}

/* The sentence for a value that cannot be: setting, value, origin, what can. */
static int refuse(const struct place *place, const char *raw, struct tide_error *err)
{
	struct tide_buf allowed = { 0 };
	/* Text that is no key=value may still hold both. */
	bool secret = place->setting->secret || (place->setting->type == TIDE_SETTING_PAIRS &&
	                                         tide_config_key_is_secret(raw));
	tide_setting_allowed(place->setting, &allowed);
	int rc = tide_fail(err, TIDE_ERR_USAGE, "%s: \"%s\" (%s) is not understood; it takes %.*s",
	                   place->setting->name, secret ? "********" : raw, place->origin,
	                   (int)allowed.len, allowed.p != NULL ? allowed.p : "");
	tide_buf_fini(&allowed);
	return rc;
}

/* Copy of text without blanks around it; NULL only without memory. */
static char *trimmed(const char *text)
{
	while (isspace((unsigned char)*text))
		text++;
	size_t len = strlen(text);
	while (len > 0 && isspace((unsigned char)text[len - 1]))
		len--;
	return strndup(text, len);
}

/* key=value; the value may be empty, the key may not. */
static int pair_put(struct tide_config *config, const struct place *place, const char *text,
                    struct tide_error *err)
{
	size_t len = strcspn(text, "=");
	char key[256];
	if (len == 0 || len >= sizeof key || text[len] != '=')
		return refuse(place, text, err);
	memcpy(key, text, len);
	key[len] = '\0';
	while (len > 0 && key[len - 1] == ' ')
		key[--len] = '\0';
	struct place keyed = *place;
	keyed.key = key;
	const char *value = strchr(text, '=') + 1;
	return entry_put(config, &keyed, value, err);
}

int tide_config_put(struct tide_config *config, const struct place *place, const char *raw,
                    struct tide_error *err)
{
	assert(place->setting != NULL && place->origin != NULL && raw != NULL);
	char *text = trimmed(raw);
	int rc = TIDE_OK;
	if (text == NULL)
		return no_memory(err);
	if (*text == '\0') /* blank means unset */
		goto out;
	if (place->setting->type == TIDE_SETTING_PAIRS && place->key == NULL) {
		rc = pair_put(config, place, text, err);
		goto out;
	}
	if (!tide_value_fits(place->setting, text)) {
		rc = refuse(place, text, err);
		goto out;
	}
	bool url = place->setting->type == TIDE_SETTING_PATH && strncmp(text, "file://", 7) == 0;
	rc = entry_put(config, place, url ? text + 7 : text, err);
out:
	free(text);
	return rc;
}

int tide_config_warn(struct tide_config *config, const char *fmt, ...)
{
	char *text = NULL;
	va_list ap;
	va_start(ap, fmt);
	int len = vasprintf(&text, fmt, ap);
	va_end(ap);
	char **grown = realloc(config->warnings, (config->warning_count + 1) * sizeof *grown);
	if (grown != NULL)
		config->warnings = grown;
	if (grown == NULL || len < 0) {
		if (len >= 0)
			free(text);
		return TIDE_ERR_NOMEM;
	}
	config->warnings[config->warning_count++] = text;
	return TIDE_OK;
}

const char *tide_config_warning(const struct tide_config *config, size_t i)
{
	return i < config->warning_count ? config->warnings[i] : NULL;
}

/* A random UUID, version 4. */
static void uuid_make(char out[37])
{
	unsigned char b[16];
	if (getrandom(b, sizeof b, 0) != (ssize_t)sizeof b)
		memset(b, 0, sizeof b);
	b[6] = (unsigned char)((b[6] & 0x0F) | 0x40);
	b[8] = (unsigned char)((b[8] & 0x3F) | 0x80);
	char *p = out;
	for (int i = 0; i < 16; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*p++ = '-';
		p += snprintf(p, 3, "%02x", b[i]);
	}
}

int tide_config_cores(void)
{
	cpu_set_t set;
	int count = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
	int64_t most = tide_setting_find("workers")->max;
	return count > most ? (int)most : count;
}

/* Defaults may hold ${job}, ${uuid} or ${cores}. */
static void expand(const struct tide_config *config, const char *text, struct tide_buf *out)
{
	while (*text != '\0') {
		size_t plain = strcspn(text, "$");
		tide_buf_put(out, text, plain);
		text += plain;
		if (strncmp(text, "${job}", 6) == 0)
			tide_buf_printf(out, "%s", config->job);
		else if (strncmp(text, "${uuid}", 7) == 0)
			tide_buf_printf(out, "%s", config->uuid);
		else if (strncmp(text, "${cores}", 8) == 0)
			tide_buf_printf(out, "%d", tide_config_cores());
		else if (*text == '$')
			assert(!"unknown name in a default");
		text += strcspn(text, "}");
		text += *text == '}';
	}
}

static int default_put(struct tide_config *config, const char *name, const char *key,
                       const char *initial, struct tide_error *err)
{
	struct place place = { tide_setting_find(name), TIDE_LAYER_BUILTIN, key, "built-in" };
	struct tide_buf text = { 0 };
	expand(config, initial, &text);
	tide_buf_u8(&text, 0);
	int rc = text.failed ? no_memory(err) : tide_config_put(config, &place, text.p, err);
	tide_buf_fini(&text);
	return rc;
}

static int defaults_put(struct tide_config *config, struct tide_error *err)
{
	int rc = TIDE_OK;
	const struct tide_setting *setting;
	for (size_t i = 0; rc == TIDE_OK && (setting = tide_setting_at(i)) != NULL; i++)
		if (setting->initial != NULL)
			rc = default_put(config, setting->name, NULL, setting->initial, err);
	const struct tide_variable *variable;
	for (size_t i = 0; rc == TIDE_OK && (variable = tide_variable_at(i)) != NULL; i++)
		if (variable->family == config->family && variable->initial != NULL)
			rc = default_put(config, variable->setting, variable->key,
			                 variable->initial, err);
	return rc;
}

void tide_config_drop_layer(struct tide_config *config, enum tide_layer layer)
{
	size_t kept = 0;
	for (size_t i = 0; i < config->count; i++) {
		if (config->entries[i].layer == layer)
			entry_fini(&config->entries[i]);
		else
			config->entries[kept++] = config->entries[i];
	}
	config->count = kept;
}

struct tide_config *tide_config_new(void)
{
	struct tide_config *config = calloc(1, sizeof *config);
	if (config == NULL)
		return NULL;
	uuid_make(config->uuid);
	if (tide_config_set_job(config, "job", NULL) != TIDE_OK) {
		tide_config_free(config);
		return NULL;
	}
	return config;
}

int tide_config_set_job(struct tide_config *config, const char *job, struct tide_error *err)
{
	assert(job != NULL && *job != '\0');
	snprintf(config->job, sizeof config->job, "%s", job);
	config->family = strcmp(job, "wordcount") == 0 ? TIDE_FAMILY_WORDCOUNT : TIDE_FAMILY_OTHER;
	tide_config_drop_layer(config, TIDE_LAYER_BUILTIN);
	return defaults_put(config, err);
}

enum tide_family tide_config_family(const struct tide_config *config)
{
	return config->family;
}

static const struct tide_setting *known(const char *name)
{
	const struct tide_setting *setting = tide_setting_find(name);
	assert(setting != NULL);
	return setting;
}

enum tide_layer tide_config_layer(const struct tide_config *config, const char *name)
{
	const struct entry *entry = tide_config_entry(config, known(name), NULL);
	return entry != NULL ? entry->layer : TIDE_LAYER_NONE;
}

const char *tide_config_origin(const struct tide_config *config, const char *name)
{
	const struct entry *entry = tide_config_entry(config, known(name), NULL);
	return entry != NULL ? entry->origin : "unset";
}

const char *tide_config_text(const struct tide_config *config, const char *name)
{
	assert(known(name)->type != TIDE_SETTING_PAIRS);
	const struct entry *entry = tide_config_entry(config, known(name), NULL);
	return entry != NULL ? entry->text : NULL;
}

int64_t tide_config_int(const struct tide_config *config, const char *name)
{
	const char *text = tide_config_text(config, name);
	int64_t value = 0;
	bool good = text == NULL || tide_value_number(known(name)->type, text, &value);
	assert(good); /* it was checked when it was put; else it is no number at all */
	return good ? value : 0;
}

double tide_config_double(const struct tide_config *config, const char *name)
{
	const char *text = tide_config_text(config, name);
	double value = 0;
	assert(known(name)->type == TIDE_SETTING_DOUBLE);
	if (text != NULL)
		tide_value_double(text, &value);
	return value;
}

bool tide_config_bool(const struct tide_config *config, const char *name)
{
	const char *text = tide_config_text(config, name);
	bool value = false;
	assert(known(name)->type == TIDE_SETTING_BOOL);
	if (text != NULL)
		tide_value_bool(text, &value);
	return value;
}

/* The i-th entry that is the strongest of its key. */
static const struct entry *pair_entry(const struct tide_config *config,
                                      const struct tide_setting *setting, size_t i)
{
	assert(setting->type == TIDE_SETTING_PAIRS);
	for (size_t at = 0; at < config->count; at++) {
		const struct entry *entry = &config->entries[at];
		if (entry->setting != setting ||
		    tide_config_entry(config, setting, entry->key) != entry)
			continue;
		if (i-- == 0)
			return entry;
	}
	return NULL;
}

size_t tide_config_pair_count(const struct tide_config *config, const char *name)
{
	size_t count = 0;
	while (pair_entry(config, known(name), count) != NULL)
		count++;
	return count;
}

struct tide_pair_value tide_config_pair_at(const struct tide_config *config, const char *name,
                                           size_t i)
{
	const struct entry *entry = pair_entry(config, known(name), i);
	assert(entry != NULL);
	return (struct tide_pair_value){
		.key = entry->key,
		.value = entry->text,
		.origin = entry->origin,
		.secret = tide_config_key_is_secret(entry->key),
	};
}
