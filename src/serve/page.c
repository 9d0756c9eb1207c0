/* SPDX-License-Identifier: Apache-2.0 */
/* Embeds the page's four files. Styles and script are files of their own, so
 * that the content security policy can forbid anything inline. */
#include "serve/page.h"

#include <assert.h>
#include <string.h>

/* The bytes of a file between two symbols of ours; paths are from the top of the
 * source, where make runs. */
#define EMBED(name, path)                                                            \
	__asm__(".pushsection .rodata\n"                                             \
	        ".hidden tide_page_" #name "\n.global tide_page_" #name "\n"         \
	        "tide_page_" #name ":\n.incbin \"" path "\"\n"                       \
	        ".hidden tide_page_" #name "_end\n.global tide_page_" #name "_end\n" \
	        "tide_page_" #name "_end:\n.byte 0\n"                                \
	        ".popsection\n");                                                    \
	extern __attribute__((visibility("hidden"))) const char tide_page_##name[];  \
	extern __attribute__((visibility("hidden"))) const char tide_page_##name##_end[]

EMBED(html, "src/serve/page.html");
EMBED(css, "src/serve/page.css");
EMBED(js, "src/serve/page.js");
EMBED(icon, "src/serve/icon.svg");

bool tide_page_find(const char *path, struct tide_slice *body, const char **content_type)
{
	static const struct {
		const char *path, *from, *end, *type;
	} files[] = {
		{ "/", tide_page_html, tide_page_html_end, "text/html; charset=utf-8" },
		{ "/page.css", tide_page_css, tide_page_css_end, "text/css; charset=utf-8" },
		{ "/page.js", tide_page_js, tide_page_js_end, "text/javascript; charset=utf-8" },
		{ "/icon.svg", tide_page_icon, tide_page_icon_end, "image/svg+xml" },
	};
	assert(path != NULL && body != NULL && content_type != NULL);
	for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
		if (strcmp(path, files[i].path) != 0)
			continue;
		*body = (struct tide_slice){ files[i].from,
			                     (size_t)(files[i].end - files[i].from) };
		*content_type = files[i].type;
		return true;
	}
	return false;
}
