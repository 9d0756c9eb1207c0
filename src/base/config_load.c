/* SPDX-License-Identifier: Apache-2.0 */
/* Where settings come from: flags, variables, job files, profiles. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/config.h"
#include "base/config_layers.h"
#include "base/config_value.h"

/* Read elsewhere: not settings, and not mistakes either. */
static const char *const variables_elsewhere[] = { "TIDEMARK_FAILPOINT", "TIDEMARK_FAILPOINT_TRACE",
	                                           "TIDEMARK_LIB", "TIDEMARK_LUA" };

/* The setting with the nearest name, or NULL when none is near. A name that
 * begins with no- may stand for a yes-or-no setting; *no says so. */
static const struct tide_setting *nearest_setting(const char *name, bool *no)
{
	const struct tide_setting *setting, *best = NULL;
	size_t least = SIZE_MAX;
	for (size_t i = 0; (setting = tide_setting_at(i)) != NULL; i++) {
		bool negated = setting->type == TIDE_SETTING_BOOL && strncmp(name, "no-", 3) == 0;
		size_t distance = tide_value_distance(negated ? name + 3 : name, setting->name);
		if (setting->name[1] != '\0' && distance < least) {
			best = setting;
			least = distance;
			*no = negated;
		}
	}
	return tide_value_is_near(name, least) ? best : NULL;
}

static int unknown_flag(const char *name, size_t len, struct tide_error *err)
{
	char given[80];
	bool no = false;
	snprintf(given, sizeof given, "%.*s", (int)len, name);
	const struct tide_setting *near = nearest_setting(given, &no);
	if (near != NULL)
		return tide_fail(err, TIDE_ERR_USAGE, "unknown flag --%s; did you mean --%s%s?",
		                 given, no ? "no-" : "", near->name);
	return tide_fail(err, TIDE_ERR_USAGE, "unknown flag --%s; --help lists all flags", given);
}

static int flag_put(struct tide_config *config, const struct tide_setting *setting,
                    const char *value, struct tide_error *err)
{
	char origin[80];
	snprintf(origin, sizeof origin, "flag %s%s", setting->name[1] != '\0' ? "--" : "-",
	         setting->name);
	struct place place = { setting, TIDE_LAYER_FLAG, NULL, origin };
	return tide_config_put(config, &place, value, err);
}

/* A flag whose value, if it needs one, is `value` or the next argument. */
static int flag_take(struct tide_config *config, const struct tide_setting *setting,
                     const char *value, const char *next, int *taken, struct tide_error *err)
{
	*taken = 1;
	if (value == NULL && setting->type == TIDE_SETTING_BOOL)
		value = "true";
	if (value == NULL) {
		if (next == NULL || strncmp(next, "--", 2) == 0)
			return tide_fail(err, TIDE_ERR_USAGE, "%s%s needs a value: %s",
			                 setting->name[1] != '\0' ? "--" : "-", setting->name,
			                 setting->takes);
		value = next;
		*taken = 2;
	}
	return flag_put(config, setting, value, err);
}

static int flag_long(struct tide_config *config, const char *arg, const char *next, int *taken,
                     struct tide_error *err)
{
	size_t len = strcspn(arg, "=");
	const char *value = arg[len] == '=' ? arg + len + 1 : NULL;
	char name[80];
	*taken = 1;
	if (len >= sizeof name)
		return unknown_flag(arg, len, err);
	memcpy(name, arg, len);
	name[len] = '\0';
	const struct tide_setting *setting = tide_setting_find(name);
	if (setting != NULL)
		return flag_take(config, setting, value, next, taken, err);
	setting = strncmp(name, "no-", 3) == 0 ? tide_setting_find(name + 3) : NULL;
	if (setting == NULL || setting->type != TIDE_SETTING_BOOL)
		return unknown_flag(arg, len, err);
	if (value != NULL)
		return tide_fail(err, TIDE_ERR_USAGE, "--%s takes no value; write --%s=%s", name,
		                 setting->name, value);
	return flag_put(config, setting, "false", err);
}

int tide_config_flag(struct tide_config *config, int count, char *const *args, int *taken,
                     struct tide_error *err)
{
	assert(count > 0 && args[0][0] == '-');
	const char *arg = args[0];
	const char *next = count > 1 ? args[1] : NULL;
	if (arg[1] == '-')
		return flag_long(config, arg + 2, next, taken, err);
	*taken = 1;
	const struct tide_setting *setting;
	for (size_t i = 0; arg[1] != '\0' && (setting = tide_setting_at(i)) != NULL; i++) {
		if (setting->letter != arg[1])
			continue;
		if (arg[2] != '\0' && setting->type == TIDE_SETTING_BOOL)
			break; /* -qv is not two flags here */
		return flag_take(config, setting, arg[2] != '\0' ? arg + 2 : NULL, next, taken,
		                 err);
	}
	return tide_fail(err, TIDE_ERR_USAGE, "unknown flag %s; --help lists all flags", arg);
}

/* What Kubernetes puts into pods for a service that happens to have our name. */
static bool is_service_link(const char *name, const char *value)
{
	if (strstr(name, "_SERVICE_HOST") != NULL || strstr(name, "_SERVICE_PORT") != NULL)
		return true;
	return strstr(name, "_PORT") != NULL &&
	       (strstr(name, "_TCP") != NULL || strstr(name, "_UDP") != NULL ||
	        strstr(value, "://") != NULL);
}

static void nearest_variable(const char *name, const char *candidate, char *best, size_t size,
                             size_t *distance)
{
	size_t d = tide_value_distance(name, candidate);
	if (d < *distance) {
		*distance = d;
		snprintf(best, size, "%s", candidate);
	}
}

static int unknown_variable(struct tide_config *config, const char *name, const char *value)
{
	char best[80] = "", candidate[80];
	size_t distance = SIZE_MAX;
	if (is_service_link(name, value))
		return TIDE_OK;
	for (size_t i = 0; i < sizeof variables_elsewhere / sizeof *variables_elsewhere; i++)
		if (strcmp(name, variables_elsewhere[i]) == 0)
			return TIDE_OK;
	const struct tide_setting *setting;
	for (size_t i = 0; (setting = tide_setting_at(i)) != NULL; i++) {
		tide_setting_variable(setting, candidate, sizeof candidate);
		nearest_variable(name, candidate, best, sizeof best, &distance);
	}
	const struct tide_variable *variable;
	for (size_t i = 0; (variable = tide_variable_at(i)) != NULL; i++)
		if (variable->any_family || variable->family == config->family)
			nearest_variable(name, variable->name, best, sizeof best, &distance);
	/* The prefix matches in any case; the rest has to be near. */
	if (tide_value_is_near(strchr(name, '_') + 1, distance))
		return tide_config_warn(config,
		                        "%s is set, but there is no such setting; did you "
		                        "mean %s?",
		                        name, best);
	return tide_config_warn(config, "%s is set, but there is no such setting; it is ignored",
	                        name);
}

/* The value of a family's variable in the setting's own form, or NULL when it
 * has no such form. `room` may hold it. */
static const char *variable_value(const struct tide_variable *variable, const char *raw, char *room,
                                  size_t size)
{
	static const char count[] = "0123456789";
	int64_t number;
	bool flag;
	switch (variable->form) {
	case TIDE_VARIABLE_PORT:
		snprintf(room, size, "127.0.0.1:%s", raw);
		return tide_value_int(raw, &number) ? room : NULL;
	case TIDE_VARIABLE_LOCAL:
		if (strcmp(raw, "local") == 0)
			return "1";
		if (strncmp(raw, "local[*", 7) == 0 && (raw[7] == ']' || raw[7] == ','))
			return "${cores}";
		if (strncmp(raw, "local[", 6) != 0)
			return NULL;
		size_t digits = strspn(raw + 6, count);
		snprintf(room, size, "%.*s", (int)digits, raw + 6);
		/* local[4,2] allows 2 failures; a job here is restarted whole. */
		size_t more = raw[6 + digits] == ',' ? 1 + strspn(raw + 7 + digits, count) : 0;
		return digits > 0 && strcmp(raw + 6 + digits + more, "]") == 0 ? room : NULL;
	case TIDE_VARIABLE_FLAG: return variable->becomes;
	case TIDE_VARIABLE_BOOL:
		return tide_value_bool(raw, &flag) ? (flag ? "true" : "false") : NULL;
	case TIDE_VARIABLE_PLAIN:
	case TIDE_VARIABLE_IGNORED: break;
	}
	return raw;
}

static const char *variable_allowed(enum tide_variable_form form)
{
	switch (form) {
	case TIDE_VARIABLE_PORT: return "a port from 0 to 65535";
	case TIDE_VARIABLE_LOCAL:
		return "local, local[N] with N up to 64, or local[*]: workers are threads of this "
		       "process";
	default: return "true or false";
	}
}

static int family_put(struct tide_config *config, const struct tide_variable *variable,
                      const char *raw, struct tide_error *err)
{
	if (variable->form == TIDE_VARIABLE_IGNORED) {
		int rc = tide_config_warn(config, "%s is ignored: %s", variable->name,
		                          variable->help);
		return rc == TIDE_OK ? rc : tide_fail(err, rc, "no memory for settings");
	}
	struct place place = { tide_setting_find(variable->setting), TIDE_LAYER_FAMILY,
		               variable->key, variable->name };
	char room[64];
	const char *value = variable_value(variable, raw, room, sizeof room);
	if (value != NULL && strcmp(value, "${cores}") == 0) {
		snprintf(room, sizeof room, "%d", tide_config_cores());
		value = room;
	}
	if (value == NULL ||
	    (variable->form != TIDE_VARIABLE_PLAIN && !tide_value_fits(place.setting, value)))
		return tide_fail(err, TIDE_ERR_USAGE,
		                 "%s: \"%s\" (%s) is not understood; it takes %s",
		                 variable->key != NULL ? variable->key : variable->setting, raw,
		                 variable->name, variable_allowed(variable->form));
	return tide_config_put(config, &place, value, err);
}

/* TIDEMARK_NAME, or TIDEMARK_NO_NAME of a yes-or-no setting. Lines of a pair
 * variable are a pair each. */
static int own_put(struct tide_config *config, const char *name, const char *value, bool *found,
                   struct tide_error *err)
{
	char own[80];
	const struct tide_setting *setting;
	struct place place = { .layer = TIDE_LAYER_ENVIRONMENT, .origin = name };
	bool no = strncmp(name, "TIDEMARK_NO_", 12) == 0;
	for (size_t i = 0; (setting = tide_setting_at(i)) != NULL && !*found; i++) {
		tide_setting_variable(setting, own, sizeof own);
		bool off =
			no && setting->type == TIDE_SETTING_BOOL && strcmp(own + 9, name + 12) == 0;
		if (!off && strcmp(own, name) != 0)
			continue;
		*found = true;
		place.setting = setting;
		bool flag;
		if (off && tide_value_bool(value, &flag))
			value = flag ? "false" : "true";
	}
	if (!*found)
		return TIDE_OK;
	if (place.setting->type != TIDE_SETTING_PAIRS)
		return tide_config_put(config, &place, value, err);
	char *lines = strdup(value), *rest = lines;
	int rc = lines != NULL ? TIDE_OK : tide_fail(err, TIDE_ERR_NOMEM, "no memory for settings");
	for (char *line; rc == TIDE_OK && (line = strsep(&rest, "\n")) != NULL;)
		rc = tide_config_put(config, &place, line, err);
	free(lines);
	return rc;
}

static int variable_put(struct tide_config *config, const char *name, const char *value,
                        struct tide_error *err)
{
	const struct tide_variable *variable;
	bool foreign = false, found = false;
	for (size_t i = 0; (variable = tide_variable_at(i)) != NULL; i++) {
		if (strcmp(variable->name, name) != 0)
			continue;
		if (variable->any_family || variable->family == config->family)
			return family_put(config, variable, value, err);
		foreign = true;
	}
	int rc = own_put(config, name, value, &found, err);
	if (found || rc != TIDE_OK)
		return rc;
	bool ours = strncmp(name, "TIDEMARK_", 9) == 0 || strncmp(name, "KAFSCALE_", 9) == 0;
	if (!ours)
		return TIDE_OK;
	if (foreign)
		rc = tide_config_warn(config, "%s is set, but only the word-count job reads it",
		                      name);
	else
		rc = unknown_variable(config, name, value);
	return rc == TIDE_OK ? rc : tide_fail(err, rc, "no memory for settings");
}

int tide_config_environment(struct tide_config *config, char *const *environment,
                            struct tide_error *err)
{
	assert(environment != NULL);
	int rc = TIDE_OK;
	for (; rc == TIDE_OK && *environment != NULL; environment++) {
		char name[80];
		size_t len = strcspn(*environment, "=");
		const char *value = *environment + len + 1;
		if ((*environment)[len] != '=' || len == 0 || len >= sizeof name)
			continue;
		if (value[strspn(value, " \t\r\n")] == '\0')
			continue; /* blank means unset */
		memcpy(name, *environment, len);
		name[len] = '\0';
		rc = variable_put(config, name, value, err);
	}
	return rc;
}

int tide_config_job_value(struct tide_config *config, const char *name, const char *value,
                          const char *file, struct tide_error *err)
{
	assert(name != NULL && value != NULL && file != NULL);
	char dashed[80], origin[512];
	snprintf(dashed, sizeof dashed, "%s", name);
	for (char *p = dashed; *p != '\0'; p++)
		*p = *p == '_' ? '-' : *p;
	const char *slash = strrchr(file, '/'); /* the folder says nothing in a table */
	snprintf(origin, sizeof origin, "job %s", slash != NULL ? slash + 1 : file);
	struct place place = { tide_setting_find(dashed), TIDE_LAYER_JOB, NULL, origin };
	if (place.setting != NULL)
		return tide_config_put(config, &place, value, err);
	bool no = false;
	const struct tide_setting *near = nearest_setting(dashed, &no);
	return tide_fail(err, TIDE_ERR_USAGE, "%s: there is no setting \"%s\"%s%s%s", file, name,
	                 near != NULL ? "; did you mean " : "", near != NULL ? near->name : "",
	                 near != NULL ? "?" : "");
}

static int profile_apply(struct tide_config *config, struct tide_error *err)
{
	const char *name = tide_config_text(config, "profile");
	tide_config_drop_layer(config, TIDE_LAYER_PROFILE);
	if (name == NULL)
		return TIDE_OK;
	char origin[128], names[256] = "";
	snprintf(origin, sizeof origin, "profile %s", name);
	const struct tide_profile *profile;
	bool found = false;
	int rc = TIDE_OK;
	for (size_t i = 0; rc == TIDE_OK && (profile = tide_profile_at(i)) != NULL; i++) {
		if (profile->family != config->family)
			continue;
		size_t len = strlen(names);
		snprintf(names + len, sizeof names - len, "%s%s", len > 0 ? ", " : "",
		         profile->name);
		if (strcmp(profile->name, name) != 0)
			continue;
		found = true;
		struct place place = { tide_setting_find(profile->setting), TIDE_LAYER_PROFILE,
			               NULL, origin };
		rc = tide_config_put(config, &place, profile->value, err);
	}
	if (found || rc != TIDE_OK)
		return rc;
	if (*names == '\0')
		return tide_fail(err, TIDE_ERR_USAGE,
		                 "profile: \"%s\" (%s): this job has no profiles; "
		                 "name the brokers with --brokers",
		                 name, tide_config_origin(config, "profile"));
	return tide_fail(err, TIDE_ERR_USAGE, "profile: \"%s\" (%s) is unknown; it takes one of %s",
	                 name, tide_config_origin(config, "profile"), names);
}

int tide_config_settle(struct tide_config *config, struct tide_error *err)
{
	int rc = profile_apply(config, err);
	if (rc != TIDE_OK)
		return rc;
	const struct tide_setting *set = tide_setting_find("set");
	const struct entry *delta = tide_config_entry(config, set, "delta_enabled");
	bool on;
	if (config->family == TIDE_FAMILY_WORDCOUNT && delta != NULL &&
	    tide_value_bool(delta->text, &on) && on)
		return tide_fail(
			err, TIDE_ERR_USAGE,
			"%s: there is no Delta sink in this version, "
			"and counts would go nowhere; unset it to print them on the console",
			delta->origin);
	return TIDE_OK;
}
