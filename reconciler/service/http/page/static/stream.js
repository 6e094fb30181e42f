// The stream of changes: begun with the page, begun anew when it was cut, ended with the visit.

import { show, showAnew, watchHands } from "./rows.js";

const FIRST_WAIT = 1000;
const LONGEST_WAIT = 15000;
const SILENCE = 40000; // the server says something every 15 s
const $ = (id) => document.getElementById(id);

let source = null;
let wait = FIRST_WAIT;
let retry = 0;
let silence = 0;

export function begin() {
  watchHands();
  connect(show);
  addEventListener("online", () => source || connect(show));
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden && !source) connect(show);
  });
  addEventListener("pagehide", leave);
  addEventListener("pageshow", (event) => event.persisted && connect(show));
}

// Show another view: its address is that of the page by now.
export function ask() {
  connect(showAnew);
}

function connect(first) {
  leave();
  const query = new URLSearchParams(location.search);
  query.set("have", $("gateways").dataset.digest);
  const opened = (source = new EventSource(`/events?${query}`));
  let put = first;
  opened.onopen = heard;
  opened.onerror = lost;
  opened.addEventListener("still", live);
  opened.addEventListener("board", (event) => {
    put(JSON.parse(event.data));
    put = show;
    live();
  });
  opened.addEventListener("trouble", (event) => {
    heard();
    tell("lost", JSON.parse(event.data));
  });
  opened.addEventListener("over", (event) => {
    leave();
    if (JSON.parse(event.data) === "signed-out") signIn();
    else tell("still", "Paused: too many tabs");
  });
}

function leave() {
  clearTimeout(retry);
  clearTimeout(silence);
  source?.close();
  source = null;
}

function live() {
  heard();
  wait = FIRST_WAIT;
  tell("live", "Live");
}

function heard() {
  clearTimeout(silence);
  silence = setTimeout(lost, SILENCE);
}

function lost() {
  leave();
  tell("lost", "Connection lost, trying again");
  retry = setTimeout(again, wait * (0.5 + Math.random() / 2));
  wait = Math.min(wait * 2, LONGEST_WAIT);
}

// An event source does not say why it failed: ask once whether this is because we are signed out.
async function again() {
  try {
    const answer = await fetch("/login", { redirect: "manual" });
    if (answer.type !== "opaqueredirect") return signIn();
  } catch {
    return lost();
  }
  connect(show);
}

function signIn() {
  location.assign(`/login${location.search}`);
}

function tell(state, words) {
  $("live").dataset.state = state;
  if ($("live-word").textContent !== words) $("live-word").textContent = words;
}
