// Sign-in and what comes after: shows what the card reader and the phone do as it happens, and leaves at once when the
// session ends. Without this module the pages work by reloading.

const announce = document.querySelector("#announce");

function renew(html) {
  const fresh = new DOMParser().parseFromString(html, "text/html").body.firstElementChild;
  const shown = document.getElementById(fresh.id);
  if (!shown || shown.outerHTML === fresh.outerHTML) return;
  const typing = document.activeElement;
  const elsewhere = typing && typing !== document.body && typing.id !== "notice" && !shown.contains(typing);
  shown.replaceWith(document.adoptNode(fresh));
  if (announce.textContent !== fresh.dataset.say) announce.textContent = fresh.dataset.say;
  if (!elsewhere) fresh.querySelector("input:not([type=hidden])")?.focus();
}

function leave(path) {
  document.querySelector("main").replaceChildren();
  location.replace(path);
}

let source;
if (document.body.dataset.events) {
  source = new EventSource(document.body.dataset.events);
  source.addEventListener("part", (event) => renew(event.data));
  source.addEventListener("go", (event) => {
    source.close();
    leave(event.data);
  });
  source.addEventListener("end", () => source.close());
  source.addEventListener("error", () => {
    announce.textContent = document.body.dataset.lost;
  });
  addEventListener("pagehide", () => source.close());
}
addEventListener("submit", (event) => {
  source?.close(); // the answer is the next page: nothing else takes us away from it
  setTimeout(() => event.target.reset(), 0); // a code does not stay in the page
});
addEventListener("pageshow", (event) => event.persisted && location.reload());
