// A finished clip: heard, published with a caption, taken out of the feed, downloaded, deleted.

import * as api from "../api.js";
import { fill, h, icon } from "../dom.js";
import { dateTime } from "../format.js";
import { hold, release, save } from "../media.js";
import { busy, confirmed, failed, notice } from "../notices.js";

/** Shows a finished video on `area`; `ongone` is called when it was deleted. */
export async function showClip(area, video, { signal, onchange, ongone }) {
  let url;
  let post;
  try {
    post = (await api.postsOf([video], signal)).get(video.id);
    url = await hold(api.contentPath(video.id), signal);
  } catch (error) {
    if (!signal.aborted) fill(area, h("div", { class: "stage" }, failed(error)));
    return;
  }
  if (signal.aborted) {
    release(url);
    return;
  }
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
  signal.addEventListener("abort", () => {
    player.pause();
    release(url);
  });
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
    if (!confirmed(remove, "Delete for good?")) return;
    if (await busy(remove, () => api.deleteVideo(video.id))) ongone();
  }
}
