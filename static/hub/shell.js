// The navigation on small screens, menus, the search key, and forms sent twice.
// Everything is delegated from the document: swapped content needs no set-up.

function setNav(open) {
  const shell = document.querySelector(".hub-shell");
  const toggle = document.querySelector("[data-nav-toggle]");
  if (!shell || !toggle) return;
  const was = shell.classList.toggle("is-nav-open", open);
  toggle.setAttribute("aria-expanded", String(open));
  if (was) document.querySelector(".hub-side a")?.focus();
}

function navIsOpen() {
  return Boolean(document.querySelector(".hub-shell.is-nav-open"));
}

function closeMenus(except) {
  for (const menu of document.querySelectorAll("[data-menu][open]")) {
    if (menu !== except) menu.open = false;
  }
}

document.addEventListener("click", (event) => {
  const target = event.target;
  closeMenus(target.closest("[data-menu]"));
  if (target.closest("[data-nav-toggle]")) setNav(!navIsOpen());
  else if (target.closest("[data-nav-close]")) setNav(false);
});

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") {
    const menu = document.querySelector("[data-menu][open]");
    if (menu) {
      menu.open = false;
      menu.querySelector("summary").focus();
    } else if (navIsOpen()) {
      setNav(false);
      document.querySelector("[data-nav-toggle]").focus();
    }
  }
  const typing = event.target.closest("input, textarea, select, [contenteditable]");
  if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey) {
    const search = document.querySelector("[data-search]");
    if (search) {
      event.preventDefault();
      search.focus();
    }
  }
  moveBetweenTabs(event);
});

// Tabs are links; the arrow keys, Home and End move between them.
function moveBetweenTabs(event) {
  const tab = event.target.closest("[data-tabs] a");
  if (!tab) return;
  const tabs = [...tab.closest("[data-tabs]").querySelectorAll("a")];
  const here = tabs.indexOf(tab);
  const next = {
    ArrowRight: tabs[(here + 1) % tabs.length],
    ArrowLeft: tabs[(here - 1 + tabs.length) % tabs.length],
    Home: tabs[0],
    End: tabs.at(-1),
  }[event.key];
  if (next) {
    event.preventDefault();
    next.focus();
  }
}

// A form is sent once: its button is busy until the next page (or a page from the cache).
// Downloads stay on the page and say so with data-download.
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (event.defaultPrevented || form.method !== "post") return;
  if (form.matches("[data-download], [data-upload]")) return;
  if (form.matches("[hx-post], [hx-put], [hx-delete]")) return;
  if (form.dataset.sent) {
    event.preventDefault();
    return;
  }
  form.dataset.sent = "yes";
  event.submitter?.setAttribute("aria-busy", "true");
});

window.addEventListener("pageshow", (event) => {
  if (!event.persisted) return;
  for (const form of document.querySelectorAll("form[data-sent]")) {
    delete form.dataset.sent;
    form.querySelector("[aria-busy]")?.removeAttribute("aria-busy");
  }
});

function settle() {
  document.querySelector("[data-focus]")?.focus();
  document.querySelector(".hub-tabs [aria-current]")?.scrollIntoView({
    block: "nearest",
    inline: "center",
  });
}

document.addEventListener("hub:load", settle);
settle();
