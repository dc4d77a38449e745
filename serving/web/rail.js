// The rail: where the person is, who they are, and how much news waits for them.

import { shortCount } from "./format.js";
import { hrefOf } from "./router.js";
import { isModerator, me } from "./session.js";

const rail = document.querySelector(".rail");

/** Marks the route that the person is at. */
export function markRoute(name) {
  for (const link of rail.querySelectorAll("[data-route]")) {
    if (link.dataset.route === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

/** Shows the signed-in person, what is new for them, and what their role opens. */
export function paintRail() {
  const who = rail.querySelector(".rail__who");
  who.textContent = me() ? `@${me().handle}` : "";
  if (me()) who.href = hrefOf(me().handle);

  const unread = me()?.unread_notifications ?? 0;
  const badge = rail.querySelector(".rail__badge");
  badge.hidden = !unread;
  badge.textContent = unread > 99 ? "99+" : shortCount(unread);
  rail.querySelector("[data-route=news]").setAttribute("aria-label", unread ? `News, ${unread} new` : "News");
  rail.querySelector("[data-route=moderation]").hidden = !isModerator();
}
