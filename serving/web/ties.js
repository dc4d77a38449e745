// Following and blocking: what one person declares towards another, at the server and in what this
// browser knows of the signed-in person.

import * as api from "./api.js";
import { fill, h } from "./dom.js";
import { busy, notice, sheet } from "./notices.js";
import { me } from "./session.js";

/** A button that follows and unfollows; `onchange` is told whether the person is followed now. */
export function followButton(userId, { onchange, ...more }) {
  const button = h("button", { type: "button", testid: "follow", onclick: toggle, ...more });
  paint();
  return button;

  function paint() {
    const following = me().following.includes(userId);
    fill(button, following ? "Following" : "Follow");
    button.setAttribute("aria-pressed", String(following));
  }

  async function toggle() {
    const following = me().following.includes(userId);
    const worked = await busy(button, () => (following ? api.unfollow(userId) : api.follow(userId)));
    if (!worked || !me()) return;
    declare("following", userId, !following);
    paint();
    onchange(!following);
  }
}

/** Says what a block does, and blocks. Gives whether it was done. */
export async function blockSheet({ userId, handle }) {
  const done = await sheet(`Block @${handle}?`, "block-sheet", (close) => {
    const confirm = h(
      "button",
      { class: "button button--bad", type: "button", testid: "block-confirm", onclick: block },
      "Block",
    );
    const cancel = h(
      "button",
      { class: "button button--quiet", type: "button", onclick: () => close() },
      "Cancel",
    );
    return [
      h(
        "p",
        {},
        "Neither of you sees, follows or writes to the other any more, or uses the other's cameos. They are not told. You can unblock them under Settings, Privacy; what the block ended does not come back.",
      ),
      h("div", { class: "actions actions--end" }, cancel, confirm),
    ];

    async function block() {
      if (await busy(confirm, () => api.block(userId))) close(true);
    }
  });
  if (!done || !me()) return false;
  declare("following", userId, false);
  declare("blocked", userId, true);
  notice(`@${handle} is blocked`, "good");
  return true;
}

/** A button that takes a block back; `onunblocked` is called when it is gone. */
export function unblockButton({ userId, handle }, onunblocked) {
  const button = h(
    "button",
    { class: "button button--small", type: "button", testid: "unblock", onclick: unblock },
    "Unblock",
  );
  return button;

  async function unblock() {
    if (!(await busy(button, () => api.unblock(userId))) || !me()) return;
    declare("blocked", userId, false);
    notice(`@${handle} is not blocked any more`, "good");
    onunblocked();
  }
}

/** Notes a tie among the signed-in person's own, so that no view has to ask for them again. */
function declare(tie, userId, holds) {
  const others = me()[tie].filter((other) => other !== userId);
  me()[tie] = holds ? [...others, userId] : others;
}
