/**
 * The list of what is measured. In: a group, and whether to be quick: small sizes that show that everything runs and say
 * nothing of speed. Out: cases with what one run of each counts for.
 */
import type { ModelConfig } from "@millrace/model-v3";
import type {
  AttentionTask,
  Case,
  CompileTask,
  GenerateTask,
  Group,
  ProductTask,
  WeightFormat,
} from "./case.ts";
import { weightFormats } from "./case.ts";
import { activeElements, forwardFlops, trainingFlops } from "./model-values.ts";
import { denseLarge, denseSmall, tinyLayers, v3Small } from "./shapes.ts";
import { weightBytes } from "./weights.ts";

/** Weights of this size together come from memory: several times what a cache holds, and not too much for all contestants at once. */
const FROM_MEMORY = 2 ** 27;

const productTolerance = 1e-4;
/** Peers may quantise x to eight bits on the way. */
const quantizedTolerance = 0.03;
const isQuantized = (weights: WeightFormat): boolean => weights === "int8" || weights === "int4";

/** Some keep caches in f16, and scales too; where weights are whole numbers, some round x to eight bits on the way. */
const decodeTolerance: Readonly<Record<WeightFormat, number>> = {
  f32: 1e-2,
  f16: 2e-2,
  bf16: 5e-2,
  e4m3fn: 0.2,
  int8: 0.2,
  int4: 0.2,
};

function product(task: Omit<ProductTask, "kind">, label: string, group: Group): Case {
  const { m, k, n, weights, copies } = task;
  const flops = 2 * m * k * n * copies;
  const bytes = weightBytes(weights, n, k) * copies;
  const bound = group === "memory";
  const id = `product-${m}x${k}x${n}-${weights}`;
  return {
    id,
    group,
    // Formats are compared with each other where memory is what limits.
    family: bound ? `product-${m}x${k}x${n}` : id,
    label,
    task: { kind: "product", ...task },
    unit: bound ? "GB/s" : "GFLOP/s",
    amount: bound ? bytes : flops,
    ceiling: bound ? { kind: "read", amount: bytes } : { kind: "fma", amount: flops },
    // With weights of 4 bits our products take x in 8 bits, by definition.
    tolerance: (weights === "int4" ? quantizedTolerance : productTolerance) * Math.sqrt(copies),
    peerTolerance:
      (isQuantized(weights) ? quantizedTolerance : productTolerance) * Math.sqrt(copies),
  };
}

function productCases(quick: boolean): Case[] {
  const cases: Case[] = [];
  const add = (
    m: number,
    k: number,
    n: number,
    weights: WeightFormat,
    layout: "kn" | "nk",
  ): void => {
    const size = m === k && k === n ? `${m}³` : `${m} × ${k} × ${n}`;
    const label = weights === "f32" ? size : `${size}, weights ${weights}`;
    cases.push(product({ m, k, n, layout, weights, copies: 1 }, label, "products"));
  };
  for (const size of quick ? [64, 128] : [256, 512, 768, 1024, 2048])
    add(size, size, size, "f32", "kn");
  if (quick) add(32, 64, 256, "f32", "nk");
  else add(512, 1024, 4096, "f32", "nk");
  const [m, k, n] = quick ? [32, 128, 256] : [512, 1024, 4096];
  for (const weights of weightFormats) if (weights !== "f32") add(m, k, n, weights, "nk");
  const rows = quick ? 128 : 4096;
  const [experts, inner, outer] = quick ? [4, 32, 64] : [16, 256, 512];
  const ragged = 2 * rows * inner * outer;
  cases.push({
    id: "ragged",
    group: "products",
    family: "ragged",
    label: `${rows} rows over ${experts} experts, ${inner} × ${outer}`,
    task: { kind: "ragged", rows, k: inner, n: outer, experts: experts },
    unit: "GFLOP/s",
    amount: ragged,
    ceiling: { kind: "fma", amount: ragged },
    tolerance: productTolerance,
    peerTolerance: productTolerance,
  });
  const scaled = 2 * m * k * n;
  cases.push({
    id: "scaled",
    group: "products",
    family: "scaled",
    label: `${m} × ${k} × ${n}, both e4m3fn in blocks`,
    task: { kind: "scaled", m: m, k: k, n: n },
    unit: "GFLOP/s",
    amount: scaled,
    ceiling: { kind: "fma", amount: scaled },
    tolerance: productTolerance,
    peerTolerance: productTolerance,
  });
  return cases;
}

function memoryCases(quick: boolean): Case[] {
  const side = quick ? 256 : 2048;
  return weightFormats.map((weights) => {
    const bytes = weightBytes(weights, side, side);
    const copies = quick ? 2 : Math.max(1, Math.ceil(FROM_MEMORY / bytes));
    const task = { m: 1, k: side, n: side, layout: "nk", weights, copies } as const;
    return product(task, `1 × ${side} × ${side}, weights ${weights}, ${copies} of them`, "memory");
  });
}

function attentionCase(task: Omit<AttentionTask, "kind">, label: string): Case {
  const { batch, tokens, keys, heads, queryWidth, valueWidth, backward } = task;
  const pairs = tokens * (keys - tokens) + (tokens * (tokens + 1)) / 2;
  const flops = 2 * batch * heads * pairs * (queryWidth + valueWidth) * (backward ? 3 : 1);
  const form = `${queryWidth}-${valueWidth}-${tokens}-${keys}`;
  const id = `attention-${form}${backward ? "-backward" : ""}`;
  return {
    id,
    group: "attention",
    family: id,
    label,
    task: { kind: "attention", ...task },
    unit: "GFLOP/s",
    amount: flops,
    ceiling: { kind: "fma", amount: flops },
    tolerance: 1e-3,
    peerTolerance: 1e-3,
  };
}

function attentionCases(quick: boolean): Case[] {
  const [tokens, heads] = quick ? [32, 2] : [512, 8];
  const [wide, narrow] = quick ? [24, 16] : [192, 128];
  const own = {
    batch: 1,
    tokens: tokens,
    keys: tokens,
    heads: heads,
    kvHeads: heads,
    queryWidth: wide,
    valueWidth: narrow,
    latent: false,
  };
  const [rank, cached] = quick ? [32, 64] : [512, 4096];
  const latent = {
    ...own,
    kvHeads: 1,
    queryWidth: rank + (quick ? 8 : 64),
    valueWidth: rank,
    latent: true,
    backward: false,
  };
  const sizes = `${heads} heads, ${wide}/${narrow}`;
  return [
    attentionCase({ ...own, backward: false }, `${tokens} tokens, ${sizes}, forward`),
    attentionCase({ ...own, backward: true }, `${tokens} tokens, ${sizes}, forward and backward`),
    attentionCase(
      latent,
      `${tokens} tokens, ${heads} heads over one latent, ${latent.queryWidth}/${rank}`,
    ),
    attentionCase(
      { ...latent, tokens: 1, keys: cached },
      `1 token over ${cached} cached, ${latent.queryWidth}/${rank}`,
    ),
  ];
}

function trainCases(quick: boolean): Case[] {
  const [batch, tokens] = quick ? [2, 16] : [4, 256];
  const smaller = { vocabSize: 64, hiddenSize: 64, moeIntermediateSize: 32, intermediateSize: 64 };
  const make = (id: string, label: string, full: ModelConfig): Case => {
    const config = quick ? { ...full, ...smaller, numHiddenLayers: 2 } : full;
    return {
      id,
      group: "train",
      family: id,
      label,
      task: { kind: "train", config, batch: batch, tokens: tokens },
      unit: "tokens/s",
      amount: batch * tokens,
      ceiling: { kind: "fma", amount: trainingFlops(config, batch, tokens) },
      tolerance: 1e-4,
      peerTolerance: 1e-4,
    };
  };
  return [
    make("train-dense", "dense", denseSmall()),
    make("train-v3", "V3: latent attention, 16 experts of which 4", v3Small()),
  ];
}

function decodeCases(quick: boolean): Case[] {
  const config = denseLarge(quick);
  const perElement = (weights: WeightFormat): number =>
    weightBytes(weights, config.hiddenSize, config.hiddenSize) / config.hiddenSize ** 2;
  const make = (task: Omit<GenerateTask, "kind">, label: string): Case => {
    const { phase, count, start, weights } = task;
    const bytes = activeElements(config) * perElement(weights) * count;
    const flops = forwardFlops(config, start + (count + 1) / 2) * count;
    return {
      id: `${phase}-${weights}`,
      group: "decode",
      family: `${phase}-${weights}`,
      label,
      task: { kind: "generate", ...task },
      unit: "tokens/s",
      amount: count,
      ceiling:
        phase === "decode" ? { kind: "read", amount: bytes } : { kind: "fma", amount: flops },
      tolerance: 0,
      peerTolerance: decodeTolerance[weights],
    };
  };
  const megabytes = (weights: WeightFormat): number =>
    Math.round((activeElements(config) * perElement(weights)) / 1e6);
  const prompt = quick ? 8 : 128;
  return [
    make(
      { phase: "prefill", config, weights: "f32", start: 0, count: prompt },
      `prefill of ${prompt}, weights f32`,
    ),
    ...weightFormats.map((weights) =>
      make(
        { phase: "decode", config, weights, start: quick ? 4 : 64, count: quick ? 2 : 8 },
        `decoding, weights ${weights}, ${megabytes(weights)} MB a token`,
      ),
    ),
  ];
}

function compileCases(quick: boolean): Case[] {
  const make = (id: string, label: string, task: Omit<CompileTask, "kind">): Case => ({
    id,
    group: "compile",
    // Models of few and of many layers are compared with each other.
    family: task.what,
    label,
    task: { kind: "compile", ...task },
    unit: "ms",
    amount: 1,
    ceiling: null,
    tolerance: 0,
    peerTolerance: 0,
  });
  const [few, many, nodes] = quick ? [1, 3, 200] : [12, 61, 2000];
  const config = tinyLayers();
  const chain = { what: "chain", size: nodes, config: null } as const;
  return [
    make("compile-nodes", `a graph of ${nodes} nodes`, { ...chain, again: false }),
    make("compile-nodes-again", `the same, planned before`, { ...chain, again: true }),
    make("compile-few-layers", `a training step of ${few} layers`, {
      what: "model",
      size: few,
      config,
      again: false,
    }),
    make("compile-many-layers", `a training step of ${many} layers`, {
      what: "model",
      size: many,
      config,
      again: false,
    }),
  ];
}

/** What a group measures. */
export function casesOf(group: Group, quick: boolean): Case[] {
  switch (group) {
    case "products":
      return productCases(quick);
    case "attention":
      return attentionCases(quick);
    case "train":
      return trainCases(quick);
    case "decode":
      return decodeCases(quick);
    case "memory":
      return memoryCases(quick);
    case "compile":
      return compileCases(quick);
  }
}
