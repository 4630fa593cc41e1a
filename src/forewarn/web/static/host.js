// The charts of one component, drawn by Plotly in the page's own colours, and drawn anew when the colours change.

const dark = matchMedia("(prefers-color-scheme: dark)");
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const OPTIONS = { displayModeBar: false, responsive: true };

function layout(more) {
  const axis = { gridcolor: colour("--line"), zerolinecolor: colour("--line"), linecolor: colour("--line"), fixedrange: true };
  return {
    margin: { l: 68, r: 12, t: 6, b: 30 },
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: colour("--muted") },
    hoverlabel: { bgcolor: colour("--ink"), font: { color: colour("--panel") } },
    showlegend: false, hovermode: "x",
    ...more,
    xaxis: { ...axis, ...more.xaxis }, yaxis: { ...axis, ...more.yaxis },
  };
}

function curve(element, data) {
  const x = data.horizons;
  const floor = (values) => values.map((value) => Math.max(value, 1e-4));
  const traces = [];
  if (data.low.length && data.high.length) {
    traces.push({ x, y: floor(data.high), mode: "lines", line: { width: 0 }, hoverinfo: "skip" });
    traces.push({ x, y: floor(data.low), mode: "lines", line: { width: 0 }, fill: "tonexty", fillcolor: colour("--accent-soft"), hoverinfo: "skip" });
  }
  traces.push({ x, y: floor(data.risk), mode: "lines+markers", line: { color: colour("--accent"), width: 2.5 }, marker: { size: 7 }, hovertemplate: "%{y:.3g} %<extra></extra>" });
  if (data.threshold !== null) {
    traces.push({ x: [data.threshold_at], y: [data.threshold], mode: "markers+text", marker: { symbol: "line-ew-open", size: 34, color: colour("--warn"), line: { width: 3 } }, text: ["threshold"], textposition: "top center", textfont: { color: colour("--warn") }, hovertemplate: "threshold %{y:.3g} %<extra></extra>" });
  }
  if (data.median) {
    traces.push({ x: [data.threshold_at], y: [data.median], mode: "markers+text", marker: { symbol: "line-ew-open", size: 34, color: colour("--muted"), line: { width: 2 } }, text: ["median of this fleet"], textposition: "top center", textfont: { color: colour("--muted") }, hovertemplate: "median of this fleet %{y:.3g} %<extra></extra>" });
  }
  Plotly.react(element, traces, layout({ yaxis: { type: "log", ticksuffix: " %", dtick: 1, exponentformat: "none" }, xaxis: { type: "category" } }), OPTIONS);
}

// Figures are laid out before they are drawn: each then has the width that it keeps. The ones that stand are drawn anew.
function chartsFor(holder, histories) {
  const titles = histories.map((data) => (data.unit && !data.title.includes(data.unit) ? `${data.title} (${data.unit})` : data.title));
  const wanted = titles.map((title, i) => [...histories[i].reasons, title]);
  const standing = [...holder.querySelectorAll("figcaption")].map((caption) => [...caption.children].map((e) => e.textContent));
  if (JSON.stringify(wanted) !== JSON.stringify(standing)) holder.replaceChildren(...wanted.map(figure));
  return [...holder.querySelectorAll(".chart")];
}

// The reasons in words stand beside the series that they were read off.
function figure(texts) {
  const made = document.createElement("figure");
  const caption = document.createElement("figcaption");
  texts.forEach((text, i) => {
    const line = document.createElement(i < texts.length - 1 ? "b" : "span");
    line.textContent = text;
    caption.append(line);
  });
  const chart = document.createElement("div");
  chart.className = "chart";
  made.append(caption, chart);
  return made;
}

function history(chart, data) {
  const trace = { x: data.time, y: data.value, mode: "lines", line: { color: colour("--accent"), width: 1.5 }, hovertemplate: "%{y:.6~g}<extra></extra>" };
  Plotly.react(chart, [trace], layout({ yaxis: { rangemode: "tozero", nticks: 4 }, xaxis: { type: "date", nticks: 3 }, margin: { l: 44, r: 12, t: 6, b: 40 } }), OPTIONS);
}

async function draw() {
  const holder = document.getElementById("histories");
  if (!holder) return;
  const answer = await fetch(holder.dataset.figures);
  if (!answer.ok || !holder.isConnected) return;
  const figures = await answer.json();
  const chart = document.getElementById("curve");
  if (chart && figures.curve) curve(chart, figures.curve);
  const charts = chartsFor(holder, figures.histories);
  figures.histories.forEach((data, i) => history(charts[i], data));
  drawn = { curve: chart, histories: holder };
}

// When the page's piece is renewed, charts of the same component stay on screen until they are drawn anew.
let drawn = {};
function renewed() {
  for (const [id, old] of Object.entries(drawn)) {
    const fresh = document.getElementById(id);
    if (fresh && old && fresh.dataset.figures === old.dataset.figures) fresh.replaceWith(old);
  }
  draw();
}

dark.addEventListener("change", draw);
document.getElementById("host").addEventListener("placed", renewed);
if (document.readyState === "complete") draw(); else addEventListener("load", draw);
