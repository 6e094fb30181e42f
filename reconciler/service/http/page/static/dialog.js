// Rebuild and Disconnect ask in a dialog; what it says is the page that asks without a script.

const $ = (id) => document.getElementById(id);

export function askInDialog() {
  const dialog = $("dialog");
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (form.closest("#rows")) run(event, () => question(event.submitter, form));
    else if (form.closest("dialog")) run(event, () => answer(form));
  });
  dialog.addEventListener("click", (event) => {
    if (event.target.closest(".cancel")) {
      event.preventDefault();
      dialog.close();
    }
  });
}

async function run(event, work) {
  event.preventDefault();
  const button = event.submitter;
  button.disabled = true;
  try {
    await work();
  } catch {
    $("dialog").close();
    say("The service cannot be reached: nothing is known to have been done.");
  } finally {
    button.disabled = false;
  }
}

async function question(button, form) {
  const query = new URLSearchParams(new FormData(form));
  const page = await read(await fetch(`${button.formAction}?${query}`, { headers: { "Gateways-Part": "1" } }));
  const asked = page.querySelector(".confirm");
  if (!asked) return say(page.querySelector(".why").textContent);
  const dialog = $("dialog");
  const [row, action] = [form.closest("tr").id, button.getAttribute("formaction")];
  dialog.replaceChildren(document.importNode(asked, true));
  dialog.onclose = () => focusAgain(row, action);
  dialog.showModal();
}

async function answer(form) {
  const page = await read(
    await fetch(form.action, {
      method: "POST",
      headers: { "Gateways-Part": "1" },
      body: new URLSearchParams(new FormData(form)),
    }),
  );
  $("dialog").close();
  const told = page.querySelector(".notice");
  if (told) $("notice").replaceChildren(document.importNode(told, true));
  else say(page.querySelector(".why").textContent);
}

async function read(response) {
  if (response.status === 401) location.assign(`/login${location.search}`);
  return new DOMParser().parseFromString(await response.text(), "text/html");
}

// The row may have been replaced while the dialog was open.
function focusAgain(row, action) {
  const found = $(row);
  (found?.querySelector(`button[formaction="${action}"]`) ?? found?.querySelector("a") ?? $("gateways")).focus();
}

function say(text) {
  const told = document.createElement("p");
  told.className = "notice refused";
  told.textContent = text;
  $("notice").replaceChildren(told);
}
