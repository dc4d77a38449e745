// Cameo: your likeness, and who may use it. Withdrawing takes no more steps than granting.

import * as api from "../api.js";
import { fill, h, icon } from "../dom.js";
import { ago, dateTime, hue, initial, words } from "../format.js";
import { picture } from "../media.js";
import { busy, empty, notice, sheet, show } from "../notices.js";
import { href } from "../router.js";
import { segments } from "./create_composer.js";
import { enrolForm } from "./cameo_enrol.js";

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

export async function render(element, { signal }) {
  const body = h("div", { class: "stack" });
  element.append(
    h(
      "div",
      { class: "page", testid: "cameo" },
      h(
        "header",
        { class: "page__head" },
        h(
          "div",
          {},
          h("h1", {}, "Your likeness, your rules"),
          h(
            "p",
            {},
            "A cameo lets clips show someone who looks like you: you decide who may ask for it, you see every use, and you can take it back at any time.",
          ),
        ),
      ),
      body,
    ),
  );
  await refresh();

  function refresh() {
    return show(body, signal, () => api.listCameos(signal), page);
  }

  function page({ mine, usable, offers = [] }) {
    const active = mine.filter((cameo) => cameo.state === "active");
    return [
      offers.length > 0 && offerCard(offers),
      active.map((cameo) => cameoCard(cameo)),
      active.length === 0 && enrolForm({ signal, onenrolled: enrolled }),
      othersCard(usable.filter((cameo) => !mine.some((own) => own.cameo_id === cameo.cameo_id))),
      active.length > 0 &&
        h(
          "details",
          { class: "card" },
          h("summary", {}, "Enrol another likeness"),
          enrolForm({ signal, onenrolled: enrolled }),
        ),
    ];
  }

  function enrolled() {
    notice("Your cameo is ready", "good");
    refresh();
  }

  /** What others offer to the person: a yes or a no. */
  function offerCard(offers) {
    return h(
      "section",
      { class: "card", testid: "offers" },
      h("h2", {}, "Offered to you"),
      h("ul", { class: "list" }, offers.map(offerRow)),
    );
  }

  function offerRow(offer) {
    const answer = (word) => async (event) => {
      if (await busy(event.currentTarget, () => api.answerGrant(offer.grant_id, word))) refresh();
    };
    return h(
      "li",
      {},
      person(offer.cameo_name ?? offer.name, `from @${offer.owner_handle ?? offer.owner_id}`),
      h(
        "div",
        { class: "actions" },
        h(
          "button",
          {
            class: "button button--primary button--small",
            type: "button",
            testid: "accept",
            onclick: answer("accept"),
          },
          "Accept",
        ),
        h(
          "button",
          { class: "button button--quiet button--small", type: "button", onclick: answer("decline") },
          "Decline",
        ),
      ),
    );
  }

  function cameoCard(cameo) {
    const grants = h("ul", { class: "list", testid: "grants" });
    const uses = h("div", { testid: "uses" });
    const audience = segments(`audience-${cameo.cameo_id}`, AUDIENCES, cameo.audience, {
      testid: "audience",
      onchange: changeAudience,
    });
    const who = h("input", {
      class: "input",
      name: "who",
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
    show(uses, signal, () => api.cameoUses(cameo.cameo_id, signal), usesOf);
    show(grants, signal, () => api.listGrants(cameo.cameo_id, signal), grantsOf);
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
          h("span", { class: "badge badge--good" }, icon("check"), words(cameo.state)),
          h(
            "button",
            {
              class: "button button--bad button--small",
              type: "button",
              testid: "revoke",
              onclick: () => revoke(cameo),
            },
            "Take it back",
          ),
        ),
      ),
      h("div", { class: "field" }, h("p", { class: "field__label" }, "Who may use it"), audience),
      h(
        "div",
        { class: "columns" },
        h(
          "div",
          { class: "stack" },
          h("h3", {}, "People you allowed"),
          h("form", { class: "stack", onsubmit: grant }, who, h("div", { class: "actions" }, term, offer)),
          grants,
        ),
        h("div", { class: "stack" }, h("h3", {}, "Every clip that uses it"), uses),
      ),
    );

    async function changeAudience(event) {
      try {
        await api.setAudience(cameo.cameo_id, event.target.value);
        cameo.audience = event.target.value;
        notice("Saved", "good");
      } catch (error) {
        notice(error.detail, "bad");
        audience.querySelector(`[value=${cameo.audience}]`).checked = true;
      }
    }

    async function grant(event) {
      event.preventDefault();
      const name = who.value.trim();
      const worked = await busy(offer, async () => {
        const { user_id: to } = await api.getPerson(name.startsWith("@") ? name : `@${name}`, signal);
        await api.offerGrant(cameo.cameo_id, {
          user_id: to,
          expires_ms: Date.now() + Number(term.value) * DAY_MS,
        });
      });
      if (!worked) return;
      who.value = "";
      notice("Offered. It counts once they accept.", "good");
      show(grants, signal, () => api.listGrants(cameo.cameo_id, signal), grantsOf);
    }

    function grantsOf(list) {
      const live = (list.grants ?? list).filter((grant) => ["offered", "active"].includes(grant.state));
      if (!live.length) return h("li", { class: "hint" }, "Nobody yet.");
      return live.map((grant) => {
        const back = h(
          "button",
          { class: "button button--bad button--small", type: "button", onclick: withdraw },
          "Withdraw",
        );
        return h(
          "li",
          {},
          person(
            `@${grant.handle ?? grant.user_id}`,
            `${words(grant.state)}${grant.expires_ms ? `, until ${dateTime(grant.expires_ms)}` : ""}`,
          ),
          back,
        );

        async function withdraw() {
          if (await busy(back, () => api.revokeGrant(grant.grant_id)))
            show(grants, signal, () => api.listGrants(cameo.cameo_id, signal), grantsOf);
        }
      });
    }
  }

  function usesOf(list) {
    const uses = list.uses ?? list;
    if (!uses.length) return h("p", { class: "hint" }, "No clip has used it.");
    return h("div", { class: "grid" }, uses.map(useTile));
  }

  function useTile(use) {
    const image = h("img", { alt: "" });
    picture(image, api.contentPath(use.video_id, "thumbnail"), signal);
    return h(
      "div",
      { class: "tile" },
      h(
        "span",
        { class: "tile__picture" },
        icon("image"),
        image,
        h("span", { class: "badge" }, words(use.state)),
      ),
      h("span", { class: "tile__name" }, use.prompt ?? use.video_id),
      h(
        "span",
        { class: "tile__when" },
        `@${use.handle ?? use.user_id ?? use.owner_id}${use.created_ms ? ` · ${ago(use.created_ms)}` : ""}`,
      ),
    );
  }

  function othersCard(cameos) {
    if (!cameos.length) return null;
    return h(
      "section",
      { class: "card" },
      h("h2", {}, "Cameos you may use"),
      h(
        "ul",
        { class: "list" },
        cameos.map((cameo) =>
          h(
            "li",
            {},
            person(cameo.name, `@${cameo.owner_handle ?? cameo.owner_id}`),
            h(
              "a",
              { class: "button button--quiet button--small", href: href("create", [], {}) },
              "Use in a clip",
            ),
          ),
        ),
      ),
    );
  }

  async function revoke(cameo) {
    const done = await sheet(`Take back ${cameo.name}`, "revoke-sheet", (close) => {
      const confirm = h(
        "button",
        { class: "button button--bad", testid: "revoke-confirm" },
        "Take it back now",
      );
      return h(
        "form",
        {
          class: "stack",
          onsubmit: async (event) => {
            event.preventDefault();
            const scope = new FormData(event.target).get("scope");
            if (await busy(confirm, () => api.revokeCameo(cameo.cameo_id, scope))) close(true);
          },
        },
        h(
          "p",
          {},
          "It takes effect at once: clips waiting to be made with it are cancelled, and nobody can use it again.",
        ),
        h(
          "fieldset",
          { class: "choices" },
          scope("derivatives", "Also take down every clip that uses it", "And every remix of one.", true),
          scope(
            "erase",
            "Take down the clips and erase the likeness",
            "The key that it is encrypted with is destroyed. This cannot be undone.",
          ),
          scope("future", "Only stop new clips", "Clips already made stay where they are."),
        ),
        h("div", { class: "actions actions--end" }, confirm),
      );
    });
    if (!done) return;
    notice("Taken back", "good");
    refresh();
  }

  function scope(value, name, text, checked = false) {
    return h(
      "label",
      { class: "choice" },
      h("input", { type: "radio", name: "scope", value, checked }),
      h("span", {}, name),
      h("span", { class: "hint" }, text),
    );
  }
}

/** A name with its avatar. */
export function person(name, text) {
  return h(
    "div",
    { class: "list__main" },
    h("span", { class: "avatar", "aria-hidden": "true", vars: { "--hue": hue(name) } }, initial(name)),
    h("div", {}, h("p", { class: "list__name" }, name), h("p", { class: "hint" }, text)),
  );
}
