import { expect, test } from "vitest";
import { AttributeError, DTypeError, ShapeError } from "../../errors.ts";
import { GraphBuilder } from "../builder.ts";
import {
  blockQuantize,
  dequantizeTiles,
  quantizeBlocks,
  quantizeTiles,
  scaleShape,
} from "./block-quantize.ts";

test("scales are as many as tiles, the last of which may be smaller", () => {
  for (const [size, count] of [
    [0, 0],
    [1, 1],
    [127, 1],
    [128, 1],
    [129, 2],
    [384, 3],
  ])
    expect(scaleShape([5, size!], [1, 128])).toEqual([5, count]);
  const b = new GraphBuilder("tiles");
  const experts = quantizeBlocks(b.input("w", "f32", [3, 130, 300]));
  expect(experts.scales.shape).toEqual([3, 2, 3]);
  expect(experts.codes.dtype).toBe("e4m3fn");
  const t = b.size("T", 1, 9);
  expect(quantizeTiles(b.input("x", "bf16", [t, 300])).scales.shape).toEqual([t, 3]);
});

test("tiles refuse open axes, other ranks, integers and the scales of other tiles", () => {
  const b = new GraphBuilder("tiles");
  const open = b.input("x", "f32", [b.size("T", 1, 9), 256]);
  expect(() => blockQuantize(open, [128, 1])).toThrow(ShapeError);
  expect(() => blockQuantize(open, [128])).toThrow(AttributeError);
  expect(() => blockQuantize(open, [1, 0.5])).toThrow(AttributeError);
  expect(() => quantizeTiles(b.input("i", "i32", [2, 256]))).toThrow(DTypeError);
  const { codes, scales } = quantizeTiles(open);
  expect(() => dequantizeTiles(codes, scales, 64)).toThrow(ShapeError);
});
