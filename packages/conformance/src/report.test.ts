import { hostTensor } from "@millrace/graph";
import { expect, test } from "vitest";

import {
  ConformanceError,
  coordinate,
  expectSameBits,
  expectSameValues,
  mismatch,
} from "./report.ts";

const x = hostTensor("f32", [2, 3], [1, 2, 3, 4, 5, 6]);

test("a mismatch is counted, placed and shown", () => {
  expect(mismatch(x, x)).toBeUndefined();
  const y = hostTensor("f32", [2, 3], [1, 2, 3, 4, 5.5, 8]);
  expect(mismatch(y, x)).toBe(
    "2 of 6 elements of f32[2, 3] differ; first at [1, 1]: got 5.5, expected 5; allowed 0 and 0 ulp, largest difference 2",
  );
  expect(mismatch(y, x, { ulps: 0, absolute: 1 })).toMatch(/^1 of 6 .* first at \[1, 2\]/);
  expect(mismatch(y, x, { ulps: 0, absolute: 2 })).toBeUndefined();
});

test("types are compared before values", () => {
  const flat = { ...x, shape: [6] };
  expect(mismatch(flat, x)).toBe("got f32[6] of 6 elements, expected f32[2, 3]");
  expect(mismatch(hostTensor("i32", [2, 3], x.data as Float32Array), x)).toMatch(/^got i32/);
});

test("the error names the tensor, the place and the hint", () => {
  const compare = (): void =>
    expectSameValues(
      { y: x },
      { y: hostTensor("f32", [2, 3], [0, 0, 0, 0, 0, 0]) },
      {
        what: "wasm, fused",
        where: "layers.0",
        hint: "Look there.",
      },
    );
  expect(compare).toThrow(ConformanceError);
  expect(compare).toThrow(/^wasm, fused: "y" 6 of 6 .* at layers\.0\. Look there\.$/);
  expect(() => expectSameValues({}, { y: x }, { what: "wasm" })).toThrow('"y" is missing');
  expect(() => expectSameValues({ y: x }, {}, { what: "wasm" })).toThrow("should not be");
});

test("bits are compared where values are equal", () => {
  const zero = hostTensor("f32", [1], [0]);
  const negative = hostTensor("f32", [1], [-0]);
  expectSameValues({ y: negative }, { y: zero }, { what: "run" });
  expect(() => expectSameBits({ y: negative }, { y: zero }, "run", "g")).toThrow("in byte 3 at g");
  expectSameBits({ y: zero }, { y: zero }, "run", "g");
});

test("coordinates count row-major", () => {
  expect(coordinate(23, [2, 3, 4])).toEqual([1, 2, 3]);
  expect(coordinate(0, [])).toEqual([]);
});
