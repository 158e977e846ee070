import { expect, test } from "vitest";
import { AttributeError, DTypeError, ShapeError } from "../../errors.ts";
import { GraphBuilder } from "../builder.ts";
import { groupLimitedTopK } from "./top-k-routing.ts";

test("groupLimitedTopK refuses what cannot choose k experts", () => {
  const b = new GraphBuilder("routing");
  const scores = b.input("s", "f32", [5, 12]);
  const route = (k: number, nGroup: number, topkGroup: number) => () =>
    groupLimitedTopK(scores, undefined, { k, nGroup, topkGroup });
  expect(route(6, 4, 2)().type).toEqual({ dtype: "i32", shape: [5, 6] });
  expect(route(7, 4, 2)).toThrow(/7 experts per token out of 6 in 2 groups/);
  expect(route(2, 5, 1)).toThrow(AttributeError);
  expect(route(2, 3, 4)).toThrow(AttributeError);
  expect(route(0, 1, 1)).toThrow(AttributeError);
  expect(route(13, 1, 1)).toThrow(AttributeError);
});

test("groupLimitedTopK takes f32 scores and one bias for each expert", () => {
  const b = new GraphBuilder("routing");
  const scores = b.input("s", "f32", [5, 12]);
  expect(() => groupLimitedTopK(scores, b.state("b", "f32", [11]), { k: 2 })).toThrow(ShapeError);
  expect(() => groupLimitedTopK(b.input("h", "bf16", [5, 12]), undefined, { k: 2 })).toThrow(
    DTypeError,
  );
});
