// The sheet in which a person steers their feed: in words, and by taking back what they wanted to see
// less like. The server says how the words were understood.

import * as api from "../api.js";
import { fill, h } from "../dom.js";
import { ago } from "../format.js";
import { busy, complain, failed, loading, sheet } from "../notices.js";

const MAX_CHARS = 300;
const EXAMPLE = "calm clips of pets, nothing about sport";

/** Opens the sheet. Whether anything was changed is promised for when it closes. */
export async function steerSheet() {
  let changed = false;
  await sheet("Steer your feed", "steer-sheet", () => {
    const body = h("div", { class: "stack" }, loading("line"));
    Promise.all([api.getSteering(), api.getLess()]).then(
      ([steering, clips]) => fill(body, wishes(steering), unwanted(clips)),
      (error) => fill(body, failed(error)),
    );
    return body;
  });
  return changed;

  function wishes(steering) {
    const text = h("textarea", {
      class: "input",
      rows: "3",
      maxlength: String(MAX_CHARS),
      placeholder: EXAMPLE,
      "aria-label": "What you want to see, in your own words",
      testid: "steer-text",
    });
    text.value = steering.text;
    const understood = h("div", { testid: "steer-understood" }, said(steering));
    const apply = h("button", { class: "button button--primary", type: "submit", testid: "steer-apply" }, "Steer");
    const stop = h(
      "button",
      { class: "button button--quiet", type: "button", testid: "steer-stop", onclick: () => send("") },
      "Stop steering",
    );
    const form = h(
      "form",
      {
        class: "stack",
        onsubmit: (event) => {
          event.preventDefault();
          send(text.value.trim());
        },
      },
      h("p", {}, "Say what you want more of, less of or none of. It holds from the next page on."),
      text,
      understood,
      h("div", { class: "actions" }, apply, stop),
    );
    return form;

    function send(words) {
      return busy(words ? apply : stop, async () => {
        const answer = words ? await api.steer(words) : (await api.unsteer(), { text: "" });
        text.value = answer.text;
        changed = true;
        fill(understood, said(answer));
      });
    }
  }

  function unwanted(clips) {
    if (!clips.length) return null;
    const list = h("ul", { class: "list", testid: "less-list" }, clips.map(row));
    return h("section", { class: "stack" }, h("h3", {}, "You see less like"), list);
  }

  function row(clip) {
    const undo = h(
      "button",
      { class: "button button--small", type: "button", testid: "less-undo", onclick: () => busy(undo, takeBack) },
      "Undo",
    );
    const element = h(
      "li",
      {},
      h(
        "span",
        { class: "list__main" },
        h(
          "span",
          {},
          h("span", { class: "list__name" }, clip.caption),
          h("span", { class: "hint" }, ago(clip.asked_ms)),
        ),
      ),
      undo,
    );
    return element;

    async function takeBack() {
      try {
        await api.takeBackLess(clip.video_id);
        changed = true;
        element.remove();
      } catch (error) {
        complain(error);
      }
    }
  }
}

function said({ more = [], less = [], never = [] }) {
  const lines = [
    ["More", more],
    ["Less", less],
    ["Nothing", never],
  ].filter(([, wishes]) => wishes.length);
  if (!lines.length) return null;
  return h(
    "dl",
    { class: "facts" },
    lines.flatMap(([name, wishes]) => [h("dt", {}, name), h("dd", {}, wishes.join(", "))]),
  );
}
