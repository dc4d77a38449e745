// One person's journey through the web app in a headless browser, against a running server:
//   npm ci && node journey.mjs BASE_URL TOKEN OUT_DIR
// Signs in by link, makes a clip, hears it, publishes it, meets it in the feed, likes it while the
// server is away for a moment, enrols and erases a cameo, follows, blocks and unblocks a neighbour,
// reports the clip, decides on the report, appeals, looks after a teen, signs out and comes back, and
// opens every page. The token is an admin's, for what moderators and others do. Figures leave as
// one JSON line, screenshots into OUT_DIR; the exit code is 1 where a step did not hold, or the
// console showed an error.

import { mkdir, readFile } from "node:fs/promises";
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
/** Pages that must fit on a phone. */
const PAGES = [
  "cameo",
  "dashboard",
  "people/@neighbour",
  "news",
  "statements",
  "moderation",
  "moderation/decided",
  "settings",
  "settings/guardian",
  "settings/messages",
  "settings/account",
];
/** A text that a spreadsheet would run, beside a number that it may not change. */
const FORMULA = "SELECT '=1+1' AS text, -2 AS number";
const REPORT = "The same ball again and again.";
const FACTS = "A red ball may bounce as often as it likes.";
const APPEAL = "Twice is once too often.";
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
  await brokenClip();
  await meetInFeed();
  await steer();
  await camera();
  await cameo();
  await anotherLink();
  await people();
  await report();
  await decide();
  await appeal();
  await insights();
  await settings();
  await guardian();
  await comeBack();
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
  // About one clip in a hundred of the smallest model floats and never sounds; this one bounces.
  await at("seed").fill("7");
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

/** A clip that cannot be had at first plays once it is tried again. */
async function brokenClip() {
  await page.route("**/v1/posts/*/video", unavailable);
  await at("nav-feed").click();
  const first = at("clip").first();
  await first.getByTestId("clip-broken").waitFor();
  await page.unroute("**/v1/posts/*/video");
  await first.getByRole("button", { name: "Try again" }).click();
  check(
    (await first.locator("video").evaluate(playback)).advanced_s > 0.5,
    "a clip tried again does not play",
  );
  check((await first.getByTestId("clip-broken").count()) === 0, "the failure still covers the clip");
  forgetUnavailable();
  // Away from this feed, so that no step takes one of its clips for one of the next.
  await at("nav-create").click();
  await at("composer").waitFor();
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

/** Words take the clip out of the feed, and taking them back brings it in again. */
async function steer() {
  await at("nav-feed").click();
  const mine = page.locator(`[data-testid=clip][data-video="${figures.video_id}"]`);
  await mine.first().waitFor({ state: "attached" });
  await at("steer").click();
  await at("steer-text").fill("Calm clips of pets, nothing about red balls");
  await at("steer-apply").click();
  await at("steer-understood").getByText("red balls").waitFor();
  figures.steering = await at("steer-understood").textContent();
  await shown("steer");
  await at("sheet-close").click();
  await mine.first().waitFor({ state: "detached" });
  await at("steer").click();
  await at("steer-stop").click();
  await at("steer-understood").getByText("red balls").waitFor({ state: "detached" });
  await at("sheet-close").click();
  await mine.first().waitFor({ state: "attached" });
  await at("nav-cameo").click();
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
  forgetUnavailable();
}

async function why(clip) {
  await clip.getByTestId("why").click();
  const reason = at("why-reason");
  await reason.waitFor();
  figures.why = await reason.textContent();
  await shown("why");
  await at("sheet-close").click();
}

/** A camera that is allowed only after the page was left is turned off again. */
async function camera() {
  await at("enrol").waitFor();
  await page.evaluate(() => {
    const stop = () => (globalThis.cameraStopped = true);
    navigator.mediaDevices.getUserMedia = () =>
      new Promise((allow) => (globalThis.allowCamera = () => allow({ getTracks: () => [{ stop }] })));
  });
  await page.getByRole("button", { name: "Use the camera" }).click();
  await at("nav-create").click();
  await at("composer").waitFor();
  await page.evaluate(() => globalThis.allowCamera());
  check(await page.evaluate(() => globalThis.cameraStopped === true), "the camera stays on");
  await at("nav-cameo").click();
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

/** A link with another token asks before it signs in as someone else. */
async function anotherLink() {
  const stranger = await mint("stranger");
  await page.goto(`${base}/#token=${encodeURIComponent(stranger)}`);
  await at("switch-sheet").waitFor();
  check(!page.url().includes("token"), "the stranger's token is still in the address");
  await shown("another-link");
  await at("stay").click();
  await at("feed").waitFor();
  check((await at("who").textContent()) === figures.user, "the link signed in as someone else by itself");
}

/** From a clip to its creator, and then someone to follow, block and unblock. */
async function people() {
  await at("clip-creator").first().click();
  await at("person-handle").waitFor();
  check(/^@\w+$/.test(await at("person-handle").textContent()), "a clip does not lead to its creator");

  await mint("neighbour");
  await page.goto(`${base}/#/people/@neighbour`);
  await at("follow").click();
  await page.locator("[data-testid=follow][aria-pressed=true]").waitFor();
  check((await at("followers").textContent()) === "1 follower", "the follow is not counted");
  await shown("person");

  await at("block").click();
  await at("block-confirm").click();
  await at("person-blocked").waitFor();
  const blocked = await ask("GET", "/v1/me");
  check(blocked.blocked.includes("neighbour"), "the server knows of no block");
  check(!blocked.following.includes("neighbour"), "a blocked person is still followed");
  await shown("person-blocked");

  await at("nav-settings").click();
  const row = at("blocked").getByRole("listitem").filter({ hasText: "@neighbour" });
  await row.getByTestId("unblock").click();
  await row.waitFor({ state: "detached" });
  check(!(await ask("GET", "/v1/me")).blocked.includes("neighbour"), "the block is still there");
  await page.goto(`${base}/#/people/@neighbour`);
  await page.locator("[data-testid=follow][aria-pressed=false]").waitFor();
}

async function report() {
  await at("who").click();
  await page.locator(`[data-testid=person-clip][data-video="${figures.video_id}"]`).click();
  const clip = page.locator(`[data-testid=clip][data-video="${figures.video_id}"]`);
  await clip.getByTestId("report").click();
  await page.getByRole("radio", { name: "Spam or deception" }).check();
  await at("report-details").fill(REPORT);
  const filed = page.waitForResponse((response) => response.url().endsWith("/v1/reports"));
  await shown("report");
  await at("report-send").click();
  const answer = await (await filed).json();
  check(answer.video_id === figures.video_id && answer.reason === "spam", "another report was filed");
  await at("report-sheet").waitFor({ state: "detached" });
}

/** The moderator's part: the report is in the queue, and a decision takes it out. */
async function decide() {
  await at("nav-moderation").click();
  const reported = page.locator(`[data-testid=case][data-video="${figures.video_id}"]`);
  await reported.waitFor();
  check((await reported.textContent()).includes(REPORT), "the case does not say what was reported");
  await reported.getByTestId("case-show").click();
  check((await reported.locator("video").evaluate(playback)).painted, "the reported clip is not shown");
  await shown("review");
  await reported.getByRole("radio", { name: "Keep it" }).check({ force: true });
  await reported.getByTestId("decide-facts").fill(FACTS);
  await reported.getByTestId("decide").click();
  await reported.waitFor({ state: "detached" });
}

/** News of the decision, its reasons, an objection, and the second look of another moderator. */
async function appeal() {
  await at("nav-feed").click();
  await at("unread").waitFor();
  await at("nav-news").click();
  const news = at("news-item").first();
  await news.waitFor();
  check((await news.textContent()).includes("the clip stays up"), "the news does not say what was decided");
  check(await news.getByTestId("news-new").isVisible(), "fresh news is not marked as new");
  await at("unread").waitFor({ state: "hidden" });
  await shown("news");

  await news.click();
  const statement = at("statement").first();
  await statement.waitFor();
  check((await statement.getByTestId("statement-facts").textContent()) === FACTS, "the reasons are others");
  check((await statement.textContent()).includes(PROMPT), "the statement does not name the clip");
  await statement.getByTestId("appeal").click();
  await statement.getByTestId("appeal-text").fill(APPEAL);
  await statement.getByTestId("appeal-send").click();
  await statement.getByTestId("appealed").waitFor();
  await shown("statements");

  await switchTo(await mint("second", { role: "moderator" }), "/moderation/appeals");
  const open = at("open-appeal").filter({ hasText: APPEAL });
  await open.getByRole("radio", { name: "The decision stands" }).check({ force: true });
  await open.getByTestId("appeal-reasons").fill("It is a red ball.");
  check((await open.getByTestId("appealed-facts").textContent()) === FACTS, "the appealed decision is another");
  await shown("appeals");
  await open.getByTestId("decide-appeal").click();
  await open.waitFor({ state: "detached" });
  await switchTo(token, "/news");
  const decided = at("news-item").filter({ hasText: "Your appeal was decided: upheld" });
  await decided.waitFor();
  await page.goto(`${base}/#/statements`);
  await at("appealed").filter({ hasText: "The decision stands" }).waitFor();
}

/** Signs in as someone else by link, after a yes. */
async function switchTo(bearer, next) {
  await page.goto(`${base}/#token=${encodeURIComponent(bearer)}&next=${next}`);
  await at("switch").click();
  await at("switch-sheet").waitFor({ state: "detached" });
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

    await page.goto(`${base}/#/dashboard?sql=${encodeURIComponent(FORMULA)}`);
    await filled("charts");
    check((await at("sql").inputValue()) === FORMULA, "the address does not fill the box");
    check((await at("sql-result").textContent()) === "", "the address asked the lake by itself");
    await at("sql-run").click();
    const saved = page.waitForEvent("download");
    await page.getByRole("button", { name: "CSV" }).click();
    const csv = await readFile(await (await saved).path(), "utf8");
    check(csv.includes(`"'=1+1","-2"`), `the file holds ${csv}`);
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
  for (const tab of ["messages", "account"]) {
    await at(`tab-${tab}`).click();
    await filled(`settings-${tab}`);
    await shown(`settings-${tab}`);
  }
}

/** A code for a teen, who accepts it, and a limit that leaves the other limits as they are. */
async function guardian() {
  const year = at("profile-birth_year");
  if (await year.isEnabled()) {
    await year.fill("1985");
    const saved = page.waitForResponse((response) => response.url().endsWith("/v1/me"));
    await at("save-profile").click();
    await saved;
  }
  await at("tab-guardian").click();
  await at("offer-guardian").click();
  const code = await at("guardian-code").textContent();
  const teen = await mint("teen", { birth_year: new Date().getFullYear() - 16 });
  const link = await ask("POST", "/v1/guardians/links/accept", { code }, teen);
  await ask("PUT", `/v1/guardians/links/${link.link_id}/limits`, { daily_scroll_minutes: 45 });

  await at("tab-messages").click();
  await at("tab-guardian").click();
  const card = at("teen").filter({ hasText: "@teen" });
  await card.waitFor();
  check(await card.getByRole("radio", { name: "45 min" }).isChecked(), "the limit in force is not shown");
  const saved = page.waitForResponse((response) => response.url().endsWith("/limits"));
  await card.getByTestId("limit-location").uncheck();
  const { limits } = await (await saved).json();
  check(!limits.location && limits.personalisation, `the limits became ${JSON.stringify(limits)}`);
  check(limits.daily_scroll_minutes === 45, "one limit set another one free");
  await shown("settings-guardian");
}

/**
 * What was done in two tabs while the server took no events waits over a refused token and a
 * sign-out, and arrives.
 */
async function comeBack() {
  await page.context().route("**/v1/events", unavailable);
  const other = await page.context().newPage();
  for (const tab of [other, page]) {
    await tab.bringToFront();
    await tab.goto(`${base}/#/feed`);
    await tab.locator(".clip--ready").first().waitFor();
    await tab.keyboard.press("l");
  }
  await other.close();
  await page.evaluate(() => dispatchEvent(new CustomEvent("kinora:signed-out")));
  await at("sign-in-refused").waitFor();
  await signInAgain();
  await page.locator(".clip--ready").first().waitFor();
  await page.goto(`${base}/#/settings/account`);
  await at("sign-out").click();

  await at("token-input").fill("kn_ключ");
  await at("sign-in-button").click();
  check(await at("sign-in").isVisible(), "a token that no header can carry was taken");
  await page.context().unroute("**/v1/events");
  const arrived = page.waitForResponse((response) => response.ok() && sends(response, "like"));
  await signInAgain();
  const sent = eventsOf((await arrived).request()).map((event) => event.kind);
  check(sent.filter((kind) => kind === "like").length === 2, `of two likes arrived: ${sent}`);
  check(sent.filter((kind) => kind === "watch").length >= 2, `of two watches arrived: ${sent}`);
  forgetUnavailable();
}

async function signInAgain() {
  await at("token-input").fill(token);
  await at("sign-in-button").click();
}

/** The app again, as it looks on a phone. */
async function onAPhone() {
  await page.context().close();
  page = await open({ width: 390, height: 844 }, { deviceScaleFactor: 2, hasTouch: true, isMobile: true });
  await page.goto(`${base}/#token=${encodeURIComponent(token)}`);
  await at("clip").first().waitFor();
  await page.locator(".clip--ready").first().waitFor();
  await fits("the feed");
  await at("tap-for-sound").first().tap();
  await shown("feed-phone");
  await at("nav-create").tap();
  await at("composer").waitFor();
  await shown("create-phone");
  for (const path of PAGES) {
    await page.goto(`${base}/#/${path}`);
    await at("view").getByRole("heading", { level: 1 }).waitFor();
    await at("state-loading").first().waitFor({ state: "detached" });
    await fits(path);
  }
}

async function fits(what) {
  const width = await page.evaluate(() => document.documentElement.scrollWidth);
  check(width <= page.viewportSize().width, `${what} is ${width} px wide on a phone`);
}

/** The server is away, for as long as a route answers with this. */
function unavailable(route) {
  return route.fulfill({ status: 503, body: "" });
}

/** The browser notes what was answered 503 on purpose. */
function forgetUnavailable() {
  figures.console_errors = figures.console_errors.filter((text) => !text.includes("503"));
}

/** A token of another person, whose account is made with it. */
async function mint(user, more = {}) {
  return (await ask("POST", "/v1/tokens", { user_id: user, ...more })).token;
}

/** A call of the API, past the app. */
async function ask(method, path, body, bearer = token) {
  const response = await fetch(base + path, {
    method,
    headers: { authorization: `Bearer ${bearer}`, "content-type": "application/json" },
    body: body && JSON.stringify(body),
  });
  const answer = await response.json();
  check(response.ok, `${method} ${path}: ${answer.detail}`);
  return answer;
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
