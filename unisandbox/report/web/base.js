"use strict";

/** Return an element; texts are written as texts, whatever is in them. */
function el(tag, given = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(given)) {
    if (value !== undefined && value !== "") node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== undefined && child !== ""));
  return node;
}

// Dark or light: the system's choice, until the reader makes one.
(() => {
  const root = document.documentElement;
  const keep = (theme) => { root.dataset.theme = theme; };
  try {
    const kept = localStorage.getItem("unisandbox-theme");
    if (kept) keep(kept);
  } catch { /* storage may be forbidden */ }
  document.getElementById("theme")?.addEventListener("click", () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    keep(dark ? "light" : "dark");
    try { localStorage.setItem("unisandbox-theme", root.dataset.theme); } catch { /* the same */ }
  });
})();
