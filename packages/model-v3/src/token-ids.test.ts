import { InputError, hostTensor } from "@millrace/graph";
import type { HostTensor } from "@millrace/graph";
import { expect, test } from "vitest";
import { checkedTokenIds } from "./token-ids.ts";

const i64 = (values: readonly number[], shape: readonly number[]): HostTensor => ({
  dtype: "i64",
  shape,
  data: BigInt64Array.from(values, BigInt),
});

test("ids become i32 of the same shape", () => {
  const ids = checkedTokenIds(i64([0, 5, 9, 3], [2, 2]), 10, "input_ids");
  expect(ids).toEqual({ dtype: "i32", shape: [2, 2], data: Int32Array.of(0, 5, 9, 3) });
  expect(checkedTokenIds(hostTensor("i32", [0], []), 10, "x").data).toHaveLength(0);
});

test.each([10, -1, 2 ** 40])("id %d of 10 is refused with its place", (id) => {
  const refused = (): unknown => checkedTokenIds(i64([0, 1, 2, id], [2, 2]), 10, "ids.safetensors");
  expect(refused).toThrow(InputError);
  expect(refused).toThrow(/at \[1, 1\].*vocabulary of 10.*ids\.safetensors/);
});

test("floats are no ids", () => {
  expect(() => checkedTokenIds(hostTensor("f32", [1], [1]), 10, "x")).toThrow(/f32\[1\]/);
});
