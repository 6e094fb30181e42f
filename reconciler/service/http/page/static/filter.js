// Filters take effect while they are typed, and stand in the address all the same.

import { ask } from "./stream.js";

const PAUSE = 200;
const $ = (id) => document.getElementById(id);

export function filterWhileTyping() {
  const form = $("filter");
  let timer = 0;
  form.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => go(new URLSearchParams(new FormData(form))), PAUSE);
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    clearTimeout(timer);
    go(new URLSearchParams(new FormData(form)));
  });
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[href^='/']");
    if (!link || !isView(link) || event.button || event.metaKey || event.ctrlKey || event.shiftKey) return;
    event.preventDefault();
    const query = new URL(link.href).searchParams;
    fill(query);
    go(query, true);
  });
  addEventListener("popstate", () => {
    const query = new URLSearchParams(location.search);
    fill(query);
    go(query, false, true);
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest("input, textarea, select, dialog")) return;
    event.preventDefault();
    $("name").select();
  });
}

// A link of the page to the page itself: refreshing and what is in the dialog are left alone.
function isView(link) {
  return new URL(link.href).pathname === "/" && !link.closest("#live, dialog") && !link.target;
}

function fill(query) {
  for (const field of $("filter").elements) {
    if (!field.name) continue;
    field.value = query.get(field.name) ?? "";
    if (field.type === "hidden") field.disabled = !field.value;
  }
}

function go(query, deliberate = false, there = false) {
  for (const [name, value] of [...query]) if (!value.trim()) query.delete(name);
  const text = query.toString();
  const address = text ? `/?${text}` : "/";
  // what is typed is one step back in the history, not one for each letter
  if (!there) history[deliberate ? "pushState" : "replaceState"](null, "", address);
  $("clear").hidden = !text;
  if (deliberate) scrollTo(0, 0);
  ask();
}
