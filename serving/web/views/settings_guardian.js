// Guardians and teens: an offer with a code, its acceptance, the limits, and the end of it.

import * as api from "../api.js";
import { person, segments } from "../controls.js";
import { fill, h } from "../dom.js";
import { dateTime } from "../format.js";
import { busy, complain, confirmed, notice } from "../notices.js";
import { hrefOf } from "../router.js";
import { me } from "../session.js";
import { limitChoices } from "./settings_privacy.js";

const WHO = [
  ["nobody", "Nobody"],
  ["followed", "Those they follow"],
  ["everyone", "Everyone"],
];

export async function load({ signal }) {
  const links = await api.guardianLinks(signal);
  const others = new Set(
    links.flatMap((link) => [link.guardian_id, link.teen_id]).filter((name) => name && name !== me().user_id),
  );
  const people = await Promise.all(
    [...others].map((name) => api.getPerson(name, signal).catch(() => ({ user_id: name, handle: name }))),
  );
  return { links, handles: new Map(people.map(({ user_id: id, handle }) => [id, handle])) };
}

export function view({ links, handles }, { refresh }) {
  const mine = me().user_id;
  const teens = links.filter((link) => link.guardian_id === mine && link.state === "active");
  const guardians = links.filter((link) => link.teen_id === mine && link.state === "active");
  const someone = (id, text) => person(`@${handles.get(id)}`, text, hrefOf(handles.get(id)));
  return [
    guardians.map((link) => guardianCard(link)),
    teens.map((link) => teenCard(link)),
    me().age_band !== "teen" && offerCard(),
    me().age_band !== "adult" && acceptCard(),
  ];

  function guardianCard(link) {
    const leave = endButton(link, "Unlink", "Unlink them?");
    return h(
      "section",
      { class: "card", testid: "guardian" },
      h(
        "div",
        { class: "card__head" },
        someone(link.guardian_id, "Your guardian. Their limits hold on every device."),
        leave,
      ),
      h(
        "p",
        { class: "hint" },
        "If you unlink, they are told, the teen defaults apply, and your cameos rest until a guardian is linked again.",
      ),
    );
  }

  function teenCard(link) {
    let { limits } = link;
    let saving = Promise.resolve();
    return h(
      "section",
      { class: "card", testid: "teen" },
      h(
        "div",
        { class: "card__head" },
        someone(link.teen_id, "You are their guardian."),
        endButton(link, "End", "End it?"),
      ),
      h(
        "div",
        {},
        toggle(
          "personalisation",
          "Personalised feed",
          "The feed may use what they watched, liked and followed.",
        ),
        toggle(
          "location",
          "Place",
          "The feed may use the place in their account, or else the city that they connect from.",
        ),
        toggle("conversation_history", "Conversations", "The feed may use whom they exchange messages with."),
      ),
      h(
        "div",
        { class: "field" },
        h("p", { class: "field__label" }, "Who may write to them"),
        segments(`who-${link.link_id}`, WHO, limits.messages_from, {
          onchange: (event) => change({ messages_from: event.target.value }),
        }),
      ),
      h(
        "div",
        { class: "field" },
        h("p", { class: "field__label" }, "Most feed a day"),
        segments(
          `minutes-${link.link_id}`,
          limitChoices(limits.daily_scroll_minutes),
          String(limits.daily_scroll_minutes),
          {
            testid: "teen-minutes",
            onchange: (event) => change({ daily_scroll_minutes: Number(event.target.value) }),
          },
        ),
      ),
      h(
        "p",
        { class: "hint" },
        "They can unlink at any time. You are told then, and the teen defaults apply to them.",
      ),
    );

    function toggle(key, title, text) {
      const box = h("input", {
        type: "checkbox",
        role: "switch",
        checked: limits[key],
        testid: `limit-${key}`,
        onchange: () => change({ [key]: box.checked }),
      });
      return h(
        "label",
        { class: "switch" },
        h("span", { class: "switch__name" }, title),
        h("span", { class: "hint" }, text),
        box,
      );
    }

    function change(what) {
      limits = { ...limits, ...what };
      // What is left out is not limited: each change says every limit, after the one before it.
      saving = saving.then(save);
    }

    async function save() {
      try {
        await api.setLimits(link.link_id, limits);
        notice("Saved. It holds from now on.", "good");
      } catch (error) {
        complain(error);
        refresh();
      }
    }
  }

  function endButton(link, text, question) {
    const button = h(
      "button",
      { class: "button button--bad button--small", type: "button", testid: "end-link", onclick: end },
      text,
    );
    return button;

    async function end() {
      if (confirmed(button, question) && (await busy(button, () => api.endLink(link.link_id)))) refresh();
    }
  }

  function offerCard() {
    const result = h("div", { class: "stack" });
    const offer = h(
      "button",
      { class: "button", type: "button", testid: "offer-guardian", onclick: make },
      "Make a code",
    );
    return h(
      "section",
      { class: "card" },
      h("h2", {}, "Look after a teen"),
      h(
        "p",
        { class: "card__lead" },
        "Make a code and tell it to them. When they enter it here, you can set limits that they cannot loosen.",
      ),
      h("div", { class: "actions" }, offer),
      result,
    );

    async function make() {
      await busy(offer, async () => {
        const made = await api.offerGuardianship();
        fill(
          result,
          h("p", { class: "code", testid: "guardian-code" }, made.code),
          h("p", { class: "hint" }, `Good once, until ${dateTime(made.expires_ms)}. It is shown only now.`),
        );
      });
    }
  }

  function acceptCard() {
    const code = h("input", {
      class: "input input--code",
      id: "code",
      required: true,
      autocomplete: "off",
      spellcheck: "false",
      testid: "guardian-code-input",
    });
    const accept = h("button", { class: "button button--primary", testid: "accept-guardian" }, "Accept");
    const submit = async (event) => {
      event.preventDefault();
      if (!(await busy(accept, () => api.acceptGuardianship(code.value.trim())))) return;
      notice("Linked", "good");
      refresh();
    };
    return h(
      "form",
      { class: "card", onsubmit: submit },
      h("h2", {}, "Your guardian gave you a code?"),
      h("div", { class: "field" }, h("label", { class: "field__label", for: "code" }, "Code"), code),
      h("div", { class: "actions" }, accept),
    );
  }
}
