import { describe, expect, test } from "vitest";
import type { FloatDType } from "../../dtype.ts";
import type { Node } from "../../graph.ts";
import { formatType } from "../../shape.ts";
import type { Tensor } from "../../tensor.ts";
import { GraphBuilder } from "../builder.ts";
import { attention } from "./attention.ts";
import { bf16Linear, bf16RaggedDot } from "./bf16-matmul.ts";
import {
  dequantizeBlocks,
  dequantizeTiles,
  quantizeBlocks,
  quantizeTiles,
} from "./block-quantize.ts";
import { crossEntropy } from "./cross-entropy.ts";
import { latentAttention } from "./latent-attention.ts";
import { permuteRows, repeatRows } from "./permute-rows.ts";
import { rmsNorm } from "./rms-norm.ts";
import { rope, ropeTables } from "./rope.ts";
import { fp8Linear, fp8RaggedDot, scaledLinear } from "./scaled-matmul.ts";
import { logSoftmax, softmax } from "./softmax.ts";
import { silu, swiglu } from "./swiglu.ts";
import { groupLimitedTopK, routingWeights } from "./top-k-routing.ts";

const t = (b: GraphBuilder): Tensor["shape"][0] => b.size("T", 1, 64);
const ints = (b: GraphBuilder, name: string, ...shape: Tensor["shape"]): Tensor =>
  b.input(name, "i32", shape);

/** Uses of every composite, with symbolic sizes where the op allows them. */
const uses: Record<string, (b: GraphBuilder, dtype: FloatDType) => Tensor> = {
  softmax: (b, d) => softmax(b.input("x", d, [2, t(b)]), 0),
  log_softmax: (b, d) => logSoftmax(b.input("x", d, [t(b), 3])),
  rms_norm: (b, d) => rmsNorm(b.input("x", d, [2, t(b), 6]), b.parameter("w", "f32", [6])),
  silu: (b, d) => silu(b.input("x", d, [t(b)])),
  swiglu: (b, d) => swiglu(b.input("x", d, [t(b), 4]), b.input("y", d, [t(b), 4])),
  rope: (b, d) => {
    const { cos, sin } = ropeTables(ints(b, "p", t(b)), b.input("f", "f32", [3]));
    return rope(b.input("x", d, [2, t(b), 5, 6]), cos, sin);
  },
  attention: (b, d) =>
    attention(
      b.input("q", d, [2, t(b), 4, 6]),
      b.input("k", d, [2, t(b), 4, 6]),
      b.input("v", d, [2, t(b), 4, 3]),
      { scale: 0.5, segments: ints(b, "s", 2, t(b)) },
    ),
  "attention with shared keys and a start": (b, d) => {
    const s = b.size("S", 1, 64);
    return attention(
      b.input("q", d, [2, t(b), 4, 6]),
      b.input("k", d, [2, s, 2, 6]),
      b.input("v", d, [2, s, 2, 3]),
      { scale: 0.5, start: ints(b, "start", 2) },
    );
  },
  latent_attention: (b, d) => {
    const s = b.size("S", 1, 64);
    return latentAttention(
      b.input("q", d, [2, t(b), 4, 6]),
      b.input("r", d, [2, t(b), 4, 2]),
      b.input("c", "bf16", [2, s, 6]),
      b.input("k", "bf16", [2, s, 2]),
      { scale: 0.5, start: ints(b, "start") },
    );
  },
  cross_entropy: (b, d) => crossEntropy(b.input("x", d, [2, t(b), 7]), ints(b, "l", 2, t(b))),
  group_limited_top_k: (b) => {
    const scores = b.input("x", "f32", [t(b), 8]);
    const chosen = groupLimitedTopK(scores, b.state("bias", "f32", [8]), {
      k: 3,
      nGroup: 4,
      topkGroup: 2,
    });
    return routingWeights(scores, chosen, { normTopkProb: true, routedScalingFactor: 2.5 });
  },
  "group_limited_top_k by maximum": (b) =>
    groupLimitedTopK(b.input("x", "f32", [t(b), 8]), undefined, {
      k: 2,
      nGroup: 2,
      topkGroup: 1,
      groupScore: "max",
    }),
  block_quantize: (b, d) => {
    const { codes, scales } = quantizeTiles(b.input("x", d, [t(b), 300]), 128, { ue8m0: true });
    return dequantizeTiles(codes, scales);
  },
  "block_quantize of experts": (b, d) => {
    const { codes, scales } = quantizeBlocks(b.input("x", d, [3, 129, 127]));
    return dequantizeBlocks(codes, scales);
  },
  scaled_dot: (b, d) =>
    scaledLinear(
      b.input("x", d, [2, t(b), 300]),
      b.state("w", "e4m3fn", [130, 300]),
      b.state("s", "f32", [2, 3]),
    ),
  fp8_linear: (b, d) =>
    fp8Linear(b.input("x", d, [2, t(b), 300]), b.parameter("w", "f32", [130, 300]), {
      powerOfTwoInput: true,
    }),
  fp8_ragged_dot: (b, d) =>
    fp8RaggedDot(
      b.input("x", d, [t(b), 130]),
      b.parameter("w", "f32", [3, 7, 130]),
      ints(b, "o", 4),
    ),
  bf16_linear: (b, d) => bf16Linear(b.input("x", d, [2, t(b), 5]), b.parameter("w", "f32", [3, 5])),
  bf16_ragged_dot: (b, d) =>
    bf16RaggedDot(b.input("x", d, [t(b), 5]), b.parameter("w", "f32", [3, 7, 5]), ints(b, "o", 4)),
  permute_rows: (b, d) =>
    permuteRows(repeatRows(b.input("x", d, [8, 5]), 2), ints(b, "p", 16), ints(b, "i", 16)),
};

const promised = (node: Node): string[] => node.outputs.map(formatType);

function checkDecomposition(b: GraphBuilder, node: Node): void {
  if (node.op.body.class !== "composite") return;
  const inputs = node.inputs.map((ref) => b.tensor(ref));
  const made: readonly Tensor[] = node.op.body.decompose(inputs, node.attrs);
  expect(made.map(({ type }) => formatType(type))).toEqual(promised(node));
}

/** Cotangents of inputs have the inputs' types. */
function checkVjp(b: GraphBuilder, node: Node): void {
  if (!node.op.vjp || node.op.vjp === "none") return;
  const inputs = node.inputs.map((ref) => b.tensor(ref));
  const outputs = node.outputs.map((_, output) => b.tensor({ node: node.id, output }));
  const cotangents = node.outputs.map((type, i) =>
    i === 0 ? b.input(`ct${node.id}`, type.dtype, type.shape) : undefined,
  );
  const back: readonly (Tensor | undefined)[] = node.op.vjp({
    attrs: node.attrs,
    inputs,
    outputs,
    cotangents,
  });
  back.forEach((ct, i) => {
    if (ct) expect(formatType(ct.type)).toBe(formatType(inputs[i]!.type));
  });
}

describe.each(Object.entries(uses))("%s", (_name, use) => {
  test.each(["f32", "bf16"] as const)("decomposes to the types it infers, %s", (dtype) => {
    const b = new GraphBuilder("use");
    use(b, dtype);
    const declared = [...b.nodes];
    expect(declared.some(({ op }) => op.body.class === "composite")).toBe(true);
    for (const node of declared) checkVjp(b, node);
    // Decompositions append nodes, composites among them, which are visited too.
    for (let i = 0; i < b.nodes.length; i++) {
      expect(b.nodes.length).toBeLessThan(2000);
      checkDecomposition(b, b.nodes[i]!);
    }
  });
});
