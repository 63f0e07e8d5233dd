// Forms with data-upload: a place to drop a file, and a progress bar while it is sent.
// Without this script the form is sent as any other.

function enhance(root) {
  for (const zone of root.querySelectorAll("[data-drop]:not(.is-enhanced)")) {
    zone.classList.add("is-enhanced");
    const input = zone.querySelector("input[type=file]");
    input.addEventListener("change", () => named(zone, input.files));
    for (const kind of ["dragenter", "dragover"]) {
      zone.addEventListener(kind, (event) => {
        event.preventDefault();
        zone.classList.add("is-over");
      });
    }
    for (const kind of ["dragleave", "drop"]) {
      zone.addEventListener(kind, () => zone.classList.remove("is-over"));
    }
    zone.addEventListener("drop", (event) => {
      event.preventDefault();
      if (!event.dataTransfer.files.length) return;
      input.files = event.dataTransfer.files;
      named(zone, input.files);
      input.dispatchEvent(new Event("change", { bubbles: true }));
    });
  }
}

function named(zone, files) {
  const name = zone.querySelector("[data-drop-name]");
  if (files.length) {
    name.textContent = [...files].map((f) => `${f.name}, ${size(f.size)}`).join("; ");
  }
}

function size(bytes) {
  const units = ["B", "kB", "MB", "GB"];
  let index = 0;
  let value = bytes;
  while (value >= 1000 && index < units.length - 1) {
    value /= 1000;
    index += 1;
  }
  return `${index ? value.toFixed(1) : value} ${units[index]}`;
}

function say(text) {
  document.dispatchEvent(new CustomEvent("hub:announce", { detail: text }));
}

function fault(form, text) {
  delete form.dataset.sending;
  setBusy(form, false);
  document.dispatchEvent(new CustomEvent("hub:toast", { detail: text }));
}

function setBusy(form, busy) {
  const button = form.querySelector("[type=submit]");
  if (busy) button?.setAttribute("aria-busy", "true");
  else button?.removeAttribute("aria-busy");
  const bar = form.querySelector("[data-upload-progress]");
  if (bar) bar.hidden = !busy;
}

function showProgress(form, done, total) {
  const bar = form.querySelector("[data-upload-progress]");
  if (!bar) return;
  const percent = Math.floor((100 * done) / total);
  const progress = bar.querySelector("progress");
  if (percent < 100) progress.value = percent;
  else progress.removeAttribute("value"); // sent; the hub is reading it
  bar.querySelector("span").textContent = percent < 100 ? `${percent}%` : "Checking";
}

// The answer is a whole page: it takes the place of this one, messages and all.
function showAnswer(request, form) {
  const type = request.getResponseHeader("Content-Type") ?? "";
  if (!type.startsWith("text/html")) {
    fault(form, `The upload failed (${request.status}).`);
    return;
  }
  const page = new DOMParser().parseFromString(request.responseText, "text/html");
  if (request.responseURL !== window.location.href) {
    window.history.pushState({}, "", request.responseURL);
    replaced = true;
  }
  document.title = page.title;
  document.body.replaceChildren(...page.body.childNodes);
  window.htmx?.process(document.body);
  document.dispatchEvent(new CustomEvent("hub:load"));
  window.scrollTo(0, 0);
  if (!document.querySelector("[data-focus]")) {
    document.getElementById("content")?.focus();
  }
}

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!form.matches("form[data-upload]") || event.defaultPrevented) return;
  event.preventDefault();
  if (form.dataset.sending) return;
  form.dataset.sending = "yes";
  const request = new XMLHttpRequest();
  request.open("POST", form.action);
  request.upload.addEventListener("progress", (e) => {
    if (e.lengthComputable) showProgress(form, e.loaded, e.total);
  });
  request.upload.addEventListener("load", () => say("Sent. The hub checks the file."));
  request.addEventListener("load", () => showAnswer(request, form));
  request.addEventListener("error", () => fault(form, "The connection broke. Try again."));
  request.send(new FormData(form, event.submitter));
  setBusy(form, true);
  say("Upload started.");
});

// Going back to a page that an upload's answer replaced loads it anew.
let replaced = false;
window.addEventListener("popstate", () => {
  if (replaced) window.location.reload();
});

document.addEventListener("htmx:load", (event) => enhance(event.detail.elt));
document.addEventListener("hub:load", () => enhance(document));
enhance(document);
