// Loaded in <head> and blocking, so that no page flashes in the wrong colours.
(() => {
  const KEY = "hub-theme";
  const system = window.matchMedia("(prefers-color-scheme: dark)");

  function chosen() {
    try {
      return localStorage.getItem(KEY) || "auto";
    } catch {
      return "auto"; // storage may be forbidden
    }
  }

  function apply() {
    const choice = chosen();
    const dark = choice === "dark" || (choice === "auto" && system.matches);
    document.documentElement.dataset.bsTheme = dark ? "dark" : "light";
    for (const button of document.querySelectorAll("[data-theme-set]")) {
      button.setAttribute("aria-pressed", String(button.dataset.themeSet === choice));
    }
    document.dispatchEvent(new CustomEvent("hub:theme"));
  }

  apply();
  system.addEventListener("change", apply);
  window.addEventListener("storage", apply);
  document.addEventListener("DOMContentLoaded", apply);
  document.addEventListener("hub:load", apply);
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-theme-set]");
    if (!button) return;
    try {
      localStorage.setItem(KEY, button.dataset.themeSet);
    } catch {
      document.documentElement.dataset.bsTheme = button.dataset.themeSet;
      return;
    }
    apply();
  });
})();
