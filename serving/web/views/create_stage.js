// The stage: a clip while it is made, and the clip when it is done.

import * as api from "../api.js";
import { fill, h, icon, setVars, svg } from "../dom.js";
import { dateTime, words } from "../format.js";
import { hold, release, save } from "../media.js";
import { busy, failed, notice } from "../notices.js";

const POLL_MS = 1000;
const OVER = new Set(["completed", "failed", "cancelled", "canceled"]);
const STEPS = ["Queued", "Filming", "Signing"];
/** From this percentage on, the pictures and the sound are done. */
const SIGNING_FROM = 97;

/** The stage before anything is on it. */
export function idleStage() {
  return h(
    "div",
    { class: "stage", testid: "stage-idle" },
    h("div", { class: "state" }, icon("feed"), h("p", {}, "Your clip appears here while it is being made.")),
  );
}

/** Follows `video` on `area` until it is over, then shows the clip. */
export async function followJob(area, video, { signal, onchange }) {
  const turn = (area.turn = (area.turn ?? 0) + 1);
  const current = () => !signal.aborted && area.turn === turn;
  const making = makingStage(video);
  let state = video;
  if (!OVER.has(state.status)) {
    fill(area, making.element);
    for await (const next of progress(video.id, signal)) {
      if (!current()) return;
      state = { ...state, ...next };
      making.paint(state);
    }
    if (!current()) return;
    state = await api.getVideo(video.id, signal);
    onchange();
  }
  if (!current()) return;
  if (state.status === "completed") await showClip(area, state, { signal, onchange, current });
  else
    fill(
      area,
      h(
        "div",
        { class: "stage" },
        failed({ title: "This clip was not made", detail: state.error?.message ?? words(state.status) }),
      ),
    );
}

/** The job's states, from the event stream, or by asking again where the stream breaks. */
async function* progress(video, signal) {
  try {
    for await (const event of api.generationEvents(video, signal)) {
      yield event;
      if (OVER.has(event.status)) return;
    }
  } catch (error) {
    if (error.name === "AbortError") return;
  }
  for (;;) {
    const state = await api.getVideo(video, signal);
    yield state;
    if (OVER.has(state.status)) return;
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

function makingStage(video) {
  const label = svg("text", { x: 74, y: 74 }, "0%");
  const ring = svg(
    "svg",
    { class: "ring", viewBox: "0 0 148 148", role: "img", "aria-label": "Progress" },
    svg("circle", { cx: 74, cy: 74, r: 66 }),
    svg("circle", { class: "ring__done", cx: 74, cy: 74, r: 66, pathLength: 100 }),
    label,
  );
  const steps = STEPS.map((name) => h("li", {}, name));
  const cancel = h(
    "button",
    { class: "button button--quiet button--small", type: "button", testid: "cancel", onclick: stop },
    "Cancel",
  );
  const element = h(
    "div",
    { class: "stage", testid: "stage-making" },
    h(
      "div",
      { class: "making" },
      ring,
      h("ol", { class: "steps" }, steps),
      h("p", { class: "making__prompt" }, video.prompt),
      cancel,
    ),
  );
  paint(video);
  return { element, paint };

  function paint(state) {
    const percent = Math.round(state.progress ?? 0);
    setVars(ring, { "--percent": percent });
    label.textContent = `${percent}%`;
    ring.setAttribute("aria-label", `${percent} percent done`);
    element.dataset.progress = percent;
    const now = state.status === "queued" ? 0 : percent < SIGNING_FROM ? 1 : 2;
    steps.forEach(
      (step, index) => (step.dataset.state = index < now ? "done" : index === now ? "now" : "next"),
    );
  }

  async function stop() {
    await busy(cancel, () => api.deleteVideo(video.id));
  }
}

async function showClip(area, video, { signal, onchange, current }) {
  let url;
  let post;
  try {
    post = (await api.myPosts(signal)).find((candidate) => candidate.video_id === video.id);
    url = await hold(api.contentPath(video.id), signal);
  } catch (error) {
    if (current()) fill(area, h("div", { class: "stage" }, failed(error)));
    return;
  }
  if (!current()) {
    release(url);
    return;
  }
  signal.addEventListener("abort", () => release(url));
  const player = h("video", {
    src: url,
    controls: true,
    loop: true,
    playsinline: true,
    testid: "preview",
    "aria-label": video.prompt,
  });
  const caption = h("input", {
    class: "input",
    id: "caption",
    maxlength: 300,
    required: true,
    value: post?.caption ?? video.prompt ?? "",
    testid: "caption",
  });
  const publish = h("button", { class: "button button--primary", testid: "publish" });
  const withdraw = h(
    "button",
    { class: "button button--quiet", type: "button", testid: "unpublish", onclick: unpublish },
    "Take out of the feed",
  );
  const download = h(
    "button",
    {
      class: "button button--quiet",
      type: "button",
      testid: "download",
      onclick: () => busy(download, () => save(api.contentPath(video.id), `${video.id}.mp4`)),
    },
    icon("download"),
    "Download",
  );
  const remove = h(
    "button",
    { class: "button button--bad", type: "button", testid: "delete", onclick: discard },
    "Delete",
  );
  const published = h(
    "p",
    {},
    h("span", { class: "badge badge--good", testid: "published" }, icon("check"), "In the feed"),
  );
  const form = h(
    "form",
    { class: "stack", onsubmit: submit },
    published,
    h("div", { class: "field" }, h("label", { class: "field__label", for: "caption" }, "Caption"), caption),
    h("div", { class: "actions" }, publish, withdraw, download, remove),
  );
  paint();
  fill(
    area,
    h("div", { class: "stage", testid: "stage-done" }, player),
    form,
    h(
      "p",
      { class: "hint" },
      `${video.model}, ${video.size}, ${video.seconds} s. Signed ${video.completed_at ? dateTime(video.completed_at * 1000) : ""}`,
    ),
  );
  player.play().catch(() => {
    // The browser wants a press on the controls first; they are there.
  });

  function paint() {
    published.hidden = !post;
    withdraw.hidden = !post;
    publish.classList.toggle("button--primary", !post);
    fill(publish, post ? "Save caption" : "Publish");
  }

  async function submit(event) {
    event.preventDefault();
    const worked = await busy(publish, async () => {
      post = await api.publish(video.id, caption.value.trim());
    });
    if (!worked) return;
    notice("It is in the feed", "good");
    paint();
    onchange();
  }

  async function unpublish() {
    const worked = await busy(withdraw, () => api.unpublish(post.id));
    if (!worked) return;
    post = undefined;
    notice("It is a draft again", "good");
    paint();
    onchange();
  }

  async function discard() {
    if (remove.dataset.sure !== "yes") {
      remove.dataset.sure = "yes";
      remove.textContent = "Delete for good?";
      return;
    }
    const worked = await busy(remove, () => api.deleteVideo(video.id));
    if (!worked) return;
    player.pause();
    fill(area, idleStage());
    onchange();
  }
}
