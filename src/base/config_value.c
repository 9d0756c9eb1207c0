/* SPDX-License-Identifier: Apache-2.0 */
/* Values of settings: read from text, and checked. */
#include "base/config_value.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"

enum { PORT_MAX = 65535, TOPIC_LEN_MAX = 249, NAME_LEN_MAX = 80 };

bool tide_value_bool(const char *text, bool *out)
{
	static const char *const words[][2] = {
		{ "false", "true" },
		{ "no", "yes" },
		{ "off", "on" },
		{ "0", "1" },
	};
	for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
		for (int v = 0; v < 2; v++) {
			if (strcasecmp(text, words[i][v]) == 0) {
				*out = v == 1;
				return true;
			}
		}
	}
	return false;
}

bool tide_value_int(const char *text, int64_t *out)
{
	char *end;
	if (!isdigit((unsigned char)text[*text == '-']))
		return false;
	errno = 0;
	long long v = strtoll(text, &end, 10);
	if (errno != 0 || *end != '\0')
		return false;
	*out = v;
	return true;
}

bool tide_value_double(const char *text, double *out)
{
	char *end;
	if (strspn(text, "+-.0123456789eE") != strlen(text))
		return false; /* no "inf", no "0x10" */
	double v = strtod(text, &end);
	if (end == text || *end != '\0' || !isfinite(v))
		return false;
	*out = v;
	return true;
}

bool tide_value_bytes(const char *text, int64_t *out)
{
	static const char letters[] = "KMGT";
	char *end;
	if (!isdigit((unsigned char)*text))
		return false;
	double v = strtod(text, &end);
	if (strspn(text, ".0123456789") != (size_t)(end - text))
		return false;
	while (*end == ' ')
		end++;
	const char *letter = *end != '\0' ? strchr(letters, toupper((unsigned char)*end)) : NULL;
	if (letter != NULL) {
		v *= (double)(INT64_C(1) << (10 * (letter - letters + 1)));
		end++;
		if (*end == 'i')
			end++;
	}
	if (*end == 'B' || *end == 'b')
		end++;
	if (*end != '\0' || v > 9e18)
		return false;
	*out = (int64_t)v;
	return true;
}

bool tide_value_number(enum tide_setting_type type, const char *text, int64_t *out)
{
	switch (type) {
	case TIDE_SETTING_INT: return tide_value_int(text, out);
	case TIDE_SETTING_BYTES: return tide_value_bytes(text, out);
	case TIDE_SETTING_SPAN: *out = tide_clock_span_ms(text); return *out >= 0;
	default: return false;
	}
}

static bool is_choice(const char *choices, const char *text)
{
	size_t len = strlen(text);
	while (choices != NULL) {
		size_t choice = strcspn(choices, "|");
		if (choice == len && memcmp(choices, text, len) == 0)
			return true;
		choices = choices[choice] == '|' ? choices + choice + 1 : NULL;
	}
	return false;
}

/* Each item between commas, without the blanks around it. */
static bool items_fit(bool (*check)(const char *item), const char *text)
{
	char item[512];
	for (;;) {
		size_t len = strcspn(text, ",");
		const char *from = text + strspn(text, " ");
		size_t size = from < text + len ? (size_t)(text + len - from) : 0;
		while (size > 0 && from[size - 1] == ' ')
			size--;
		if (size == 0 || size >= sizeof item)
			return false;
		memcpy(item, from, size);
		item[size] = '\0';
		if (check != NULL && !check(item))
			return false;
		if (text[len] == '\0')
			return true;
		text += len + 1;
	}
}

/* A path, not the address of an object store that would become a directory
 * called "s3a:" here. */
static bool is_path(const char *text)
{
	const char *scheme = strstr(text, "://");
	if (scheme == NULL)
		return true;
	return strncmp(text, "file://", 7) == 0 && text[7] == '/';
}

bool tide_value_fits(const struct tide_setting *setting, const char *text)
{
	assert(setting != NULL && text != NULL);
	bool flag;
	double real;
	int64_t number;
	if (setting->choices != NULL)
		return is_choice(setting->choices, text);
	switch (setting->type) {
	case TIDE_SETTING_BOOL: return tide_value_bool(text, &flag);
	case TIDE_SETTING_INT:
	case TIDE_SETTING_SPAN:
	case TIDE_SETTING_BYTES:
		if (!tide_value_number(setting->type, text, &number))
			return false;
		return (setting->min == 0 && setting->max == 0) ||
		       (number >= setting->min && number <= setting->max);
	case TIDE_SETTING_DOUBLE: return tide_value_double(text, &real);
	case TIDE_SETTING_LIST: return items_fit(setting->check, text);
	case TIDE_SETTING_PATH: return is_path(text);
	case TIDE_SETTING_TEXT:
	case TIDE_SETTING_PAIRS: break;
	}
	return setting->check == NULL || setting->check(text);
}

static bool is_port(const char *text, int64_t least)
{
	int64_t port;
	return tide_value_int(text, &port) && port >= least && port <= PORT_MAX;
}

/* host, host:port or [::1]:port. */
static bool is_address(const char *text, bool port_needed, int64_t port_least)
{
	const char *host = text;
	size_t len = strcspn(host, ":");
	if (*host == '[') {
		len = strcspn(host, "]");
		if (host[len] != ']' || strspn(host + 1, "0123456789abcdefABCDEF:.%") < len - 1)
			return false;
		len++;
	} else if (len == 0 || strcspn(host, " /@\"'") < len) {
		return false;
	}
	const char *port = host + len;
	if (*port == '\0')
		return !port_needed;
	return *port == ':' && is_port(port + 1, port_least);
}

bool tide_value_is_broker(const char *item)
{
	const char *scheme = strstr(item, "://"); /* SSL://host:9093, as librdkafka has it */
	return is_address(scheme != NULL ? scheme + 3 : item, false, 1);
}

bool tide_value_is_listen(const char *text)
{
	return is_address(text, true, 0);
}

static bool is_topic(const char *item)
{
	static const char legal[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
	size_t len = strlen(item);
	return len <= TOPIC_LEN_MAX && strspn(item, legal) == len && strcmp(item, ".") != 0 &&
	       strcmp(item, "..") != 0;
}

bool tide_value_is_topics(const char *text)
{
	if (*text == '^') /* a pattern may hold commas */
		return text[1] != '\0';
	return items_fit(is_topic, text);
}

bool tide_value_is_start(const char *text)
{
	int64_t us;
	if (strcmp(text, "earliest") == 0 || strcmp(text, "latest") == 0)
		return true;
	if (tide_value_int(text, &us))
		return us >= 0;
	return tide_clock_parse_us(text, strlen(text), &us) == 0;
}

size_t tide_value_distance(const char *a, const char *b)
{
	size_t rows[3][NAME_LEN_MAX + 1];
	size_t a_len = strlen(a), b_len = strlen(b);
	if (a_len > NAME_LEN_MAX || b_len > NAME_LEN_MAX)
		return a_len + b_len;
	for (size_t j = 0; j <= b_len; j++)
		rows[0][j] = j;
	for (size_t i = 1; i <= a_len; i++) {
		size_t *row = rows[i % 3], *above = rows[(i + 2) % 3], *before = rows[(i + 1) % 3];
		row[0] = i;
		for (size_t j = 1; j <= b_len; j++) {
			size_t best = above[j - 1] + (a[i - 1] != b[j - 1]);
			if (above[j] + 1 < best)
				best = above[j] + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
			    before[j - 2] + 1 < best)
				best = before[j - 2] + 1;
			row[j] = best;
		}
	}
	return rows[a_len % 3][b_len];
}

bool tide_value_is_near(const char *name, size_t distance)
{
	size_t len = strlen(name);
	return distance <= (len < 6 ? 1 : len < 12 ? 2 : len / 4);
}
