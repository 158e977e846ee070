/**
 * Operations that WebAssembly traps on or lacks on lanes. In: two operands. Out: quotient or remainder, truncated,
 * and 0 for a zero divisor; shifts by a distance per lane.
 */
import type { ScalarType } from "@millrace/graph";
import type { Local } from "./function-builder.ts";
import type { LibraryFunction } from "./library.ts";
import { binaryVector } from "./library.ts";

function integerFunction(op: "div" | "rem", signed: boolean): LibraryFunction {
  return {
    name: `${op} ${signed ? "i32" : "u32"}`,
    signature: { params: ["i32", "i32"], results: ["i32"] },
    body(f) {
      const [a, b] = f.params as [Local, Local];
      const divide = (): void => {
        f.get(a);
        f.get(b);
        f.op(`i32.${op}_${signed ? "s" : "u"}`);
      };
      f.get(b);
      f.op("i32.eqz");
      f.ifElse(
        () => f.i32(0),
        () => {
          if (!signed || op === "rem") {
            divide();
            return;
          }
          // -2^31 / -1 traps in WebAssembly; it wraps here.
          f.get(b);
          f.i32(-1);
          f.op("i32.eq");
          f.ifElse(
            () => {
              f.i32(0);
              f.get(a);
              f.op("i32.sub");
            },
            divide,
            "i32",
          );
        },
        "i32",
      );
    },
  };
}

/** Quotient or remainder of two integers. */
export function scalarDivision(op: "div" | "rem", type: ScalarType): LibraryFunction {
  return integerFunction(op, type !== "u32");
}

/** A shift by a distance that is not the same in all lanes; for `lanewise`. */
export function scalarShift(op: "shl" | "shr", type: ScalarType): LibraryFunction {
  return {
    name: `${op} ${type}`,
    signature: { params: ["i32", "i32"], results: ["i32"] },
    body(f) {
      f.get(f.param(0));
      f.get(f.param(1));
      f.op(op === "shl" ? "i32.shl" : type === "i32" ? "i32.shr_s" : "i32.shr_u");
    },
  };
}

/** Applies a function of two integers to each lane. */
export function lanewise(scalar: LibraryFunction): LibraryFunction {
  return {
    name: `lanes of ${scalar.name}`,
    signature: binaryVector,
    body(f, library) {
      const target = library.get(scalar);
      const each = (lane: number): void => {
        for (const param of f.params) {
          f.get(param);
          f.lane("i32x4.extract_lane", lane);
        }
        f.call(target);
      };
      each(0);
      f.op("i32x4.splat");
      for (let lane = 1; lane < 4; lane++) {
        const result = f.save("v128");
        each(lane);
        const scalarResult = f.save("i32");
        f.get(result);
        f.get(scalarResult);
        f.lane("i32x4.replace_lane", lane);
      }
    },
  };
}
