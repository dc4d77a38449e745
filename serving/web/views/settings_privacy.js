// What the feed may use, who may write, and how long a day of feed is. The server decides what
// is in force; what a guardian or the teen defaults hold is shown as held.

import * as api from "../api.js";
import { segments } from "../controls.js";
import { h } from "../dom.js";
import { complain, notice } from "../notices.js";

const SWITCHES = [
  [
    "personalisation",
    "Personalised feed",
    "The feed may use what you watched, liked and followed. Off: it is the same for everyone.",
  ],
  ["location", "Place", "The feed may use the place in your account to find what is popular nearby."],
  ["conversation_history", "What you asked for", "The feed and the create box may use your earlier prompts."],
  ["sensitive", "Sensitive clips", "Clips that a moderator marked as sensitive may be shown."],
];
const WHO = [
  ["nobody", "Nobody"],
  ["followed", "People I follow"],
  ["everyone", "Everyone"],
];
export const NO_LIMIT = 1440;
export const MINUTES = [
  ["15", "15 min"],
  ["30", "30 min"],
  ["60", "1 hour"],
  ["120", "2 hours"],
  [String(NO_LIMIT), "No limit"],
];

export const load = ({ signal }) => api.getSwitches(signal);

export function view({ switches, version }, { refresh }) {
  const held = new Set(switches.locked);
  const limits = MINUTES.some(([value]) => Number(value) === switches.daily_scroll_minutes)
    ? MINUTES
    : [[String(switches.daily_scroll_minutes), `${switches.daily_scroll_minutes} min`], ...MINUTES];
  return [
    h(
      "section",
      { class: "card" },
      h("h2", {}, "What the feed may use"),
      h(
        "div",
        {},
        SWITCHES.map(([name, title, text]) => toggle(name, title, text)),
      ),
    ),
    h(
      "section",
      { class: "card" },
      h("h2", {}, "Who may write to you"),
      segments("messages_from", WHO, switches.messages_from, {
        testid: "messages-from",
        onchange: (event) => change({ messages_from: event.target.value }),
      }),
      held.has("messages_from") && heldNote(),
    ),
    h(
      "section",
      { class: "card" },
      h("h2", {}, "Feed a day"),
      h(
        "p",
        { class: "card__lead" },
        "The server counts, on every device. After that the feed opens again at midnight UTC.",
      ),
      segments("daily_scroll_minutes", limits, String(switches.daily_scroll_minutes), {
        testid: "daily-minutes",
        onchange: (event) => change({ daily_scroll_minutes: Number(event.target.value) }),
      }),
      held.has("daily_scroll_minutes") && heldNote(),
    ),
  ];

  function toggle(name, title, text) {
    const box = h("input", {
      type: "checkbox",
      role: "switch",
      checked: switches[name],
      disabled: held.has(name) && !switches[name],
      testid: `switch-${name}`,
      onchange: () => change({ [name]: box.checked }),
    });
    return h(
      "label",
      { class: "switch" },
      h("span", { class: "switch__name" }, title),
      h("span", { class: "hint" }, text, held.has(name) && " Held by a guardian or your age."),
      box,
    );
  }

  async function change(what) {
    try {
      ({ switches, version } = await api.putSwitches(what, version));
      notice("Saved", "good");
    } catch (error) {
      complain(error);
      refresh();
    }
  }
}

function heldNote() {
  return h("p", { class: "hint" }, "A guardian or your age holds this: you can narrow it, not widen it.");
}
