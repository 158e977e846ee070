/**
 * The cotangents of attention's queries, keys and values. In: these three, the cotangent of the result, the logarithm of each softmax's
 * sum, and for each row the sum of cotangent times result less the cotangent of that logarithm. Out: three cotangents. An op of its
 * own, so that a device may compute it without a matrix of scores. Source: arXiv 2307.08691.
 */
import { ShapeError } from "../../errors.ts";
import type { MemoryVectors, RowCotangents } from "../../lower/attention-gradient.ts";
import { attentionKeyGradient, attentionQueryGradient } from "../../lower/attention-gradient.ts";
import { isJoint, isWorthwhile, keyBlocks, queryBlocks } from "../../lower/attention-blocks.ts";
import type { OpDefinition, WholeAccess } from "../../op.ts";
import type { TensorType } from "../../shape.ts";
import { formatType, shapesEqual } from "../../shape.ts";
import { defineOp, expectInputs } from "../define-op.ts";
import { dotGeneral } from "../ops/contract.ts";
import { transpose } from "../ops/movement.ts";
import {
  attentionForm,
  attentionTypes,
  attentionWidths,
  layout,
  scoresOf,
} from "./attention-layout.ts";
import type { AttentionAttributes } from "./attention-weights.ts";
import { extraCount, floatOf, scoreGradient } from "./attention-weights.ts";

/** Throws unless the cotangent and the two numbers of each row have these types. */
export function checkRows(
  [result, logSum]: readonly TensorType[],
  [dy, ...numbers]: readonly TensorType[],
): void {
  if (dy!.dtype === result!.dtype && shapesEqual(dy!.shape, result!.shape))
    if (numbers.every(({ dtype, shape }) => dtype === "f32" && shapesEqual(shape, logSum!.shape)))
      return;
  throw new ShapeError({
    what: `the cotangent is ${formatType(dy!)}, with ${numbers.map(formatType).join(" and ")}`,
    hint: `Give ${formatType(result!)}, and twice ${formatType(logSum!)}.`,
  });
}

/** Inputs q, k, v, the result's cotangent, the logarithms, the sums along rows, and start or segments. */
export const attentionGradientOp: OpDefinition<AttentionAttributes> = defineOp<AttentionAttributes>(
  {
    name: "attention_gradient",
    infer: (inputs, attrs) => {
      expectInputs(inputs, 6 + extraCount(attrs));
      checkRows(attentionTypes(inputs.slice(0, 3), inputs.slice(6), attrs), inputs.slice(3, 6));
      return inputs.slice(0, 3);
    },
    body: {
      class: "composite",
      decompose: ([qIn, k, v, dyIn, logSum, along, ...extra], attrs) => {
        const { split, merge, order, last, inQueries, inScores } = layout(qIn!, k!);
        const q = split(qIn!);
        const dy = split(dyIn!);
        const toWeights = dotGeneral(dy, v!, {
          lhsBatch: [0, 2],
          rhsBatch: [0, 2],
          lhsContract: [last],
          rhsContract: [3],
          dtype: "f32",
        });
        const d = scoreGradient(
          scoresOf(q, k!, extra, attrs, last),
          logSum!,
          { weights: toWeights, along: along! },
          attrs.scale,
        );
        const perKey = {
          lhsBatch: [0, 1],
          rhsBatch: [0, 2],
          lhsContract: inScores,
          rhsContract: inQueries,
        };
        const perQuery = {
          lhsBatch: [0, 1],
          rhsBatch: [0, 2],
          lhsContract: [last],
          rhsContract: [1],
        };
        const dq = dotGeneral(d.scores, k!, { ...perQuery, dtype: floatOf(qIn!) });
        const dk = dotGeneral(d.scores, q, { ...perKey, dtype: floatOf(k!) });
        const dv = dotGeneral(d.weights, dy, { ...perKey, dtype: floatOf(v!) });
        return [
          merge(transpose(dq, order)),
          transpose(dk, [0, 2, 1, 3]),
          transpose(dv, [0, 2, 1, 3]),
        ];
      },
      whole: ({ attrs, inputs, arrayBytes }) => {
        const widths = attentionWidths(inputs);
        if (!widths || !isWorthwhile(inputs[0]!.shape[1]!)) return undefined;
        const forQueries = queryBlocks(arrayBytes, widths.keys);
        const forKeys = keyBlocks(arrayBytes, widths.keys + widths.values);
        if (!forQueries || !forKeys) return undefined;
        const extra = { input: 6, type: inputs[6] };
        const parts = (read: WholeAccess["read"]) => {
          const { form, rowAt, numberAt, keyAt } = attentionForm(inputs, extra, attrs, read);
          const ct: RowCotangents = {
            result: { width: widths.values, at: (row, d) => read(3, rowAt(row, d)) },
            logSum: (row) => read(4, numberAt(row)),
            along: (row) => read(5, numberAt(row)),
          };
          return { form, ct, rowAt, keyAt };
        };
        if (isJoint(inputs[0]!, inputs[1]!, arrayBytes))
          return [
            {
              name: "attention_gradient",
              outputs: [0, 1, 2],
              readsBack: [0],
              body: ({ read, store, readBack }) => {
                const { form, ct, rowAt, keyAt } = parts(read);
                const rows: MemoryVectors = {
                  store: (row, d, value) => store(0, rowAt(row, d), value),
                  at: (row, d) => readBack(0, rowAt(row, d)),
                };
                return attentionKeyGradient(form, forKeys, ct, {
                  keys: [(key, d, value) => store(1, keyAt(key, d), value)],
                  values: (key, d, value) => store(2, keyAt(key, d), value),
                  queries: [rows],
                });
              },
            },
          ];
        return [
          {
            name: "attention_gradient_queries",
            outputs: [0],
            body: ({ read, store }) => {
              const { form, ct, rowAt } = parts(read);
              return attentionQueryGradient(form, forQueries, ct, [
                (row, d, value) => store(0, rowAt(row, d), value),
              ]);
            },
          },
          {
            name: "attention_gradient_keys",
            outputs: [1, 2],
            body: ({ read, store }) => {
              const { form, ct, keyAt } = parts(read);
              return attentionKeyGradient(form, forKeys, ct, {
                keys: [(key, d, value) => store(1, keyAt(key, d), value)],
                values: (key, d, value) => store(2, keyAt(key, d), value),
              });
            },
          },
        ];
      },
    },
  },
);
