// Review, for moderators: the queue of reported clips, the decisions, and the appeals against them.

import * as api from "../api.js";
import { segments } from "../controls.js";
import { fill, h, icon } from "../dom.js";
import { ago, count, dateTime, words } from "../format.js";
import { hold, release } from "../media.js";
import { busy, empty, notice, show } from "../notices.js";
import { href } from "../router.js";
import { ACTIONS, GROUNDS, MOST_CHARACTERS, OUTCOMES } from "./decisions.js";
import { REASONS } from "./report_sheet.js";

const TABS = { open: "Open", decided: "Decided", appeals: "Appeals" };
const SEVERITIES = { 1: ["Low", ""], 2: ["Serious", "badge--warn"], 3: ["Grave", "badge--bad"] };
/** States of a clip that can still be looked at. */
const SEEN = new Set(["draft", "published", "quarantined"]);

export async function render(element, { route, signal }) {
  const tab = Object.hasOwn(TABS, route.path[0] ?? "") ? route.path[0] : "open";
  const body = h("div", { class: "stack", testid: `cases-${tab}` });
  element.append(
    h(
      "div",
      { class: "page", testid: "moderation" },
      h(
        "header",
        { class: "page__head" },
        h(
          "div",
          {},
          h("h1", {}, "Review"),
          h(
            "p",
            {},
            "Reported clips, the gravest first. A decision takes effect at once; everyone concerned is told why and may appeal.",
          ),
        ),
      ),
      h(
        "nav",
        { class: "tabs", "aria-label": "Review" },
        Object.entries(TABS).map(([key, text]) =>
          h(
            "a",
            {
              href: href("moderation", [key]),
              "aria-current": key === tab ? "page" : undefined,
              testid: `tab-${key}`,
            },
            text,
          ),
        ),
      ),
      body,
    ),
  );
  await refresh();

  function refresh() {
    if (tab === "appeals") return show(body, signal, () => api.openAppeals(signal), appeals);
    return show(body, signal, () => api.listCases(tab, signal), cases);
  }

  function cases(list) {
    if (list.length) return list.map((reported) => caseCard(reported, { signal, refresh }));
    return tab === "open"
      ? empty({
          glyph: "check",
          title: "Nothing to review",
          text: "New reports appear here, the gravest first.",
        })
      : empty({ glyph: "scales", title: "Nothing decided yet" });
  }

  function appeals(list) {
    if (list.length) return list.map((appeal) => appealCard(appeal, refresh));
    return empty({
      glyph: "check",
      title: "No appeals",
      text: "Objections to decisions wait here, the oldest first.",
    });
  }
}

function caseCard(reported, { signal, refresh }) {
  const [severity, tone] = SEVERITIES[reported.severity] ?? [String(reported.severity), ""];
  return h(
    "section",
    { class: "card", testid: "case", "data-video": reported.video_id },
    h(
      "div",
      { class: "card__head" },
      h("h2", {}, reported.prompt ?? reported.video_id),
      h(
        "div",
        { class: "actions" },
        h("span", { class: `badge ${tone}` }, severity),
        reported.video_state && h("span", { class: "badge" }, words(reported.video_state)),
      ),
    ),
    h(
      "div",
      { class: "columns columns--case" },
      h(
        "div",
        { class: "stack" },
        preview(reported, signal),
        h(
          "div",
          { class: "card__head hint" },
          reported.decided_ms ? `Decided ${ago(reported.decided_ms)}` : `Reported ${ago(reported.opened_ms)}`,
          reported.owner_id && h("a", { href: href("people", [reported.owner_id]) }, "Who made it"),
        ),
      ),
      h(
        "div",
        { class: "stack" },
        h(
          "h3",
          {},
          reported.reports.length === 1 ? "One report" : `${count(reported.reports.length)} reports`,
        ),
        h("ul", { class: "list", testid: "case-reports" }, reported.reports.map(reportRow)),
        reported.state === "open" && decisionForm(reported, refresh),
      ),
    ),
  );
}

function reportRow(report) {
  return h(
    "li",
    {},
    h(
      "div",
      {},
      h("p", { class: "list__name" }, words(report.reason)),
      report.details && h("p", { class: "quoted" }, report.details),
    ),
    h("span", { class: "hint" }, ago(report.created_ms)),
  );
}

/** The clip behind a press: what was reported may be hard to see. */
function preview(reported, signal) {
  if (!SEEN.has(reported.video_state))
    return h("div", { class: "preview" }, icon("empty"), h("p", { class: "hint" }, "The clip is gone."));
  const button = h(
    "button",
    { class: "button button--quiet button--small", type: "button", testid: "case-show", onclick: open },
    icon("play"),
    "Show the clip",
  );
  const frame = h("div", { class: "preview" }, button);
  return frame;

  async function open() {
    await busy(button, async () => {
      const url = await hold(api.contentPath(reported.video_id), signal);
      signal.addEventListener("abort", () => release(url), { once: true });
      fill(frame, h("video", { src: url, controls: true, loop: true, playsinline: true, autoplay: true }));
    });
  }
}

function decisionForm(reported, refresh) {
  const gravest = REASONS.find(([reason]) => reported.reports.some((report) => report.reason === reason));
  const submit = h("button", { class: "button button--primary", testid: "decide" }, "Decide");
  const action = `action-${reported.case_id}`;
  return h(
    "form",
    { class: "stack", onsubmit: decide },
    segments(
      action,
      Object.entries(ACTIONS).map(([value, { act }]) => [value, act]),
      undefined,
      { "aria-label": "What becomes of the clip", testid: "decide-action" },
    ),
    h(
      "div",
      { class: "options" },
      choice("ground", "Ground", GROUNDS),
      choice(
        "category",
        "It falls under",
        REASONS.map(([value]) => [value, words(value)]),
        gravest?.[0],
      ),
    ),
    h("textarea", {
      class: "input",
      name: "facts",
      required: true,
      maxlength: MOST_CHARACTERS,
      "aria-label": "What was found, in words for its creator",
      placeholder: "What was found, in words for its creator",
      testid: "decide-facts",
    }),
    h("div", { class: "actions actions--end" }, submit),
  );

  async function decide(event) {
    event.preventDefault();
    const data = new FormData(event.target);
    const decision = {
      action: data.get(action),
      ground: data.get("ground"),
      category: data.get("category"),
      facts: data.get("facts").trim(),
    };
    if (!(await busy(submit, () => api.decideCase(reported.case_id, decision)))) return;
    notice("Decided. Everyone concerned is told.", "good");
    refresh();
  }
}

function appealCard(appeal, refresh) {
  const submit = h("button", { class: "button button--primary", testid: "decide-appeal" }, "Decide");
  const outcome = `outcome-${appeal.appeal_id}`;
  return h(
    "section",
    { class: "card", testid: "open-appeal" },
    h(
      "div",
      { class: "card__head" },
      h("h2", {}, "An appeal"),
      h("span", { class: "hint", title: dateTime(appeal.created_ms) }, ago(appeal.created_ms)),
    ),
    h("blockquote", { class: "quoted" }, appeal.text),
    h(
      "dl",
      { class: "facts" },
      h("dt", {}, "Decision"),
      h("dd", {}, ACTIONS[appeal.statement.action]?.outcome ?? words(appeal.statement.action)),
      h("dt", {}, "Because"),
      h("dd", { testid: "appealed-facts" }, appeal.statement.decision_facts),
      h("dt", {}, "Clip"),
      h("dd", {}, appeal.statement.video_id),
    ),
    h(
      "form",
      { class: "stack", onsubmit: decide },
      segments(outcome, OUTCOMES, undefined, { "aria-label": "Outcome", testid: "appeal-outcome" }),
      h("textarea", {
        class: "input",
        name: "reasons",
        required: true,
        maxlength: MOST_CHARACTERS,
        "aria-label": "Why, in words for whoever appealed",
        placeholder: "Why, in words for whoever appealed",
        testid: "appeal-reasons",
      }),
      h("div", { class: "actions actions--end" }, submit),
    ),
  );

  async function decide(event) {
    event.preventDefault();
    const data = new FormData(event.target);
    const decision = { outcome: data.get(outcome), reasons: data.get("reasons").trim() };
    if (!(await busy(submit, () => api.decideAppeal(appeal.appeal_id, decision)))) return;
    notice("Decided. Whoever appealed is told.", "good");
    refresh();
  }
}

function choice(name, label, choices, chosen) {
  return h(
    "label",
    { class: "field" },
    h("span", { class: "field__label" }, label),
    h(
      "select",
      { class: "input", name },
      choices.map(([value, text]) => h("option", { value, selected: value === chosen }, text)),
    ),
  );
}
