// The app: takes the token from the address, learns who is signed in, and shows the view that
// the address names. A view gets an element, its route and a signal that aborts when it goes.

import { getMe } from "./api.js";
import { fill, h } from "./dom.js";
import { closeSheets, failed, loading, sheet } from "./notices.js";
import { flush } from "./outbox.js";
import { markRoute, paintRail } from "./rail.js";
import { current } from "./router.js";
import { me, setMe, signIn, signOut, takeTokenFromAddress, token, TOKEN_KEY } from "./session.js";

const VIEWS = {
  feed: { title: "Feed", load: () => import("./views/feed.js") },
  create: { title: "Create", load: () => import("./views/create.js") },
  cameo: { title: "Cameo", load: () => import("./views/cameo.js") },
  dashboard: { title: "Insights", load: () => import("./views/dashboard.js") },
  news: { title: "News", load: () => import("./views/news.js") },
  people: { title: "Person", load: () => import("./views/person.js") },
  statements: { title: "Decisions", load: () => import("./views/statements.js") },
  moderation: { title: "Review", load: () => import("./views/moderation.js") },
  settings: { title: "Settings", load: () => import("./views/settings.js") },
};
const SIGN_IN = { title: "Sign in", load: () => import("./views/sign_in.js") };
const LEARN_EVERY_MS = 60_000;

const element = document.getElementById("view");
let shown = new AbortController();
/** A token from a link, until the person has said whether it replaces the one that is kept. */
let offered = null;

async function show() {
  // The view that goes still records as the person whom it was shown to.
  shown.abort();
  shown = new AbortController();
  const { signal } = shown;
  closeSheets();

  offered = takeTokenFromAddress() ?? offered;
  if (offered && !token()) signIn(offered);
  if (offered === token()) offered = null;

  const route = current();
  if (!route.name) {
    location.replace("#/feed");
    return;
  }
  const view = !token() ? SIGN_IN : Object.hasOwn(VIEWS, route.name) ? VIEWS[route.name] : VIEWS.feed;
  document.title = `${view.title} · Kinora`;
  document.body.classList.toggle("signed-out", view === SIGN_IN);
  markRoute(route.name);

  try {
    if (view === SIGN_IN) offered = null;
    else if (me()) learn();
    else {
      fill(element, loading());
      setMe(await getMe(signal));
      flush();
    }
    paintRail();
    if (offered) {
      const bearer = offered;
      offered = null;
      if (await isWanted()) {
        signIn(bearer);
        show();
        return;
      }
    }
    const { render } = await view.load();
    if (signal.aborted) return;
    fill(element);
    scrollTo(0, 0);
    if (document.activeElement !== document.body) element.focus({ preventScroll: true });
    await render(element, { route, signal });
  } catch (error) {
    if (!signal.aborted && error.status !== 401) fill(element, failed(error, show));
  }
}

/** Asks whether the token from a link takes the place of the one that is kept. */
function isWanted() {
  return sheet("Sign in as someone else?", "switch-sheet", (close) => [
    h(
      "p",
      {},
      `You are @${me().handle}. The link that you opened carries the token of another account: once you use it, what you make and watch here is that account's. Go on only if you know who made the link.`,
    ),
    h(
      "div",
      { class: "actions actions--end" },
      h(
        "button",
        { class: "button button--quiet", type: "button", testid: "switch", onclick: () => close(true) },
        "Sign in with the link",
      ),
      h(
        "button",
        { class: "button button--primary", type: "button", testid: "stay", onclick: () => close() },
        `Stay @${me().handle}`,
      ),
    ),
  ]);
}

/** Learns again who is signed in: news comes without anything being done here. */
async function learn() {
  const known = me();
  if (!known || document.hidden) return;
  try {
    const now = await getMe();
    // Whoever signed in meanwhile, or read the news, knows more than this answer.
    if (me() !== known) return;
    setMe(now);
    paintRail();
  } catch {
    // The next view, or the next minute, asks again.
  }
}

addEventListener("hashchange", show);
addEventListener("storage", ({ key }) => {
  if (key !== TOKEN_KEY) return;
  // Another tab signed in or out, and this one with it.
  shown.abort();
  setMe(null);
  show();
});
addEventListener("kinora:signed-out", () => {
  if (!token()) return;
  shown.abort();
  signOut();
  if (!offered) sessionStorage.setItem("kinora.refused", "yes");
  show();
});
document.querySelector(".skip").addEventListener("click", (event) => {
  // Its address would be taken for a view's.
  event.preventDefault();
  element.focus();
});
setInterval(learn, LEARN_EVERY_MS);
show();
