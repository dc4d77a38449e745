// The account: how the person is called, where they are if they want it used, and the token that
// this browser signs in with.

import * as api from "../api.js";
import { h } from "../dom.js";
import { words } from "../format.js";
import { busy, notice } from "../notices.js";
import { flush, forget } from "../outbox.js";
import { go } from "../router.js";
import { keepToken, me, setMe, signOut } from "../session.js";

export const load = async ({ signal }) => api.getMe(signal);

export function view(account, { refresh }) {
  const save = h("button", { class: "button button--primary", testid: "save-profile" }, "Save");
  const token = h("input", {
    class: "input input--code",
    id: "token",
    type: "password",
    autocomplete: "off",
    required: true,
    placeholder: "kn_…",
  });
  const submit = async (event) => {
    event.preventDefault();
    const data = new FormData(event.target);
    const profile = {
      handle: data.get("handle").trim(),
      display_name: data.get("display_name").trim(),
      place: data.get("place").trim(),
    };
    if (!account.birth_year && data.get("birth_year")) profile.birth_year = Number(data.get("birth_year"));
    const worked = await busy(save, async () => setMe(await api.putMe(profile)));
    if (!worked) return;
    document.querySelector(".rail__who").textContent = `@${me().handle}`;
    notice("Saved", "good");
    refresh();
  };
  const change = (event) => {
    event.preventDefault();
    keepToken(token.value);
    setMe(null);
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
      h("div", { class: "actions" }, save),
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
        h(
          "div",
          { class: "actions" },
          h("button", { class: "button button--quiet" }, "Switch"),
          h(
            "button",
            { class: "button button--bad", type: "button", testid: "sign-out", onclick: leave },
            "Sign out",
          ),
        ),
      ),
    ),
  ];

  async function leave() {
    await flush();
    signOut();
    forget();
    go("#/feed");
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
