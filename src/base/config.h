/* SPDX-License-Identifier: Apache-2.0 */
/* Settings: one table of all of them, and where each one's value came from.
 *
 * A row of the table gives a setting its flag (--max-records-per-batch), its
 * variable (TIDEMARK_MAX_RECORDS_PER_BATCH) and its key in a job file
 * (max_records_per_batch). Jobs that take the place of another program also
 * read that program's variables: their family's.
 *
 * A run loads layers in any order: flags, the environment, the job file. Then
 * tide_config_settle applies the profile and checks what only all layers
 * together can tell; call it again after loading more. Every value is checked
 * when it is loaded, so reading one cannot fail. Blank means unset. */
#ifndef TIDE_BASE_CONFIG_H
#define TIDE_BASE_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"

enum tide_setting_type {
	TIDE_SETTING_TEXT,
	TIDE_SETTING_INT,
	TIDE_SETTING_DOUBLE,
	TIDE_SETTING_BOOL,  /* --name, --no-name, --name=false */
	TIDE_SETTING_SPAN,  /* "30s"; read in milliseconds */
	TIDE_SETTING_BYTES, /* "256M", which is 256 * 1024 * 1024 */
	TIDE_SETTING_LIST,  /* "a,b" */
	TIDE_SETTING_PATH,  /* of this machine; file:///tmp/x is read as /tmp/x */
	TIDE_SETTING_PAIRS  /* key=value, repeated; layers add to each other */
};

struct tide_setting {
	const char *name; /* "brokers" */
	char letter;      /* 'b': also -b; 0: none */
	enum tide_setting_type type;
	bool secret;                     /* shown as ******** */
	const char *initial;             /* the built-in default; NULL: none */
	const char *choices;             /* "auto|text|json"; NULL: see check, min and max */
	bool (*check)(const char *item); /* of a text, or of each item of a list */
	const char *allowed;             /* what check lets through, as the end of a sentence */
	int64_t min, max;                /* of a number, span or size; both 0: no limits */
	const char *takes;               /* in the help: "HOST:PORT,…" */
	const char *help;                /* one sentence */
};

/* Jobs that read variables of their own. */
enum tide_family { TIDE_FAMILY_OTHER, TIDE_FAMILY_WORDCOUNT };

enum tide_variable_form {
	TIDE_VARIABLE_PLAIN,  /* the setting's own form */
	TIDE_VARIABLE_PORT,   /* 4040: becomes 127.0.0.1:4040 */
	TIDE_VARIABLE_LOCAL,  /* local[4]: becomes 4 */
	TIDE_VARIABLE_FLAG,   /* set to anything: becomes `becomes` */
	TIDE_VARIABLE_BOOL,   /* true or false, for a key of --set */
	TIDE_VARIABLE_IGNORED /* known, warned about, without effect */
};

/* A variable that is not called TIDEMARK_something. */
struct tide_variable {
	enum tide_family family;
	bool any_family;     /* all families read it */
	const char *name;    /* "KAFSCALE_TOPIC" */
	const char *setting; /* "topic"; NULL: IGNORED */
	const char *key;     /* of a PAIRS setting; else NULL */
	const char *initial; /* the family's default for the setting or key */
	enum tide_variable_form form;
	const char *becomes;
	const char *help; /* what to say to who uses it; NULL: nothing more */
};

/* --profile NAME sets `setting` to `value`. */
struct tide_profile {
	enum tide_family family;
	const char *name;
	const char *setting;
	const char *value;
};

/* The tables; NULL past the end. */
const struct tide_setting *tide_setting_at(size_t i);
const struct tide_variable *tide_variable_at(size_t i);
const struct tide_profile *tide_profile_at(size_t i);
const struct tide_setting *tide_setting_find(const char *name);
/* "TIDEMARK_MAX_RECORDS_PER_BATCH"; `size` of 64 is enough for all. */
void tide_setting_variable(const struct tide_setting *setting, char *out, size_t size);
/* What the setting allows, as the end of a sentence: "a whole number from 1 to
 * 64", "one of auto, text, json". */
void tide_setting_allowed(const struct tide_setting *setting, struct tide_buf *out);
/* The lines of --help for one setting, for jobs of a family. */
void tide_setting_help(const struct tide_setting *setting, enum tide_family family,
                       struct tide_buf *out);

/* A row of the README's table: flag, variable, what the word count reads too,
 * default. */
void tide_setting_markdown(const struct tide_setting *setting, struct tide_buf *out);

/* Layers, from the weakest. */
enum tide_layer {
	TIDE_LAYER_NONE, /* no value at all */
	TIDE_LAYER_BUILTIN,
	TIDE_LAYER_JOB,
	TIDE_LAYER_PROFILE,
	TIDE_LAYER_FAMILY,      /* KAFSCALE_TOPIC */
	TIDE_LAYER_ENVIRONMENT, /* TIDEMARK_TOPIC */
	TIDE_LAYER_FLAG
};

struct tide_config;

struct tide_config *tide_config_new(void); /* NULL when out of memory */
void tide_config_free(struct tide_config *config);

/* Whose settings these are: chooses the family and fills ${job} in defaults.
 * Before tide_config_environment. */
int tide_config_set_job(struct tide_config *config, const char *job, struct tide_error *err);
enum tide_family tide_config_family(const struct tide_config *config);

/* args[0] begins with '-'. Takes it, and args[1] where it is the flag's value;
 * *taken says how many. An unknown flag is TIDE_ERR_USAGE and names the nearest. */
int tide_config_flag(struct tide_config *config, int count, char *const *args, int *taken,
                     struct tide_error *err);
/* An array like environ. What is unknown but begins with TIDEMARK_ or KAFSCALE_
 * becomes a warning. */
int tide_config_environment(struct tide_config *config, char *const *environment,
                            struct tide_error *err);
/* A setting of the job file; `name` may be spelt with underscores. */
int tide_config_job_value(struct tide_config *config, const char *name, const char *value,
                          const char *file, struct tide_error *err);
int tide_config_settle(struct tide_config *config, struct tide_error *err);
/* The i-th thing worth telling the user so far, or NULL. */
const char *tide_config_warning(const struct tide_config *config, size_t i);

/* Reading: names are of the table, or it is broken code. Text is borrowed until
 * the config changes. */
enum tide_layer tide_config_layer(const struct tide_config *config, const char *name);
/* "flag --brokers", "KAFSCALE_TOPIC", "profile local-lb", "job wordcount.lua",
 * "built-in", "unset". */
const char *tide_config_origin(const struct tide_config *config, const char *name);
const char *tide_config_text(const struct tide_config *config, const char *name); /* or NULL */
/* A number, milliseconds of a span, bytes of a size; 0 when unset. */
int64_t tide_config_int(const struct tide_config *config, const char *name);
double tide_config_double(const struct tide_config *config, const char *name);
bool tide_config_bool(const struct tide_config *config, const char *name);

/* Of a PAIRS setting, one entry a key, the strongest layer's. @FILE and env:NAME
 * of -X stay as they were written: the source reads them when it connects. */
struct tide_pair_value {
	const char *key;
	const char *value;
	const char *origin;
	bool secret; /* do not show the value */
};
size_t tide_config_pair_count(const struct tide_config *config, const char *name);
struct tide_pair_value tide_config_pair_at(const struct tide_config *config, const char *name,
                                           size_t i);

/* Every setting, its value and its origin, secrets masked. */
void tide_config_dump_text(const struct tide_config *config, struct tide_buf *out);
void tide_config_dump_json(const struct tide_config *config, struct tide_buf *out);

#endif
