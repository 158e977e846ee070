// Public names of @millrace/runtime, one per line, grouped by what they are about. Nothing else lives here.

// generation
export {
  createEngine,
  type Engine,
  type EngineOptions,
  type GenerateOptions,
  type GenerationChunk,
  type GenerationResult,
} from "./engine.ts";
export type { FinishReason } from "./generation.ts";
export type { GenerationMetrics } from "./metrics.ts";

// its parts, for loops of one's own
export {
  createModelRunner,
  rowOf,
  type ModelRunner,
  type ModelRunnerOptions,
  type Pass,
} from "./model-runner.ts";
export {
  checkSampling,
  distribution,
  likeliest,
  type SamplingOptions,
} from "./sampling/logits-processors.ts";
export { drawToken, seededUniform, type Purpose, type Uniform } from "./sampling/sampler.ts";
export { proposeDrafts, type News } from "./speculative/mtp-proposer.ts";
export {
  acceptanceProbability,
  residual,
  verifyDrafts,
  type Draft,
  type Verdict,
} from "./speculative/rejection-sampler.ts";
export { Detokenizer, type TokenDecoder } from "./detokenizer.ts";
