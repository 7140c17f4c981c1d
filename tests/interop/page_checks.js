// What the browser computed of the page, against WCAG 2.2. Each gives a list of what is wrong.

// 1.4.3: every visible text against what is behind it: 4.5, or 3 from 24 px (18.66 px when bold).
function contrast() {
  const rgb = (text) => {
    const n = text.match(/[\d.]+/g).map(Number);
    return { colour: n.slice(0, 3), alpha: n[3] ?? 1 };
  };
  const light = (colour) => {
    const f = colour.map((v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * f[0] + 0.7152 * f[1] + 0.0722 * f[2];
  };
  const behind = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const back = rgb(getComputedStyle(e).backgroundColor);
      if (back.alpha === 1) return back.colour;
    }
    return [255, 255, 255];
  };
  const wrong = [];
  let count = 0;
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const text = walk.currentNode.textContent.trim();
    const e = walk.currentNode.parentElement;
    if (!text || !e.checkVisibility() || e.closest(".unseen, script, noscript")) continue;
    const style = getComputedStyle(e);
    const size = parseFloat(style.fontSize);
    const [a, b] = [light(rgb(style.color).colour), light(behind(e))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    const large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
    count += 1;
    if (ratio < (large ? 3 : 4.5)) wrong.push(`${ratio.toFixed(2)} ${text.slice(0, 40)}`);
  }
  return { wrong, count };
}

// 1.1.1, 1.3.1, 2.4.x, 3.1.1, 4.1.2: names, headings, landmarks, lists, language.
function structure() {
  const wrong = [];
  const all = (query) => [...document.querySelectorAll(query)].filter((e) => e.checkVisibility());
  const text = (e) => e?.textContent.trim() ?? "";
  if (all("h1").length !== 1) wrong.push("not one h1");
  let level = 0;
  for (const heading of all("h1, h2, h3, h4")) {
    const next = Number(heading.tagName[1]);
    if (next > level + 1) wrong.push(`skips to ${text(heading)}`);
    level = next;
  }
  for (const query of ["main", "header", "footer", "nav[aria-label]"]) {
    if (all(query).length !== 1) wrong.push(`not one ${query}`);
  }
  for (const section of all("section")) {
    const name = document.getElementById(section.getAttribute("aria-labelledby"));
    if (!text(name)) wrong.push(`section without name: ${section.id}`);
  }
  for (const svg of document.querySelectorAll("body svg")) {
    if (svg.ariaHidden !== "true" && !(svg.role === "img" && svg.ariaLabel)) wrong.push("svg without name");
  }
  for (const link of all("a")) if (!text(link)) wrong.push("link without text");
  const ids = [...document.querySelectorAll("[id]")].map((e) => e.id);
  for (const id of new Set(ids)) if (ids.indexOf(id) !== ids.lastIndexOf(id)) wrong.push(`id twice: ${id}`);
  for (const use of document.querySelectorAll("use")) {
    const symbol = use.getAttribute("href");
    if (!document.querySelector(symbol)) wrong.push(`no symbol ${symbol}`);
  }
  for (const list of document.querySelectorAll("ul, ol")) {
    for (const child of list.children) if (child.tagName !== "LI") wrong.push(`list with ${child.tagName}`);
  }
  if (!["fr", "en"].includes(document.documentElement.lang)) wrong.push("no language");
  if (!document.title) wrong.push("no title");
  return wrong;
}
