// Says status changes to screen readers, and faults of the connection to everyone.
// A swapped fragment that holds data-announce="text" is read when the text is new.

const said = new Map();

function announce(text) {
  const region = document.getElementById("hub-announcer");
  if (!region || !text) return;
  region.textContent = "";
  window.setTimeout(() => {
    region.textContent = text;
  }, 60);
}

function look(root) {
  const found = [...root.querySelectorAll("[data-announce], [data-announce-new]")];
  if (root.matches?.("[data-announce], [data-announce-new]")) found.push(root);
  for (const element of found) {
    const text = element.dataset.announce ?? element.dataset.announceNew;
    const key = element.dataset.announceKey ?? element.id ?? "";
    const before = said.get(key);
    said.set(key, text);
    // The first sight of a thing is not a change of it.
    if (before !== undefined && before !== text) announce(text);
  }
}

let hide;
function toast(text) {
  const box = document.getElementById("hub-toast");
  if (!box) return;
  box.textContent = text;
  box.hidden = false;
  window.clearTimeout(hide);
  hide = window.setTimeout(() => {
    box.hidden = true;
  }, 6000);
}

const FAULTS = {
  403: "You may not do this.",
  404: "This is no longer here, or no longer shared with you.",
  413: "The file is larger than this hub accepts.",
  429: "Too many requests. Wait a moment and try again.",
};

document.addEventListener("htmx:afterSettle", (event) => look(event.target));
document.addEventListener("htmx:sendError", () => {
  toast("The hub does not answer. The page keeps trying.");
});
document.addEventListener("htmx:responseError", (event) => {
  const { status } = event.detail.xhr;
  toast(FAULTS[status] ?? `Something went wrong in the hub (${status}).`);
});
document.addEventListener("hub:announce", (event) => announce(event.detail));
document.addEventListener("hub:toast", (event) => toast(event.detail));
look(document.body);
