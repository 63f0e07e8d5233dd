// Draws every figure. <div data-chart="id"> names a json_script whose object has a `kind`;
// figures.js turns it into Plotly's traces in the colours of the theme.

import { build } from "./figures.js";

const CONFIG = {
  responsive: true,
  displayModeBar: false,
  displaylogo: false,
  showSendToCloud: false,
  plotlyServerURL: "",
  scrollZoom: false,
};

// A megabyte and a half: fetched once, and only by a page that has a figure.
let loading;
function plotly() {
  loading ??= new Promise((done, failed) => {
    const script = document.createElement("script");
    script.src = document.querySelector("meta[name=hub-plotly]").content;
    script.addEventListener("load", () => done(window.Plotly));
    script.addEventListener("error", failed);
    document.head.append(script);
  });
  return loading;
}

function themeColours() {
  const style = getComputedStyle(document.documentElement);
  const get = (name) => style.getPropertyValue(`--hub-${name}`).trim();
  return {
    ink: get("ink"),
    muted: get("muted"),
    line: get("line"),
    surface: get("surface"),
    bad: get("bad"),
    low: get("heat-low"),
    high: get("heat-high"),
    series: [1, 2, 3, 4, 5, 6].map((n) => get(`series-${n}`)),
    font: getComputedStyle(document.body).fontFamily,
  };
}

async function draw(element) {
  const source = document.getElementById(element.dataset.chart);
  if (!source) return;
  try {
    const figure = JSON.parse(source.textContent);
    const narrow = element.clientWidth < 480;
    const { traces, layout } = build(figure, themeColours(), narrow);
    const library = await plotly();
    if (!element.isConnected) return;
    await library.react(element, traces, layout, CONFIG);
    followLinks(element, figure);
  } catch (error) {
    element.textContent = "The chart could not be drawn. Its table is below.";
    element.classList.add("hub-chart-error");
    console.error(error);
  }
}

// A point with a url leads there; the table beside the chart carries the names.
function followLinks(element, figure) {
  if (element.dataset.linked || !figure.points?.some((point) => point.url)) return;
  element.dataset.linked = "yes";
  element.on("plotly_click", (event) => {
    const url = event.points[0]?.customdata?.url;
    if (url) window.location.assign(url);
  });
}

function each(root, act) {
  for (const element of root.querySelectorAll("[data-chart]")) act(element);
  if (root.matches?.("[data-chart]")) act(root);
}

document.addEventListener("htmx:load", (event) => each(event.detail.elt, draw));
document.addEventListener("hub:load", () => each(document, draw));
document.addEventListener("hub:theme", () => each(document, draw));
document.addEventListener("htmx:beforeCleanupElement", (event) => {
  if (event.target.matches?.("[data-chart]")) window.Plotly?.purge(event.target);
});
// A chart inside a closed <details> or a dialog has no width until it opens.
document.addEventListener(
  "toggle",
  (event) => {
    if (event.target.open) each(event.target, draw);
  },
  true,
);
each(document, draw);
