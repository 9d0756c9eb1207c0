/* SPDX-License-Identifier: Apache-2.0 */
/* new: a folder with a job from a template, its tests, and what goes with it. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "run/cli.h"
#include "run/setup.h"

enum { TEMPLATE_BYTES_MAX = 1024 * 1024 };

static const struct template
{
	const char *name;
	const char *about;
}
templates[] = {
	{ "wordcount", "Counts the words of a topic." },
	{ "window", "Averages of readings, per sensor and minute of event time." },
	{ "dedup", "Lets each article go on once, however often it comes within an hour." },
	{ "session", "Visits: pages of a user with no more than half an hour between two." },
};

enum { TEMPLATES = sizeof templates / sizeof templates[0] };

static const struct template *template_find(const char *name, struct tide_error *err)
{
	char list[256] = "";
	for (size_t i = 0; i < TEMPLATES; i++) {
		if (strcmp(templates[i].name, name) == 0)
			return &templates[i];
		snprintf(list + strlen(list), sizeof list - strlen(list), "%s%s", i > 0 ? ", " : "",
		         templates[i].name);
	}
	tide_fail(err, TIDE_ERR_USAGE, "there is no template \"%s\"; there are %s", name, list);
	return NULL;
}

/* What is made, and where. */
struct made {
	const struct template *template;
	const char *folder;
	char name[TIDE_NAME_MAX];
	char from[4096]; /* the library's folder of templates */
	char library[4096];
};

/* The last part of the path names the job: a file, a topic, a consumer group. */
static int name_of(struct made *made, struct tide_error *err)
{
	char folder[4096];
	snprintf(folder, sizeof folder, "%s", made->folder);
	size_t len = strlen(folder);
	while (len > 1 && folder[len - 1] == '/')
		folder[--len] = '\0';
	const char *slash = strrchr(folder, '/');
	const char *name = slash == NULL ? folder : slash + 1;
	bool ok = isalpha((unsigned char)name[0]) && strlen(name) < sizeof made->name;
	for (const char *at = name; ok && *at != '\0'; at++)
		ok = isalnum((unsigned char)*at) || *at == '_' || *at == '-';
	if (!ok)
		return tide_fail(err, TIDE_ERR_USAGE,
		                 "\"%s\" is no name for a job: letters, digits, _ and - from a "
		                 "letter on, as in order-totals",
		                 name);
	memcpy(made->name, name, strlen(name) + 1);
	return TIDE_OK;
}

/* The text of a template: NAME and ABOUT become what they stand for, and the
 * licence of ours at its top is not that of what people make of it. */
static void fill(const struct made *made, const char *text, struct tide_buf *out)
{
	if (strncmp(text, "-- SPDX", 7) == 0)
		text = strchr(text, '\n') + 1;
	while (*text != '\0') {
		if (strncmp(text, "NAME", 4) == 0) {
			tide_buf_printf(out, "%s", made->name);
			text += 4;
		} else if (strncmp(text, "ABOUT", 5) == 0) {
			tide_buf_printf(out, "%s", made->template->about);
			text += 5;
		} else {
			tide_buf_put(out, text++, 1);
		}
	}
}

static int write_file(const struct made *made, const char *name, struct tide_buf *text,
                      struct tide_error *err)
{
	char path[4096];
	int rc = TIDE_OK;
	snprintf(path, sizeof path, "%.3000s/%.900s", made->folder, name);
	FILE *file = text->failed ? NULL : fopen(path, "wbx");
	bool ok = file != NULL && fwrite(text->p, 1, text->len, file) == text->len;
	if (file != NULL && fclose(file) != 0)
		ok = false;
	if (!ok)
		rc = tide_fail(err, TIDE_ERR_IO, "cannot write %s: %s", path, strerror(errno));
	tide_buf_fini(text);
	return rc;
}

static int write_template(const struct made *made, const char *from, const char *to,
                          struct tide_error *err)
{
	char path[8192], *text = NULL;
	size_t len = 0;
	struct tide_buf out = { 0 };
	snprintf(path, sizeof path, "%s/%s", made->from, from);
	int rc = tide_file_read(path, TEMPLATE_BYTES_MAX, &text, &len, err);
	if (rc != TIDE_OK)
		return rc;
	fill(made, text, &out);
	free(text);
	return write_file(made, to, &out, err);
}

/* For editors: what `tide` is, and what busted brings. */
static int write_luarc(const struct made *made, struct tide_error *err)
{
	struct tide_buf out = { 0 };
	tide_buf_printf(&out, "{\n  \"runtime.version\": \"LuaJIT\",\n"
	                      "  \"workspace.library\": [");
	tide_buf_json(&out, made->library, strlen(made->library));
	tide_buf_printf(&out, "],\n  \"diagnostics.globals\": [\"describe\", \"it\", "
	                      "\"before_each\", \"after_each\"]\n}\n");
	return write_file(made, ".luarc.json", &out, err);
}

static int write_all(const struct made *made, struct tide_error *err)
{
	const char *const files[][2] = { { "job", ".lua" }, { "spec", "_spec.lua" } };
	char from[128], to[TIDE_NAME_MAX + 16];
	int rc = TIDE_OK;
	for (size_t i = 0; rc == TIDE_OK && i < sizeof files / sizeof files[0]; i++) {
		snprintf(from, sizeof from, "%s/%s.lua", made->template->name, files[i][0]);
		snprintf(to, sizeof to, "%s%s", made->name, files[i][1]);
		rc = write_template(made, from, to, err);
	}
	snprintf(from, sizeof from, "%s/sample.jsonl", made->template->name);
	if (rc == TIDE_OK)
		rc = write_template(made, from, "sample.jsonl", err);
	if (rc == TIDE_OK)
		rc = write_template(made, "README.md", "README.md", err);
	return rc == TIDE_OK ? write_luarc(made, err) : rc;
}

static void say_next(const struct made *made)
{
	printf("%s holds a job: %s\n\n"
	       "    cd %s\n"
	       "    tidemark test                             # its tests\n"
	       "    tidemark dev %s.lua --input sample.jsonl  # its output, anew after each save\n"
	       "    tidemark run %s.lua -b HOST:PORT          # on the topic \"%s\"\n",
	       made->folder, made->template->about, made->folder, made->name, made->name,
	       made->name);
}

static int make(struct made *made, const char *lua_dir, struct tide_error *err)
{
	int rc = name_of(made, err);
	if (rc != TIDE_OK)
		return rc;
	if (realpath(lua_dir, made->library) == NULL)
		return tide_fail(err, TIDE_ERR_IO, "%s: %s", lua_dir, strerror(errno));
	snprintf(made->from, sizeof made->from, "%.4000s/tidemark/templates", made->library);
	if (mkdir(made->folder, 0777) != 0)
		return errno == EEXIST ? tide_fail(err, TIDE_ERR_USAGE,
		                                   "%s is there already and stays as it is; choose "
		                                   "another name",
		                                   made->folder)
		                       : tide_fail(err, TIDE_ERR_IO, "cannot make %s: %s",
		                                   made->folder, strerror(errno));
	return write_all(made, err);
}

int tide_cli_new(struct tide_cli *cli, struct tide_error *err)
{
	struct tide_setup setup;
	static struct made made;
	const char *name = tide_cli_own(cli, "template");
	made.folder = cli->words[0];
	made.template = template_find(name != NULL ? name : templates[0].name, err);
	if (made.template == NULL)
		return TIDE_ERR_USAGE;
	int rc = tide_setup_load(&setup, cli, NULL, err);
	if (rc == TIDE_OK)
		rc = make(&made, setup.lua_dir, err);
	if (rc == TIDE_OK)
		say_next(&made);
	tide_setup_fini(&setup);
	return rc;
}
