"use strict";
const boxes = [...document.querySelectorAll("input[type=checkbox]")];
const place = "gateways-checklist:" + document.body.dataset.plan;
const progress = document.querySelector(".progress");
let kept = {};
try {
  kept = JSON.parse(localStorage.getItem(place)) || {};
} catch {
  kept = {}; // a browser that keeps nothing: the page works all the same
}
function count() {
  const done = boxes.filter((box) => box.checked).length;
  progress.textContent = `${done} of ${boxes.length} steps done`;
}
for (const box of boxes) {
  if (box.id in kept) box.checked = kept[box.id];
  box.addEventListener("change", () => {
    kept[box.id] = box.checked;
    try {
      localStorage.setItem(place, JSON.stringify(kept));
    } catch {
      progress.title = "This browser does not remember what is ticked.";
    }
    count();
  });
}
for (const value of document.querySelectorAll("[data-copy]")) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "copy";
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(value.dataset.copy);
      button.textContent = "copied";
    } catch {
      getSelection().selectAllChildren(value); // not every browser lets a file copy
      button.textContent = "selected";
    }
  });
  value.after(button);
}
count();
