// News: what others and the moderators did that concerns the person. Opening it marks it as read.

import * as api from "../api.js";
import { h, icon } from "../dom.js";
import { ago, dateTime, sentence } from "../format.js";
import { empty, show } from "../notices.js";
import { paintRail } from "../rail.js";
import { href } from "../router.js";
import { isModerator, setMe } from "../session.js";
import { ACTIONS } from "./decisions.js";

const GLYPHS = {
  guardian: "people",
  limits: "people",
  cameo: "cameo",
  moderation: "scales",
  appeal: "scales",
};
/** How the text about a decision ends: what it was, and its statement of reasons. */
const DECISION = / \((\w+)\); statement (\w+)$/;

export async function render(element, { signal }) {
  const body = h("div", { class: "stack", testid: "news" });
  element.append(
    h(
      "div",
      { class: "page page--narrow" },
      h(
        "header",
        { class: "page__head" },
        h("h1", {}, "News"),
        h(
          "div",
          { class: "actions" },
          isModerator() &&
            h(
              "a",
              { class: "button button--quiet button--small news__review", href: href("moderation") },
              "Review",
            ),
          h(
            "a",
            {
              class: "button button--quiet button--small",
              href: href("statements"),
              testid: "to-statements",
            },
            "Decisions and appeals",
          ),
        ),
      ),
      body,
    ),
  );
  await show(body, signal, load, list);

  async function load() {
    const account = await api.getMe(signal);
    const items = await api.notifications(signal);
    setMe({ ...account, unread_notifications: 0 });
    paintRail();
    return { items, unread: account.unread_notifications };
  }
}

function list({ items, unread }) {
  if (!items.length)
    return empty({
      glyph: "bell",
      title: "No news",
      text: "Here you learn when a cameo is offered to you, a guardian changes something, or a moderator decides.",
    });
  return h(
    "ul",
    { class: "card list news" },
    items.map((item, index) => row(item, index < unread)),
  );
}

function row(item, isNew) {
  const [topic] = item.kind.split("_");
  const [, action, statement] = DECISION.exec(item.text) ?? [];
  const text = item.text.replace(DECISION, `: ${ACTIONS[action]?.told ?? action}`);
  return h(
    "li",
    {},
    h(
      "a",
      { class: "news__item", href: subjectOf(topic, statement), testid: "news-item" },
      h("span", { class: "news__glyph" }, icon(GLYPHS[topic] ?? "bell")),
      h(
        "span",
        {},
        h("span", { class: "news__text" }, sentence(text)),
        h("span", { class: "hint", title: dateTime(item.created_ms) }, ago(item.created_ms)),
      ),
      isNew && h("span", { class: "badge badge--new", testid: "news-new" }, "New"),
    ),
  );
}

/** Where the person sees more of what the news is about, or does something about it. */
function subjectOf(topic, statement) {
  if (topic === "moderation" || topic === "appeal") return href("statements", statement ? [statement] : []);
  if (topic === "cameo") return href("cameo");
  if (topic === "guardian" || topic === "limits") return href("settings", ["guardian"]);
  return href("news");
}
