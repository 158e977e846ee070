/**
 * Style and script of the report page. In: nothing. Out: text that `report.ts` puts into the page. The script only adds
 * the read-out under the pointer; without it the page is complete.
 */

export const pageStyle: string = `
:root { color-scheme: light dark;
  --page: #f7f7f5; --card: #fff; --ink: #1c1e21; --muted: #63676e; --rule: #e3e3df; --grid: #ecece8;
  --series-0: #2563c9; --series-1: #c2540a; --series-2: #0f8a63; --series-3: #a13fa8; --series-4: #8a6d00; --series-5: #b3263e; }
@media (prefers-color-scheme: dark) { :root {
  --page: #14161a; --card: #1c1f24; --ink: #e8e9eb; --muted: #9ba1aa; --rule: #30343b; --grid: #282c32;
  --series-0: #74a7ff; --series-1: #f29a56; --series-2: #4cc79b; --series-3: #d98be0; --series-4: #d6b94a; --series-5: #f5808f; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
main { max-width: 1180px; margin: 0 auto; padding: 32px 20px 56px; }
h1 { font-size: 26px; line-height: 1.2; margin: 0 0 4px; letter-spacing: -0.01em; }
h2 { font-size: 17px; margin: 36px 0 12px; }
.sub { color: var(--muted); margin: 0 0 24px; }
.figures { display: grid; grid-template-columns: repeat(auto-fill, minmax(160px, 1fr)); gap: 12px; margin: 0; padding: 0; }
.figures div, .chart, .sample, table { background: var(--card); border: 1px solid var(--rule); border-radius: 10px; }
.figures div { padding: 12px 14px; display: flex; flex-direction: column; }
.figures dt { color: var(--muted); font-size: 13px; }
.figures dd { margin: 0; }
.figures dd.value { font-size: 22px; font-weight: 600; letter-spacing: -0.01em; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
.figures dd.note { color: var(--muted); font-size: 12.5px; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 460px), 1fr)); gap: 14px; }
.chart { margin: 0; padding: 14px 14px 6px; position: relative; display: flex; flex-direction: column; }
.chart svg { margin-top: auto; padding-top: 8px; }
.chart figcaption { display: flex; flex-direction: column; }
.chart figcaption span { color: var(--muted); font-size: 13px; }
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: 2px 14px; margin: 6px 0 0; padding: 0; font-size: 13px; }
.legend i, .tip i { display: inline-block; width: 12px; height: 3px; border-radius: 2px; margin-right: 6px; vertical-align: middle; }
svg { display: block; width: 100%; height: auto; touch-action: pan-y; }
.grid { stroke: var(--grid); } .axis { stroke: var(--rule); }
.tick { fill: var(--muted); font-size: 12px; font-variant-numeric: tabular-nums; }
.line { fill: none; stroke-width: 2; stroke-linejoin: round; } .line.faint { opacity: 0.28; stroke-width: 1.2; }
.reference { stroke: var(--muted); stroke-dasharray: 5 4; }
.dot { stroke: var(--card); stroke-width: 1; }
.cursor line { stroke: var(--muted); }
.cursor circle { stroke: var(--card); stroke-width: 1.5; }
.tip { position: absolute; pointer-events: none; background: var(--card); border: 1px solid var(--rule); border-radius: 8px;
  padding: 6px 10px; font-size: 13px; box-shadow: 0 4px 16px rgb(0 0 0 / 0.16); white-space: nowrap; z-index: 1; max-height: 260px; overflow: hidden; }
.tip b { display: block; font-variant-numeric: tabular-nums; }
.tip span { float: right; margin-left: 16px; font-variant-numeric: tabular-nums; }
.sample { padding: 14px 16px; margin-bottom: 12px; }
.sample p { margin: 0 0 8px; color: var(--muted); font-size: 13px; }
pre { margin: 0; white-space: pre-wrap; overflow-wrap: anywhere; font: 13px/1.55 ui-monospace, "SF Mono", "Cascadia Mono", Menlo, Consolas, monospace; }
pre mark { background: none; color: var(--series-0); font-weight: 600; }
.tables { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 380px), 1fr)); gap: 0 14px; align-items: start; }
table { width: 100%; border-collapse: separate; border-spacing: 0; overflow: hidden; font-size: 13.5px; }
th, td { text-align: left; font-weight: 400; padding: 5px 14px; border-top: 1px solid var(--grid); vertical-align: top; }
tr:first-child > * { border-top: 0; }
th { color: var(--muted); } td { text-align: right; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
footer { color: var(--muted); font-size: 13px; margin-top: 32px; }
`;

export const pageScript: string = `
for (const figure of document.querySelectorAll(".chart")) {
  const svg = figure.querySelector("svg"), tip = figure.querySelector(".tip"), cursor = figure.querySelector(".cursor");
  const data = JSON.parse(figure.querySelector("script").textContent);
  const [left, right, first, last] = data.x, [top, bottom, low, high, log] = data.y;
  const f = log ? Math.log : (value) => value;
  const px = (step) => left + ((step - first) / (last - first)) * (right - left);
  const py = (value) => bottom - ((f(value) - f(low)) / (f(high) - f(low))) * (bottom - top);
  const nearest = (steps, at) => {
    let a = 0, b = steps.length - 1;
    while (b - a > 1) { const m = (a + b) >> 1; if (steps[m] < at) a = m; else b = m; }
    return Math.abs(steps[a] - at) <= Math.abs(steps[b] - at) ? a : b;
  };
  const hide = () => { tip.hidden = true; cursor.setAttribute("visibility", "hidden"); };
  const dots = data.series.map((one) => {
    const dot = document.createElementNS("http://www.w3.org/2000/svg", "circle");
    dot.setAttribute("r", 4); dot.style.fill = one.colour; cursor.append(dot); return dot;
  });
  const show = (event) => {
    const box = svg.getBoundingClientRect(), scale = box.width / svg.viewBox.baseVal.width;
    const at = first + (((event.clientX - box.left) / scale - left) / (right - left)) * (last - first);
    const densest = data.series.reduce((a, b) => (b.steps.length > a.steps.length ? b : a));
    const step = densest.steps[nearest(densest.steps, at)];
    tip.textContent = "";
    const head = document.createElement("b"); head.textContent = "step " + step.toLocaleString("en-US"); tip.append(head);
    data.series.forEach((one, i) => {
      const k = nearest(one.steps, step);
      const gap = one.steps.length > 1 ? (one.steps.at(-1) - one.steps[0]) / (one.steps.length - 1) : 0;
      const near = Math.abs(one.steps[k] - step) <= gap;
      dots[i].setAttribute("visibility", near ? "inherit" : "hidden");
      if (!near) return;
      dots[i].setAttribute("cx", px(one.steps[k])); dots[i].setAttribute("cy", py(one.values[k]));
      const row = document.createElement("div"), key = document.createElement("i"), value = document.createElement("span");
      key.style.background = one.colour;
      const v = one.values[k];
      value.textContent = Math.abs(v) >= 1000 ? Math.round(v).toLocaleString("en-US") : String(Number(v.toPrecision(4)));
      row.append(key, one.name, value); tip.append(row);
    });
    const line = cursor.querySelector("line"); line.setAttribute("x1", px(step)); line.setAttribute("x2", px(step));
    cursor.setAttribute("visibility", "visible"); tip.hidden = false;
    const x = px(step) * scale + (box.left - figure.getBoundingClientRect().left);
    const beside = x + 14 + tip.offsetWidth > figure.clientWidth ? x - 14 - tip.offsetWidth : x + 14;
    tip.style.left = Math.max(4, beside) + "px";
    tip.style.top = box.top - figure.getBoundingClientRect().top + top * scale + 4 + "px";
  };
  svg.addEventListener("pointermove", show); svg.addEventListener("pointerdown", show);
  svg.addEventListener("pointerleave", hide);
}
`;
