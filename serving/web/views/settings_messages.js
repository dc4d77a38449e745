// Direct messages, simple: who wrote, and a conversation with one person. Who may write to whom
// is decided by the server.

import * as api from "../api.js";
import { person } from "../controls.js";
import { h } from "../dom.js";
import { ago, count } from "../format.js";
import { busy, empty } from "../notices.js";
import { go, href, hrefOf } from "../router.js";
import { me } from "../session.js";
import { blockSheet } from "../ties.js";

export async function load({ route, signal }) {
  const name = route.params.get("with");
  if (!name) return api.conversations(signal);
  const other = await api.getPerson(name, signal);
  return { other, messages: await api.conversation(other.user_id, signal) };
}

export function view(value, context) {
  return value.other ? thread(value, context) : overview(value);
}

function overview({ conversations }) {
  const who = h("input", {
    class: "input",
    id: "who",
    required: true,
    placeholder: "@handle",
    testid: "message-who",
  });
  const start = (event) => {
    event.preventDefault();
    const name = who.value.trim();
    go(href("settings", ["messages"], { with: name.startsWith("@") ? name : `@${name}` }));
  };
  return [
    h(
      "form",
      { class: "card", onsubmit: start },
      h("div", { class: "field" }, h("label", { class: "field__label", for: "who" }, "Write to"), who),
      h("div", { class: "actions" }, h("button", { class: "button", testid: "message-open" }, "Open")),
    ),
    h(
      "section",
      { class: "card" },
      h("h2", {}, "Conversations"),
      conversations.length
        ? h("ul", { class: "list" }, conversations.map(talkRow))
        : empty({ title: "No messages", text: "Who may write to you is up to you, under Privacy." }),
    ),
  ];
}

function talkRow(talk) {
  return h(
    "li",
    {},
    person(`@${talk.with_handle}`, talk.last_text, hrefOf(talk.with_handle)),
    h(
      "div",
      { class: "actions" },
      talk.unread > 0 && h("span", { class: "badge badge--cool" }, `${count(talk.unread)} new`),
      h("span", { class: "hint" }, ago(talk.last_sent_ms)),
      h(
        "a",
        {
          class: "button button--quiet button--small",
          href: href("settings", ["messages"], { with: `@${talk.with_handle}` }),
        },
        "Open",
      ),
    ),
  );
}

function thread({ other, messages }, { refresh }) {
  const text = h("textarea", {
    class: "input",
    required: true,
    maxlength: 2000,
    rows: 2,
    "aria-label": "Message",
    placeholder: `Write to @${other.handle}`,
    testid: "message-text",
  });
  const sendButton = h("button", { class: "button button--primary", testid: "message-send" }, "Send");
  const submit = async (event) => {
    event.preventDefault();
    if (await busy(sendButton, () => api.sendMessage(other.user_id, text.value.trim()))) refresh();
  };
  const block = h(
    "button",
    { class: "button button--bad button--small", type: "button", onclick: stop },
    "Block",
  );
  const log = h(
    "div",
    { class: "thread", testid: "thread" },
    messages.messages.map((message) =>
      h(
        "p",
        {
          class: `bubble ${message.sender_id === me().user_id ? "bubble--mine" : ""}`,
          title: ago(message.sent_ms),
        },
        message.text,
      ),
    ),
  );
  queueMicrotask(() => (log.scrollTop = log.scrollHeight));
  return h(
    "section",
    { class: "card" },
    h(
      "div",
      { class: "card__head" },
      person(`@${other.handle}`, other.display_name || "Conversation", hrefOf(other.handle)),
      h(
        "div",
        { class: "actions" },
        block,
        h("a", { class: "button button--quiet button--small", href: href("settings", ["messages"]) }, "All"),
      ),
    ),
    log,
    h(
      "form",
      { class: "stack", onsubmit: submit },
      text,
      h("div", { class: "actions actions--end" }, sendButton),
    ),
  );

  async function stop() {
    if (await blockSheet({ userId: other.user_id, handle: other.handle })) go(href("settings", ["messages"]));
  }
}
