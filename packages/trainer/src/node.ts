// Public names of @millrace/trainer/node, one per line: what reads or writes files on this machine. The rest of the package
// runs in a browser as well.

// the run
export { train, type TrainOptions, type TrainResult } from "./trainer.ts";
export { gzipBitsPerByte, type RunReport, writeRunReport } from "./run-report.ts";
export { metricsName, reportName } from "./run-directory.ts";

// data
export { findTextFiles, readTokenDataset, textDocuments } from "./data/text-files.ts";

// checkpoints
export { findTrainingCheckpoint, type FoundCheckpoint } from "./checkpoint/load.ts";
export { checkResumable, type JsonValue, type TrainingState } from "./checkpoint/manifest.ts";
export {
  saveTrainingCheckpoint,
  type SaveOptions,
  type TrainingCheckpoint,
} from "./checkpoint/save.ts";
export { expectTensor, readTensors, writeTensors } from "./checkpoint/tensors.ts";

// metrics
export { openMetricsFile, readMetricsFile, type MetricsFile } from "./metrics-file.ts";
