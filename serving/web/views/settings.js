// Settings: privacy switches, guardian, messages and the account, one section an address.

import { fill, h } from "../dom.js";
import { show } from "../notices.js";
import { href } from "../router.js";
import * as account from "./settings_account.js";
import * as guardian from "./settings_guardian.js";
import * as messages from "./settings_messages.js";
import * as privacy from "./settings_privacy.js";

const SECTIONS = { privacy, guardian, messages, account };
const NAMES = { privacy: "Privacy", guardian: "Guardian", messages: "Messages", account: "Account" };

export async function render(element, { route, signal }) {
  const name = Object.hasOwn(SECTIONS, route.path[0] ?? "") ? route.path[0] : "privacy";
  const body = h("div", { class: "stack", testid: `settings-${name}` });
  element.append(
    h(
      "div",
      { class: "page", testid: "settings" },
      h("header", { class: "page__head" }, h("h1", {}, "Settings")),
      h(
        "nav",
        { class: "tabs", "aria-label": "Settings" },
        Object.entries(NAMES).map(([key, text]) =>
          h(
            "a",
            {
              href: href("settings", [key]),
              "aria-current": key === name ? "page" : undefined,
              testid: `tab-${key}`,
            },
            text,
          ),
        ),
      ),
      body,
    ),
  );
  const section = SECTIONS[name];
  const refresh = () =>
    show(
      body,
      signal,
      () => section.load({ route, signal }),
      (value) => section.view(value, { route, signal, refresh }),
    );
  fill(body);
  await refresh();
}
