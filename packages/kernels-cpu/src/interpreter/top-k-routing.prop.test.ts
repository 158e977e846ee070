// Group-limited routing against a sort. Scores are quarters, most of them negative, so that sums are exact and ties occur.
import { declare, groupLimitedTopK, hostTensor } from "@millrace/graph";
import fc from "fast-check";
import { expect, test } from "vitest";
import { interpret } from "./interpret.ts";

const upTo = (max: number): fc.Arbitrary<number> => fc.integer({ min: 1, max });
const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i);

/** Indices by descending value, lower index first at a tie. */
const best = (values: readonly number[], k: number): number[] =>
  range(values.length)
    .sort((i, j) => values[j]! - values[i]! || i - j)
    .slice(0, k);

const cases = fc
  .record({
    tokens: upTo(4),
    nGroup: fc.constantFrom(1, 2, 4),
    size: upTo(4),
    topkGroup: upTo(4),
    k: upTo(4),
    groupScore: fc.constantFrom("max" as const, "top2_sum" as const),
    biased: fc.boolean(),
  })
  .chain(({ tokens, nGroup, size, topkGroup, k, ...rest }) => {
    const [experts, kept] = [nGroup * size, Math.min(topkGroup, nGroup)];
    const quarters = fc.integer({ min: -28, max: 8 }).map((x) => x / 4);
    const rows = (n: number): fc.Arbitrary<number[]> =>
      fc.array(quarters, { minLength: n * experts, maxLength: n * experts });
    return fc.record({
      options: fc.constant({ ...rest, nGroup, topkGroup: kept, k: Math.min(k, kept * size) }),
      tokens: fc.constant(tokens),
      size: fc.constant(size),
      scores: rows(tokens),
      bias: rows(1),
    });
  });

test("takes the best of the kept groups, also when every score is negative", () => {
  fc.assert(
    fc.property(cases, ({ tokens, size, scores, bias, options }) => {
      const { biased, nGroup, topkGroup, k, groupScore } = options;
      const experts = nGroup * size;
      const want = range(tokens).flatMap((t) => {
        const z = range(experts).map((e) => scores[t * experts + e]! + (biased ? bias[e]! : 0));
        const rating = range(nGroup).map((g) => {
          const [first, second = 0] = z.slice(g * size, (g + 1) * size).sort((a, b) => b - a);
          return groupScore === "max" ? first! : first! + second;
        });
        const stay = best(rating, topkGroup);
        const choice = z.map((x, e) => (stay.includes(Math.floor(e / size)) ? x : -Infinity));
        return best(choice, k);
      });
      const graph = declare("route", (b) => {
        const offset = b.input("bias", "f32", [experts]);
        return {
          chosen: groupLimitedTopK(
            b.input("scores", "f32", [tokens, experts]),
            biased ? offset : undefined,
            { nGroup, topkGroup, k, groupScore },
          ),
        };
      });
      const { outputs } = interpret(graph, {
        scores: hostTensor("f32", [tokens, experts], scores),
        bias: hostTensor("f32", [experts], bias),
      });
      expect([...outputs["chosen"]!.data]).toEqual(want);
    }),
    { numRuns: 80 },
  );
});
