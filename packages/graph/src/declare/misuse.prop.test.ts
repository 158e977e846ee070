// Arguments of any dtype and shape for every function that declares ops: each call declares something legal, or is refused by an
// error of ours that says where it stands in the model.
import fc from "fast-check";
import { expect, test } from "vitest";

import type { DType } from "../dtype.ts";
import { dtypes } from "../dtype.ts";
import { DeviceError, InternalError, MillraceError, UnsupportedError } from "../errors.ts";
import type { Graph } from "../graph.ts";
import * as graph from "../index.ts";
import type { Tensor } from "../tensor.ts";
import { verifyGraph } from "../verify.ts";
import type { GraphBuilder } from "./builder.ts";

interface Arguments {
  readonly b: GraphBuilder;
  readonly x: Tensor;
  readonly y: Tensor;
  readonly z: Tensor;
  readonly w: Tensor;
  /** Whole numbers, mostly small. */
  readonly n: readonly [number, number, number];
  readonly sizes: readonly number[];
  readonly dtype: DType;
}

const unary =
  "abs neg sign exp log sin cos tanh sqrt floor ceil round not sigmoid silu softmax logSoftmax sum " +
  "max min mean transpose stopGradient quantizeTiles quantizeBlocks";
const binary =
  "add sub mul div rem maximum minimum eq ne lt le gt ge bitAnd bitOr bitXor shiftLeft shiftRight dot " +
  "linear swiglu rmsNorm crossEntropy bf16Linear fp8Linear dequantizeTiles dequantizeBlocks";
const ternary = "select raggedDot raggedOuter rope permuteRows bf16RaggedDot";

type Call = (given: Arguments) => unknown;
type Function = (...args: readonly Tensor[]) => unknown;

/** The functions `names`, each given the first `count` tensors. */
const calling = (names: string, count: number): Readonly<Record<string, Call>> =>
  Object.fromEntries(
    names.split(" ").map((name) => {
      const call = (graph as unknown as Record<string, Function>)[name]!;
      return [name, ({ x, y, z }: Arguments) => call(...[x, y, z].slice(0, count))];
    }),
  );

const calls: Readonly<Record<string, Call>> = {
  ...calling(unary, 1),
  ...calling(binary, 2),
  ...calling(ternary, 3),
  convert: ({ x, dtype }) => graph.convert(x, dtype),
  bitcast: ({ x, dtype }) => graph.bitcast(x, dtype as "f32"),
  reshape: ({ x, sizes }) => graph.reshape(x, sizes),
  broadcastTo: ({ x, sizes }) => graph.broadcastTo(x, sizes),
  broadcastAxes: ({ x, sizes, n }) => graph.broadcastTo(x, sizes, n),
  transpose: ({ x, n }) => graph.transpose(x, n),
  slice: ({ x, n, sizes }) => graph.slice(x, n[0], n[1], n[2], sizes[0]),
  pad: ({ x, n, sizes }) => graph.pad(x, n[0], n[1], n[2], sizes[0]),
  concatenate: ({ x, y, z, n }) => graph.concatenate([x, y, z], n[0]),
  sumAxes: ({ x, sizes }) => graph.sum(x, sizes),
  meanAxes: ({ x, sizes }) => graph.mean(x, sizes),
  maxAxes: ({ x, sizes }) => graph.max(x, sizes),
  argmax: ({ x, n }) => graph.argmax(x, n[0]),
  cumulativeSum: ({ x, n }) => graph.cumulativeSum(x, n[0]),
  softmaxAxis: ({ x, n }) => graph.softmax(x, n[0]),
  take: ({ x, y, n }) => graph.take(x, y, n[0]),
  takeAlongAxis: ({ x, y, n }) => graph.takeAlongAxis(x, y, n[0]),
  putAlongAxis: ({ x, y, n }) => graph.putAlongAxis(x, y, n[0], n[1]),
  oneHot: ({ x, n, dtype }) => graph.oneHot(x, n[0], dtype),
  scatterAdd: ({ x, y, n }) => graph.scatterAdd(x, y, n[0]),
  dynamicSlice: ({ x, y, n }) => graph.dynamicSlice(x, y, n[0], n[1]),
  updateSlice: ({ x, y, z, n }) => graph.updateSlice(x, y, z, n[0]),
  iota: ({ b, dtype, sizes, n }) => graph.iota(b, dtype as "i32", sizes, n[0]),
  topK: ({ x, n }) => graph.topK(x, n[0]),
  sort: ({ x }) => graph.sort(x),
  countingSort: ({ x, n }) => graph.countingSort(x, n[0]),
  randomBits: ({ x, sizes }) => graph.randomBits(x, sizes),
  randomNormal: ({ x, sizes }) => graph.randomNormal(x, sizes, 0, 1),
  dotGeneral: ({ x, y, n, sizes }) =>
    graph.dotGeneral(x, y, {
      lhsContract: [n[0]],
      rhsContract: [n[1]],
      lhsBatch: sizes,
      rhsBatch: sizes,
    }),
  attention: ({ x, y, z }) => graph.attention(x, y, z, { scale: 1 }),
  attentionFrom: ({ x, y, z, w }) => graph.attention(x, y, z, { scale: 1, start: w }),
  attentionWithin: ({ x, y, z, w }) => graph.attention(x, y, z, { scale: 1, segments: w }),
  latentAttention: ({ x, y, z, w }) => graph.latentAttention(x, y, z, w, { scale: 1 }),
  repeatRows: ({ x, n }) => graph.repeatRows(x, n[0]),
  ropeTables: ({ x, y }) => graph.ropeTables(x, y),
  scaledDot: ({ x, y, z, w }) => graph.scaledDot(x, y, z, w),
  scaledLinear: ({ x, y, z }) => graph.scaledLinear(x, y, z),
  raggedScaledDot: ({ x, y, z, w }) => graph.raggedScaledDot(x, y, z, w, z),
  fp8RaggedDot: ({ x, y, z }) => graph.fp8RaggedDot(x, y, z),
  blockQuantize: ({ x, sizes }) => graph.blockQuantize(x, sizes),
  blockDequantize: ({ x, y, sizes }) => graph.blockDequantize({ codes: x, scales: y }, sizes),
  groupLimitedTopK: ({ x, n }) =>
    graph.groupLimitedTopK(x, undefined, { k: n[0], nGroup: n[1], topkGroup: n[2] }),
  groupLimitedTopKWithBias: ({ x, y, n }) => graph.groupLimitedTopK(x, y, { k: n[0] }),
  routingWeights: ({ x, y, n }) =>
    graph.routingWeights(x, y, { normTopkProb: n[0] > 1, routedScalingFactor: n[1] }),
  update: ({ b, x, y }) => b.update(x, y),
};

const someShape = fc.array(fc.constantFrom(0, 1, 2, 3, 4, 128), { maxLength: 4 });
const whole = fc.oneof(
  { weight: 5, arbitrary: fc.integer({ min: -1, max: 4 }) },
  { weight: 1, arbitrary: fc.constantFrom(0.5, NaN, -5, 2 ** 31, 2 ** 53, Infinity) },
);
/** Often the same, so that some calls are legal. */
const someTensor = fc.record({
  dtype: fc.oneof(fc.constant<DType>("f32"), fc.constantFrom<DType>(...dtypes)),
  shape: fc.oneof(fc.constantFrom([2, 3], [3, 2], [3], [], [2, 3, 4]), someShape),
});

test.each(Object.keys(calls))("%s", (name) => {
  fc.assert(
    fc.property(
      fc.tuple(someTensor, someTensor, someTensor, someTensor),
      fc.tuple(whole, whole, whole),
      fc.oneof(someShape, fc.array(whole, { maxLength: 3 })),
      fc.constantFrom<DType>(...dtypes),
      (types, n, sizes, dtype) => {
        let refused: unknown;
        let made: readonly Tensor[] = [];
        const declared = graph.declare("misuse", (b) => {
          const [x, y, z, w] = types.map(({ dtype: of, shape }, i) =>
            b.input("xyzw"[i]!, of, shape),
          );
          b.scope("layers.3", () =>
            b.scope("self_attn", () => {
              try {
                made = tensorsOf(calls[name]!({ b, x: x!, y: y!, z: z!, w: w!, n, sizes, dtype }));
              } catch (error) {
                refused = error;
              }
            }),
          );
          return Object.fromEntries([x!, ...made].map((tensor, i) => [`y${i}`, tensor]));
        });
        if (refused === undefined) {
          verifyGraph(declared);
          buildAnyProgram(declared);
          return;
        }
        // The error as the declaration's user sees it.
        const seen = placed(refused);
        if (!(seen instanceof MillraceError)) throw seen;
        expect(seen).not.toBeInstanceOf(InternalError);
        expect(seen.details.where ?? "").toMatch(/^layers\.3\.self_attn/);
        expect(seen.details.what).not.toBe("");
      },
    ),
    { numRuns: 100 },
  );
});

/** What a call made: a tensor, some, or some by name. */
function tensorsOf(made: unknown): readonly Tensor[] {
  if (typeof made !== "object" || made === null) return [];
  return "ref" in made ? [made as Tensor] : (Object.values(made) as Tensor[]);
}

/** What can be declared can be compiled, but for what no device holds. */
function buildAnyProgram(declared: Graph): void {
  try {
    graph.buildProgram(declared, {
      dtypes,
      alignment: 64,
      maxBytes: 2 ** 32,
      maxBuffersPerKernel: 64,
      arrayBytes: 0,
    });
  } catch (error) {
    if (!(error instanceof DeviceError || error instanceof UnsupportedError)) throw error;
  }
}

/** `error` as it leaves the scope that it was thrown in. */
function placed(error: unknown): unknown {
  try {
    graph.declare("again", (b) =>
      b.scope("layers.3", () =>
        b.scope("self_attn", () => {
          throw error;
        }),
      ),
    );
  } catch (again) {
    return again;
  }
  return undefined;
}
