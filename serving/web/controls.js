// Controls that several views show the same way.

import { h } from "./dom.js";
import { hue, initial } from "./format.js";

/** A choice of one of a few: `choices` are pairs of a value and its words. With none chosen, one must be. */
export function segments(name, choices, chosen, more = {}) {
  return h(
    "div",
    { class: "segments", role: "radiogroup", ...more },
    choices.map(([value, text]) =>
      h(
        "label",
        {},
        h("input", { type: "radio", name, value, checked: value === chosen, required: chosen === undefined }),
        h("span", {}, text),
      ),
    ),
  );
}

/** A name with its avatar and a line about it; `to` is the address of the page of whoever it is. */
export function person(name, text, to) {
  return h(
    to ? "a" : "div",
    { class: "list__main", href: to },
    h("span", { class: "avatar", "aria-hidden": "true", vars: { "--hue": hue(name) } }, initial(name)),
    h("span", {}, h("span", { class: "list__name" }, name), h("span", { class: "hint" }, text)),
  );
}

/** A field for an access token, which refuses what could not be one. */
export function tokenField(more = {}) {
  const field = h("input", {
    class: "input input--code",
    id: "token",
    name: "token",
    type: "password",
    autocomplete: "off",
    spellcheck: "false",
    placeholder: "kn_…",
    required: true,
    pattern: "\\s*[!-~]+\\s*",
    oninput: judge,
    ...more,
  });
  return field;

  function judge() {
    field.setCustomValidity("");
    if (field.validity.patternMismatch)
      field.setCustomValidity("This is not a token: it holds a space, or a sign that no token has.");
  }
}
