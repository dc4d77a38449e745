// A cameo of one's own: who may use it, everyone who was granted it, every clip that uses it, and
// the way to take it back, which takes no more steps than granting it.

import * as api from "../api.js";
import { person, segments } from "../controls.js";
import { h, icon } from "../dom.js";
import { ago, dateTime, words } from "../format.js";
import { picture } from "../media.js";
import { busy, complain, notice, sheet, show } from "../notices.js";

const AUDIENCES = [
  ["only_me", "Only me"],
  ["approved", "People I approve"],
  ["mutuals", "Mutuals"],
  ["everyone", "Everyone"],
];
const DAY_MS = 86_400_000;
const TERMS = [
  ["7", "for a week"],
  ["30", "for a month"],
  ["365", "for a year"],
];
const TONES = { active: "badge--good", suspended: "badge--warn", revoked: "badge--bad" };
/** States of a use that has pictures. */
const FILMED = new Set(["draft", "published"]);

export function cameoCard(cameo, { signal, refresh }) {
  const active = cameo.state === "active";
  const uses = h("div", { testid: "uses" });
  show(
    uses,
    signal,
    () => api.cameoUses(cameo.cameo_id, signal),
    (list) => usesOf(list, signal),
  );
  return h(
    "section",
    { class: "card", testid: "my-cameo", "data-cameo": cameo.cameo_id },
    h(
      "div",
      { class: "card__head" },
      person(cameo.name, `Enrolled ${ago(cameo.created_ms)}`),
      h(
        "div",
        { class: "actions" },
        h("span", { class: `badge ${TONES[cameo.state] ?? ""}` }, words(cameo.state)),
        h(
          "button",
          { class: "button button--bad button--small", type: "button", testid: "revoke", onclick: takeBack },
          active ? "Take it back" : "Take back more",
        ),
      ),
    ),
    cameo.state === "suspended" &&
      h("p", { class: "hint" }, "It cannot be used while no guardian is linked to your account."),
    h(
      "div",
      { class: "columns" },
      active ? permission(cameo, signal) : h("p", { class: "hint" }, "Nobody can make a new clip with it."),
      h("div", { class: "stack" }, h("h3", {}, "Every clip that uses it"), uses),
    ),
  );

  async function takeBack() {
    if (!(await revokeSheet(cameo))) return;
    notice("Taken back", "good");
    refresh();
  }
}

/** The audience, and the people who were granted it by name. */
function permission(cameo, signal) {
  const grants = h("ul", { class: "list", testid: "grants" });
  const audience = segments(`audience-${cameo.cameo_id}`, AUDIENCES, cameo.audience, {
    testid: "audience",
    onchange: changeAudience,
  });
  const who = h("input", {
    class: "input",
    placeholder: "@handle",
    required: true,
    "aria-label": "Who",
    testid: "grant-who",
  });
  const term = h(
    "select",
    { class: "input", "aria-label": "For how long" },
    TERMS.map(([value, text]) => h("option", { value }, text)),
  );
  const offer = h("button", { class: "button", testid: "grant" }, "Allow");
  const form = h(
    "form",
    { class: "stack", onsubmit: grant },
    who,
    h("div", { class: "options" }, term, offer),
  );
  const closed = h("p", { class: "hint" }, "Choose “People I approve” to allow someone by name.");
  paint();
  refreshGrants();
  return h(
    "div",
    { class: "stack" },
    h("h3", {}, "Who may use it"),
    audience,
    h("h3", {}, "People you allowed"),
    form,
    closed,
    grants,
  );

  function paint() {
    form.hidden = cameo.audience === "only_me";
    closed.hidden = cameo.audience !== "only_me";
  }

  function refreshGrants() {
    return show(grants, signal, () => api.listGrants(cameo.cameo_id, signal), grantsOf);
  }

  async function changeAudience(event) {
    try {
      await api.setAudience(cameo.cameo_id, event.target.value);
      cameo.audience = event.target.value;
      notice("Saved", "good");
    } catch (error) {
      complain(error);
      audience.querySelector(`[value=${cameo.audience}]`).checked = true;
    }
    paint();
  }

  async function grant(event) {
    event.preventDefault();
    const name = who.value.trim();
    const user = name.startsWith("@") ? name : `@${name}`;
    const expires_ms = Date.now() + Number(term.value) * DAY_MS;
    if (!(await busy(offer, () => api.offerGrant(cameo.cameo_id, { user, expires_ms })))) return;
    who.value = "";
    notice("Offered. It counts once they accept.", "good");
    refreshGrants();
  }

  function grantsOf(list) {
    const open = list.filter(({ state }) => state === "offered" || state === "active");
    return open.length ? open.map(grantRow) : h("li", { class: "hint" }, "Nobody yet.");
  }

  function grantRow(grant) {
    const until = grant.expires_ms ? `, until ${dateTime(grant.expires_ms)}` : "";
    const back = h(
      "button",
      { class: "button button--bad button--small", type: "button", testid: "withdraw", onclick: withdraw },
      "Withdraw",
    );
    return h("li", {}, person(`@${grant.user_handle}`, `${words(grant.state)}${until}`), back);

    async function withdraw() {
      if (await busy(back, () => api.revokeGrant(cameo.cameo_id, grant.grant_id))) refreshGrants();
    }
  }
}

function usesOf(uses, signal) {
  if (!uses.length) return h("p", { class: "hint" }, "No clip has used it.");
  return h(
    "div",
    { class: "grid" },
    uses.map((use) => useTile(use, signal)),
  );
}

function useTile(use, signal) {
  const frame = h(
    "span",
    { class: "tile__picture" },
    icon("image"),
    h("span", { class: "badge" }, words(use.state)),
  );
  if (FILMED.has(use.state)) {
    const image = h("img", { alt: "" });
    frame.prepend(image);
    picture(image, api.contentPath(use.video_id, "thumbnail"), signal);
  }
  return h(
    "div",
    { class: "tile", testid: "use" },
    frame,
    h("span", { class: "tile__name" }, use.prompt),
    h("span", { class: "tile__when" }, `@${use.user_handle} · ${ago(use.created_ms)}`),
  );
}

/** What to take back, and that it is meant. Gives whether it was done. */
function revokeSheet(cameo) {
  return sheet(`Take back ${cameo.name}`, "revoke-sheet", (close) => {
    const confirm = h(
      "button",
      { class: "button button--bad", testid: "revoke-confirm" },
      "Take it back now",
    );
    const submit = async (event) => {
      event.preventDefault();
      const scope = new FormData(event.target).get("scope");
      if (await busy(confirm, () => api.revokeCameo(cameo.cameo_id, scope))) close(true);
    };
    return h(
      "form",
      { class: "stack", onsubmit: submit },
      h(
        "p",
        {},
        "It takes effect at once: clips waiting to be made with it are cancelled, and nobody can use it again.",
      ),
      h(
        "fieldset",
        { class: "choices" },
        scopeChoice("derivatives", "Also take down every clip that uses it", "And every remix of one.", true),
        scopeChoice(
          "erase",
          "Take down the clips and erase the likeness",
          "The key that it is encrypted with is destroyed. This cannot be undone.",
        ),
        scopeChoice("future", "Only stop new clips", "Clips already made stay where they are."),
      ),
      h("div", { class: "actions actions--end" }, confirm),
    );
  });
}

function scopeChoice(value, name, text, checked = false) {
  return h(
    "label",
    { class: "choice" },
    h("input", { type: "radio", name: "scope", value, checked }),
    h("span", {}, name),
    h("span", { class: "hint" }, text),
  );
}
