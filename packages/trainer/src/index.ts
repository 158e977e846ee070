// Public names of @millrace/trainer, one per line, grouped by what they are about.

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
export { findTextFiles, readTokenDataset, textDocuments } from "./data/text-files.ts";
export {
  buildTokenDataset,
  type DatasetProgress,
  type TextDocument,
  type TokenDataset,
  type TokenDatasetOptions,
} from "./data/token-dataset.ts";

// checkpoints
export { findTrainingCheckpoint, type FoundCheckpoint } from "./checkpoint/load.ts";
export { checkResumable, type JsonValue, type TrainingState } from "./checkpoint/manifest.ts";
export {
  saveTrainingCheckpoint,
  type SaveOptions,
  type TrainingCheckpoint,
} from "./checkpoint/save.ts";
export { expectTensor, readTensors, writeTensors } from "./checkpoint/tensors.ts";

// metrics and report
export { openMetricsFile, readMetricsFile, type MetricsFile } from "./metrics-file.ts";
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
export {
  renderReport,
  type ReportFigure,
  type ReportOptions,
  type ReportSample,
} from "./report.ts";
