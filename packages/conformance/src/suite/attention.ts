/**
 * Attention and its gradients, over sizes that are fixed only when the program runs. The bounds are such that a backend whose kernels may
 * have arrays computes it in one pass, by blocks; the sizes of a run then fill no block, one, or a few and a part. In: nothing
 * but seeds. Out: registered tests.
 */
import fc from "fast-check";
import type { DType, HostTensor, Tensor } from "@millrace/graph";
import {
  GraphBuilder,
  attention,
  convert,
  gradients,
  hostTensor,
  isFloat,
  latentAttention,
  mul,
  sum,
  toNumbers,
} from "@millrace/graph";
import type { GraphCase } from "../arbitraries/graph.ts";
import { seededTensor } from "../arbitraries/tensor.ts";
import { checkGraph } from "../check-graph.ts";
import { runParameters } from "../check-op.ts";
import type { SuiteContext } from "../describe-backend.ts";
import type { Tolerance } from "../tolerance.ts";

interface AttentionCase {
  readonly tokens: number;
  readonly heads: number;
  /** Heads of keys; absent for the absorbed form. */
  readonly kvHeads?: number;
  /** Widths of keys and values, or of the latent and the rotary part. */
  readonly widths: readonly [number, number];
  /** Earlier tokens, for a cache. */
  readonly earlier?: number;
  /** Tokens of one sample. */
  readonly segment?: number;
  readonly dtype?: DType;
  /** Sequences, 1 by default. */
  readonly batch?: number;
}

/** Sizes up to these: enough for attention in one pass. */
const MOST_TOKENS = 130;
const MOST_KEYS = 300;

const cases: readonly AttentionCase[] = [
  { tokens: 0, heads: 2, kvHeads: 2, widths: [12, 8] },
  { tokens: 1, heads: 2, kvHeads: 1, widths: [5, 3] },
  { tokens: 33, heads: 4, kvHeads: 2, widths: [9, 7], segment: 5, batch: 2 },
  { tokens: 64, heads: 1, kvHeads: 1, widths: [8, 4], earlier: 31 },
  { tokens: 65, heads: 4, kvHeads: 4, widths: [3, 1], batch: 2 },
  { tokens: 127, heads: 1, kvHeads: 1, widths: [4, 1] },
  { tokens: 129, heads: 2, kvHeads: 1, widths: [2, 3], earlier: 64 },
  { tokens: 3, heads: 2, kvHeads: 2, widths: [192, 128], earlier: 62 },
  { tokens: 3, heads: 1, kvHeads: 1, widths: [5, 3], earlier: 255 },
  { tokens: 1, heads: 3, widths: [8, 4], earlier: 127 },
  { tokens: 4, heads: 3, widths: [8, 4], earlier: 270 },
  { tokens: 128, heads: 1, widths: [3, 2] },
  { tokens: 2, heads: 3, widths: [512, 64], earlier: 63 },
  { tokens: 66, heads: 2, kvHeads: 2, widths: [8, 8], dtype: "bf16" },
];

function describeCase(attentionCase: AttentionCase): string {
  const { tokens, heads, kvHeads, widths, earlier, segment, dtype } = attentionCase;
  return [
    `${tokens} tokens`,
    kvHeads === undefined ? `${heads} heads over a latent` : `${heads} heads over ${kvHeads}`,
    `of ${widths.join(" and ")}`,
    ...(earlier === undefined ? [] : [`after ${earlier}`]),
    ...(segment === undefined ? [] : [`in samples of ${segment}`]),
    ...(dtype ? [dtype] : []),
  ].join(", ");
}

/** Declares the case and its gradients; `input` makes a value. */
function declareCase(
  b: GraphBuilder,
  { heads, kvHeads, widths, earlier, segment }: AttentionCase,
  input: (name: string, kind: "query" | "key", ...rest: number[]) => Tensor,
  integers: (name: "start" | "segments") => Tensor,
): Readonly<Record<string, Tensor>> {
  const [first, second] = widths;
  const options = {
    scale: first ** -0.5,
    ...(earlier !== undefined && { start: integers("start") }),
    ...(segment !== undefined && { segments: integers("segments") }),
  };
  const values =
    kvHeads === undefined
      ? [
          input("qLatent", "query", heads, first),
          input("qRope", "query", heads, second),
          input("cKv", "key", first),
          input("kRope", "key", second),
        ]
      : [
          input("q", "query", heads, first),
          input("k", "key", kvHeads, first),
          input("v", "key", kvHeads, second),
        ];
  const [x, y, z, w] = values as [Tensor, Tensor, Tensor, Tensor];
  const out =
    kvHeads === undefined ? latentAttention(x, y, z, w, options) : attention(x, y, z, options);
  const weights = input("weights", "query", heads, kvHeads === undefined ? first : second);
  const loss = sum(mul(convert(out, "f32"), convert(weights, "f32")));
  const derivatives = gradients(loss, values);
  return { out, ...Object.fromEntries(derivatives.map((each, i) => [`gradient ${i}`, each])) };
}

function graphCaseOf(attentionCase: AttentionCase): GraphCase {
  const { tokens, earlier, segment, dtype = "f32", batch = 1 } = attentionCase;
  const b = new GraphBuilder(describeCase(attentionCase));
  const T = b.size("T", 0, MOST_TOKENS);
  const S = earlier === undefined ? T : b.size("S", 0, MOST_KEYS);
  const keys = tokens + (earlier ?? 0);
  const inputs: Record<string, HostTensor> = {};
  const outputs = declareCase(
    b,
    attentionCase,
    (name, kind, ...rest) => {
      const shape = [batch, kind === "query" ? tokens : keys, ...rest];
      inputs[name] = seededTensor(dtype, shape, Object.keys(inputs).length + 1);
      return b.input(name, dtype, [batch, kind === "query" ? T : S, ...rest]);
    },
    (name) => {
      if (name === "start") {
        inputs[name] = hostTensor("i32", [], [earlier!]);
        return b.input(name, "i32", []);
      }
      const samples = Array.from({ length: batch * tokens }, (_, i) =>
        Math.floor((i % tokens) / segment!),
      );
      inputs[name] = hostTensor("i32", [batch, tokens], samples);
      return b.input(name, "i32", [batch, T]);
    },
  );
  const sizes = earlier === undefined ? { T: tokens } : { T: tokens, S: keys };
  const graph = b.finish(outputs);
  return { graph, inputs, states: {}, sizes, tolerances: {}, stateTolerances: {} };
}

/** Sums are added in another order, and what cancels in them leaves an error of the size of their parts. */
function toleranceOf(result: HostTensor): Tolerance {
  const largest = toNumbers(result).reduce((most, x) => Math.max(most, Math.abs(x)), 1);
  const narrow = isFloat(result.dtype) && result.dtype !== "f32";
  return { ulps: narrow ? 1 : 0, absolute: (narrow ? 2e-2 : 2e-5) * largest };
}

interface Drawn extends Pick<AttentionCase, "tokens" | "widths"> {
  readonly batch: number;
  /** 0 for the absorbed form. */
  readonly kvHeads: number;
  readonly perHead: number;
  readonly mask: Pick<AttentionCase, "earlier" | "segment">;
}

function caseOf({ tokens, batch, kvHeads, perHead, widths, mask }: Drawn): AttentionCase {
  const shared = { tokens, batch, heads: Math.max(kvHeads, 1) * perHead, widths, ...mask };
  return kvHeads === 0 ? shared : { ...shared, kvHeads };
}

/** Any case of few tokens and narrow vectors. */
const anyCase: fc.Arbitrary<AttentionCase> = fc
  .record({
    tokens: fc.oneof(fc.integer({ min: 0, max: 5 }), fc.integer({ min: 30, max: 67 })),
    batch: fc.integer({ min: 1, max: 2 }),
    kvHeads: fc.integer({ min: 0, max: 2 }),
    perHead: fc.integer({ min: 1, max: 3 }),
    widths: fc.tuple(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 9 })),
    mask: fc.oneof(
      fc.constant({}),
      fc.record({ earlier: fc.integer({ min: 0, max: 130 }) }),
      fc.record({ segment: fc.integer({ min: 1, max: 40 }) }),
    ),
  })
  .map(caseOf);

export function describeAttention(context: SuiteContext): void {
  const { describe, test, interpret, reference, timeout, hasDTypes, numRuns, seed } = context;
  const check = async (attentionCase: AttentionCase): Promise<void> => {
    const graphCase = graphCaseOf(attentionCase);
    const { graph, inputs, sizes } = graphCase;
    const expected = interpret(graph, inputs, { sizes });
    const tolerances = Object.fromEntries(
      Object.entries(expected.outputs).map(([name, result]) => [name, toleranceOf(result)]),
    );
    const backend = await context.backend();
    const oracles = { interpret, backend, ...(reference && { reference }) };
    await checkGraph({ ...graphCase, tolerances }, oracles);
  };
  describe("attention", () => {
    for (const attentionCase of cases)
      if (hasDTypes(attentionCase.dtype ?? "f32"))
        test(describeCase(attentionCase), () => check(attentionCase), timeout);
    const runs = { numRuns: Math.ceil(numRuns / 6), ...(seed !== undefined && { seed }) };
    test(
      "of any sizes",
      () => fc.assert(fc.asyncProperty(anyCase, check), runParameters(runs)),
      timeout,
    );
  });
}
