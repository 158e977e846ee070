/**
 * One line chart as SVG text. In: series of points over training steps. Out: a `<figure>` that is complete without
 * scripts, plus the numbers that the page's script needs for its read-out. Colours are classes, so the page decides
 * them for light and dark.
 */

/** A line of a chart. */
export interface Series {
  readonly name: string;
  readonly points: readonly (readonly [step: number, value: number])[];
  /** Draw the points faintly and a moving average over them. */
  readonly smooth?: boolean | undefined;
  /** Draw a dot at each point; for series that are measured rarely. */
  readonly dots?: boolean | undefined;
}

export interface Chart {
  readonly title: string;
  /** One line under the title: what it is and which way is good. */
  readonly note?: string | undefined;
  readonly series: readonly Series[];
  readonly scale?: "linear" | "log" | undefined;
  /** The value axis begins at zero. */
  readonly fromZero?: boolean | undefined;
  /** Horizontal lines to compare with. */
  readonly references?: readonly { readonly name: string; readonly value: number }[] | undefined;
}

const width = 560;
const height = 280;
const plot = { left: 52, right: 14, top: 12, bottom: 34 };
const maxPoints = 400;

/** Text of a chart, or nothing when no series has a point to draw. */
export function renderChart(chart: Chart, index: number): string {
  const log = chart.scale === "log";
  // Beyond these a logarithmic axis runs out of exponents; nothing measured gets near.
  const drawable = (value: number): boolean =>
    Number.isFinite(value) && (!log || (value > 1e-30 && value < 1e30));
  const series = chart.series
    .map((one) => ({
      ...one,
      points: thinOut(
        one.points.filter(([step, value]) => Number.isFinite(step) && drawable(value)),
      ),
    }))
    .filter((one) => one.points.length > 0);
  if (series.length === 0) return "";
  const references = (chart.references ?? []).filter((one) => drawable(one.value));

  const steps = series.flatMap((one) => one.points.map(([step]) => step));
  const values = series.flatMap((one) => one.points.map(([, value]) => value));
  for (const one of references) values.push(one.value);
  const xTicks = linearTicks(Math.min(...steps), Math.max(...steps), 6, false);
  const yMin = Math.min(...values, chart.fromZero ? 0 : Number.POSITIVE_INFINITY);
  const yMax = Math.max(...values);
  const yTicks = log ? logTicks(yMin, yMax) : linearTicks(yMin, yMax, 5, true);
  const xDomain = spread([Math.min(...steps), Math.max(...steps)]);
  const yDomain = spread([
    Math.min(yMin, yTicks[0] ?? yMin),
    Math.max(yMax, yTicks.at(-1) ?? yMax),
  ]);
  const x = (step: number): number =>
    plot.left +
    ((step - xDomain[0]) / (xDomain[1] - xDomain[0])) * (width - plot.left - plot.right);
  const along = (value: number): number =>
    log
      ? (Math.log(value) - Math.log(yDomain[0])) / (Math.log(yDomain[1]) - Math.log(yDomain[0]))
      : (value - yDomain[0]) / (yDomain[1] - yDomain[0]);
  const y = (value: number): number =>
    height - plot.bottom - along(value) * (height - plot.top - plot.bottom);

  const parts: string[] = [];
  for (const tick of yTicks)
    parts.push(
      `<line class="grid" x1="${plot.left}" x2="${width - plot.right}" y1="${px(y(tick))}" y2="${px(y(tick))}"/>`,
      `<text class="tick" x="${plot.left - 8}" y="${px(y(tick) + 4)}" text-anchor="end">${formatTick(tick)}</text>`,
    );
  for (const tick of xTicks)
    parts.push(
      `<text class="tick" x="${px(x(tick))}" y="${height - plot.bottom + 18}" text-anchor="middle">${formatTick(tick)}</text>`,
    );
  parts.push(
    `<line class="axis" x1="${plot.left}" x2="${width - plot.right}" y1="${height - plot.bottom}" y2="${height - plot.bottom}"/>`,
  );
  for (const one of references) {
    parts.push(
      `<line class="reference" x1="${plot.left}" x2="${width - plot.right}" y1="${px(y(one.value))}" y2="${px(y(one.value))}"/>`,
      `<text class="tick" x="${plot.left + 6}" y="${px(y(one.value) - 5)}">${escapeHtml(one.name)} ${formatValue(one.value)}</text>`,
    );
  }
  for (const [at, one] of series.entries()) {
    const colour = seriesColour(at, series.length);
    const path = (points: Series["points"]): string =>
      points
        .map(([step, value], i) => `${i === 0 ? "M" : "L"}${px(x(step))} ${px(y(value))}`)
        .join("");
    if (one.smooth && one.points.length > 20) {
      parts.push(`<path class="line faint" style="stroke:${colour}" d="${path(one.points)}"/>`);
      parts.push(
        `<path class="line" style="stroke:${colour}" d="${path(movingAverage(one.points))}"/>`,
      );
    } else parts.push(`<path class="line" style="stroke:${colour}" d="${path(one.points)}"/>`);
    if ((one.dots && one.points.length <= 60) || one.points.length === 1)
      for (const [step, value] of one.points)
        parts.push(
          `<circle class="dot" style="fill:${colour}" cx="${px(x(step))}" cy="${px(y(value))}" r="3"/>`,
        );
  }
  const readOut = {
    x: [plot.left, width - plot.right, ...xDomain],
    y: [plot.top, height - plot.bottom, ...yDomain, log ? 1 : 0],
    series: series.map((one, at) => ({
      name: one.name,
      colour: seriesColour(at, series.length),
      steps: one.points.map(([step]) => step),
      values: one.points.map(([, value]) => Number(value.toPrecision(6))),
    })),
  };
  const legend =
    series.length > 1
      ? `<ul class="legend">${series
          .map(
            (one, at) =>
              `<li><i style="background:${seriesColour(at, series.length)}"></i>${escapeHtml(one.name)}</li>`,
          )
          .join("")}</ul>`
      : "";
  return `<figure class="chart" id="chart-${index}">
<figcaption><b>${escapeHtml(chart.title)}</b>${chart.note ? `<span>${escapeHtml(chart.note)}</span>` : ""}</figcaption>
${legend}<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="${escapeHtml(chart.title)} over training steps">
${parts.join("\n")}
<g class="cursor" visibility="hidden"><line y1="${plot.top}" y2="${height - plot.bottom}"/></g>
</svg>
<div class="tip" hidden></div>
<script type="application/json">${embedJson(readOut)}</script>
</figure>`;
}

/** Fixed colours for a few series; for many (one per layer) a ramp, since nobody tells thirty colours apart. */
function seriesColour(index: number, count: number): string {
  if (count <= 6) return `var(--series-${index})`;
  const t = count === 1 ? 0 : index / (count - 1);
  return `color-mix(in oklch, var(--series-0) ${Math.round(100 * (1 - t))}%, var(--series-1))`;
}

/** At most `maxPoints` points: the mean of each run of neighbours, at the last one's step. */
export function thinOut(points: Series["points"]): Series["points"] {
  if (points.length <= maxPoints) return points;
  return Array.from({ length: maxPoints }, (_, i) => {
    const from = Math.floor((i * points.length) / maxPoints);
    const to = Math.floor(((i + 1) * points.length) / maxPoints);
    const group = points.slice(from, to);
    const mean = group.reduce((sum, [, value]) => sum + value, 0) / group.length;
    return [group.at(-1)?.[0] ?? 0, mean] as const;
  });
}

function movingAverage(points: Series["points"]): Series["points"] {
  const reach = Math.max(2, Math.round(points.length / 60));
  return points.map(([step], i) => {
    const near = points.slice(Math.max(0, i - reach), i + reach + 1);
    return [step, near.reduce((sum, [, value]) => sum + value, 0) / near.length] as const;
  });
}

/** Round numbers (1, 2 or 5 times a power of ten) across `min` to `max`; `outside` adds one beyond each end. */
export function linearTicks(
  min: number,
  max: number,
  count: number,
  outside: boolean,
): readonly number[] {
  // A range too narrow for its size has no digits left to tell ticks apart.
  const range = max - min > 1e-9 * Math.abs(max) + 1e-30 ? max - min : Math.abs(max);
  const rough = Math.max(range, 1e-30) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const unit = [1, 2, 5, 10].map((factor) => factor * power).find((one) => one >= rough) ?? rough;
  const first = outside ? Math.floor(min / unit) : Math.ceil(min / unit);
  const last = outside ? Math.ceil(max / unit) : Math.floor(max / unit);
  return Array.from({ length: last - first + 1 }, (_, i) =>
    Number(((first + i) * unit).toPrecision(12)),
  );
}

function logTicks(min: number, max: number): readonly number[] {
  const from = Math.floor(Math.log10(min));
  const to = Math.ceil(Math.log10(max));
  const factors = to - from > 3 ? [1] : [1, 2, 5];
  const all = Array.from({ length: to - from + 1 }, (_, i) =>
    factors.map((factor) => Number((factor * 10 ** (from + i)).toPrecision(6))),
  ).flat();
  const below = all.findLast((tick) => tick <= min) ?? min;
  const above = all.find((tick) => tick >= max) ?? max;
  return all.filter((tick) => tick >= below && tick <= above);
}

function spread([min, max]: readonly [number, number]): readonly [number, number] {
  if (max - min > 1e-12 * Math.abs(max)) return [min, max];
  const margin = Math.abs(min) * 0.1 || 1;
  return [min - margin, max + margin];
}

function px(value: number): string {
  return String(Math.round(value * 10) / 10);
}

function formatTick(value: number): string {
  const size = Math.abs(value);
  if (size >= 1e6) return `${Number((value / 1e6).toPrecision(4))}M`;
  if (size >= 1e4) return `${Number((value / 1e3).toPrecision(4))}k`;
  return String(Number(value.toPrecision(4)));
}

/** A measured number as people read it: four significant digits, thousands in groups. */
export function formatValue(value: number): string {
  if (!Number.isFinite(value)) return "not a number";
  if (Math.abs(value) >= 1000) return Math.round(value).toLocaleString("en-US");
  return String(Number(value.toPrecision(4)));
}

export function escapeHtml(text: string): string {
  return text.replaceAll(
    /[&<>"']/g,
    (character) => `&#${(character.codePointAt(0) ?? 0).toString()};`,
  );
}

/** JSON that no text in it can end early. */
function embedJson(value: unknown): string {
  return JSON.stringify(value).replaceAll("<", "\\u003c");
}
