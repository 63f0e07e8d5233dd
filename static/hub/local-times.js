// Turns <time datetime data-local> from UTC into the viewer's zone.

const DATE = { day: "2-digit", month: "short", year: "numeric" };
const CLOCK = { hour: "2-digit", minute: "2-digit", hour12: false };
const WHOLE = new Intl.DateTimeFormat("en-GB", { ...DATE, ...CLOCK });
const DAY = new Intl.DateTimeFormat("en-GB", DATE);
const EXACT = new Intl.DateTimeFormat("en-GB", {
  ...DATE,
  ...CLOCK,
  second: "2-digit",
  timeZoneName: "short",
});
const RELATIVE = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
const UNITS = [
  ["day", 86400],
  ["hour", 3600],
  ["minute", 60],
];

function relative(moment) {
  const seconds = (moment - Date.now()) / 1000;
  if (Math.abs(seconds) > 7 * 86400) return DAY.format(moment);
  for (const [unit, length] of UNITS) {
    if (Math.abs(seconds) >= length) {
      return RELATIVE.format(Math.round(seconds / length), unit);
    }
  }
  return seconds <= 0 ? "just now" : "in a moment";
}

function show(element) {
  const moment = new Date(element.dateTime);
  if (Number.isNaN(moment.getTime())) return;
  const style = element.dataset.local;
  if (style === "day") return; // a calendar date has no zone
  if (style === "relative") element.textContent = relative(moment);
  else element.textContent = (style === "date" ? DAY : WHOLE).format(moment);
  element.title = EXACT.format(moment);
}

function showAll(root) {
  for (const element of root.querySelectorAll("time[data-local]")) show(element);
  if (root.matches?.("time[data-local]")) show(root);
}

document.addEventListener("htmx:load", (event) => showAll(event.detail.elt));
document.addEventListener("hub:load", () => showAll(document));
window.setInterval(() => {
  for (const element of document.querySelectorAll('time[data-local="relative"]')) {
    show(element);
  }
}, 30000);
showAll(document);
