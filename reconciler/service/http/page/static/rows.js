// Puts what the server has rendered in its place. What a row says changes at once; rows move, come
// and go only while nobody is about to press something in them.

import { tellTimes } from "./times.js";

const QUIET = 1500;
const NAMED = 3; // of more gateways than these only the number is said
const $ = (id) => document.getElementById(id);

let order = null; // the names in the order that is still to be arranged
let fresh = new Map(); // rows that were sent and have no place yet
let touched = 0;
let pressed = false;
let held = []; // boards that came while a finger or a button was down

export function show(board) {
  if (pressed) {
    held.push(board);
    return;
  }
  for (const [id, html] of Object.entries(board.parts)) put($(id), html);
  const changed = Object.entries(board.rows).map(([name, html]) => putRow(name, html)).filter(Boolean);
  if (changed.length) say(changed.length > NAMED ? `${changed.length} gateways changed` : changed.join(" "));
  document.title = board.title;
  $("gateways").dataset.digest = board.digest;
  order = board.order;
  settle();
}

// A view that somebody has just asked for is shown as it is, whatever the pointer is over.
export function showAnew(board) {
  show(board);
  if (order) arrange();
  say($("below").querySelector("h2, p").textContent);
}

export function watchHands() {
  const rows = $("rows");
  for (const kind of ["pointermove", "pointerdown", "keydown"])
    rows.addEventListener(kind, () => (touched = Date.now()), { passive: true });
  rows.addEventListener("pointerleave", () => (touched = 0));
  addEventListener("pointerdown", () => (pressed = true), { passive: true });
  for (const kind of ["pointerup", "pointercancel"])
    addEventListener(kind, () => setTimeout(release), { passive: true }); // after the click
  setInterval(settle, QUIET / 3);
}

function release() {
  pressed = false;
  const boards = held;
  held = [];
  boards.forEach(show);
}

function settle() {
  if (!order || Date.now() - touched < QUIET || $("dialog").open) return;
  if ($("rows").contains(document.activeElement)) return;
  arrange();
}

function arrange() {
  const rows = $("rows");
  const wanted = order.map((name) => $(`gateway-${name}`) ?? fresh.get(name)).filter(Boolean);
  order = null;
  fresh = new Map();
  if (wanted.length !== rows.children.length || wanted.some((one, at) => one !== rows.children[at])) {
    const anchor = firstInSight(rows);
    const before = anchor?.getBoundingClientRect().top;
    rows.replaceChildren(...wanted);
    if (anchor?.isConnected) scrollBy(0, anchor.getBoundingClientRect().top - before);
  }
  rows.closest("table").hidden = wanted.length === 0;
}

function firstInSight(rows) {
  if (rows.getBoundingClientRect().top >= 0) return null; // the top is in sight: it should stay so
  return [...rows.children].find((one) => one.getBoundingClientRect().bottom > 0);
}

// Gives what is to be said of it: its status, where that is another now.
function putRow(name, html) {
  const sent = parse(html).firstElementChild;
  tellTimes(sent);
  const old = $(`gateway-${name}`);
  if (!old) {
    fresh.set(name, sent);
    return "";
  }
  const [before, after] = [word(old), word(sent)];
  old.className = sent.className;
  [...sent.cells].forEach((cell, at) => swap(old.cells[at], cell));
  old.classList.remove("changed");
  requestAnimationFrame(() => old.classList.add("changed"));
  return before === after ? "" : `${name}: ${after}.`;
}

function word(row) {
  return row.querySelector(".badge").textContent;
}

function say(words) {
  $("say").textContent = words;
}

function put(part, html) {
  swap(part, parse(html));
}

// Only what differs, so that focus, selection and a button that is being pressed stay.
function swap(old, sent) {
  if (old.innerHTML === inner(sent)) return;
  const focused = places(old).indexOf(document.activeElement);
  old.replaceChildren(...sent.childNodes);
  if (focused >= 0) (places(old)[focused] ?? places(old)[0] ?? $("gateways")).focus({ preventScroll: true });
}

function inner(sent) {
  if (!(sent instanceof DocumentFragment)) return sent.innerHTML;
  const around = document.createElement("div");
  around.append(sent.cloneNode(true));
  return around.innerHTML;
}

function places(within) {
  return [...within.querySelectorAll("a, button")];
}

function parse(html) {
  const template = document.createElement("template");
  template.innerHTML = html.trim();
  return template.content;
}
