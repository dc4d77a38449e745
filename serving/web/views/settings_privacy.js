// What the feed may use, who may write, how long a day of feed is, and who is blocked. The server
// decides what is in force; what a guardian or the teen defaults hold is shown as held.

import * as api from "../api.js";
import { person, segments } from "../controls.js";
import { h } from "../dom.js";
import { count } from "../format.js";
import { complain, notice } from "../notices.js";
import { hrefOf } from "../router.js";
import { unblockButton } from "../ties.js";

const SWITCHES = [
  [
    "personalisation",
    "Personalised feed",
    "The feed may use what you watched, liked and followed. Off: it is the same for everyone.",
  ],
  [
    "location",
    "Place",
    "The feed may use the place in your account, or else the city that you connect from, to find what is popular nearby. That city is not kept.",
  ],
  ["conversation_history", "Conversations", "The feed may use whom you exchange messages with."],
];
const WHO = [
  ["nobody", "Nobody"],
  ["followed", "People I follow"],
  ["everyone", "Everyone"],
];
const NO_LIMIT = 1440;
const MINUTES = [
  ["15", "15 min"],
  ["30", "30 min"],
  ["60", "1 hour"],
  ["120", "2 hours"],
  [String(NO_LIMIT), "No limit"],
];

/** Blocked people named on the page; when one is unblocked, the next is named. */
const MOST_NAMED = 50;

/** The choices for a day of feed, in which `minutes` is one whatever it is. */
export function limitChoices(minutes) {
  if (MINUTES.some(([value]) => Number(value) === minutes)) return MINUTES;
  return [...MINUTES, [String(minutes), `${minutes} min`]].sort(([one], [other]) => one - other);
}

export async function load({ signal }) {
  const [switches, account] = await Promise.all([api.getSwitches(signal), api.getMe(signal)]);
  const blocked = await Promise.all(
    account.blocked
      .slice(0, MOST_NAMED)
      .map((userId) => api.getPerson(userId, signal).catch(() => ({ user_id: userId, handle: userId }))),
  );
  return { ...switches, blocked, unnamed: account.blocked.length - blocked.length };
}

export function view({ switches, version, blocked, unnamed }, { refresh }) {
  const held = new Set(switches.locked);
  let saving = Promise.resolve();
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
      segments(
        "daily_scroll_minutes",
        limitChoices(switches.daily_scroll_minutes),
        String(switches.daily_scroll_minutes),
        {
          testid: "daily-minutes",
          onchange: (event) => change({ daily_scroll_minutes: Number(event.target.value) }),
        },
      ),
      held.has("daily_scroll_minutes") && heldNote(),
    ),
    h(
      "section",
      { class: "card", testid: "blocked" },
      h("h2", {}, "Blocked people"),
      blocked.length
        ? h("ul", { class: "list" }, blocked.map(blockedRow))
        : h("p", { class: "card__lead" }, "Nobody. Block someone on their page, or where you report a clip."),
      unnamed > 0 && h("p", { class: "hint" }, `And ${count(unnamed)} more.`),
    ),
  ];

  function blockedRow({ user_id: userId, handle, display_name: name }) {
    return h(
      "li",
      {},
      person(`@${handle}`, name, hrefOf(handle)),
      unblockButton({ userId, handle }, refresh),
    );
  }

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

  function change(what) {
    // A change names the version that the one before it made.
    saving = saving.then(() => save(what));
  }

  async function save(what) {
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
