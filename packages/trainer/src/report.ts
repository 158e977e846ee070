/**
 * The report of a training run: one HTML page without network, readable without scripts. In: the run's metrics, its
 * final figures, its configuration, text it wrote. Out: the page as text. Knows no files.
 */
import type { MetricsRecord } from "./metrics.ts";
import { type Chart, escapeHtml, formatValue, renderChart, type Series } from "./report/chart.ts";
import { pageScript, pageStyle } from "./report/page-style.ts";

/** A number worth a tile of its own. */
export interface ReportFigure {
  readonly label: string;
  readonly value: number | string;
  readonly note?: string | undefined;
}

/** Text the model wrote. */
export interface ReportSample {
  readonly prompt: string;
  readonly text: string;
  /** How it was sampled. */
  readonly note?: string | undefined;
}

export interface ReportOptions {
  readonly title: string;
  readonly subtitle?: string | undefined;
  readonly records: readonly MetricsRecord[];
  readonly figures?: readonly ReportFigure[] | undefined;
  readonly samples?: readonly ReportSample[] | undefined;
  /** Key and value tables: the model's configuration, the options of the run, the machine. */
  readonly tables?:
    | readonly { readonly title: string; readonly rows: Readonly<Record<string, unknown>> }[]
    | undefined;
  /** What a general compressor needs for the held-out text, in bits per byte. */
  readonly bitsPerByteReference?: { readonly name: string; readonly value: number } | undefined;
  /** Names of the mixture-of-experts layers in `maxVioPerLayer`; counted from 0 unless told. */
  readonly moeLayerNames?: readonly string[] | undefined;
}

/** The page. */
export function renderReport(options: ReportOptions): string {
  const charts = reportCharts(options)
    .map(renderChart)
    .filter((text) => text !== "");
  const figures = (options.figures ?? []).map(
    (figure) =>
      `<div><dt>${escapeHtml(figure.label)}</dt><dd class="value">${escapeHtml(
        typeof figure.value === "number" ? formatValue(figure.value) : figure.value,
      )}</dd>${figure.note ? `<dd class="note">${escapeHtml(figure.note)}</dd>` : ""}</div>`,
  );
  const samples = (options.samples ?? []).map(
    (sample) =>
      `<div class="sample">${sample.note ? `<p>${escapeHtml(sample.note)}</p>` : ""}<pre><mark>${escapeHtml(
        sample.prompt,
      )}</mark>${escapeHtml(sample.text)}</pre></div>`,
  );
  const tables = (options.tables ?? []).map(
    (table) =>
      `<section><h2>${escapeHtml(table.title)}</h2><table>${Object.entries(table.rows)
        .filter(([, value]) => value !== undefined)
        .map(
          ([key, value]) =>
            `<tr><th scope="row">${escapeHtml(key)}</th><td>${escapeHtml(formatCell(value))}</td></tr>`,
        )
        .join("")}</table></section>`,
  );
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapeHtml(options.title)}</title>
<style>${pageStyle}</style>
</head>
<body>
<main>
<h1>${escapeHtml(options.title)}</h1>
<p class="sub">${escapeHtml(options.subtitle ?? "Millrace training report")}</p>
${figures.length > 0 ? `<dl class="figures">${figures.join("\n")}</dl>` : ""}
<h2>Curves</h2>
${charts.length > 0 ? `<div class="charts">${charts.join("\n")}</div>` : "<p>No step has finished yet.</p>"}
${samples.length > 0 ? `<h2>What it writes</h2>\n${samples.join("\n")}` : ""}
${tables.length > 0 ? `<div class="tables">${tables.join("\n")}</div>` : ""}
<footer>Faint lines are single steps, strong lines their moving average. Losses are in nats per token.</footer>
</main>
<script>${pageScript}</script>
</body>
</html>
`;
}

function reportCharts(options: ReportOptions): readonly Chart[] {
  const { records } = options;
  const series = (
    name: string,
    pick: (record: MetricsRecord) => number | undefined,
    how: Omit<Series, "name" | "points"> = {},
  ): Series => ({
    name,
    points: records.flatMap((record) => {
      const value = pick(record);
      return value === undefined ? [] : [[record.step, value] as const];
    }),
    ...how,
  });
  const layers = Math.max(0, ...records.map((record) => record.maxVioPerLayer?.length ?? 0));
  return [
    {
      title: "Loss",
      note: "next-token cross-entropy; lower is better",
      series: [
        series("training", (record) => record.loss, { smooth: true }),
        series("held-out", (record) => record.heldOutLoss, { dots: true }),
      ],
    },
    {
      title: "MTP loss",
      note: "cross-entropy of the token after the next",
      series: [
        series("training", (record) => record.mtpLoss, { smooth: true }),
        series("held-out", (record) => record.heldOutMtpLoss, { dots: true }),
      ],
    },
    {
      title: "Held-out bits per byte",
      note: "on text never trained on",
      series: [series("bits per byte", (record) => record.heldOutBitsPerByte, { dots: true })],
      references: options.bitsPerByteReference ? [options.bitsPerByteReference] : undefined,
    },
    {
      title: "MaxVio per layer",
      note: "largest expert load over the mean, minus one; 0 is perfect balance",
      series: Array.from({ length: layers }, (_, layer) =>
        series(
          options.moeLayerNames?.[layer] ?? `MoE layer ${layer}`,
          (record) => record.maxVioPerLayer?.[layer],
          { smooth: true },
        ),
      ),
      fromZero: true,
    },
    {
      title: "Gradient norm",
      note: "before clipping, logarithmic",
      series: [series("gradient norm", (record) => record.gradNorm, { smooth: true })],
      scale: "log",
    },
    {
      title: "Tokens per second",
      series: [series("tokens per second", (record) => record.tokensPerSecond, { smooth: true })],
      fromZero: true,
    },
    {
      title: "Learning rate",
      series: [series("learning rate", (record) => record.learningRate)],
      fromZero: true,
    },
  ];
}

function formatCell(value: unknown): string {
  if (typeof value === "string") return value;
  if (typeof value === "number") return String(value);
  if (value === null) return "none";
  return JSON.stringify(value) ?? "";
}
