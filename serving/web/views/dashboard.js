// Insights: how clips are doing, and for analysts a box that asks the lake in SQL. The days
// shown and the question asked are in the address.

import * as api from "../api.js";
import { barChart, funnel, lineChart } from "../charts.js";
import { h } from "../dom.js";
import { count, percent, shortCount } from "../format.js";
import { empty, show } from "../notices.js";
import { go, href } from "../router.js";
import { me } from "../session.js";
import { sqlBox } from "./dashboard_sql.js";
import { segments } from "./create_composer.js";

const RANGES = [
  ["7", "7 days"],
  ["14", "14 days"],
  ["28", "28 days"],
];
const ANALYSTS = new Set(["analyst", "admin"]);

export async function render(element, { route, signal }) {
  const days = RANGES.some(([value]) => value === route.params.get("days")) ? route.params.get("days") : "14";
  const sql = route.params.get("sql") ?? undefined;
  const analyst = ANALYSTS.has(me().role);
  const body = h("div", { class: "stack", testid: "charts" });
  element.append(
    h(
      "div",
      { class: "page", testid: "dashboard" },
      h(
        "header",
        { class: "page__head" },
        h(
          "div",
          {},
          h("h1", {}, "Insights"),
          h(
            "p",
            {},
            analyst ? "How the whole platform is doing, from the lake." : "How your clips are doing.",
          ),
        ),
        segments("days", RANGES, days, {
          testid: "range",
          onchange: (event) => go(href("dashboard", [], { days: event.target.value, sql })),
        }),
      ),
      body,
      analyst && sqlBox({ signal, sql, days: days === "14" ? undefined : days }),
    ),
  );
  await show(body, signal, () => api.summary(days, signal), charts);
}

function charts(summary) {
  const daily = summary.days;
  const days = daily.map((row) => row.date);
  const column = (name) => daily.map((row) => row[name] ?? 0);
  const total = (name) => column(name).reduce((sum, value) => sum + value, 0);
  if (!total("impressions"))
    return empty({
      glyph: "chart",
      title: "Nothing to show yet",
      text: "Publish a clip; as soon as people watch it, the figures appear here.",
    });
  const completion = daily.map((row) => row.completion ?? 0);
  const completed = daily.reduce((sum, row) => sum + (row.completion ?? 0) * row.plays, 0);
  return [
    h(
      "dl",
      { class: "figures" },
      figure(
        "Impressions",
        shortCount(total("impressions")),
        `${count(total("impressions"))} in ${days.length} days`,
      ),
      figure(
        "Plays",
        shortCount(total("plays")),
        `${percent(total("plays") / total("impressions"))} of impressions`,
      ),
      figure(
        "Completion",
        percent(total("plays") ? completed / total("plays") : 0),
        "of each play, on average",
      ),
      figure(
        "Likes",
        shortCount(total("likes")),
        `${percent(total("plays") ? total("likes") / total("plays") : 0)} of plays`,
      ),
    ),
    h(
      "div",
      { class: "columns" },
      card(
        "Reach",
        lineChart({
          title: "Reach",
          days,
          series: [
            { name: "Impressions", values: column("impressions") },
            { name: "Plays", values: column("plays") },
          ],
        }),
      ),
      card(
        "Completion",
        lineChart({
          title: "Completion",
          days,
          series: [{ name: "Completion", values: completion }],
          format: percent,
          most: 1,
        }),
      ),
    ),
    h(
      "div",
      { class: "columns" },
      card("Likes a day", barChart({ title: "Likes", days, values: column("likes") })),
      card("From seen to shared", funnel(steps(summary, total))),
    ),
    card("Top clips", topClips(summary.top_clips ?? [])),
  ];
}

function steps(summary, total) {
  return [
    { name: "Impressions", value: total("impressions") },
    { name: "Plays", value: total("plays") },
    { name: "Long views", value: total("long_views") },
    { name: "Likes", value: total("likes") },
    { name: "Shares", value: total("shares") },
  ];
}

function figure(name, value, text) {
  return h("div", { class: "figure" }, h("dt", {}, name), h("dd", {}, value, h("small", {}, text)));
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
            [count(clip.impressions), count(clip.plays), percent(clip.completion), count(clip.likes)].map(
              (value) => h("td", { class: "number" }, value),
            ),
          ),
        ),
      ),
    ),
  );
}
