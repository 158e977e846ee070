import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { checkSampling, distribution, likeliest } from "./logits-processors.ts";
import type { SamplingOptions } from "./logits-processors.ts";

/** Few distinct values, so that ties are common, beside ordinary and extreme ones. */
const logit = fc.oneof(
  fc.constantFrom(-1, 0, 0.5, 2),
  fc.float({ min: -30, max: 30, noNaN: true }),
  fc.constantFrom(-Infinity, Math.fround(-3e38)),
);
const logitRows = fc
  .oneof(
    fc.array(logit, { minLength: 1, maxLength: 12 }),
    fc
      .constantFrom(127, 128, 129, 1300)
      .chain((n) => fc.array(logit, { minLength: n, maxLength: n })),
  )
  .filter((row) => row.some((value) => value > -Infinity));
const options: fc.Arbitrary<SamplingOptions> = fc.record(
  {
    temperature: fc.oneof(
      fc.constantFrom(0, 1, 1e-300, 1e300),
      fc.double({ min: 0.05, max: 5, noNaN: true }),
    ),
    topK: fc.integer({ min: 1, max: 140 }),
    // No share that sums of equal weights meet, where rounding alone would decide what is kept.
    topP: fc.oneof(
      fc.constant(1),
      fc.integer({ min: 1, max: 996 }).map((n) => n / 997),
    ),
    minP: fc.oneof(fc.constantFrom(0, 1), fc.double({ min: 0, max: 1, noNaN: true })),
  },
  { requiredKeys: [] },
);

/** The filters as they are defined: sort everything, and take from the front. */
function reference(logits: readonly number[], { temperature = 0, ...o }: SamplingOptions) {
  const best = Math.max(...logits);
  const order = logits
    .map((value, token) => ({ value, token }))
    .toSorted((a, b) => (a.value === b.value ? a.token - b.token : b.value - a.value))
    .slice(0, temperature === 0 ? 1 : (o.topK ?? logits.length));
  let kept = order.map(({ value, token }) => ({
    token,
    weight: value === best ? 1 : Math.exp((value - best) / (temperature || 1)),
  }));
  const sum = (list: typeof kept): number => list.reduce((s, { weight }) => s + weight, 0);
  const total = sum(kept);
  if ((o.topP ?? 1) < 1) {
    let held = 0;
    kept = kept.filter(({ weight }) => {
      const isNeeded = held < o.topP! * total;
      held += weight;
      return isNeeded;
    });
  }
  kept = kept.filter(({ weight }) => weight >= (o.minP ?? 0));
  const out = new Float64Array(logits.length);
  for (const { token, weight } of kept) out[token] = weight / sum(kept);
  return out;
}

describe("distribution", () => {
  test("is what the definitions of the filters give", () => {
    fc.assert(
      fc.property(logitRows, options, (logits, sampling) => {
        const got = distribution(logits, sampling);
        const expected = reference(logits, sampling);
        got.forEach((p, i) => expect(p).toBeCloseTo(expected[i]!, 12));
      }),
      { numRuns: 500 },
    );
  });

  test("sums to one and never drops the likeliest token", () => {
    fc.assert(
      fc.property(logitRows, options, (logits, sampling) => {
        const got = distribution(logits, sampling);
        expect(got.reduce((sum, p) => sum + p, 0)).toBeCloseTo(1, 12);
        expect(got[likeliest(logits)]).toBeGreaterThan(0);
        expect(got.every((p) => p >= 0 && p <= 1)).toBe(true);
      }),
    );
  });

  test("of temperature 0 is on the lowest id of the likeliest, whatever the filters", () => {
    expect([...distribution([1, 3, 3, -Infinity], { topP: 0.1, minP: 1 })]).toEqual([0, 1, 0, 0]);
    expect([...distribution([Number.NaN, 3], { temperature: 0 })]).toEqual([0, 1]);
  });

  test("of top-k keeps k of equal logits, the lower ids", () => {
    expect([...distribution([2, 2, 2, 2], { temperature: 1, topK: 2 })]).toEqual([0.5, 0.5, 0, 0]);
  });

  test("NaN never becomes likely", () => {
    const got = distribution([Number.NaN, 0, 0], { temperature: 1, topK: 2, topP: 0.9 });
    expect([...got]).toEqual([0, 0.5, 0.5]);
  });

  test.each([[[Number.NaN]], [[-Infinity, -Infinity]], [[0, Infinity]], [[]]])(
    "of %j is refused",
    (logits) => {
      expect(() => distribution(logits, { temperature: 1 })).toThrow(/not finite.*Check/);
    },
  );
});

test.each<SamplingOptions>([
  { temperature: -1 },
  { temperature: Number.NaN },
  { temperature: Infinity },
  { topK: 0 },
  { topK: 1.5 },
  { topP: 0 },
  { topP: 1.01 },
  { minP: -0.1 },
  { minP: Number.NaN },
])("%j is refused", (sampling) => {
  expect(() => checkSampling(sampling)).toThrow(/is .* at sampling\. Give /);
});

test("options in their domain pass", () => {
  checkSampling({});
  checkSampling({ temperature: 0, topK: 1, topP: 1, minP: 0 });
  checkSampling({ temperature: undefined, topK: undefined, topP: undefined, minP: undefined });
});
