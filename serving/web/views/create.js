// Create: a sentence becomes a clip. The composer on one side, the clip being made on the other,
// and everything made before beneath. The clip on the stage is in the address, so that a reload
// comes back to it.

import * as api from "../api.js";
import { fill, h, icon } from "../dom.js";
import { ago, words } from "../format.js";
import { picture } from "../media.js";
import { busy, complain, empty, loading, show } from "../notices.js";
import { href, remember } from "../router.js";
import { composer } from "./create_composer.js";
import { followJob, idleStage } from "./create_stage.js";

export async function render(element, { route, signal }) {
  const stage = h("div", { class: "stack", testid: "stage-area" });
  const mine = h("div", { testid: "my-videos" });
  let onStage = new AbortController();
  const asked = Object.fromEntries(route.params);
  const form = composer({ signal, asked, onaccepted: watch });
  element.append(
    h(
      "div",
      { class: "page", testid: "create" },
      h(
        "header",
        { class: "page__head" },
        h(
          "div",
          {},
          h("h1", {}, asked.remix ? "Remix a clip" : "What happens next?"),
          h("p", {}, "Describe a small scene. Kinora films it, with sound, and signs it."),
        ),
      ),
      h("div", { class: "columns columns--create" }, form, stage),
      h("section", { class: "stack" }, h("h2", {}, "Your clips"), mine),
    ),
  );

  if (asked.video) open(asked.video);
  else fill(stage, idleStage());
  await refresh();

  /** Shows the clip that the address names, made or being made. */
  async function open(video) {
    fill(stage, loading());
    try {
      await watch(await api.getVideo(video, signal));
    } catch (error) {
      if (signal.aborted) return;
      complain(error);
      clear();
    }
  }

  async function watch(video) {
    onStage.abort();
    onStage = new AbortController();
    remember(href("create", [], { video: video.id }));
    if (matchMedia("(width < 940px)").matches) stage.scrollIntoView({ block: "start", behavior: "smooth" });
    await followJob(stage, video, {
      signal: AbortSignal.any([signal, onStage.signal]),
      onchange: refresh,
      ongone: () => {
        clear();
        refresh();
      },
    });
  }

  function clear() {
    onStage.abort();
    remember("#/create");
    fill(stage, idleStage());
  }

  async function refresh() {
    if (mine.childElementCount) {
      const first = await firstPage().catch(() => null);
      if (first && !signal.aborted) fill(mine, tiles(first));
    } else {
      await show(mine, signal, firstPage, tiles);
    }
  }

  function firstPage() {
    return pageAfter(undefined);
  }

  async function pageAfter(last) {
    const page = await api.listVideos(last, signal);
    return { page, published: await api.postsOf(page.data, signal) };
  }

  function tiles({ page, published }) {
    if (!page.data.length)
      return empty({
        title: "Nothing made yet",
        text: "Your clips are kept here, and stay yours alone until you publish them.",
      });
    const grid = h(
      "div",
      { class: "grid" },
      page.data.map((video) => tile(video, published)),
    );
    const older = h(
      "button",
      { class: "button button--quiet", type: "button", onclick: addOlder },
      "Show older",
    );
    const holder = h("div", { class: "stack" }, grid, page.has_more && h("div", { class: "actions" }, older));
    let last = page.last_id;
    return holder;

    async function addOlder() {
      await busy(older, async () => {
        const next = await pageAfter(last);
        last = next.page.last_id;
        grid.append(...next.page.data.map((video) => tile(video, next.published)));
        older.hidden = !next.page.has_more;
      });
    }
  }

  function tile(video, published) {
    const frame = h(
      "span",
      { class: "tile__picture" },
      icon(video.status === "failed" ? "flag" : "clock"),
      badge(video, published.has(video.id)),
    );
    if (video.status === "completed") {
      const image = h("img", { alt: "", loading: "lazy" });
      frame.prepend(image);
      picture(image, api.contentPath(video.id, "thumbnail"), signal);
    }
    return h(
      "button",
      {
        class: "tile",
        type: "button",
        testid: "my-video",
        "data-video": video.id,
        onclick: () => watch(video).catch(complain),
      },
      frame,
      h("span", { class: "tile__name" }, video.prompt ?? video.id),
      h("span", { class: "tile__when" }, ago(video.created_at * 1000)),
    );
  }

  function badge(video, published) {
    if (video.status === "completed")
      return published
        ? h("span", { class: "badge badge--good" }, "Published")
        : h("span", { class: "badge" }, `${video.seconds} s`);
    const tone = video.status === "failed" ? "badge--bad" : "badge--warn";
    return h(
      "span",
      { class: `badge ${tone}` },
      video.status === "in_progress" ? `${video.progress}%` : words(video.status),
    );
  }
}
