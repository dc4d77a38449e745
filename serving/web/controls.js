// Controls that several views show the same way.

import { h } from "./dom.js";
import { hue, initial } from "./format.js";

/** A choice of one of a few: `choices` are pairs of a value and its words. */
export function segments(name, choices, chosen, more = {}) {
  return h(
    "div",
    { class: "segments", role: "radiogroup", ...more },
    choices.map(([value, text]) =>
      h(
        "label",
        {},
        h("input", { type: "radio", name, value, checked: value === chosen }),
        h("span", {}, text),
      ),
    ),
  );
}

/** A name with its avatar and a line about it. */
export function person(name, text) {
  return h(
    "div",
    { class: "list__main" },
    h("span", { class: "avatar", "aria-hidden": "true", vars: { "--hue": hue(name) } }, initial(name)),
    h("div", {}, h("p", { class: "list__name" }, name), h("p", { class: "hint" }, text)),
  );
}
