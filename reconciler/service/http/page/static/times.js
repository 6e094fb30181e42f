// How long ago a time was, in the words of the server (page/words.py), as time goes on.

const STEPS = [[86400, "day"], [3600, "h"], [60, "min"], [1, "s"]];
const JUST_NOW = 5;
const EVERY = 5000;

// the server's clock is the one that counts: a viewer's may be wrong
let ahead = 0;

export function relative(at, now = Date.now() + ahead) {
  const seconds = (Date.parse(at) - now) / 1000;
  const size = Math.abs(seconds);
  if (size < JUST_NOW) return "now";
  const [unit, word] = STEPS.find(([unit]) => size >= unit);
  const count = Math.floor(size / unit);
  const length = `${count} ${word}${word === "day" && count !== 1 ? "s" : ""}`;
  return seconds > 0 ? `in ${length}` : `${length} ago`;
}

export function tellTimes(within = document) {
  for (const time of within.querySelectorAll("time.ago")) {
    const words = relative(time.dateTime);
    if (time.textContent !== words) time.textContent = words;
  }
}

export function setClock(now) {
  ahead = Date.parse(now) - Date.now();
}

export function keepTimes() {
  setClock(document.getElementById("gateways").dataset.now);
  setInterval(tellTimes, EVERY);
}
