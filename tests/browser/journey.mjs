// One person's journey through the web app in a headless browser, against a running server:
//   npm ci && node journey.mjs BASE_URL TOKEN OUT_DIR
// Signs in by link, makes a clip, hears it, publishes it, meets it in the feed, likes it while the
// server is away for a moment, enrols and erases a cameo, and opens every page. Figures leave as
// one JSON line, screenshots into OUT_DIR; the exit code is 1 where a step did not hold, or the
// console showed an error.

import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { chromium } from "playwright-core";
import { audibility, likeness, playback, watchProgress } from "./measure.mjs";

const PROMPT = "a red ball bounces twice";
const SECONDS = 4;
const STEP_MS = 90_000;
const RENDER_MS = 600_000;
/** No step can hold the journey for longer than this, not even one without a limit of its own. */
const JOURNEY_MS = 1_500_000;
const FEED_CLIPS_MAX = 60;
/** Sound that a person hears: above these, in full-scale amplitude. */
const AUDIBLE = { rms: 0.001, peak: 0.02 };

const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--autoplay-policy=no-user-gesture-required",
];

const [base, token, out] = process.argv.slice(2);
if (!out) {
  console.error("usage: node journey.mjs BASE_URL TOKEN OUT_DIR");
  process.exit(2);
}

const figures = { steps: [], console_errors: [] };
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  headless: true,
  args: FLAGS,
});
setTimeout(() => browser.close(), JOURNEY_MS).unref();
let page;
try {
  await mkdir(out, { recursive: true });
  page = await open({ width: 1280, height: 800 });
  await signIn();
  await create();
  await publish();
  await meetInFeed();
  await cameo();
  await insights();
  await settings();
  await onAPhone();
  check(figures.console_errors.length === 0, `the console showed ${figures.console_errors[0]}`);
  figures.ok = true;
} catch (error) {
  figures.ok = false;
  figures.error = String(error.message ?? error)
    .split("\n")
    .slice(0, 3)
    .join(" ");
  await page?.screenshot({ path: join(out, "failed.png") }).catch(() => {});
} finally {
  await browser.close();
}
console.log(JSON.stringify(figures));
process.exit(figures.ok ? 0 : 1);

async function open(viewport, more = {}) {
  const context = await browser.newContext({ viewport, ...more });
  await context.addInitScript(watchProgress);
  const opened = await context.newPage();
  opened.setDefaultTimeout(STEP_MS);
  opened.on("pageerror", (error) => figures.console_errors.push(String(error)));
  opened.on(
    "console",
    (message) => message.type() === "error" && figures.console_errors.push(message.text()),
  );
  return opened;
}

async function signIn() {
  await page.goto(`${base}/#token=${encodeURIComponent(token)}`);
  await at("feed").waitFor();
  await at("clip").or(at("state-empty")).first().waitFor();
  check(!page.url().includes("token"), "the token is still in the address");
  figures.user = await page.locator("[data-testid=who]").textContent();
  await shown("signed-in");
}

async function create() {
  await at("nav-create").click();
  await at("prompt").fill(PROMPT);
  await at("make").click();
  const making = at("stage-making");
  const done = at("stage-done");
  const failure = at("stage-area").getByRole("alert");
  await making.or(done).first().waitFor();
  await shown("making");

  await done.or(failure).first().waitFor({ timeout: RENDER_MS });
  if (await failure.isVisible()) throw new Error(`the clip was not made: ${await failure.textContent()}`);
  figures.progress = await page.evaluate(() => [...globalThis.progressSeen]);
  check(figures.progress.length > 1, `the only progress shown was ${figures.progress}`);

  const played = await at("preview").evaluate(playback);
  figures.video = played;
  check(
    Math.abs(played.duration_s - SECONDS) < 0.25,
    `the clip lasts ${played.duration_s} s, not ${SECONDS}`,
  );
  check(played.width > 0 && played.height > 0, "the clip has no picture");
  check(played.advanced_s > 0.5, `the clip stood at ${played.advanced_s} s`);
  check(played.painted, "every frame of the clip is one flat colour");

  figures.video_id = new URLSearchParams(page.url().split("?")[1]).get("video");
  const path = `/v1/videos/${figures.video_id}/content`;
  const sound = await at("preview").evaluate(audibility, path);
  figures.sound = sound;
  for (const [how, { rms, peak }] of Object.entries({ decoded: sound.decoded, played: sound.played })) {
    check(rms > AUDIBLE.rms && peak > AUDIBLE.peak, `the ${how} sound is silent: rms ${rms}, peak ${peak}`);
  }
  check(sound.has_c2pa_manifest, "the clip carries no C2PA manifest");
  await shown("made");
}

async function publish() {
  await at("caption").fill(`${PROMPT}, with sound`);
  await at("publish").click();
  await at("published").waitFor();
  await shown("published");
}

async function meetInFeed() {
  await at("nav-feed").click();
  await at("clip").first().waitFor();
  const mine = page.locator(`[data-testid=clip][data-video="${figures.video_id}"]`);
  figures.feed_clips = 0;
  while (!(await inView(mine)) && figures.feed_clips < FEED_CLIPS_MAX && !(await inView(at("feed-end")))) {
    await page.keyboard.press("j");
    await page.waitForTimeout(700);
    figures.feed_clips += 1;
  }
  check(await inView(mine), `the clip was not among the first ${figures.feed_clips + 1} of the feed`);
  await mine.locator("video").evaluate((video) => video.play());
  await mine.getByTestId("tap-for-sound").click();
  const played = await mine.locator("video").evaluate(playback);
  figures.feed_video = played;
  check(played.advanced_s > 0.5 && !played.muted, "the clip in the feed does not play with sound");
  await shown("feed");

  await like(mine);
  await why(mine);

  const watched = page.waitForResponse((response) => sends(response, "watch"));
  await at("nav-cameo").click();
  check((await (await watched).json()).accepted > 0, "the watch time was not taken");
}

/** The server is away when the like is sent first: it must arrive, once, by itself. */
async function like(clip) {
  let lost;
  await page.route("**/v1/events", async (route) => {
    const like = eventsOf(route.request()).find((event) => event.kind === "like");
    if (!like || lost) return route.continue();
    lost = like.event_id;
    return route.fulfill({ status: 503, body: "" });
  });
  const arrived = page.waitForResponse((response) => response.ok() && sends(response, "like"));
  await page.keyboard.press("l");
  const response = await arrived;
  await page.unroute("**/v1/events");
  const answer = await response.json();
  figures.like = { accepted: answer.accepted, quarantined: answer.quarantined, retried: lost !== undefined };
  const ids = eventsOf(response.request()).map((event) => event.event_id);
  check(lost && ids.includes(lost), "the like was not sent again under its own id");
  check(answer.accepted > 0 && answer.quarantined === 0, `the like was answered ${JSON.stringify(answer)}`);
  check((await clip.getByTestId("like").getAttribute("aria-pressed")) === "true", "the like does not show");
  figures.console_errors = figures.console_errors.filter((text) => !text.includes("503"));
}

async function why(clip) {
  await clip.getByTestId("why").click();
  const reason = at("why-reason");
  await reason.waitFor();
  figures.why = await reason.textContent();
  await shown("why");
  await at("sheet-close").click();
}

async function cameo() {
  await at("enrol").waitFor();
  await at("cameo-file").setInputFiles({
    name: "me.png",
    mimeType: "image/png",
    buffer: Buffer.from(await page.evaluate(likeness), "base64"),
  });
  await at("cameo-name").fill("Journey");
  await at("cameo-attest").check();
  await shown("cameo-enrol");
  await at("cameo-enrol").click();
  await at("my-cameo").waitFor();
  await shown("cameo");
  await at("revoke").click();
  await page.getByRole("radio", { name: /erase the likeness/ }).check();
  await at("revoke-confirm").click();
  await at("my-cameo").waitFor({ state: "detached" });
}

async function insights() {
  await at("nav-dashboard").click();
  await filled("charts");
  figures.dashboard = (await at("charts").locator("svg.chart").count()) > 0 ? "charts" : "empty";
  await shown("dashboard");
  figures.sql = await at("sql").isVisible();
  if (figures.sql) {
    await at("sql").fill("SELECT kind, count(*) AS events FROM events GROUP BY kind ORDER BY kind");
    await at("sql-run").click();
    await at("sql-count").waitFor();
    figures.sql_answer = await at("sql-count").textContent();
    await shown("sql");
  }
}

async function settings() {
  await at("nav-settings").click();
  const personalised = at("switch-personalisation");
  const before = await personalised.isChecked();
  for (const wanted of [!before, before]) {
    const saved = page.waitForResponse(
      (response) => response.url().endsWith("/v1/me/switches") && response.request().method() === "PUT",
    );
    await personalised.setChecked(wanted);
    const answer = await (await saved).json();
    check(answer.personalisation === wanted, "the personalisation switch was not kept");
  }
  await shown("settings");
  for (const tab of ["guardian", "messages", "account"]) {
    await at(`tab-${tab}`).click();
    await filled(`settings-${tab}`);
    await shown(`settings-${tab}`);
  }
}

/** The feed again, as it looks on a phone. */
async function onAPhone() {
  await page.context().close();
  page = await open({ width: 390, height: 844 }, { deviceScaleFactor: 2, hasTouch: true, isMobile: true });
  await page.goto(`${base}/#token=${encodeURIComponent(token)}`);
  await at("clip").first().waitFor();
  await page.locator(".clip--ready").first().waitFor();
  const width = await page.evaluate(() => document.documentElement.scrollWidth);
  check(width <= 390, `the feed is ${width} px wide on a screen of 390`);
  await at("tap-for-sound").first().tap();
  await shown("feed-phone");
  await at("nav-create").tap();
  await at("composer").waitFor();
  await shown("create-phone");
}

function at(testid) {
  return page.getByTestId(testid);
}

/** Waits until a part of the page holds what was asked for, and not a failure. */
async function filled(testid) {
  await at(testid).waitFor();
  await at(testid).getByTestId("state-loading").waitFor({ state: "detached" });
  const failure = at(testid).getByTestId("state-error");
  if (await failure.isVisible()) throw new Error(`${testid}: ${await failure.textContent()}`);
}

async function inView(locator) {
  if ((await locator.count()) === 0) return false;
  const box = await locator.first().boundingBox();
  return box !== null && Math.abs(box.y) < 40;
}

function eventsOf(request) {
  return request.url().endsWith("/v1/events") ? JSON.parse(request.postData() ?? "[]") : [];
}

function sends(response, kind) {
  return eventsOf(response.request()).some((event) => event.kind === kind);
}

async function shown(name) {
  await page.waitForTimeout(500);
  await page.screenshot({ path: join(out, `${name}.png`) });
  figures.steps.push(name);
}

function check(holds, otherwise) {
  if (!holds) throw new Error(otherwise);
}
