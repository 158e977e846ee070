/**
 * Operations that WebAssembly traps on or lacks on lanes. In: two operands. Out: quotient or remainder; integers
 * truncate and give 0 for a zero divisor, the float remainder is exact and has the sign of the dividend.
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

/** The exact remainder of two floats, by long division in doubles. */
export const remainder: LibraryFunction = {
  name: "rem f32",
  signature: { params: ["f32", "f32"], results: ["f32"] },
  body(f) {
    const [x, y] = f.params as [Local, Local];
    const abs = (from: Local): Local => {
      f.get(from);
      f.op("f32.abs", "f64.promote_f32");
      return f.save("f64");
    };
    const a = abs(x);
    const b = abs(y);
    const step = f.local("f64");
    // Infinite dividends and zero or NaN divisors have no remainder.
    f.get(a);
    f.f64(Infinity);
    f.op("f64.lt");
    f.get(b);
    f.f64(0);
    f.op("f64.gt", "i32.and", "i32.eqz");
    f.ifElse(() => {
      f.f32(NaN);
      f.op("return");
    });
    f.get(b);
    f.f64(Infinity);
    f.op("f64.lt");
    f.ifElse(() => {
      f.get(b);
      f.set(step);
      f.block((out) => {
        f.repeat((again) => {
          f.get(step);
          f.get(a);
          f.op("f64.gt");
          f.brIf(out);
          f.get(step);
          f.f64(2);
          f.op("f64.mul");
          f.set(step);
          f.br(again);
        });
      });
      f.repeat((again) => {
        f.get(a);
        f.get(step);
        f.op("f64.ge");
        f.ifElse(() => {
          f.get(a);
          f.get(step);
          f.op("f64.sub");
          f.set(a);
        });
        f.get(step);
        f.f64(0.5);
        f.op("f64.mul");
        f.tee(step);
        f.get(b);
        f.op("f64.ge");
        f.brIf(again);
      });
    });
    f.get(a);
    f.op("f32.demote_f64");
    f.get(x);
    f.op("f32.copysign");
  },
};

/** Quotient or remainder of two scalars; a float has no truncated quotient here. */
export function scalarDivision(op: "div" | "rem", type: ScalarType): LibraryFunction {
  return type === "f32" ? remainder : integerFunction(op, type !== "u32");
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

/** Applies a function of two scalars to each lane. */
export function lanewise(type: ScalarType, scalar: LibraryFunction): LibraryFunction {
  const shape = type === "f32" ? "f32x4" : "i32x4";
  return {
    name: `lanes of ${scalar.name}`,
    signature: binaryVector,
    body(f, library) {
      const target = library.get(scalar);
      const each = (lane: number): void => {
        for (const param of f.params) {
          f.get(param);
          f.lane(`${shape}.extract_lane`, lane);
        }
        f.call(target);
      };
      each(0);
      f.op(`${shape}.splat`);
      for (let lane = 1; lane < 4; lane++) {
        const result = f.save("v128");
        each(lane);
        const scalarResult = f.save(type === "f32" ? "f32" : "i32");
        f.get(result);
        f.get(scalarResult);
        f.lane(`${shape}.replace_lane`, lane);
      }
    },
  };
}
