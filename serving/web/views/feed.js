// The feed: one clip a screen, played while it is in view. What the person does with a clip
// leaves as events through the outbox.

import { getFeed, getPost } from "../api.js";
import { fill, h, icon } from "../dom.js";
import { ago, dateTime } from "../format.js";
import { empty, failed, loading, notice } from "../notices.js";
import { flush } from "../outbox.js";
import { href, remember } from "../router.js";
import { clipCard, clipOf, sound } from "./feed_clip.js";
import { steerSheet } from "./feed_steer.js";

/** How many clips before the end the next page is asked for. */
const AHEAD = 3;

export async function render(element, { route, signal }) {
  const cards = [];
  const known = new Set();
  let active = -1;
  let cursor;
  let asking = false;
  let ended = false;

  const mute = h("button", { class: "icon-button", type: "button", testid: "mute", onclick: toggleSound });
  const scroller = h("div", { class: "feed", tabindex: "-1", testid: "feed", "aria-label": "Feed" });
  const steer = h(
    "button",
    {
      class: "icon-button",
      type: "button",
      testid: "steer",
      "aria-label": "Steer your feed",
      onclick: async () => {
        await flush();
        if (await steerSheet()) startAgain();
      },
    },
    icon("steer"),
  );
  element.append(
    h("div", { class: "feed__bar" }, h("h1", { class: "feed__title" }, "For you"), h("div", { class: "feed__tools" }, steer, mute)),
    scroller,
    h(
      "div",
      { class: "feed__steps" },
      h(
        "button",
        { class: "icon-button", type: "button", "aria-label": "Previous clip", onclick: () => step(-1) },
        icon("up"),
      ),
      h(
        "button",
        {
          class: "icon-button",
          type: "button",
          "aria-label": "Next clip",
          testid: "next",
          onclick: () => step(1),
        },
        icon("down"),
      ),
    ),
  );

  const seen = new IntersectionObserver(
    (entries) => {
      for (const entry of entries)
        if (entry.isIntersecting) activate(cards.findIndex((card) => card.element === entry.target));
    },
    { root: scroller, threshold: 0.6 },
  );

  sound.addEventListener("change", paintSound, { signal });
  document.addEventListener("keydown", onKey, { signal });
  document.addEventListener("visibilitychange", onVisibility, { signal });
  signal.addEventListener("abort", leave);
  paintSound();
  await open();

  async function open() {
    fill(scroller, h("div", { class: "feed__end" }, loading("card")));
    try {
      const asked = route.params.get("post");
      const first = asked ? await getPost(asked, signal).catch(gone) : null;
      const page = await getFeed(undefined, signal);
      fill(scroller);
      if (first) add(clipOf({ post: first }));
      take(page);
      if (!cards.length) fill(scroller, nothing());
      scroller.focus({ preventScroll: true });
    } catch (error) {
      if (!signal.aborted && error.status !== 401)
        fill(scroller, h("div", { class: "feed__end" }, refused(error)));
    }
  }

  function gone(error) {
    if (error.name === "AbortError") throw error;
    notice("That clip is not here any more.");
    return null;
  }

  function take(page) {
    for (const item of page.items) add(clipOf(item));
    cursor = page.next_cursor;
    ended = !cursor || !page.items.length;
    if (ended && cards.length) scroller.append(caughtUp());
  }

  function add(clip) {
    if (known.has(clip.videoId)) return;
    known.add(clip.videoId);
    const card = clipCard(clip, { signal, onless: () => step(1), onblocked: startAgain });
    cards.push(card);
    scroller.append(card.element);
    seen.observe(card.element);
  }

  async function more() {
    if (asking || ended) return;
    asking = true;
    try {
      take(await getFeed(cursor, signal));
    } catch (error) {
      if (signal.aborted) return;
      ended = true;
      scroller.append(h("div", { class: "feed__end" }, refused(error)));
    } finally {
      asking = false;
    }
  }

  function activate(index) {
    if (index < 0 || index === active) return;
    cards[active]?.leave();
    active = index;
    cards.forEach((card, at) => (Math.abs(at - index) <= 1 ? card.load() : card.unload()));
    cards[index].enter();
    if (cards[index].clip.postId) remember(href("feed", [], { post: cards[index].clip.postId }));
    if (index >= cards.length - AHEAD) more();
  }

  function leave() {
    seen.disconnect();
    cards[active]?.leave();
    for (const card of cards) card.unload();
    flush();
  }

  function step(by) {
    const at = Math.round(scroller.scrollTop / scroller.clientHeight) + by;
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    scroller.scrollTo({ top: at * scroller.clientHeight, behavior: calm ? "auto" : "smooth" });
  }

  function onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    const key = event.key.toLowerCase();
    const onControl = event.target.closest?.("button, a, input, textarea, select");
    if (onControl && (key === " " || key === "enter")) return;
    const acts = {
      arrowdown: () => step(1),
      j: () => step(1),
      arrowup: () => step(-1),
      k: () => step(-1),
      m: toggleSound,
      l: () => cards[active]?.like(),
      " ": () => cards[active]?.toggle(),
    };
    if (!acts[key]) return;
    event.preventDefault();
    acts[key]();
  }

  function onVisibility() {
    if (document.visibilityState === "hidden") {
      cards[active]?.leave();
      flush({ leaving: true });
    } else {
      cards[active]?.enter();
    }
  }

  function toggleSound() {
    sound.set(!sound.on);
  }

  function paintSound() {
    fill(mute, icon(sound.on ? "sound" : "muted"));
    mute.setAttribute("aria-label", sound.on ? "Mute (M)" : "Turn sound on (M)");
    mute.setAttribute("aria-pressed", String(!sound.on));
  }

  function caughtUp() {
    const again = h(
      "button",
      { class: "button button--quiet", type: "button", onclick: startAgain },
      "Look again",
    );
    const create = h("a", { class: "button button--primary", href: "#/create" }, "Make a clip");
    return h(
      "div",
      { class: "feed__end", testid: "feed-end" },
      empty({
        glyph: "check",
        title: "You are all caught up",
        text: "There is nothing newer for you right now.",
        action: [create, again],
      }),
    );
  }

  function startAgain() {
    remember("#/feed");
    dispatchEvent(new HashChangeEvent("hashchange"));
  }

  function nothing() {
    const create = h("a", { class: "button button--primary", href: "#/create" }, "Make the first clip");
    return h(
      "div",
      { class: "feed__end" },
      empty({
        glyph: "feed",
        title: "No clips yet",
        text: "As soon as someone publishes one, it shows up here.",
        action: create,
      }),
    );
  }

  function refused(error) {
    if (error.kind !== "feed-limit-reached") return failed(error, startAgain);
    const when = error.resetsAtMs
      ? `The feed opens again ${ago(error.resetsAtMs)} (${dateTime(error.resetsAtMs)}).`
      : "The feed opens again tomorrow.";
    return empty({
      glyph: "clock",
      title: "That is today's feed",
      text: `You have reached your daily limit. ${when} Creating and messages stay open.`,
      action: h("a", { class: "button", href: "#/create" }, "Make something"),
    });
  }
}
