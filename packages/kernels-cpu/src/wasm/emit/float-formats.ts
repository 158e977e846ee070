/**
 * Narrow float formats on four lanes. In: f32 values, or bit patterns as i32 lanes. Out: the nearest values
 * of a format, its bit patterns, or the values of bit patterns; all as graph's float-formats.ts defines them.
 * Method: a normal number is rounded by adding just under half a unit to its bits; a subnormal one by adding a float
 * whose unit is the format's smallest step.
 */
import type { NarrowFloatDType } from "@millrace/graph";
import type { FunctionBuilder, Local } from "./function-builder.ts";
import type { LibraryFunction } from "./library.ts";
import { unaryVector } from "./library.ts";

interface Format {
  readonly mantissaBits: number;
  readonly bias: number;
  /** Code of everything too large. */
  readonly overflow: number;
  readonly nan: number;
  /** Position of the sign in a code. */
  readonly signShift: number;
}

const formats: Readonly<Record<NarrowFloatDType, Format>> = {
  f16: { mantissaBits: 10, bias: 15, overflow: 0x7c00, nan: 0x7e00, signShift: 16 },
  bf16: { mantissaBits: 7, bias: 127, overflow: 0x7f80, nan: 0x7fc0, signShift: 16 },
  e4m3fn: { mantissaBits: 3, bias: 7, overflow: 0x7e, nan: 0x7f, signShift: 24 },
  e5m2: { mantissaBits: 2, bias: 15, overflow: 0x7c, nan: 0x7f, signShift: 24 },
};

/** The float whose unit in the last place is the format's smallest subnormal. */
const subnormalMagic = ({ bias, mantissaBits }: Format): number => 2 ** (24 - bias - mantissaBits);
const smallestNormal = ({ bias }: Format): number => 2 ** (1 - bias);

/** Leaves |x| as bits on the stack, rounded to the format's mantissa but not cut off. */
function roundedBits(f: FunctionBuilder, magnitude: Local, shift: number): void {
  f.get(magnitude);
  f.get(magnitude);
  f.i32(shift);
  f.op("i32x4.shr_u");
  f.i32x4(1);
  f.op("v128.and", "i32x4.add");
  f.i32x4((1 << (shift - 1)) - 1);
  f.op("i32x4.add");
}

function saveMagnitude(f: FunctionBuilder): Local {
  f.get(f.param(0));
  f.i32x4(0x7fffffff);
  f.op("v128.and");
  return f.save("v128");
}

function encoder(dtype: NarrowFloatDType): LibraryFunction {
  const format = formats[dtype];
  const shift = 23 - format.mantissaBits;
  return {
    name: `encode ${dtype}`,
    signature: unaryVector,
    body(f) {
      const x = f.param(0);
      const magnitude = saveMagnitude(f);
      roundedBits(f, magnitude, shift);
      f.i32(shift);
      f.op("i32x4.shr_u");
      if (dtype !== "bf16") {
        f.i32x4((127 - format.bias) << format.mantissaBits);
        f.op("i32x4.sub");
      }
      f.i32x4(format.overflow);
      f.op("i32x4.min_s");
      if (dtype !== "bf16") {
        // |x| + magic - magic as bits: the steps counted from magic are the code.
        f.get(magnitude);
        f.f32x4(subnormalMagic(format));
        f.op("f32x4.add");
        f.f32x4(subnormalMagic(format));
        f.op("i32x4.sub");
        f.get(magnitude);
        f.f32x4(smallestNormal(format));
        f.op("f32x4.ge", "v128.bitselect");
      }
      f.get(x);
      f.i32(format.signShift);
      f.op("i32x4.shr_u");
      f.i32x4(0x80000000 >>> format.signShift);
      f.op("v128.and", "v128.or");
      f.i32x4(format.nan);
      f.get(x);
      f.get(x);
      f.op("f32x4.eq", "v128.bitselect");
    },
  };
}

function rounder(dtype: NarrowFloatDType): LibraryFunction {
  const format = formats[dtype];
  const shift = 23 - format.mantissaBits;
  return {
    name: `round ${dtype}`,
    signature: unaryVector,
    body(f) {
      const x = f.param(0);
      const magnitude = saveMagnitude(f);
      roundedBits(f, magnitude, shift);
      f.i32x4(-1 << shift);
      f.op("v128.and");
      const rounded = f.save("v128");
      const largest =
        (2 - 2 ** -format.mantissaBits) * 2 ** (format.bias === 127 ? 127 : format.bias);
      if (dtype === "e4m3fn") {
        f.get(rounded);
        f.f32x4(448);
        f.op("f32x4.pmin");
      } else if (dtype === "bf16") f.get(rounded);
      else {
        f.get(rounded);
        f.f32x4(Infinity);
        f.get(rounded);
        f.f32x4(largest);
        f.op("f32x4.le", "v128.bitselect");
      }
      if (dtype !== "bf16") {
        f.get(magnitude);
        f.f32x4(subnormalMagic(format));
        f.op("f32x4.add");
        f.f32x4(subnormalMagic(format));
        f.op("f32x4.sub");
        f.get(magnitude);
        f.f32x4(smallestNormal(format));
        f.op("f32x4.ge", "v128.bitselect");
      }
      f.get(x);
      f.i32x4(0x80000000);
      f.op("v128.and", "v128.or");
      // A NaN's bits do not survive the arithmetic above; every NaN becomes the quiet one.
      f.f32x4(NaN);
      f.get(x);
      f.get(x);
      f.op("f32x4.eq", "v128.bitselect");
    },
  };
}

function decoder(dtype: NarrowFloatDType): LibraryFunction {
  const { mantissaBits, bias, signShift } = formats[dtype];
  const codeBits = 32 - signShift;
  return {
    name: `decode ${dtype}`,
    signature: unaryVector,
    body(f) {
      const bits = f.param(0);
      if (dtype === "bf16") {
        f.get(bits);
        f.i32(16);
        f.op("i32x4.shl");
        return;
      }
      const magnitudeMask = (1 << (codeBits - 1)) - 1;
      f.get(bits);
      f.i32x4(magnitudeMask);
      f.op("v128.and");
      const magnitude = f.save("v128");
      // The code's exponent and mantissa in an f32's place, then a power of two for the bias: exact, subnormals too.
      f.get(magnitude);
      f.i32(23 - mantissaBits);
      f.op("i32x4.shl");
      f.f32x4(2 ** (127 - bias));
      f.op("f32x4.mul");
      f.get(magnitude);
      if (dtype === "e4m3fn") {
        f.i32x4(0x7f);
        f.op("i32x4.eq");
        f.i32x4(0x7fc00000);
      } else {
        f.i32x4(((1 << (codeBits - 1 - mantissaBits)) - 1) << mantissaBits);
        f.op("i32x4.ge_s");
        f.i32x4(0x7f800000);
      }
      f.op("v128.and", "v128.or");
      f.get(bits);
      f.i32(signShift);
      f.op("i32x4.shl");
      f.i32x4(0x80000000);
      f.op("v128.and", "v128.or");
    },
  };
}

const each = (
  make: (dtype: NarrowFloatDType) => LibraryFunction,
): Readonly<Record<NarrowFloatDType, LibraryFunction>> => ({
  f16: make("f16"),
  bf16: make("bf16"),
  e4m3fn: make("e4m3fn"),
  e5m2: make("e5m2"),
});

/** f32 lanes to codes in i32 lanes. */
export const encodeLanes: Readonly<Record<NarrowFloatDType, LibraryFunction>> = each(encoder);
/** f32 lanes to the nearest values of the format. */
export const roundLanes: Readonly<Record<NarrowFloatDType, LibraryFunction>> = each(rounder);
/** Codes in i32 lanes, zero-extended, to f32 lanes. */
export const decodeLanes: Readonly<Record<NarrowFloatDType, LibraryFunction>> = each(decoder);
