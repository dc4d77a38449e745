// Cameo: your likeness, what others offer you, and the enrolment of a new one.

import * as api from "../api.js";
import { person } from "../controls.js";
import { h } from "../dom.js";
import { busy, notice, show } from "../notices.js";
import { href } from "../router.js";
import { cameoCard } from "./cameo_card.js";
import { enrolForm } from "./cameo_enrol.js";

export async function render(element, { signal }) {
  const body = h("div", { class: "stack" });
  let drawn = new AbortController();
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
            "A cameo lets clips show someone who looks like you: you decide who may use it, you see every use, and you can take it back at any time.",
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

  function page({ cameos, offers }) {
    const mine = cameos.filter((cameo) => cameo.mine && cameo.state !== "purged");
    const others = cameos.filter((cameo) => !cameo.mine && cameo.usable);
    // A camera that is open in the form before is closed with it.
    drawn.abort();
    drawn = new AbortController();
    const enrol = enrolForm({ signal: AbortSignal.any([signal, drawn.signal]), onenrolled: enrolled });
    return [
      offers.length > 0 && offersCard(offers),
      mine.map((cameo) => cameoCard(cameo, { signal, refresh })),
      others.length > 0 && othersCard(others),
      mine.some((cameo) => cameo.state === "active")
        ? h("details", { class: "card" }, h("summary", {}, "Enrol another likeness"), enrol)
        : enrol,
    ];
  }

  function enrolled() {
    notice("Your cameo is ready", "good");
    refresh();
  }

  /** What others offer to the person: a yes or a no. */
  function offersCard(offers) {
    return h(
      "section",
      { class: "card", testid: "offers" },
      h("h2", {}, "Offered to you"),
      h("ul", { class: "list" }, offers.map(offerRow)),
    );
  }

  function offerRow(offer) {
    const answer = (word) => async (event) => {
      const { cameo_id: cameo, grant_id: grant } = offer;
      if (await busy(event.currentTarget, () => api.answerGrant(cameo, grant, word))) refresh();
    };
    const accept = { class: "button button--primary button--small", type: "button", testid: "accept" };
    const decline = { class: "button button--quiet button--small", type: "button", testid: "decline" };
    return h(
      "li",
      {},
      person(offer.cameo_name, `from @${offer.owner_handle}`),
      h(
        "div",
        { class: "actions" },
        h("button", { ...accept, onclick: answer("accept") }, "Accept"),
        h("button", { ...decline, onclick: answer("decline") }, "Decline"),
      ),
    );
  }
}

function othersCard(cameos) {
  return h(
    "section",
    { class: "card", testid: "others" },
    h("h2", {}, "Cameos you may use"),
    h(
      "ul",
      { class: "list" },
      cameos.map((cameo) =>
        h(
          "li",
          {},
          person(cameo.name, `@${cameo.owner_handle}`),
          h(
            "a",
            {
              class: "button button--quiet button--small",
              href: href("create", [], { cameo: cameo.cameo_id }),
            },
            "Use in a clip",
          ),
        ),
      ),
    ),
  );
}
