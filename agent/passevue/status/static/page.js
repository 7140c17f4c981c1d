// Keeps the page fresh: the box sends <main> again whenever something in it has changed, over server-sent events.
// Only the sections that differ are replaced, never the one that holds the focus, so that nobody loses their place.
// Without this module the page renews itself every 30 seconds.

const announce = document.querySelector("#announce");
let heard = 0;

function renew(html) {
  const fresh = new DOMParser().parseFromString(html, "text/html");
  for (const part of fresh.querySelectorAll("[id]")) {
    const shown = document.getElementById(part.id);
    if (!shown || part.parentElement.closest("[id]") || shown.outerHTML === part.outerHTML) continue;
    if (shown.contains(document.activeElement)) continue;
    shown.replaceWith(document.adoptNode(part));
  }
  const title = document.querySelector("#verdict-title");
  const lead = document.querySelector(".findings li") ?? document.querySelector(".lead");
  const words = `${title.textContent}. ${lead.textContent}`;
  document.title = `${title.textContent} · ${document.querySelector(".box").textContent}`;
  if (heard++ && announce.textContent !== words) announce.textContent = words;
}

function say(link) {
  const asof = document.querySelector("#asof");
  document.body.dataset.link = link;
  let note = document.querySelector("#link");
  if (!note) {
    note = document.createElement("span");
    note.id = "link";
    document.querySelector("main").append(note);
  }
  note.textContent = asof.dataset[link];
}

const source = new EventSource(document.body.dataset.events);
source.addEventListener("open", () => say("live"));
source.addEventListener("error", () => say("lost"));
source.addEventListener("summary", (event) => renew(event.data));
addEventListener("pagehide", () => source.close());
addEventListener("pageshow", (event) => event.persisted && location.reload());
