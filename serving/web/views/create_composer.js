// The composer: what to film, for how long, who is in it, and what it costs when it costs.

import * as api from "../api.js";
import { segments } from "../controls.js";
import { fill, h, icon } from "../dom.js";
import { count, hue, initial } from "../format.js";
import { busy, complain, plain } from "../notices.js";
import { uuid7 } from "../outbox.js";

const EXAMPLES = [
  "a red ball bounces twice",
  "a blue ball is thrown into the hoop",
  "a green ball and a yellow ball collide",
  "a yellow ball bounces three times",
];
const MOST_CHARACTERS = 1000;
const SECONDS = [
  ["4", "4 s"],
  ["8", "8 s"],
  ["12", "12 s"],
];
const SIZES = [
  ["256x256", "Square"],
  ["512x512", "Square, large"],
  ["720x1280", "Tall"],
  ["1280x720", "Wide"],
];

/**
 * The form. `asked` is what the address holds: the video to `remix`, a `prompt`, a `cameo`.
 * `onaccepted` is called with the queued video.
 */
export function composer({ signal, asked, onaccepted }) {
  const { remix, prompt } = asked;
  const text = h("textarea", {
    class: "input prompt",
    id: "prompt",
    name: "prompt",
    maxlength: MOST_CHARACTERS,
    required: true,
    placeholder: "a red ball bounces twice",
    testid: "prompt",
    value: prompt ?? "",
  });
  const chips = h(
    "div",
    { class: "chips", role: "group", "aria-label": "Examples" },
    EXAMPLES.map((example) =>
      h("button", { class: "chip", type: "button", testid: "example", onclick: () => use(example) }, example),
    ),
  );
  const size = h(
    "select",
    { class: "input", id: "size", name: "size", testid: "size" },
    SIZES.map(([value, name]) => h("option", { value }, name)),
  );
  const seed = h("input", {
    class: "input",
    id: "seed",
    name: "seed",
    type: "number",
    min: 0,
    max: 2 ** 31 - 1,
    step: 1,
    placeholder: "Any",
    inputmode: "numeric",
    testid: "seed",
  });
  const cameos = h("div", {
    class: "chips",
    role: "group",
    "aria-label": "Who is in it",
    testid: "cameo-picker",
  });
  const allotment = h("div", { class: "allotment", testid: "allotment" });
  const price = h("div", {});
  const make = h(
    "button",
    { class: "button button--primary", testid: "make" },
    icon("play"),
    remix ? "Make the remix" : "Make the clip",
  );
  let chosen = asked.cameo ?? null;
  let accepted;
  // One key a request as it stands: pressing twice makes one clip.
  let key = uuid7();

  const form = h(
    "form",
    { class: "card", testid: "composer", onsubmit: submit, oninput: change },
    h(
      "div",
      { class: "field" },
      h("label", { class: "field__label", for: "prompt" }, remix ? "How should it be different?" : "Scene"),
      text,
    ),
    chips,
    !remix &&
      h(
        "div",
        { class: "options" },
        field("Length", segments("seconds", SECONDS, SECONDS[0][0])),
        h("div", { class: "field" }, h("label", { class: "field__label", for: "size" }, "Shape"), size),
        h("div", { class: "field" }, h("label", { class: "field__label", for: "seed" }, "Seed"), seed),
      ),
    remix
      ? h("p", { class: "hint" }, "A remix keeps the length, the shape and everyone who is in it.")
      : h("div", { class: "field" }, h("p", { class: "field__label" }, "Who is in it"), cameos),
    price,
    allotment,
    h("div", { class: "actions" }, make, h("span", { class: "hint keys" }, "⌘ or Ctrl + Enter")),
  );
  text.addEventListener(
    "keydown",
    (event) => event.key === "Enter" && (event.metaKey || event.ctrlKey) && form.requestSubmit(),
  );
  if (!remix) fillCameos();
  fillAllotment();
  return form;

  function use(example) {
    text.value = example;
    change();
    text.focus();
  }

  function change() {
    key = uuid7();
  }

  async function submit(event) {
    event.preventDefault();
    const data = new FormData(form);
    const request = { prompt: text.value.trim() };
    if (!remix) {
      request.seconds = data.get("seconds");
      request.size = size.value;
      if (seed.value) request.seed = Number(seed.value);
      if (chosen) request.cameos = [chosen];
    }
    if (accepted) request.quote_id = accepted;
    make.disabled = true;
    make.setAttribute("aria-busy", "true");
    try {
      const video = remix ? await api.remixVideo(remix, request, key) : await api.createVideo(request, key);
      accepted = undefined;
      key = uuid7();
      fill(price);
      fillAllotment();
      onaccepted(video).catch(complain);
    } catch (error) {
      if (error.status === 402 && error.quote) askPrice(error.quote);
      else if (error.name !== "AbortError")
        fill(price, h("p", { class: "quote", role: "alert", testid: "create-error" }, plain(error)));
    } finally {
      make.disabled = false;
      make.removeAttribute("aria-busy");
    }
  }

  /** Beyond the day's allotment, while demand peaks: the price first, then a yes or a no. */
  function askPrice(quote) {
    const accept = h(
      "button",
      {
        class: "button button--primary button--small",
        type: "button",
        testid: "accept-quote",
        onclick: () => pay(quote.quote_id),
      },
      `Pay ${count(quote.credits)} credits`,
    );
    const wait = h(
      "button",
      { class: "button button--quiet button--small", type: "button", onclick: () => fill(price) },
      "Not now",
    );
    fill(
      price,
      h(
        "div",
        { class: "quote", role: "alert", testid: "quote" },
        h(
          "p",
          {},
          `Today's free clips are used up and the queue is busy: this one costs ${count(quote.credits)} credits. Once the queue is calm it is free again.`,
        ),
        h("div", { class: "actions" }, accept, wait),
      ),
    );
  }

  function pay(quoteId) {
    accepted = quoteId;
    fill(price);
    form.requestSubmit();
  }

  async function fillCameos() {
    try {
      const { cameos: known } = await api.listCameos(signal);
      const able = known.filter((cameo) => cameo.usable);
      fill(
        cameos,
        able.length
          ? able.map(cameoChip)
          : h(
              "p",
              { class: "hint" },
              "No cameo can be used yet. ",
              h("a", { href: "#/cameo" }, "Enrol yours"),
              ".",
            ),
      );
    } catch (error) {
      if (!signal.aborted) fill(cameos, h("p", { class: "hint" }, plain(error)));
    }
  }

  function cameoChip(cameo) {
    const chip = h(
      "button",
      {
        class: "chip",
        type: "button",
        "aria-pressed": String(cameo.cameo_id === chosen),
        testid: "cameo-choice",
        "data-cameo": cameo.cameo_id,
        onclick: choose,
      },
      h(
        "span",
        { class: "avatar avatar--small", "aria-hidden": "true", vars: { "--hue": hue(cameo.name) } },
        initial(cameo.name),
      ),
      cameo.name,
    );
    return chip;

    /** The model shows one person in a clip. */
    function choose() {
      chosen = chosen === cameo.cameo_id ? null : cameo.cameo_id;
      for (const other of cameos.querySelectorAll(".chip"))
        other.setAttribute("aria-pressed", String(other.dataset.cameo === chosen));
      change();
    }
  }

  async function fillAllotment() {
    try {
      const now = await api.credits(signal);
      const left =
        now.free_left > 0
          ? `${count(now.free_left)} of ${count(now.daily_allotment)} free clips left today`
          : now.peak
            ? "Today's free clips are used up, and the queue is busy"
            : "Free while the queue is calm";
      fill(
        allotment,
        h(
          "p",
          { class: "allotment__line" },
          h("span", {}, left),
          h("span", {}, `${count(now.credits)} credits`),
        ),
        h(
          "span",
          { class: "meter", "aria-hidden": "true" },
          h("i", { vars: { "--part": now.free_left / Math.max(1, now.daily_allotment) } }),
        ),
      );
    } catch {
      // What is left is asked again, and enforced, when the clip is made.
      fill(allotment);
    }
  }
}

function field(label, control) {
  return h(
    "div",
    { class: "field", role: "group", "aria-label": label },
    h("p", { class: "field__label", "aria-hidden": "true" }, label),
    control,
  );
}
