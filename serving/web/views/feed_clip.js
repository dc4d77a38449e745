// One clip of the feed: the picture over a blurred copy of itself, what can be done with it, and
// an honest count of how long it played.

import { h, icon, setVars } from "../dom.js";
import { ago, hue, initial } from "../format.js";
import { hold, release } from "../media.js";
import { empty, notice } from "../notices.js";
import { record } from "../outbox.js";
import { href, hrefOf } from "../router.js";
import { me } from "../session.js";
import { followButton } from "../ties.js";
import { provenanceSheet, whySheet } from "./feed_sheets.js";
import { reportSheet } from "./report_sheet.js";

const BACKDROP_EVERY_MS = 180;
/** A longer gap between two frames is the tab having slept, not watching. */
const LONGEST_FRAME_MS = 500;

/** Whether clips play with sound: the person's choice, kept in this browser. */
class Sound extends EventTarget {
  on = localStorage.getItem("kinora.sound") === "on";
  /** Whether the person has chosen, or the app is still to offer. */
  chosen = localStorage.getItem("kinora.sound") !== null;

  set(on) {
    this.on = on;
    this.chosen = true;
    localStorage.setItem("kinora.sound", on ? "on" : "off");
    this.dispatchEvent(new Event("change"));
  }

  /** The browser wants a tap first: offer it again. */
  refuse() {
    this.on = false;
    this.chosen = false;
    this.dispatchEvent(new Event("change"));
  }
}

export const sound = new Sound();

/** A feed item, or a bare post, in the words of this app. */
export function clipOf({ post, impression_id: impressionId, position, source, reason, score }) {
  return {
    postId: post.id,
    videoId: post.video_id,
    caption: post.caption,
    publishedMs: post.published_ms,
    durationMs: post.duration_ms,
    mediaPath: post.video_url,
    creatorId: post.creator_id,
    handle: post.creator_handle,
    impressionId,
    position,
    shown: { source, reason, score },
  };
}

/**
 * A card with `enter`, `leave`, `load`, `unload`, `toggle` and `like`. `onless` is called when less
 * like it is wanted, `onblocked` when its creator was blocked.
 */
export function clipCard(clip, { signal, onless, onblocked }) {
  let url;
  let fetching;
  let wanted = new AbortController();
  let playing = false;
  let liked = false;
  let opened = false;
  let watchedMs = 0;
  let frame = 0;

  const video = h("video", {
    class: "clip__video",
    loop: true,
    playsinline: true,
    preload: "auto",
    muted: true,
    testid: "clip-video",
    "aria-label": clip.caption,
  });
  const backdrop = h("canvas", { class: "clip__backdrop", width: 20, height: 20, "aria-hidden": "true" });
  const brush = backdrop.getContext("2d", { alpha: false });
  const progress = h("i");
  const offer = h(
    "button",
    { class: "clip__sound", type: "button", testid: "tap-for-sound", onclick: acceptSound },
    icon("muted"),
    "Tap for sound",
  );
  const stage = h(
    "div",
    { class: "clip__frame", onclick: tap, ondblclick: like },
    h("div", { class: "clip__wait skeleton" }),
    video,
    icon("play", { class: "clip__pause" }),
    offer,
    h("div", { class: "clip__progress", "aria-hidden": "true" }, progress),
  );
  const likeButton = act("heart", "Like", "like", like, { "aria-pressed": "false" });
  const element = h(
    "article",
    {
      class: "clip",
      tabindex: "-1",
      testid: "clip",
      "data-video": clip.videoId,
      "aria-label": `${clip.caption}, by @${clip.handle}`,
    },
    backdrop,
    h("div", { class: "clip__room" }, stage),
    about(clip),
    h(
      "div",
      { class: "clip__acts" },
      likeButton,
      act("share", "Share", "share", share),
      act("remix", "Remix", "remix", remix),
      act("less", "Less", "less", less, { title: "See less like this" }),
      act("flag", "Report", "report", reportIt),
      act("why", "Why", "why", () => whySheet(clip), { title: "Why am I seeing this?" }),
    ),
  );

  video.addEventListener("loadeddata", () => {
    element.classList.add("clip--ready");
    paintBackdrop();
  });
  sound.addEventListener("change", applySound, { signal });
  applySound();

  return { element, clip, load, unload, enter, leave, toggle, like };

  function load() {
    fetching ??= fetchVideo();
    return fetching;
  }

  async function fetchVideo() {
    wanted = new AbortController();
    const { signal: unloaded } = wanted;
    try {
      const held = await hold(clip.mediaPath, AbortSignal.any([signal, unloaded]));
      if (unloaded.aborted) {
        release(held);
        return;
      }
      stage.querySelector(".clip__broken")?.remove();
      url = held;
      video.src = url;
    } catch (error) {
      if (unloaded.aborted || error.name === "AbortError") return;
      fetching = undefined;
      stage.querySelector(".clip__broken")?.remove();
      stage.append(broken(error));
    }
  }

  function broken(error) {
    const taken = [403, 404, 410].includes(error.status);
    const again = h("button", { class: "button button--quiet", type: "button", onclick: retry }, "Try again");
    return h(
      "div",
      { class: "clip__broken", testid: "clip-broken" },
      empty({
        glyph: taken ? "empty" : "offline",
        title: taken ? "This clip is gone" : error.title,
        text: taken ? "Its creator, or someone in it, has taken it back." : error.detail,
        action: taken ? null : again,
      }),
    );
  }

  function retry() {
    stage.querySelector(".clip__broken").remove();
    playing = false;
    enter();
  }

  function unload() {
    if (!fetching) return;
    wanted.abort();
    fetching = undefined;
    video.removeAttribute("src");
    video.load();
    release(url);
    url = undefined;
    element.classList.remove("clip--ready");
  }

  async function enter() {
    if (playing) return;
    playing = true;
    element.classList.remove("clip--paused");
    await load();
    if (!playing || !url) return;
    await play();
    frame = requestAnimationFrame((now) => tick(now, now, 0));
  }

  async function play() {
    try {
      await video.play();
    } catch (error) {
      if (error.name !== "NotAllowedError") return;
      sound.refuse();
      await video.play().catch(() => element.classList.add("clip--paused"));
    }
  }

  function tick(now, last, painted) {
    if (!playing) return;
    if (!video.paused && video.readyState > 2) {
      watchedMs += Math.min(now - last, LONGEST_FRAME_MS);
      setVars(progress, { "--played": (video.currentTime / video.duration || 0).toFixed(4) });
      if (now - painted > BACKDROP_EVERY_MS) {
        paintBackdrop();
        painted = now;
      }
    }
    frame = requestAnimationFrame((next) => tick(next, now, painted));
  }

  function leave() {
    if (!playing) return;
    playing = false;
    cancelAnimationFrame(frame);
    video.pause();
    if (url) {
      const durationMs = Number.isFinite(video.duration)
        ? Math.round(video.duration * 1000)
        : clip.durationMs;
      record("watch", clip, { watch_ms: Math.round(watchedMs), duration_ms: durationMs });
    }
    watchedMs = 0;
  }

  function paintBackdrop() {
    brush.drawImage(video, 0, 0, backdrop.width, backdrop.height);
  }

  function applySound() {
    video.muted = !sound.on;
    offer.hidden = sound.chosen;
  }

  function acceptSound(event) {
    event.stopPropagation();
    open();
    sound.set(true);
    if (video.paused) toggle();
  }

  function tap(event) {
    if (event.target.closest("button") || !url) return;
    if (!sound.chosen) {
      acceptSound(event);
      return;
    }
    open();
    toggle();
  }

  /** The first deliberate touch is a click; that it played by itself is not. */
  function open() {
    if (opened) return;
    opened = true;
    record("click", clip);
  }

  function toggle() {
    element.classList.toggle("clip--paused", !video.paused);
    if (video.paused) play();
    else video.pause();
  }

  function like() {
    const burst = icon("heart", { class: "clip__burst" });
    stage.append(burst);
    setTimeout(() => burst.remove(), 800);
    if (liked) return;
    liked = true;
    likeButton.setAttribute("aria-pressed", "true");
    likeButton.lastChild.textContent = "Liked";
    record("like", clip);
  }

  async function share() {
    const address = new URL(href("feed", [], { post: clip.postId }), location.href).href;
    try {
      if (navigator.share) await navigator.share({ title: "Kinora", text: clip.caption, url: address });
      else await navigator.clipboard.writeText(address);
      record("share", clip);
      if (!navigator.share) notice("Link copied", "good");
    } catch (error) {
      if (error.name !== "AbortError") notice(`Copy this link to share it: ${address}`);
    }
  }

  function remix() {
    location.hash = href("create", [], { remix: clip.videoId, prompt: clip.caption });
  }

  async function reportIt() {
    const outcome = await reportSheet([clip], { surface: "feed" });
    if (outcome === "blocked") onblocked();
  }

  function less() {
    record("not_interested", clip);
    notice("You will see less like this", "good");
    onless();
  }
}

function act(glyph, label, testid, onclick, more = {}) {
  return h(
    "button",
    { class: "act", type: "button", testid, onclick, ...more },
    icon(glyph),
    h("span", {}, label),
  );
}

function about(clip) {
  const mine = clip.creatorId === me().user_id;
  const follow = followButton(clip.creatorId, {
    class: "button button--small clip__follow",
    onchange: (following) => following && record("follow", clip),
  });
  return h(
    "div",
    { class: "clip__about" },
    h(
      "div",
      { class: "clip__by" },
      h(
        "a",
        {
          class: "clip__creator",
          href: hrefOf(clip.handle),
          testid: "clip-creator",
          onclick: () => record("profile_enter", clip),
        },
        h(
          "span",
          { class: "avatar", "aria-hidden": "true", vars: { "--hue": hue(clip.handle) } },
          initial(clip.handle),
        ),
        h(
          "span",
          { class: "clip__who" },
          h("span", { class: "clip__handle" }, `@${clip.handle}`),
          clip.publishedMs && h("span", { class: "clip__when" }, ago(clip.publishedMs)),
        ),
      ),
      !mine && follow,
    ),
    h("p", { class: "clip__caption", testid: "clip-caption" }, clip.caption),
    h(
      "p",
      { class: "chips" },
      h(
        "button",
        { class: "badge", type: "button", testid: "provenance", onclick: () => provenanceSheet(clip) },
        icon("seal"),
        "AI-generated · C2PA",
      ),
    ),
  );
}
