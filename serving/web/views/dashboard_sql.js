// The analyst's box: a question in SQL over the lake, and its answer as a table or a file.

import * as api from "../api.js";
import { fill, h, icon } from "../dom.js";
import { count } from "../format.js";
import { failed, loading, notice } from "../notices.js";
import { release } from "../media.js";
import { href, remember } from "../router.js";

const EXAMPLES = [
  [
    "Engagement a day",
    "SELECT event_date, kind, count(*) AS events\nFROM events\nGROUP BY event_date, kind\nORDER BY event_date DESC, events DESC\nLIMIT 50",
  ],
  [
    "Most liked creators",
    "SELECT creator_id, count(*) AS likes\nFROM events\nWHERE kind = 'like'\nGROUP BY creator_id\nORDER BY likes DESC\nLIMIT 20",
  ],
  [
    "Watch time by topic",
    "SELECT v.topic, count(*) AS watches, round(avg(e.watch_ms)) AS mean_watch_ms\nFROM events e JOIN videos v ON v.video_id = e.video_id\nWHERE e.kind = 'watch'\nGROUP BY v.topic\nORDER BY watches DESC",
  ],
  [
    "Refused rows",
    "SELECT source, reason, count(*) AS refused\nFROM quarantine\nGROUP BY source, reason\nORDER BY refused DESC",
  ],
];

/** The box; `sql` runs at once when the address brought it. */
export function sqlBox({ signal, sql, days }) {
  const text = h("textarea", {
    class: "input input--code",
    rows: 6,
    spellcheck: "false",
    "aria-label": "SQL",
    testid: "sql",
    value: sql ?? EXAMPLES[0][1],
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
      h("span", { class: "hint" }, "Tables: events, users, videos, histories, quarantine. Read only."),
    ),
    result,
  );
  text.addEventListener(
    "keydown",
    (event) => event.key === "Enter" && (event.metaKey || event.ctrlKey) && form.requestSubmit(),
  );
  if (sql) ask(sql);
  return form;

  function ask(query) {
    text.value = query;
    submit();
  }

  async function submit(event) {
    event?.preventDefault();
    const query = text.value.trim();
    if (!query) return;
    remember(href("dashboard", [], { days, sql: query }));
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
        `${count(rows.length)} rows${answer.truncated ? ", cut off here" : ""}`,
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

function download(columns, rows) {
  const quote = (value) =>
    `"${String(value === null || value === undefined ? "" : cell(value)).replaceAll('"', '""')}"`;
  const lines = [columns, ...rows.map((row) => columns.map((name) => row[name]))].map((line) =>
    line.map(quote).join(","),
  );
  const url = URL.createObjectURL(new Blob([lines.join("\r\n")], { type: "text/csv" }));
  h("a", { href: url, download: "kinora.csv" }).click();
  setTimeout(() => release(url), 10_000);
  notice("Saved as kinora.csv", "good");
}
