// Insights: how clips are doing, and for analysts a box that asks the lake in SQL. The days
// shown and the question asked are in the address.

import * as api from "../api.js";
import { segments } from "../controls.js";
import { barChart, funnel, lineChart } from "../charts.js";
import { fill, h } from "../dom.js";
import { count, percent, shortCount, words } from "../format.js";
import { empty, show } from "../notices.js";
import { current, href, remember } from "../router.js";
import { me } from "../session.js";
import { sqlBox } from "./dashboard_sql.js";

const RANGES = [
  ["7", "7 days"],
  ["14", "14 days"],
  ["28", "28 days"],
  ["90", "90 days"],
];
const DAYS = "14";
const SCOPES = [
  ["platform", "Platform"],
  ["mine", "My clips"],
];
const ANALYSTS = new Set(["analyst", "admin"]);
const DAY_MS = 86_400_000;
const COUNTS = ["impressions", "plays", "completions", "likes", "follows", "shares"];

export async function render(element, { route, signal }) {
  const analyst = ANALYSTS.has(me().role);
  const asked = route.params.get("days");
  let days = RANGES.some(([value]) => value === asked) ? asked : DAYS;
  let scope = analyst && route.params.get("scope") !== "mine" ? "platform" : "mine";
  let asking = new AbortController();
  const lead = h("p", {});
  const body = h("div", { class: "stack", testid: "charts" });
  const change = (set) => (event) => {
    set(event.target.value);
    remember(href("dashboard", [], { ...Object.fromEntries(current().params), days, scope }));
    refresh();
  };
  element.append(
    h(
      "div",
      { class: "page", testid: "dashboard" },
      h(
        "header",
        { class: "page__head" },
        h("div", {}, h("h1", {}, "Insights"), lead),
        h(
          "div",
          { class: "actions" },
          analyst &&
            segments("scope", SCOPES, scope, {
              testid: "scope",
              onchange: change((value) => (scope = value)),
            }),
          segments("days", RANGES, days, { testid: "range", onchange: change((value) => (days = value)) }),
        ),
      ),
      body,
      analyst && sqlBox({ signal }),
    ),
  );
  await refresh();

  async function refresh() {
    asking.abort();
    asking = new AbortController();
    const latest = AbortSignal.any([signal, asking.signal]);
    fill(lead, scope === "platform" ? "How the whole platform is doing." : "How your clips are doing.");
    await show(
      body,
      latest,
      () => api.summary(days, scope, latest),
      (summary) => charts(summary, Number(days)),
    );
  }
}

function charts(summary, length) {
  const { funnel: total } = summary;
  if (!total.impressions)
    return empty({
      glyph: "chart",
      title: "Nothing to show yet",
      text:
        summary.scope === "mine"
          ? "Publish a clip; as soon as people watch it, its figures appear here."
          : "Nobody was shown a clip in these days.",
    });
  const daily = everyDay(summary.days, length);
  const days = daily.map((row) => row.date);
  const column = (name) => daily.map((row) => row[name]);
  const line = (title, name) => ({ name: title, values: column(name) });
  const completion = daily.map((row) => (row.plays ? row.completions / row.plays : 0));
  const part = (value, whole) => percent(whole ? value / whole : 0);
  return [
    h(
      "dl",
      { class: "figures" },
      figure("Impressions", total.impressions, `in ${length} days`),
      figure("Plays", total.plays, `${part(total.plays, total.impressions)} of impressions`),
      figure("Completed", total.completions, `${part(total.completions, total.plays)} of plays`),
      figure("Likes", total.likes, `${part(total.likes, total.plays)} of plays`),
    ),
    h(
      "div",
      { class: "columns" },
      card(
        "Reach",
        lineChart({
          title: "Reach",
          days,
          series: [line("Impressions", "impressions"), line("Plays", "plays")],
        }),
      ),
      card(
        "Completion",
        lineChart({
          title: "Completion",
          days,
          series: [{ name: "Played to the end", values: completion }],
          format: percent,
          most: 1,
        }),
      ),
    ),
    h(
      "div",
      { class: "columns" },
      card("Likes a day", barChart({ title: "Likes", days, values: column("likes") })),
      card("From seen to shared", funnel(COUNTS.map((name) => ({ name: words(name), value: total[name] })))),
    ),
    card("Top clips", topClips(summary.top_clips)),
  ];
}

/** The server leaves out days on which nothing was shown: they are zeros here. */
function everyDay(rows, length) {
  const known = new Map(rows.map((row) => [row.date, row]));
  const none = Object.fromEntries(COUNTS.map((name) => [name, 0]));
  return Array.from({ length }, (_, index) => {
    const date = new Date(Date.now() - (length - 1 - index) * DAY_MS).toISOString().slice(0, 10);
    return known.get(date) ?? { date, ...none };
  });
}

function figure(name, value, text) {
  return h(
    "div",
    { class: "figure", title: count(value) },
    h("dt", {}, name),
    h("dd", {}, shortCount(value), h("small", {}, text)),
  );
}

function card(title, ...content) {
  return h("section", { class: "card" }, h("h2", {}, title), content);
}

function topClips(clips) {
  if (!clips.length) return h("p", { class: "hint" }, "No clip was played.");
  return h(
    "div",
    { class: "table-wrap" },
    h(
      "table",
      { class: "table", testid: "top-clips" },
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          ["Clip", "Creator"].map((name) => h("th", { scope: "col" }, name)),
          ["Impressions", "Plays", "Completion", "Likes"].map((name) =>
            h("th", { scope: "col", class: "number" }, name),
          ),
        ),
      ),
      h(
        "tbody",
        {},
        clips.map((clip) =>
          h(
            "tr",
            {},
            h("td", {}, clip.caption ?? clip.video_id),
            h("td", {}, clip.creator_id ?? "–"),
            [
              count(clip.impressions),
              count(clip.plays),
              percent(clip.plays ? clip.completions / clip.plays : 0),
              count(clip.likes),
            ].map((value) => h("td", { class: "number" }, value)),
          ),
        ),
      ),
    ),
  );
}
