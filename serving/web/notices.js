// What the app says between pages: notices, sheets, and the states loading, empty and failed.

import { fill, h, icon } from "./dom.js";

const region = document.getElementById("notices");

/** Says something for a few seconds, over whatever is open. `tone` is `good`, `bad` or nothing. */
export function notice(text, tone = "") {
  const place = document.querySelector("dialog[open] > .sheet__notices") ?? region;
  const glyph = tone === "good" ? icon("check") : tone === "bad" ? icon("flag") : null;
  const item = h("p", { class: `notice ${tone ? `notice--${tone}` : ""}`, testid: "notice" }, glyph, text);
  place.append(item);
  while (place.childElementCount > 3) place.firstElementChild.remove();
  setTimeout(() => item.remove(), tone === "bad" ? 7000 : 3600);
}

/** Says what went wrong, in the words of the server where it gave some. */
export function complain(error) {
  if (error?.name !== "AbortError") notice(plain(error), "bad");
}

/** An error as one sentence. */
export function plain(error) {
  return error?.detail || error?.title || error?.message || "Something went wrong.";
}

/** A dialog over the page; the promise gives what `close(value)` was called with. */
export function sheet(title, testid, body) {
  return new Promise((resolve) => {
    let answer;
    const close = (value) => {
      answer = value;
      dialog.close();
    };
    const dialog = h(
      "dialog",
      { class: "sheet", testid, "aria-label": title },
      h(
        "div",
        { class: "sheet__head" },
        h("h2", {}, title),
        h(
          "button",
          {
            class: "icon-button",
            type: "button",
            "aria-label": "Close",
            testid: "sheet-close",
            onclick: () => close(),
          },
          icon("close"),
        ),
      ),
      h("div", { class: "sheet__body" }, body(close)),
      h("div", { class: "sheet__notices", role: "status", "aria-live": "polite" }),
    );
    dialog.addEventListener("click", (event) => event.target === dialog && close());
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(answer);
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** Closes any open sheet, when the page under it goes. */
export function closeSheets() {
  for (const dialog of document.querySelectorAll("dialog[open]")) dialog.close();
}

/** Nothing here yet, and what to do about it. */
export function empty({ glyph = "empty", title, text, action }) {
  return h(
    "div",
    { class: "state", testid: "state-empty" },
    icon(glyph),
    h("h2", {}, title),
    text && h("p", {}, text),
    action && h("div", { class: "actions" }, action),
  );
}

/** It failed: why, and a way to try again. */
export function failed(error, retry) {
  const again =
    retry &&
    h(
      "button",
      { class: "button button--quiet", type: "button", testid: "retry", onclick: retry },
      "Try again",
    );
  const glyph = error?.status === 0 ? "offline" : error?.status === 403 ? "key" : "flag";
  return h(
    "div",
    { class: "state", testid: "state-error", role: "alert" },
    icon(glyph),
    h("h2", {}, error?.title ?? "That did not work"),
    plain(error) !== error?.title && h("p", {}, plain(error)),
    again && h("div", { class: "actions" }, again),
  );
}

/** A place that is being filled. */
export function loading(shape = "card") {
  return h("div", { class: `skeleton skeleton--${shape}`, testid: "state-loading", "aria-label": "Loading" });
}

/**
 * Shows `element` loading, then what `load` resolved to, or why it failed with a button that
 * tries again. `render` takes the value and returns nodes.
 */
export async function show(element, signal, load, render) {
  fill(element, loading());
  try {
    const value = await load();
    if (!signal.aborted) fill(element, render(value));
  } catch (error) {
    if (signal.aborted || error.name === "AbortError") return;
    fill(
      element,
      failed(error, () => show(element, signal, load, render)),
    );
  }
}

/** Runs `work` while `button` shows it is busy, and says why if it fails. Gives whether it worked. */
export async function busy(button, work) {
  button.disabled = true;
  button.setAttribute("aria-busy", "true");
  try {
    await work();
    return true;
  } catch (error) {
    complain(error);
    return false;
  } finally {
    button.disabled = false;
    button.removeAttribute("aria-busy");
  }
}

/** Whether `button` was pressed a second time; the first press makes it ask `question`. */
export function confirmed(button, question) {
  if (button.dataset.asked) return true;
  button.dataset.asked = "yes";
  button.textContent = question;
  return false;
}
