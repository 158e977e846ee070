/**
 * What is measured, as data. In: nothing. Out: the kinds of cases and what a run of one counts for. A case travels to every
 * contestant as JSON; each contestant knows how to do it or says why it does not.
 */
import type { ModelConfig } from "@millrace/model-v3";

export const groups = ["products", "attention", "train", "decode", "memory", "compile"] as const;
export type Group = (typeof groups)[number];

/** How a run's time is told; `ms` is the time itself. */
export type Unit = "GFLOP/s" | "GB/s" | "tokens/s" | "ms";

/** How the elements of a weight are stored. */
export const weightFormats = ["f32", "f16", "bf16", "e4m3fn", "int8", "int4"] as const;
export type WeightFormat = (typeof weightFormats)[number];

/** The machine's limits. */
export type CeilingKind = "fma" | "read";

/** x [m, k] times w: `kn` w [k, n], or `nk` w [n, k] as checkpoints store it. */
export interface ProductTask {
  readonly kind: "product";
  readonly m: number;
  readonly k: number;
  readonly n: number;
  readonly layout: "kn" | "nk";
  readonly weights: WeightFormat;
  /** Products one after the other, each with a weight of its own, so that weights come from memory; needs k = n and `nk` if over 1. */
  readonly copies: number;
}

/** Rows in groups, each with a matrix of its own: x [rows, k], w [experts, n, k]. */
export interface RaggedTask {
  readonly kind: "ragged";
  readonly rows: number;
  readonly k: number;
  readonly n: number;
  readonly experts: number;
}

/** Both sides e4m3fn with scales per 128: x [m, k] in tiles, w [n, k] in blocks. */
export interface ScaledTask {
  readonly kind: "scaled";
  readonly m: number;
  readonly k: number;
  readonly n: number;
}

/** Causal attention of `tokens` queries at the end of `keys` positions. */
export interface AttentionTask {
  readonly kind: "attention";
  readonly batch: number;
  readonly tokens: number;
  readonly keys: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly queryWidth: number;
  readonly valueWidth: number;
  /** Values are the first elements of the keys: a compressed cache. */
  readonly latent: boolean;
  readonly backward: boolean;
}

/** One optimizer step. */
export interface TrainTask {
  readonly kind: "train";
  readonly config: ModelConfig;
  readonly batch: number;
  readonly tokens: number;
}

/** `count` tokens after `start` earlier ones: in one pass, or one by one. */
export interface GenerateTask {
  readonly kind: "generate";
  readonly phase: "prefill" | "decode";
  readonly config: ModelConfig;
  readonly weights: WeightFormat;
  readonly start: number;
  readonly count: number;
}

/** From a declaration to something that runs. */
export interface CompileTask {
  readonly kind: "compile";
  readonly what: "model" | "chain";
  /** Layers of the model, or nodes of the chain. */
  readonly size: number;
  readonly config: ModelConfig | null;
  /** From a cached plan. */
  readonly again: boolean;
}

export interface CeilingTask {
  readonly kind: "ceiling";
  readonly of: CeilingKind;
}

/** What any of our backends can run. */
export type RunTask =
  | ProductTask
  | RaggedTask
  | ScaledTask
  | AttentionTask
  | TrainTask
  | GenerateTask;

export type Task = RunTask | CompileTask | CeilingTask;

export interface Case {
  readonly id: string;
  readonly group: Group;
  /** Cases of a group with the same one are measured in the same rounds, so that they can be compared with each other. */
  readonly family: string;
  /** First column of the table. */
  readonly label: string;
  readonly task: Task;
  readonly unit: Unit;
  /** Floating-point operations, bytes or tokens of one run; 1 for `ms`. */
  readonly amount: number;
  /** Which limit a run meets, and how much of it one run needs. */
  readonly ceiling: { readonly kind: CeilingKind; readonly amount: number } | null;
  /** Largest difference of a sampled element, relative to the root mean square of all sampled ones. */
  readonly tolerance: number;
  /** The same for peers, which may round more on the way: quantised inputs, caches in f16. */
  readonly peerTolerance: number;
}

const scales: Readonly<Record<Unit, number>> = {
  "GFLOP/s": 1e-9,
  "GB/s": 1e-9,
  "tokens/s": 1,
  ms: 1e-3,
};

/** A run's time in the case's unit. */
export function rateOf(unit: Unit, amount: number, seconds: number): number {
  return unit === "ms" ? seconds / scales.ms : (amount / seconds) * scales[unit];
}

/** The cases of a group, those of a family together. */
export function familiesOf(cases: readonly Case[]): (readonly Case[])[] {
  return [...Map.groupBy(cases, ({ family }) => family).values()];
}
