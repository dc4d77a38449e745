// The app: takes the token from the address, learns who is signed in, and shows the view that
// the address names. A view gets an element, its route and a signal that aborts when it goes.

import { getMe } from "./api.js";
import { fill } from "./dom.js";
import { closeSheets, failed, loading } from "./notices.js";
import { current } from "./router.js";
import { me, setMe, signOut, takeTokenFromAddress, token } from "./session.js";

const VIEWS = {
  feed: { title: "Feed", load: () => import("./views/feed.js") },
  create: { title: "Create", load: () => import("./views/create.js") },
  cameo: { title: "Cameo", load: () => import("./views/cameo.js") },
  dashboard: { title: "Insights", load: () => import("./views/dashboard.js") },
  settings: { title: "Settings", load: () => import("./views/settings.js") },
};
const SIGN_IN = { title: "Sign in", load: () => import("./views/sign_in.js") };

const element = document.getElementById("view");
let shown = new AbortController();

async function show() {
  if (takeTokenFromAddress()) setMe(null);
  shown.abort();
  shown = new AbortController();
  const { signal } = shown;
  closeSheets();

  const route = current();
  if (!route.name) {
    location.replace("#/feed");
    return;
  }
  const view = token() ? (VIEWS[route.name] ?? VIEWS.feed) : SIGN_IN;
  document.title = `${view.title} · Kinora`;
  document.body.classList.toggle("signed-out", view === SIGN_IN);
  for (const link of document.querySelectorAll("[data-route]")) {
    if (link.dataset.route === route.name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }

  try {
    if (view !== SIGN_IN && !me()) {
      fill(element, loading());
      setMe(await getMe(signal));
    }
    document.querySelector(".rail__who").textContent = me() ? `@${me().handle}` : "";
    const { render } = await view.load();
    if (signal.aborted) return;
    fill(element);
    scrollTo(0, 0);
    await render(element, { route, signal });
  } catch (error) {
    if (!signal.aborted && error.status !== 401) fill(element, failed(error, show));
  }
}

addEventListener("hashchange", show);
addEventListener("kinora:signed-out", () => {
  if (!token()) return;
  signOut();
  sessionStorage.setItem("kinora.refused", "yes");
  show();
});
show();
