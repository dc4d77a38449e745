// A person: who they are, what ties the viewer to them, and their clips.

import * as api from "../api.js";
import { fill, h, icon } from "../dom.js";
import { ago, count, hue, initial } from "../format.js";
import { picture } from "../media.js";
import { busy, empty, show } from "../notices.js";
import { href } from "../router.js";
import { me } from "../session.js";
import { blockSheet, followButton, unblockButton } from "../ties.js";
import { clipOf } from "./feed_clip.js";
import { reportSheet } from "./report_sheet.js";

const PAGE = 24;

export async function render(element, { route, signal }) {
  const name = route.path[0] || `@${me().handle}`;
  const body = h("div", { class: "page", testid: "person" });
  element.append(body);
  await refresh();

  function refresh() {
    return show(body, signal, load, ({ person, posts }) => {
      document.title = `@${person.handle} · Kinora`;
      return page(person, posts);
    });
  }

  async function load() {
    const person = await api.getPerson(name, signal);
    const posts = person.blocked_by_you
      ? null
      : await api.listPosts({ creator: person.user_id, limit: PAGE }, signal);
    return { person, posts };
  }

  function page(person, posts) {
    const own = person.user_id === me().user_id;
    const followers = h("span", { testid: "followers" });
    const paint = () =>
      fill(
        followers,
        h("b", {}, count(person.followers)),
        person.followers === 1 ? " follower" : " followers",
      );
    const onchange = (following) => {
      person.followers += following ? 1 : -1;
      paint();
    };
    paint();
    return [
      h(
        "header",
        { class: "person" },
        h(
          "span",
          { class: "avatar avatar--large", "aria-hidden": "true", vars: { "--hue": hue(person.handle) } },
          initial(person.handle),
        ),
        h(
          "div",
          { class: "person__words" },
          h("h1", { testid: "person-handle" }, `@${person.handle}`),
          person.display_name && h("p", { class: "person__name" }, person.display_name),
          person.bio && h("p", { class: "person__bio" }, person.bio),
          h(
            "p",
            { class: "person__counts" },
            followers,
            h("span", {}, "follows ", h("b", {}, count(person.follows))),
            person.follows_you && h("span", { class: "badge" }, "Follows you"),
          ),
        ),
        h("div", { class: "actions" }, own ? ownActions() : actions(person, posts, onchange)),
      ),
      posts ? clips(person, posts, own) : blockedNote(person),
    ];
  }

  function ownActions() {
    return h(
      "a",
      { class: "button button--quiet", href: href("settings", ["account"]) },
      "Edit your profile",
    );
  }

  function actions(person, posts, onchange) {
    const { user_id: userId, handle } = person;
    if (!posts) return null;
    return [
      followButton(userId, { class: "button button--primary person__follow", onchange }),
      h(
        "a",
        {
          class: "button button--quiet",
          href: href("settings", ["messages"], { with: `@${handle}` }),
          testid: "write",
        },
        icon("message"),
        "Write",
      ),
      posts.posts.length > 0 &&
        h(
          "button",
          {
            class: "icon-button",
            type: "button",
            "aria-label": "Report a clip",
            title: "Report a clip",
            testid: "report",
            onclick: report,
          },
          icon("flag"),
        ),
      h(
        "button",
        {
          class: "icon-button",
          type: "button",
          "aria-label": `Block @${handle}`,
          title: "Block",
          testid: "block",
          onclick: block,
        },
        icon("block"),
      ),
    ];

    async function report() {
      const seen = posts.posts.map((post) => clipOf({ post }));
      if ((await reportSheet(seen, { surface: "profile" })) === "blocked") refresh();
    }

    async function block() {
      if (await blockSheet({ userId, handle })) refresh();
    }
  }

  function blockedNote({ user_id: userId, handle }) {
    return h(
      "div",
      { testid: "person-blocked" },
      empty({
        glyph: "block",
        title: `You blocked @${handle}`,
        text: "Neither of you sees, follows or writes to the other.",
        action: unblockButton({ userId, handle }, refresh),
      }),
    );
  }

  function clips({ handle }, posts, own) {
    if (!posts.posts.length)
      return empty({
        title: "No clips yet",
        text: own ? "What you publish is shown here." : `@${handle} has not published a clip.`,
        action: own && h("a", { class: "button button--primary", href: "#/create" }, "Make a clip"),
      });
    const grid = h("div", { class: "grid grid--clips", testid: "person-clips" }, posts.posts.map(tile));
    const older = h(
      "button",
      { class: "button button--quiet", type: "button", onclick: addOlder },
      "Show older",
    );
    older.hidden = !posts.has_more;
    return h(
      "section",
      { class: "stack" },
      h("h2", {}, "Clips"),
      grid,
      h("div", { class: "actions" }, older),
    );

    function addOlder() {
      return busy(older, async () => {
        const next = await api.listPosts(
          { creator: name, after: posts.posts.at(-1).id, limit: PAGE },
          signal,
        );
        posts.posts.push(...next.posts);
        grid.append(...next.posts.map(tile));
        older.hidden = !next.has_more || !next.posts.length;
      });
    }
  }

  function tile(post) {
    const image = h("img", { alt: "", loading: "lazy" });
    picture(image, post.thumbnail_url, signal);
    return h(
      "a",
      {
        class: "tile",
        href: href("feed", [], { post: post.id }),
        testid: "person-clip",
        "data-video": post.video_id,
      },
      h("span", { class: "tile__picture" }, image, icon("play")),
      h("span", { class: "tile__name" }, post.caption),
      h("span", { class: "tile__when" }, ago(post.published_ms)),
    );
  }
}
