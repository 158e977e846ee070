// Public names of @millrace/model-v3, one per line, grouped by what they are about. File access is in the
// subpath @millrace/model-v3/node.

// configuration
export {
  attentionKinds,
  isMoeLayer,
  keyValueHeads,
  type AttentionKind,
  type ModelConfig,
  type QuantizationConfig,
  type YarnScaling,
} from "./config.ts";
export { configToJson, parseConfig } from "./parse-config.ts";
export { preset, presetNames, type PresetName } from "./presets.ts";
export {
  cacheBytesPerToken,
  cachedValues,
  countParameters,
  flopsPerToken,
  inspectConfig,
  type ModelCosts,
  type ParameterCounts,
} from "./inspect.ts";

// parameters
export {
  checkpointNames,
  checkpointShape,
  expertName,
  parameterAliases,
  parameterTable,
  type Initializer,
  type ParameterAlias,
  type ParameterRole,
  type ParameterSpec,
} from "./parameters.ts";

// tokenizer
export {
  byteTokenizer,
  parseTokenizer,
  type DecodeOptions,
  type EncodeOptions,
  type Tokenizer,
} from "./tokenizer.ts";
export { parseChatTemplate, type ChatMessage, type ChatTemplate } from "./chat-template.ts";

// checkpoints
export {
  memoryDirectory,
  memorySource,
  readJson,
  readText,
  writeFiles,
  writeWhole,
  type ByteSource,
  type CheckpointDirectory,
  type WritableFile,
} from "./checkpoint/byte-source.ts";
export {
  openSafetensors,
  tensorBytes,
  writeSafetensors,
  type SafetensorsFile,
  type TensorToWrite,
} from "./checkpoint/safetensors.ts";
export {
  storedDTypeOf,
  storedDTypes,
  storedWidth,
  type StoredDType,
  type TensorEntry,
  type TensorSource,
} from "./checkpoint/tensor-source.ts";
export { openShards, writeShards, type WriteShardsOptions } from "./checkpoint/shards.ts";
export { dequantizeBlocks, scaleShape } from "./checkpoint/dequantize.ts";
export {
  checkParameters,
  describeReport,
  loadParameters,
  type LoadedParameter,
  type LoadOptions,
  type LoadReport,
  type Misfit,
} from "./checkpoint/load.ts";
export { saveParameters, type SaveOptions } from "./checkpoint/save.ts";
export { loadIntoStore, type LoadStoreOptions } from "./load-store.ts";
