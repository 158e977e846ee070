// Public names of @millrace/trainer, one per line, grouped by what they are about. What needs files is in the subpath
// @millrace/trainer/node.

// the step
export type { TrainingSettings } from "./trainer.ts";
export { defaultSettings, type DefaultSettings } from "./defaults.ts";
export { declareEvaluation, declareTrainStep, type TrainStepOptions } from "./train-step.ts";
export { type FittedTrainStep, fitTrainStep } from "./fit-train-step.ts";
export { evaluate, type HeldOutResult, loadsOf } from "./evaluate.ts";

// losses, balance, optimizer: declarations for graphs of one's own
export { nextTokenLoss } from "./loss/next-token.ts";
export { mtpLoss, type MtpLoss } from "./loss/mtp.ts";
export { balanceLoss, type BalanceLoss } from "./loss/sequence-balance.ts";
export { expertCounts } from "./balance/expert-load.ts";
export { updatedBias } from "./balance/bias-update.ts";
export {
  adamW,
  defaultAdamW,
  momentNames,
  type AdamW,
  type AdamWOptions,
} from "./optimizer/adamw.ts";
export { clipByGlobalNorm, type Clipping } from "./optimizer/clip.ts";
export { learningRateAt, scheduleOver, type Schedule } from "./optimizer/schedule.ts";

// data
export {
  bitsPerByte,
  createBatchSource,
  heldOutBatches,
  type Batch,
  type BatchOptions,
  type BatchSource,
} from "./data/batch.ts";
export { type TokenArray, type Tokenizer } from "./data/packing.ts";
export {
  buildTokenDataset,
  type DatasetProgress,
  type TextDocument,
  type TokenDataset,
  type TokenDatasetOptions,
} from "./data/token-dataset.ts";

// metrics and report
export {
  createProgressLine,
  formatCount,
  formatDuration,
  formatProgress,
  maxViolation,
  parseMetrics,
  type MetricsRecord,
  type ProgressLine,
  type ProgressStream,
} from "./metrics.ts";
export { renderChart, type Chart, type Series } from "./report/chart.ts";
export {
  renderReport,
  type ReportFigure,
  type ReportOptions,
  type ReportSample,
} from "./report.ts";
