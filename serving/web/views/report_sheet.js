// Reporting a clip, which a moderator answers, and blocking whoever made it.

import * as api from "../api.js";
import { h } from "../dom.js";
import { busy, notice, sheet } from "../notices.js";
import { record } from "../outbox.js";
import { me } from "../session.js";
import { blockSheet } from "../ties.js";

export const REASONS = [
  ["likeness", "It shows someone without their consent"],
  ["minor_safety", "A child is in danger"],
  ["self_harm", "Self-harm"],
  ["sexual", "Sexual content"],
  ["violence", "Violence or threats"],
  ["hate", "Hate"],
  ["harassment", "Harassment"],
  ["illegal", "Something illegal"],
  ["misinformation", "Misinformation"],
  ["intellectual_property", "It copies someone's work"],
  ["spam", "Spam or deception"],
  ["other", "Something else"],
];
const MOST_CHARACTERS = 5000;

/**
 * Files a report about one of `clips`, all by the same creator, which were seen on `surface`.
 * Gives `reported`, `blocked` when the creator was blocked instead, or nothing.
 */
export async function reportSheet(clips, { surface }) {
  const [{ creatorId, handle }] = clips;
  const outcome = await sheet("Report a clip", "report-sheet", (close) => {
    const which = h(
      "select",
      { class: "input", id: "report-clip", testid: "report-clip" },
      clips.map((clip) => h("option", { value: clip.videoId }, clip.caption)),
    );
    const details = h("textarea", {
      class: "input",
      name: "details",
      maxlength: MOST_CHARACTERS,
      placeholder: "What should a moderator know? (optional)",
      "aria-label": "Details",
      testid: "report-details",
    });
    const submit = h("button", { class: "button button--primary", testid: "report-send" }, "Send report");
    const file = async (event) => {
      event.preventDefault();
      const clip = clips.find(({ videoId }) => videoId === which.value);
      const reason = new FormData(event.target).get("reason");
      if (!(await busy(submit, () => api.report(clip.videoId, reason, details.value)))) return;
      record("report", clip, { surface });
      close("reported");
    };
    return [
      h(
        "form",
        { class: "stack", onsubmit: file },
        clips.length > 1 &&
          h(
            "div",
            { class: "field" },
            h("label", { class: "field__label", for: "report-clip" }, "Which clip?"),
            which,
          ),
        h(
          "fieldset",
          { class: "choices" },
          h("legend", { class: "field__label" }, "What is wrong with it?"),
          REASONS.map(([value, text]) =>
            h(
              "label",
              { class: "choice" },
              h("input", { type: "radio", name: "reason", value, required: true }),
              h("span", {}, text),
            ),
          ),
        ),
        details,
        h("div", { class: "actions actions--end" }, submit),
      ),
      creatorId !== me().user_id &&
        h(
          "p",
          { class: "aside" },
          h("span", { class: "hint" }, `Rather not meet @${handle} again?`),
          h(
            "button",
            {
              class: "button button--bad button--small",
              type: "button",
              testid: "block",
              onclick: () => close("block"),
            },
            `Block @${handle}`,
          ),
        ),
    ];
  });
  if (outcome === "reported") notice("Thank you. A moderator will look at it and tell you.", "good");
  if (outcome !== "block") return outcome;
  return (await blockSheet({ userId: creatorId, handle })) ? "blocked" : undefined;
}
