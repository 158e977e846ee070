/**
 * The report of a run, on disk; Node only. In: the run's options and records. Out: `report.html` whole, with the
 * final figures and, beside held-out bits per byte, what gzip -9 makes of the same text.
 */
import { gzipSync } from "node:zlib";

import type { Backend } from "@millrace/graph";
import { configToJson, countParameters, isMoeLayer, type ModelConfig } from "@millrace/model-v3";
import { fileError } from "@millrace/model-v3/node";

import { writeWhole } from "./checkpoint/durable.ts";
import type { TrainingState } from "./checkpoint/manifest.ts";
import type { TokenDataset } from "./data/token-dataset.ts";
import { formatCount, type MetricsRecord } from "./metrics.ts";
import { renderReport, type ReportFigure, type ReportSample } from "./report.ts";

export interface RunReport {
  readonly config: ModelConfig;
  readonly dataset: Pick<TokenDataset, "heldOutText" | "documents" | "trainBytes">;
  readonly state: TrainingState;
  readonly records: readonly MetricsRecord[];
  readonly backend: Pick<Backend, "name">;
  readonly title?: string | undefined;
  readonly samples?: readonly ReportSample[] | undefined;
  /** Figures after those of the run itself. */
  readonly figures?: readonly ReportFigure[] | undefined;
}

/** Bits per byte that gzip -9 needs for `text`; undefined without text. */
export function gzipBitsPerByte(text: Uint8Array): number | undefined {
  if (text.length === 0) return undefined;
  return (8 * gzipSync(text, { level: 9 }).length) / text.length;
}

/** Writes the report to `path`. */
export async function writeRunReport(path: string, run: RunReport): Promise<void> {
  const { config, dataset, state, records } = run;
  const gzip = gzipBitsPerByte(dataset.heldOutText);
  const parameters = countParameters(config);
  const figures: ReportFigure[] = [
    {
      label: "Parameters",
      value: formatCount(parameters.totalWithMtp),
      note: `${formatCount(parameters.activated)} act on a token`,
    },
  ];
  const last = records.at(-1);
  if (last) {
    figures.push({ label: "Loss", value: last.loss, note: `of step ${last.step}` });
    if (last.mtpLoss !== undefined) figures.push({ label: "MTP loss", value: last.mtpLoss });
    if (last.maxVio !== undefined) figures.push({ label: "MaxVio", value: last.maxVio });
  }
  const held = records.findLast((record) => record.heldOutBitsPerByte !== undefined);
  if (held?.heldOutBitsPerByte !== undefined)
    figures.push({
      label: "Held-out bits per byte",
      value: held.heldOutBitsPerByte,
      ...(gzip !== undefined && { note: `gzip -9: ${gzip.toFixed(3)}` }),
    });
  if (held?.maxVioGlobal !== undefined)
    figures.push({ label: "MaxVio, global", value: held.maxVioGlobal, note: "held-out text" });
  const { model: _, ...options } = state.options;
  const page = renderReport({
    title: run.title ?? "Training run",
    records,
    figures: [...figures, ...(run.figures ?? [])],
    samples: run.samples,
    tables: [
      {
        title: "Run",
        rows: {
          ...options,
          seed: state.seed,
          backend: run.backend.name,
          documents: dataset.documents,
          trainBytes: dataset.trainBytes,
        },
      },
      { title: "Model", rows: configToJson(config) },
    ],
    ...(gzip !== undefined && { bitsPerByteReference: { name: "gzip -9", value: gzip } }),
    moeLayerNames: moeLayerNames(config),
  });
  try {
    await writeWhole(path, page);
  } catch (cause) {
    throw fileError(cause, "writing the report", path);
  }
}

function moeLayerNames(config: ModelConfig): readonly string[] {
  const { numHiddenLayers, numNextnPredictLayers } = config;
  return Array.from({ length: numHiddenLayers + numNextnPredictLayers }, (_, layer) => layer)
    .filter((layer) => isMoeLayer(config, layer))
    .map((layer) =>
      layer < numHiddenLayers ? `layer ${layer}` : `MTP ${layer - numHiddenLayers + 1}`,
    );
}
