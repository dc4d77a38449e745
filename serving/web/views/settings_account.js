// The account: how the person is called, where they are if they want it used, and the token that
// this browser signs in with.

import * as api from "../api.js";
import { tokenField } from "../controls.js";
import { h } from "../dom.js";
import { words } from "../format.js";
import { busy, notice } from "../notices.js";
import { drain } from "../outbox.js";
import { paintRail } from "../rail.js";
import { go, hrefOf } from "../router.js";
import { setMe, signIn, signOut } from "../session.js";

export const load = async ({ signal }) => api.getMe(signal);

export function view(account, { refresh }) {
  const save = h("button", { class: "button button--primary", testid: "save-profile" }, "Save");
  const token = tokenField();
  const out = h(
    "button",
    { class: "button button--bad", type: "button", testid: "sign-out", onclick: leave },
    "Sign out",
  );
  const submit = async (event) => {
    event.preventDefault();
    const data = new FormData(event.target);
    const profile = {
      handle: data.get("handle").trim(),
      display_name: data.get("display_name").trim(),
      bio: data.get("bio").trim(),
      place: data.get("place").trim(),
    };
    if (!account.birth_year && data.get("birth_year")) profile.birth_year = Number(data.get("birth_year"));
    const worked = await busy(save, async () => setMe(await api.putMe(profile)));
    if (!worked) return;
    paintRail();
    notice("Saved", "good");
    refresh();
  };
  const change = (event) => {
    event.preventDefault();
    signIn(token.value);
    go("#/feed");
  };
  return [
    h(
      "form",
      { class: "card", onsubmit: submit },
      h("h2", {}, "Profile"),
      h(
        "div",
        { class: "columns" },
        field("handle", "Handle", {
          value: account.handle,
          required: true,
          minlength: 2,
          maxlength: 30,
          pattern: "[A-Za-z0-9_]+",
        }),
        field("display_name", "Name", { value: account.display_name, maxlength: 60 }),
        field("place", "Place", {
          value: account.place ?? "",
          maxlength: 60,
          placeholder: "A town or a region; empty forgets it",
        }),
        field("birth_year", "Year of birth", {
          value: account.birth_year ?? "",
          type: "number",
          min: 1900,
          max: new Date().getFullYear(),
          disabled: Boolean(account.birth_year),
          placeholder: "Can be given once",
        }),
      ),
      h(
        "div",
        { class: "field" },
        h("label", { class: "field__label", for: "bio" }, "About you"),
        h("textarea", {
          class: "input",
          id: "bio",
          name: "bio",
          maxlength: 300,
          rows: 2,
          value: account.bio,
        }),
      ),
      h(
        "div",
        { class: "actions" },
        save,
        h("a", { class: "button button--quiet", href: hrefOf(account.handle) }, "See your page"),
      ),
    ),
    h(
      "section",
      { class: "card" },
      h("h2", {}, "Signed in"),
      h(
        "dl",
        { class: "facts" },
        h("dt", {}, "Id"),
        h("dd", { testid: "user-id" }, account.user_id),
        h("dt", {}, "Role"),
        h("dd", {}, words(account.role)),
        h("dt", {}, "Age"),
        h("dd", {}, words(account.age_band)),
      ),
      h(
        "form",
        { class: "stack", onsubmit: change },
        h(
          "div",
          { class: "field" },
          h("label", { class: "field__label", for: "token" }, "Sign in with another token"),
          token,
        ),
        h("div", { class: "actions" }, h("button", { class: "button button--quiet" }, "Switch"), out),
      ),
    ),
  ];

  async function leave() {
    await busy(out, async () => {
      const left = await drain();
      signOut();
      go("#/feed");
      if (left) notice("Not all you did reached the server: it waits in this browser until you are back.");
    });
  }
}

function field(name, label, more) {
  return h(
    "div",
    { class: "field" },
    h("label", { class: "field__label", for: name }, label),
    h("input", { class: "input", id: name, name, testid: `profile-${name}`, ...more }),
  );
}
