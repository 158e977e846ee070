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
export { parseGenerationConfig, type GenerationConfig } from "./generation-config.ts";
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

// the model: whole, as graphs, and its layers
export {
  createModel,
  mtpInputOf,
  type ForwardResult,
  type Model,
  type ModelOptions,
} from "./model.ts";
export { declareLogits, dropLast, type LogitsOptions } from "./graphs/logits.ts";
export { declareDecode, declarePrefill, type DecodeGraphOptions } from "./graphs/decode.ts";
export { declareMtp, type MtpOptions } from "./graphs/mtp.ts";
export { declareInit } from "./graphs/init.ts";
export { rootScope, type LayerScope, type ScopeSource, type Tap } from "./layers/layer-scope.ts";
export {
  exactLinear,
  expertLinear,
  linear,
  precisions,
  productsFor,
  type Precision,
  type Products,
} from "./layers/linear.ts";
export {
  declareWeight,
  timesExperts,
  timesWeight,
  weightValues,
  type Weight,
} from "./layers/weight.ts";
export {
  formatsOf,
  weightFormats,
  weightStates,
  type WeightFormat,
  type WeightFormats,
} from "./weight-formats.ts";
export { norm } from "./layers/norm.ts";
export { embed, head } from "./layers/embedding.ts";
export {
  inverseFrequencies,
  rotaryTables,
  rotate,
  rotateShared,
  softmaxScale,
  type RotaryTables,
} from "./layers/rope.ts";
export {
  attentionOptions,
  sequenceOf,
  visibleRows,
  type CacheOptions,
  type Position,
  type Sequence,
} from "./layers/sequence.ts";
export { attentionForms, mla, type AttentionForm } from "./layers/mla.ts";
export { groupedAttention } from "./layers/grouped-attention.ts";
export { mlp } from "./layers/mlp.ts";
export { gate, type Choice } from "./layers/gate.ts";
export { moe, type Routing } from "./layers/moe.ts";
export { block, type BlockResult } from "./layers/block.ts";
export { mtpModule, type MtpResult } from "./layers/mtp.ts";
export { checkedTokenIds } from "./token-ids.ts";

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
export { dequantizeBlocks, quantizeBlocks, scaleShape } from "./checkpoint/dequantize.ts";
export {
  chooseWeights,
  formatsFor,
  weightChoices,
  type WeightChoice,
} from "./checkpoint/choose-weights.ts";
export { encodeWeight, readWeight, type StoredWeight } from "./checkpoint/read-weight.ts";
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
