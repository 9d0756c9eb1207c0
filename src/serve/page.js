// SPDX-License-Identifier: Apache-2.0
// Polls the progress of the job and shows it. Data reaches the page as text only.
"use strict";
(() => {
	const poll_ms = 1000, points_max = 120;
	const $ = (id) => document.getElementById(id);
	const svg = "http://www.w3.org/2000/svg";
	const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
	const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
	const rates = [];   // records per second, one for each poll
	let before = null;  // { at, total, run } of the poll before
	let cells = new Map(); // key of a row -> its texts, to see what changed

	const text = (id, value) => {
		const node = $(id);
		if (node.textContent !== value) node.textContent = value;
	};

	// A number with a small unit behind it.
	const figure = (id, value, unit) => {
		const node = $(id);
		node.textContent = value;
		if (unit) {
			const small = document.createElement("small");
			small.textContent = unit;
			node.append(small);
		}
	};

	const count = (n) => (n < 1e6 ? whole.format(n) : short.format(n));
	const number = (n) => typeof n === "number" && isFinite(n);

	const span = (ms) => {
		const s = Math.floor(ms / 1000);
		if (s < 60) return s + " s";
		if (s < 3600) return Math.floor(s / 60) + " min " + (s % 60) + " s";
		if (s < 86400) return Math.floor(s / 3600) + " h " + Math.floor((s % 3600) / 60) + " min";
		return Math.floor(s / 86400) + " d " + Math.floor((s % 86400) / 3600) + " h";
	};

	const duration = (ms) =>
		ms < 10 ? [ms.toFixed(1), "ms"] : ms < 1000 ? [whole.format(ms), "ms"] : [(ms / 1000).toFixed(1), "s"];

	const bytes = (n) => {
		const units = ["B", "kB", "MB", "GB", "TB"];
		let i = 0;
		for (; n >= 1000 && i < units.length - 1; i++) n /= 1000;
		return (i > 0 && n < 100 ? n.toFixed(1) : whole.format(n)) + " " + units[i];
	};

	// A line over its wash; the newest value is at the right edge.
	const line = (id, values, slots) => {
		const node = $(id), width = 240, height = 56, top = 5;
		if (values.length < 2) {
			node.replaceChildren();
			return;
		}
		const max = Math.max(...values) || 1;
		const step = width / (Math.max(slots, values.length) - 1);
		const at = values.map((v, i) => {
			const x = width - (values.length - 1 - i) * step;
			return x.toFixed(1) + "," + (height - 2 - (v / max) * (height - 2 - top)).toFixed(1);
		});
		const first = (width - (values.length - 1) * step).toFixed(1);
		const make = (name, points, kind) => {
			const shape = document.createElementNS(svg, name);
			shape.setAttribute("points", points);
			shape.setAttribute("class", kind);
			return shape;
		};
		node.replaceChildren(
			make("polygon", first + "," + height + " " + at.join(" ") + " " + width + "," + height, "under"),
			make("polyline", at.join(" "), "stroke"));
	};

	const measure = (data, now) => {
		const total = data.totalRecords;
		if (before && before.run === data.runId && number(total) && total >= before.total)
			rates.push((total - before.total) / ((now - before.at) / 1000));
		else
			rates.length = 0;
		if (rates.length > points_max) rates.shift();
		before = { at: now, total: number(total) ? total : 0, run: data.runId };
	};

	const show_cards = (data) => {
		const last = rates.slice(-3);
		const rate = last.length ? last.reduce((a, b) => a + b, 0) / last.length : data.inputRowsPerSecond || 0;
		figure("rate", count(rate));
		text("rate-sub", number(data.processedRowsPerSecond)
			? "capacity " + count(data.processedRowsPerSecond) : "");
		line("rate-line", rates, 30);

		const history = Array.isArray(data.history) ? data.history : [];
		if (number(data.batchDurationMs)) figure("duration", ...duration(data.batchDurationMs));
		const phases = data.durationMs && typeof data.durationMs === "object" ? data.durationMs : null;
		text("duration-sub", phases && number(phases.run)
			? ["run", "decide", "publish"].filter((p) => number(phases[p]))
				.map((p) => p + " " + (phases[p] < 10 ? phases[p].toFixed(1) : whole.format(phases[p])))
				.join(" · ") + " ms"
			: number(data.numInputRows) ? count(data.numInputRows) + " records" : "");
		line("duration-line", history.map((h) => h.durationMs || 0), 60);

		if (number(data.lag)) {
			figure("lag", count(data.lag));
			const seconds = rate > 0 ? data.lag / rate : 0;
			text("lag-sub", data.lag === 0 ? "caught up" : seconds > 2 ? "about " + span(seconds * 1000) : "records");
		}
		if (number(data.totalRecords)) figure("total", count(data.totalRecords));
		const states = Array.isArray(data.stateOperators) ? data.stateOperators : [];
		const total = (name) => states.reduce((sum, state) => sum + (state[name] || 0), 0);
		text("total-sub", states.length
			? count(total("numRowsTotal")) + " keys, " + bytes(total("memoryUsedBytes")) : "");
	};

	const cell_text = (value) =>
		value === null || value === undefined ? "null" : typeof value === "object" ? JSON.stringify(value)
			: typeof value === "number" && Number.isSafeInteger(value) ? whole.format(value) : String(value);

	const show_results = (table) => {
		const columns = table && Array.isArray(table.columns) ? table.columns : [];
		const rows = table && Array.isArray(table.rows) ? table.rows : [];
		$("results").hidden = columns.length === 0 || rows.length === 0;
		if ($("results").hidden) return;
		const numeric = columns.map((_, c) => rows.every((r) => r[c] === null || typeof r[c] === "number"));
		const head = document.createElement("tr");
		columns.forEach((name, c) => {
			const th = document.createElement("th");
			th.textContent = name;
			if (numeric[c]) th.className = "number";
			head.append(th);
		});
		const seen = new Map();
		const body = rows.map((row) => {
			const tr = document.createElement("tr");
			const key = JSON.stringify(row.filter((_, c) => !numeric[c]));
			const old = cells.get(key);
			const texts = columns.map((_, c) => cell_text(row[c]));
			texts.forEach((value, c) => {
				const td = document.createElement("td");
				td.textContent = value;
				td.title = value;
				td.className = (numeric[c] ? "number" : "") + (row[c] === null ? " null" : "");
				if (cells.size > 0 && (!old || old[c] !== value)) {
					td.classList.add("fresh");
					setTimeout(() => td.classList.remove("fresh"), 60);
				}
				tr.append(td);
			});
			seen.set(key, texts);
			return tr;
		});
		cells = seen;
		$("table").tHead.replaceChildren(head);
		$("table").tBodies[0].replaceChildren(...body);
		text("results-note", number(table.rowCount) && table.rowCount > rows.length
			? rows.length + " of " + whole.format(table.rowCount) + " rows of the last epoch" : "");
	};

	const show_partitions = (sources) => {
		const list = Array.isArray(sources) ? sources : [];
		$("partitions").hidden = list.length === 0;
		text("partitions-note", list.length > 100 ? "the first 100 of " + list.length : "");
		$("sources").tBodies[0].replaceChildren(...list.slice(0, 100).map((part) => {
			const tr = document.createElement("tr");
			const add = (value, kind) => {
				const td = document.createElement("td");
				td.className = kind;
				td.append(value);
				tr.append(td);
			};
			add(String(part.topic), "");
			for (const field of ["partition", "next", "end", "lag"])
				add(number(part[field]) ? whole.format(part[field]) : "–", "number");
			return tr;
		}));
	};

	const say = (message, kind) => {
		$("message").hidden = !message;
		$("message").dataset.kind = kind;
		text("message", message || "");
	};

	const show = (data, now) => {
		const status = String(data.status || "running");
		document.body.classList.remove("gone");
		document.title = (data.name ? data.name + " · " : "") + "Tidemark";
		text("name", data.name || "Tidemark");
		text("status", status);
		$("status").dataset.kind = status;
		text("uptime", number(data.uptimeMs) ? span(data.uptimeMs) : "–");
		text("epoch", number(data.epoch) && data.epoch >= 0 ? whole.format(data.epoch) : "–");
		text("run", String(data.runId || "–").slice(0, 8));
		measure(data, now);
		const remarks = [data.message];
		if (data.lost_records > 0) remarks.push(whole.format(data.lost_records) + " records were lost before they could be read.");
		if (data.rowsFailed > 0) remarks.push(whole.format(data.rowsFailed) + " records failed in the job.");
		say(remarks.filter(Boolean).join(" "), status);
		show_cards(data);
		show_results(data.table);
		show_partitions(data.sources);
	};

	const gone = () => {
		document.body.classList.add("gone");
		text("status", "gone");
		$("status").dataset.kind = "gone";
		say("The job does not answer. It has ended, or this machine is busy; the page goes on asking.", "gone");
	};

	const poll = async () => {
		try {
			const answer = await fetch("/api/v1/progress", { cache: "no-store", signal: AbortSignal.timeout(5000) });
			if (!answer.ok) throw new Error(String(answer.status));
			show(await answer.json(), performance.now());
		} catch {
			gone();
		}
		setTimeout(poll, document.hidden ? 5 * poll_ms : poll_ms);
	};

	poll();
})();
