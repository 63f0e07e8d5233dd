// Figures as Plotly traces: one function a kind, no reading of the page.
// The formats are written down beside figure_tables.py, which makes the tables from them.

const number = (value) => (value === null || value === "" ? null : Number(value));
const numbers = (values) => (values ?? []).map(number);

// Plotly reads a little HTML in its texts; names that people typed are not HTML.
function plain(text) {
  return String(text ?? "")
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;");
}

function faded(hex, alpha) {
  const [r, g, b] = [1, 3, 5].map((i) => Number.parseInt(hex.slice(i, i + 2), 16));
  return `rgba(${r},${g},${b},${alpha})`;
}

// Black or white, whichever is read better on a colour between the two heat ends.
function mixed(low, high, share) {
  return [1, 3, 5].map((i) => {
    const [a, b] = [low, high].map((hex) => Number.parseInt(hex.slice(i, i + 2), 16));
    return a + (b - a) * share;
  });
}

function readable(low, high, share) {
  const [r, g, b] = mixed(low, high, share);
  return 0.299 * r + 0.587 * g + 0.114 * b > 140 ? "#10212b" : "#ffffff";
}

function axis(spec, colours) {
  const { title, log, range, percent, format } = spec ?? {};
  const drawn = {
    title: { text: plain(title), standoff: 12, font: { color: colours.muted } },
    type: log ? "log" : undefined,
    gridcolor: colours.line,
    linecolor: colours.line,
    zerolinecolor: colours.line,
    tickfont: { color: colours.muted },
    tickformat: percent ? ".0%" : format,
    automargin: true,
    fixedrange: true,
  };
  if (range) drawn.range = log ? range.map((v) => Math.log10(v)) : numbers(range);
  return drawn;
}

// 1, 2, 5 a decade where a logarithmic axis spans few of them; else the decades.
function logTicks(values) {
  const known = values.filter((value) => value > 0);
  if (!known.length) return {};
  const from = Math.floor(Math.log10(Math.min(...known)));
  const to = Math.ceil(Math.log10(Math.max(...known)));
  const steps = to - from <= 3 ? [1, 2, 5] : [1];
  const ticks = [];
  for (let power = from; power <= to; power += 1) {
    for (const step of steps) ticks.push(Number(`${step}e${power}`));
  }
  return { tickvals: ticks, ticktext: ticks.map(String) };
}

function tickLogAxes(layout, traces) {
  for (const name of ["x", "y"]) {
    const drawn = layout[`${name}axis`];
    if (drawn.type === "log") Object.assign(drawn, logTicks(traces.flatMap((t) => t[name])));
  }
}

function baseLayout(figure, colours, { legend, narrow }) {
  return {
    font: { family: colours.font, size: 12.5, color: colours.ink },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    margin: { l: 48, r: narrow ? 10 : 18, t: legend ? 34 : 12, b: 44 },
    xaxis: axis(figure.x, colours),
    yaxis: axis(figure.y, colours),
    showlegend: legend,
    legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", font: { color: colours.ink } },
    hoverlabel: {
      bgcolor: colours.surface,
      bordercolor: colours.line,
      font: { family: colours.font, color: colours.ink },
    },
    dragmode: false,
    shapes: [],
    annotations: [],
  };
}

function rule(layout, colours, { x, y, label, colour }) {
  const stroke = { color: colour ?? colours.muted, width: 1.5, dash: "dash" };
  const across = y !== undefined;
  const at = number(across ? y : x);
  layout.shapes.push({
    type: "line",
    line: stroke,
    ...(across
      ? { xref: "paper", x0: 0, x1: 1, y0: at, y1: at }
      : { yref: "paper", y0: 0, y1: 1, x0: at, x1: at }),
  });
  if (!label) return;
  const log = (across ? layout.yaxis : layout.xaxis).type === "log";
  const place = log ? Math.log10(at) : at;
  layout.annotations.push({
    text: plain(label),
    showarrow: false,
    font: { color: colour ?? colours.muted, size: 12 },
    ...(across
      ? { xref: "paper", x: 1, xanchor: "right", y: place, yanchor: "bottom" }
      : { yref: "paper", y: 1, yanchor: "top", x: place, xanchor: "left", xshift: 4 }),
  });
}

function rules(figure, layout, colours) {
  for (const line of [...(figure.hlines ?? []), ...(figure.vlines ?? [])]) {
    rule(layout, colours, line);
  }
}

function line(figure, colours, narrow) {
  const traces = [];
  figure.series.forEach((series, index) => {
    const colour = colours.series[index % colours.series.length];
    const x = numbers(series.x);
    if (series.lower && series.upper) {
      traces.push({
        x: [...x, ...x.toReversed()],
        y: [...numbers(series.upper), ...numbers(series.lower).toReversed()],
        type: "scatter",
        mode: "lines",
        fill: "toself",
        fillcolor: faded(colour, 0.18),
        line: { width: 0 },
        hoverinfo: "skip",
        showlegend: false,
      });
    }
    traces.push({
      x,
      y: numbers(series.y),
      name: plain(series.name),
      type: "scatter",
      mode: series.markers ? "lines+markers" : "lines",
      line: {
        color: colour,
        width: 2.25,
        dash: series.dash ? "dash" : "solid",
        shape: series.step ? "hv" : "linear",
      },
      marker: { size: 6, color: colour },
      hovertemplate: `%{x:.4~g}, %{y:.4~g}<extra>${plain(series.name)}</extra>`,
    });
  });
  const legend = figure.series.length > 1;
  const layout = baseLayout(figure, colours, { legend, narrow });
  if (figure.diagonal) {
    layout.shapes.push({
      type: "line",
      x0: 0,
      y0: 0,
      x1: 1,
      y1: 1,
      layer: "below",
      line: { color: colours.muted, width: 1, dash: "dot" },
    });
  }
  for (const mark of figure.marks ?? []) {
    traces.push({
      x: [number(mark.x)],
      y: [number(mark.y)],
      text: [plain(mark.label)],
      type: "scatter",
      mode: "markers+text",
      textposition: "bottom right",
      marker: { size: 10, color: colours.ink },
      cliponaxis: false,
      showlegend: false,
      hoverinfo: "text",
    });
  }
  tickLogAxes(layout, traces);
  rules(figure, layout, colours);
  return { traces, layout };
}

function bar(figure, colours, narrow) {
  const names = figure.categories.map(plain);
  const traces = figure.series.map((series, index) => {
    const values = numbers(series.values);
    const [along, across] = figure.horizontal ? ["y", "x"] : ["x", "y"];
    const trace = {
      type: "bar",
      orientation: figure.horizontal ? "h" : "v",
      name: plain(series.name),
      [along]: names,
      [across]: values,
      marker: { color: colours.series[index % colours.series.length] },
      hovertemplate: `%{${along}}: %{${across}:,.4~g}<extra>${plain(series.name)}</extra>`,
    };
    if (series.lower && series.upper) {
      trace[`error_${across}`] = {
        type: "data",
        symmetric: false,
        array: numbers(series.upper).map((u, i) => u - values[i]),
        arrayminus: numbers(series.lower).map((l, i) => values[i] - l),
        color: colours.ink,
        thickness: 1.25,
      };
    }
    return trace;
  });
  const legend = figure.series.length > 1;
  const layout = baseLayout(figure, colours, { legend, narrow });
  layout.barmode = figure.stacked ? "stack" : "group";
  layout.bargap = 0.3;
  const categories = figure.horizontal ? layout.yaxis : layout.xaxis;
  categories.type = "category";
  categories.showgrid = false;
  if (figure.horizontal) categories.autorange = "reversed";
  rules(figure, layout, colours);
  return { traces, layout };
}

function heatmap(figure, colours, narrow) {
  const values = figure.values.map(numbers);
  const top = Math.max(...values.flat(), Number.MIN_VALUE);
  const rows = figure.rows.map(plain);
  const columns = figure.columns.map(plain);
  const layout = baseLayout(figure, colours, { legend: false, narrow });
  Object.assign(layout.xaxis, { type: "category", showgrid: false });
  Object.assign(layout.yaxis, { type: "category", showgrid: false, autorange: "reversed" });
  layout.annotations = values.flatMap((row, i) =>
    row.map((value, j) => ({
      x: columns[j],
      y: rows[i],
      text: plain(figure.texts?.[i]?.[j] ?? value?.toLocaleString("en")),
      showarrow: false,
      font: { color: readable(colours.low, colours.high, value / top), size: 14 },
    })),
  );
  const trace = {
    type: "heatmap",
    x: columns,
    y: rows,
    z: values,
    zmin: 0,
    zmax: top,
    xgap: 2,
    ygap: 2,
    showscale: false,
    colorscale: [
      [0, colours.low],
      [1, colours.high],
    ],
    hovertemplate: "%{y}, %{x}: %{z:,.4~g}<extra></extra>",
  };
  return { traces: [trace], layout };
}

// Labels of points that lie close together go to different sides; a fifth has none.
const LABEL_PLACES = [
  "top center",
  "bottom center",
  "middle right",
  "middle left",
];

function labelPlace(point, figure) {
  if (!figure.labels) return null;
  const [low, high] = figure.y?.range ?? [0, 1];
  const near = (other) =>
    Math.abs(Math.log(number(other.x) / number(point.x))) < 0.3 &&
    Math.abs(number(other.y) - number(point.y)) < 0.06 * (high - low);
  const before = figure.points.slice(0, figure.points.indexOf(point));
  return LABEL_PLACES[before.filter(near).length];
}

function scatter(figure, colours, narrow) {
  const groups = [...new Set(figure.points.map((p) => p.group ?? ""))];
  const traces = groups.map((group, index) => {
    const points = figure.points.filter((p) => (p.group ?? "") === group);
    const colour = colours.series[index % colours.series.length];
    return {
      type: "scatter",
      mode: figure.labels && !narrow ? "markers+text" : "markers",
      name: plain(group),
      x: points.map((p) => number(p.x)),
      y: points.map((p) => number(p.y)),
      text: points.map((p) => (labelPlace(p, figure) ? plain(p.label) : "")),
      hovertext: points.map((p) => plain(p.label)),
      textposition: points.map((p) => labelPlace(p, figure) ?? "top center"),
      textfont: { color: colours.muted, size: 12 },
      customdata: points.map((p) => ({ url: p.url, note: plain(p.note) })),
      cliponaxis: false,
      marker: {
        color: colour,
        opacity: 1,
        size: points.map((p) => (p.highlight ? 15 : 10)),
        line: {
          color: points.map((p) => (p.highlight ? colours.ink : colours.surface)),
          width: points.map((p) => (p.highlight ? 3 : 1)),
        },
      },
      hovertemplate: "<b>%{hovertext}</b><br>%{x:.4~g}, %{y:.4~g}<br>%{customdata.note}<extra></extra>",
    };
  });
  const legend = groups.length > 1;
  const layout = baseLayout(figure, colours, { legend, narrow });
  tickLogAxes(layout, traces);
  rules(figure, layout, colours);
  return { traces, layout };
}

function histogram(figure, colours, narrow) {
  const edges = figure.edges ? numbers(figure.edges) : null;
  const traces = figure.series.map((series, index) => ({
    type: "bar",
    name: plain(series.name),
    x: edges ? edges.slice(0, -1).map((e, i) => (e + edges[i + 1]) / 2) : figure.bins.map(plain),
    y: numbers(series.counts),
    width: edges ? edges.slice(0, -1).map((e, i) => (edges[i + 1] - e) * 0.96) : undefined,
    opacity: edges && figure.series.length > 1 ? 0.6 : 1,
    marker: { color: colours.series[index % colours.series.length] },
    hovertemplate: `%{x:.4~g}: %{y:,.4~g}<extra>${plain(series.name)}</extra>`,
  }));
  const legend = figure.series.length > 1;
  const layout = baseLayout(figure, colours, { legend, narrow });
  layout.barmode = edges ? "overlay" : "group";
  layout.bargap = 0.15;
  layout.xaxis.showgrid = false;
  if (!edges) layout.xaxis.type = "category";
  rules(figure, layout, colours);
  return { traces, layout };
}

// Plotly has no time zones: the clock's figures of the viewer's zone are handed to it.
function localStamp(stamp) {
  const moment = new Date(stamp);
  const shifted = new Date(moment - moment.getTimezoneOffset() * 60000);
  return shifted.toISOString().slice(0, 19).replace("T", " ");
}

function steps(figure, colours, narrow) {
  const colour = colours.series[0];
  const traces = [
    {
      type: "scatter",
      mode: "lines+markers",
      x: figure.points.map((p) => localStamp(p.at)),
      y: figure.points.map((p) => number(p.value)),
      text: figure.points.map((p) => plain(p.label)),
      line: { shape: "hv", color: colour, width: 2.25 },
      marker: { size: 7, color: colour },
      fill: "tozeroy",
      fillcolor: faded(colour, 0.14),
      hovertemplate: "%{x|%d %b %Y, %H:%M}<br>%{y:.4~g}<br>%{text}<extra></extra>",
      cliponaxis: false,
    },
  ];
  const layout = baseLayout(figure, colours, { legend: false, narrow });
  layout.xaxis.type = "date";
  layout.yaxis.rangemode = "tozero";
  if (figure.cap !== undefined && figure.cap !== null) {
    const highest = Math.max(number(figure.cap), ...traces[0].y);
    layout.yaxis.range = [0, highest * 1.15];
    rule(layout, colours, {
      y: figure.cap,
      label: figure.cap_label ?? "Cap",
      colour: colours.bad,
    });
  }
  return { traces, layout };
}

const KINDS = { line, bar, heatmap, scatter, histogram, steps };

export function build(figure, colours, narrow) {
  const draw = KINDS[figure.kind];
  if (!draw) throw new Error(`No figure of kind ${figure.kind}.`);
  return draw(figure, colours, narrow);
}
