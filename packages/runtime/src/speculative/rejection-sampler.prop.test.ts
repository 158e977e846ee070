import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { normalize } from "../sampling/logits-processors.ts";
import { drawToken, seededUniform } from "../sampling/sampler.ts";
import { acceptanceProbability, residual, verifyDrafts } from "./rejection-sampler.ts";
import type { Draft } from "./rejection-sampler.ts";

const listed =
  (targets: readonly Float64Array[]) =>
  async (index: number): Promise<Float64Array> =>
    targets[index]!;

/** Distributions over `size` tokens, with zeros and with all of it on one token among them. */
const distributions = (size: number): fc.Arbitrary<Float64Array> =>
  fc
    .array(fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 1000 })), {
      minLength: size,
      maxLength: size,
    })
    .filter((weights) => weights.some((weight) => weight > 0))
    .map((weights) => normalize(Float64Array.from(weights)));

const pairs = fc
  .integer({ min: 1, max: 9 })
  .chain((size) => fc.tuple(distributions(size), distributions(size)));

describe("one draft", () => {
  test("accepted or replaced has the model's distribution, computed exactly", () => {
    fc.assert(
      fc.property(pairs, ([p, q]) => {
        const kept = q.map((weight, x) =>
          weight > 0 ? weight * acceptanceProbability(p, q, x) : 0,
        );
        const rejected = 1 - kept.reduce((sum, weight) => sum + weight, 0);
        const rest = residual(p, q);
        p.forEach((expected, x) => {
          expect(kept[x]! + rejected * rest[x]!).toBeCloseTo(expected, 12);
        });
      }),
      { numRuns: 500 },
    );
  });

  test("is accepted exactly where the number lies below min(1, p/q)", async () => {
    const p = Float64Array.of(0.2, 0.8);
    const q = Float64Array.of(0.5, 0.5);
    const verdict = (token: number, accept: number) =>
      verifyDrafts([{ token, probabilities: q }], listed([p, p]), 4, (_, purpose) =>
        purpose === "accept" ? accept : 0,
      );
    expect(await verdict(0, 0.399)).toEqual({ accepted: 1, token: 0 });
    expect(await verdict(0, 0.401)).toEqual({ accepted: 0, token: 1 });
    expect(await verdict(1, 0.999)).toEqual({ accepted: 1, token: 0 });
  });

  test("of certain distributions is accepted when they agree and replaced when not", async () => {
    const one = (token: number): Float64Array =>
      Float64Array.from({ length: 3 }, (_, i) => Number(i === token));
    const uniform = seededUniform(3);
    const drafts = [0, 2].map((token) => ({ token, probabilities: one(token) }));
    expect(await verifyDrafts(drafts, listed([one(0), one(2), one(1)]), 0, uniform)).toEqual({
      accepted: 2,
      token: 1,
    });
    expect(await verifyDrafts(drafts, listed([one(0), one(1), one(1)]), 0, uniform)).toEqual({
      accepted: 1,
      token: 1,
    });
    expect(await verifyDrafts(drafts, listed([one(1), one(2), one(1)]), 0, uniform)).toEqual({
      accepted: 0,
      token: 1,
    });
  });
});

test("no drafts: the token is drawn from the model's distribution by its own number", async () => {
  const p = Float64Array.of(0.1, 0.6, 0.3);
  const uniform = seededUniform(11);
  for (let position = 0; position < 50; position++)
    expect(await verifyDrafts([], listed([p]), position, uniform)).toEqual({
      accepted: 0,
      token: drawToken(p, uniform(position, "token")),
    });
});

/** 99.9th percentile of chi-square, by Wilson and Hilferty's approximation. */
function chiSquareLimit(degrees: number): number {
  const a = 2 / (9 * degrees);
  return degrees * (1 - a + 3.0902 * Math.sqrt(a)) ** 3;
}

test("two tokens in a row from two drafts have the model's joint distribution, by count", async () => {
  const size = 3;
  // The model's and the module's next-token distributions after each token; 0 stands before the first.
  const model = [
    [0.5, 0.3, 0.2],
    [0.1, 0.1, 0.8],
    [0.6, 0.4, 0],
  ].map((row) => Float64Array.from(row));
  const module = [
    [0.2, 0.2, 0.6],
    [0.1, 0.6, 0.3],
    [0.3, 0.3, 0.4],
  ].map((row) => Float64Array.from(row));
  const runs = 30_000;
  const counts = new Float64Array(size * size);
  for (let run = 0; run < runs; run++) {
    const uniform = seededUniform(run);
    const tokens: number[] = [0];
    // Rounds of two drafts until two tokens are there, as generation does.
    while (tokens.length < 3) {
      const drafts: Draft[] = [];
      let last = tokens.at(-1)!;
      const targets = [model[last]!];
      for (let i = 0; i < 2; i++) {
        const probabilities = module[last]!;
        last = drawToken(probabilities, uniform(tokens.length + i, "draft"));
        drafts.push({ token: last, probabilities });
        targets.push(model[last]!);
      }
      const { accepted, token } = await verifyDrafts(
        drafts,
        listed(targets),
        tokens.length,
        uniform,
      );
      tokens.push(...drafts.slice(0, accepted).map((draft) => draft.token), token);
    }
    counts[tokens[1]! * size + tokens[2]!]!++;
  }
  let chiSquare = 0;
  let degrees = -1;
  for (let a = 0; a < size; a++)
    for (let b = 0; b < size; b++) {
      const expected = runs * model[0]![a]! * model[a]![b]!;
      const count = counts[a * size + b]!;
      if (expected === 0) expect(count).toBe(0);
      else {
        chiSquare += (count - expected) ** 2 / expected;
        degrees++;
      }
    }
  expect(chiSquare).toBeLessThan(chiSquareLimit(degrees));
});
