// Direct messages, simple: who wrote, and a conversation with one person. Who may write to whom
// is decided by the server.

import * as api from "../api.js";
import { person } from "../controls.js";
import { h } from "../dom.js";
import { ago } from "../format.js";
import { busy, empty, notice } from "../notices.js";
import { go, href } from "../router.js";
import { me } from "../session.js";

export async function load({ route, signal }) {
  const name = route.params.get("with");
  if (!name) return { list: await api.conversations(signal), news: await api.notifications(signal) };
  const other = await api.getPerson(name, signal);
  return { other, messages: await api.conversation(other.user_id, signal) };
}

export function view(value, context) {
  return value.other ? thread(value, context) : overview(value);
}

function overview({ list, news }) {
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
  const talks = list.conversations;
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
      talks.length
        ? h("ul", { class: "list" }, talks.map(talkRow))
        : empty({ title: "No messages", text: "Who may write to you is up to you, under Privacy." }),
    ),
    news.length > 0 &&
      h(
        "section",
        { class: "card" },
        h("h2", {}, "News"),
        h(
          "ul",
          { class: "list", testid: "news" },
          news.map((item) =>
            h("li", {}, h("span", {}, item.text), h("span", { class: "hint" }, ago(item.created_ms))),
          ),
        ),
      ),
  ];
}

function talkRow(talk) {
  return h(
    "li",
    {},
    person(`@${talk.with_handle}`, talk.unread ? `${talk.last_text} · ${talk.unread} new` : talk.last_text),
    h(
      "div",
      { class: "actions" },
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
      person(`@${other.handle}`, other.display_name || "Conversation"),
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
    if (!(await busy(block, () => api.block(other.user_id)))) return;
    notice(`@${other.handle} is blocked`, "good");
    go(href("settings", ["messages"]));
  }
}
