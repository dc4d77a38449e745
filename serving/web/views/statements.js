// Decisions of moderators about one's own clips and those one reported: what was decided and why,
// and the way to object.

import * as api from "../api.js";
import { fill, h } from "../dom.js";
import { dateTime, sentence, words } from "../format.js";
import { busy, empty, show } from "../notices.js";
import { ACTIONS, GROUNDS, MOST_CHARACTERS } from "./decisions.js";

/** The person's own clips that are known by their prompt here; an older one is named by its id. */
const MOST_VIDEOS = 100;
const STATES = {
  open: ["Waiting for a second look", "badge--warn"],
  upheld: ["The decision stands", ""],
  overturned: ["The decision was undone", "badge--good"],
};

export async function render(element, { route, signal }) {
  const [asked] = route.path;
  const body = h("div", { class: "stack", testid: "statements" });
  element.append(
    h(
      "div",
      { class: "page page--narrow" },
      h(
        "header",
        { class: "page__head" },
        h(
          "div",
          {},
          h("h1", {}, "Decisions and appeals"),
          h(
            "p",
            {},
            "What moderators decided about your clips and about clips that you reported. You can appeal, free of charge, and a person looks again.",
          ),
        ),
      ),
      body,
    ),
  );
  await show(body, signal, load, list);
  if (asked)
    body.querySelector(`[data-statement="${CSS.escape(asked)}"]`)?.scrollIntoView({ block: "center" });

  async function load() {
    const [statements, appeals, videos] = await Promise.all([
      api.listStatements(signal),
      api.listAppeals(signal),
      api.listVideos(undefined, signal, MOST_VIDEOS),
    ]);
    return {
      statements,
      appeals: new Map(appeals.map((appeal) => [appeal.statement_id, appeal])),
      prompts: new Map(videos.data.map((video) => [video.id, video.prompt])),
    };
  }

  function list({ statements, appeals, prompts }) {
    if (!statements.length)
      return empty({
        glyph: "scales",
        title: "No decisions",
        text: "When a moderator decides about a clip of yours, or one that you reported, the reasons are here.",
      });
    return statements.map((statement) =>
      card(statement, appeals.get(statement.puid), prompts.get(statement.video_id), asked),
    );
  }
}

function card(statement, appeal, prompt, asked) {
  const { outcome, tone } = ACTIONS[statement.action] ?? { outcome: words(statement.action), tone: "" };
  const ground = GROUNDS.find(([value]) => value === statement.decision_ground)?.[1];
  return h(
    "section",
    {
      class: `card ${statement.puid === asked ? "card--asked" : ""}`,
      testid: "statement",
      "data-statement": statement.puid,
    },
    h(
      "div",
      { class: "card__head" },
      h("h2", {}, prompt ? `Your clip “${prompt}”` : "A reported clip"),
      h("span", { class: `badge ${tone}`, testid: "statement-outcome" }, outcome),
    ),
    h("blockquote", { class: "quoted", testid: "statement-facts" }, statement.decision_facts),
    h(
      "dl",
      { class: "facts" },
      fact("Decided", dateTime(statement.application_date_ms)),
      fact("Falls under", words(statement.category)),
      fact("Ground", ground ?? words(statement.decision_ground)),
      fact("Decided by", statement.automated_decision ? "A program" : "A person, after a report"),
      fact("Clip", statement.video_id),
      fact("Statement", statement.puid),
    ),
    objection(statement, appeal),
  );
}

function objection(statement, appeal) {
  if (appeal) return appealed(appeal);
  if (Date.now() < statement.appeal_until_ms) return appealForm(statement);
  return h("p", { class: "hint" }, `Appeals were open until ${dateTime(statement.appeal_until_ms)}.`);
}

function appealForm(statement) {
  const holder = h("div", { class: "stack" });
  const text = h("textarea", {
    class: "input",
    required: true,
    maxlength: MOST_CHARACTERS,
    "aria-label": "Why should a moderator decide otherwise?",
    placeholder: "Why should a moderator decide otherwise?",
    testid: "appeal-text",
  });
  const submit = h("button", { class: "button button--primary", testid: "appeal-send" }, "Send the appeal");
  return fill(
    holder,
    h(
      "details",
      {},
      h("summary", { testid: "appeal" }, `Appeal (until ${dateTime(statement.appeal_until_ms)})`),
      h(
        "form",
        { class: "stack", onsubmit: send },
        text,
        h("div", { class: "actions actions--end" }, submit),
      ),
    ),
  );

  async function send(event) {
    event.preventDefault();
    await busy(submit, async () => {
      // Whoever appealed before is answered with that appeal, and what became of it.
      const appeal = await api.appeal(statement.puid, text.value.trim());
      fill(holder, appealed(appeal));
    });
  }
}

function appealed(appeal) {
  const [state, tone] = STATES[appeal.state] ?? [words(appeal.state), ""];
  return h(
    "div",
    { class: "stack", testid: "appealed" },
    h(
      "div",
      { class: "card__head" },
      h("h3", {}, `Your appeal of ${dateTime(appeal.created_ms)}`),
      h("span", { class: `badge ${tone}` }, state),
    ),
    h("blockquote", { class: "quoted" }, appeal.text),
    appeal.reasons && h("p", {}, sentence(appeal.reasons)),
  );
}

function fact(name, value) {
  return [h("dt", {}, name), h("dd", {}, value)];
}
