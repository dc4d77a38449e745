// Signing in: paste the token that an administrator or an app made for you.

import { tokenField } from "../controls.js";
import { h, svg } from "../dom.js";
import { go } from "../router.js";
import { signIn } from "../session.js";

export function render(element) {
  const refused = sessionStorage.getItem("kinora.refused");
  sessionStorage.removeItem("kinora.refused");
  const field = tokenField({ testid: "token-input" });
  const submit = (event) => {
    event.preventDefault();
    signIn(field.value);
    go("#/feed");
  };
  element.append(
    h(
      "section",
      { class: "door", testid: "sign-in" },
      h(
        "form",
        { class: "door__card", onsubmit: submit },
        h(
          "p",
          { class: "door__brand" },
          svg("svg", { class: "mark", "aria-hidden": "true" }, svg("use", { href: "/icons.svg#mark" })),
          "kinora",
        ),
        h("h1", {}, "Short films from a sentence, with sound."),
        refused &&
          h(
            "p",
            { class: "badge badge--warn", role: "alert", testid: "sign-in-refused" },
            "That token is not valid any more.",
          ),
        h(
          "div",
          { class: "field" },
          h("label", { class: "field__label", for: "token" }, "Access token"),
          field,
          h(
            "p",
            { class: "field__hint" },
            "Make one with ",
            h("code", {}, "kinora token create"),
            ", or open the link that ",
            h("code", {}, "kinora demo"),
            " printed.",
          ),
        ),
        h("button", { class: "button button--primary", testid: "sign-in-button" }, "Sign in"),
      ),
    ),
  );
  field.focus();
}
