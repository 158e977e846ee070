/**
 * Rows of x times scales that weight rows share. In: a packed row in f32, and the scales of its blocks. Out: another row. So products
 * with codes need not know of scales.
 */
import { DOT_DEPTH } from "../configure/dots.ts";
import type { Local } from "./function-builder.ts";
import type { LibraryFunction } from "./library.ts";

/** Registers of a turn. */
const REGISTERS = DOT_DEPTH / 4;

/** `(from, to, end, scales)`, with a scale for every `block` elements; the last block may be shorter. */
export function scaleRow(block: number, memory: number): LibraryFunction {
  return {
    name: `scale row in blocks of ${block}${memory > 0 ? ` in memory ${memory}` : ""}`,
    signature: { params: ["i32", "i32", "i32", "i32"], results: [] },
    body(f) {
      const [from, to, end, scales] = f.params as [Local, Local, Local, Local];
      f.repeat((nextBlock) => {
        f.get(scales);
        f.memory("v128.load32_splat", 0, undefined, memory);
        const scale = f.save("v128");
        f.get(from);
        f.i32(block * 4);
        f.op("i32.add");
        const wanted = f.save("i32");
        for (const local of [wanted, end, wanted, end]) f.get(local);
        f.op("i32.lt_u", "select");
        const last = f.save("i32");
        f.repeat((again) => {
          const scaled = Array.from({ length: REGISTERS }, (_, i) => {
            f.get(from);
            f.memory("v128.load", i * 16);
            f.get(scale);
            f.op("f32x4.mul");
            return f.save("v128");
          });
          for (let i = REGISTERS - 1; i >= 0; i--) {
            f.get(to);
            f.get(scaled[i]!);
            f.memory("v128.store", i * 16);
          }
          f.increment(from, DOT_DEPTH * 4);
          f.increment(to, DOT_DEPTH * 4);
          f.get(from);
          f.get(last);
          f.op("i32.lt_u");
          f.brIf(again);
        });
        f.increment(scales, 4);
        f.get(from);
        f.get(end);
        f.op("i32.lt_u");
        f.brIf(nextBlock);
      });
    },
  };
}
