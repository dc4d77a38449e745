// The analyst's box: a question in SQL over the lake, and its answer as a table or a file.

import * as api from "../api.js";
import { fill, h, icon } from "../dom.js";
import { count } from "../format.js";
import { failed, loading, notice } from "../notices.js";
import { release } from "../media.js";
import { current, href, remember } from "../router.js";

const EXAMPLES = [
  [
    "Engagement a day",
    "SELECT event_date, impressions, viewers, round(click_rate, 3) AS click_rate,\n  round(like_rate, 3) AS like_rate, round(watch_s_per_viewer, 1) AS watch_s_per_viewer\nFROM daily_engagement\nORDER BY event_date DESC\nLIMIT 30",
  ],
  [
    "Best topics",
    "SELECT v.topic, count(*) AS impressions, round(avg(CAST(o.long_view AS DOUBLE)), 3) AS long_view_rate,\n  round(avg(CAST(o.liked AS DOUBLE)), 3) AS like_rate\nFROM impression_outcomes o JOIN videos_latest v ON v.video_id = o.video_id\nGROUP BY v.topic\nORDER BY like_rate DESC",
  ],
  [
    "By place in the feed",
    "SELECT position, count(*) AS impressions, round(avg(CAST(click AS DOUBLE)), 3) AS click_rate\nFROM impression_outcomes\nWHERE position IS NOT NULL\nGROUP BY position\nORDER BY position\nLIMIT 20",
  ],
  [
    "Refused rows",
    "SELECT source, reason, count(*) AS refused\nFROM quarantine\nGROUP BY source, reason\nORDER BY refused DESC",
  ],
];

/**
 * The box. A question that the address holds only fills it: a link must not ask in the name of
 * whoever opens it.
 */
export function sqlBox({ signal }) {
  const text = h("textarea", {
    class: "input input--code",
    rows: 6,
    spellcheck: "false",
    "aria-label": "SQL",
    testid: "sql",
    value: current().params.get("sql") ?? EXAMPLES[0][1],
  });
  const run = h("button", { class: "button button--primary", testid: "sql-run" }, "Run");
  const result = h("div", { class: "stack", testid: "sql-result", "aria-live": "polite" });
  const form = h(
    "form",
    { class: "card", onsubmit: submit },
    h(
      "div",
      { class: "card__head" },
      h("h2", {}, "Ask the lake"),
      h(
        "div",
        { class: "chips" },
        EXAMPLES.map(([name, query]) =>
          h("button", { class: "chip", type: "button", onclick: () => ask(query) }, name),
        ),
      ),
    ),
    text,
    h(
      "div",
      { class: "actions" },
      run,
      h(
        "span",
        { class: "hint" },
        "Read only. Tables: events, users, videos, histories, quarantine. Views: impression_outcomes, daily_engagement, video_engagement, experiment_people, experiment_results, shadow_results.",
      ),
    ),
    result,
  );
  text.addEventListener(
    "keydown",
    (event) => event.key === "Enter" && (event.metaKey || event.ctrlKey) && form.requestSubmit(),
  );
  return form;

  function ask(query) {
    text.value = query;
    submit();
  }

  async function submit(event) {
    event?.preventDefault();
    const query = text.value.trim();
    if (!query) return;
    remember(href("dashboard", [], { ...Object.fromEntries(current().params), sql: query }));
    run.disabled = true;
    fill(result, loading("line"));
    try {
      const answer = await api.runSql(query, signal);
      fill(result, table(answer));
    } catch (error) {
      if (!signal.aborted) fill(result, failed(error));
    } finally {
      run.disabled = false;
    }
  }
}

function table(answer) {
  const rows = answer.rows;
  if (!rows.length) return h("p", { class: "hint", testid: "sql-count" }, "No rows.");
  const columns = (answer.columns ?? Object.keys(rows[0])).map((column) => column.name ?? column);
  const numeric = new Set(
    columns.filter((name) =>
      rows.every((row) => row[name] === null || row[name] === undefined || typeof row[name] === "number"),
    ),
  );
  const style = (name) => (numeric.has(name) ? { class: "number" } : {});
  return [
    h(
      "div",
      { class: "card__head" },
      h(
        "p",
        { class: "hint", testid: "sql-count" },
        `${rows.length === 1 ? "One row" : `${count(rows.length)} rows`}${answer.truncated ? ", cut off here" : ""}`,
      ),
      h(
        "button",
        {
          class: "button button--quiet button--small",
          type: "button",
          onclick: () => download(columns, rows),
        },
        icon("download"),
        "CSV",
      ),
    ),
    h(
      "div",
      { class: "table-wrap" },
      h(
        "table",
        { class: "table" },
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            columns.map((name) => h("th", { scope: "col", ...style(name) }, name)),
          ),
        ),
        h(
          "tbody",
          {},
          rows.map((row) =>
            h(
              "tr",
              {},
              columns.map((name) => h("td", style(name), cell(row[name]))),
            ),
          ),
        ),
      ),
    ),
  ];
}

function cell(value) {
  if (value === null || value === undefined) return "–";
  return typeof value === "object" ? JSON.stringify(value) : value;
}

/** Text that a spreadsheet would take for a formula, as text. A number is no formula. */
function inert(value) {
  return typeof value === "string" && /^[=+\-@\t\r]/.test(value) ? `'${value}` : value;
}

function download(columns, rows) {
  const quote = (value) =>
    `"${String(value === null || value === undefined ? "" : inert(cell(value))).replaceAll('"', '""')}"`;
  const lines = [columns, ...rows.map((row) => columns.map((name) => row[name]))].map((line) =>
    line.map(quote).join(","),
  );
  const url = URL.createObjectURL(new Blob([lines.join("\r\n")], { type: "text/csv" }));
  h("a", { href: url, download: "kinora.csv" }).click();
  setTimeout(() => release(url), 10_000);
  notice("Saved as kinora.csv", "good");
}
