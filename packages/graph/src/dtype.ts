/**
 * Element types. In: a name. Out: width, class and the typed array that stores it.
 * Narrow floats are stored as bit patterns; `float-formats.ts` says what the bits mean.
 */

/** Element type of a tensor, by its usual name. `i64` may stand at a program's edges only. */
export type DType =
  | "f32"
  | "f16"
  | "bf16"
  | "e4m3fn"
  | "e5m2"
  | "i32"
  | "u32"
  | "i16"
  | "i8"
  | "u8"
  | "bool"
  | "i64";

/** Every dtype, widest float first. */
export const dtypes: readonly DType[] = [
  "f32",
  "f16",
  "bf16",
  "e4m3fn",
  "e5m2",
  "i32",
  "u32",
  "i16",
  "i8",
  "u8",
  "bool",
  "i64",
];

const widths: Record<DType, number> = {
  f32: 4,
  f16: 2,
  bf16: 2,
  e4m3fn: 1,
  e5m2: 1,
  i32: 4,
  u32: 4,
  i16: 2,
  i8: 1,
  u8: 1,
  bool: 1,
  i64: 8,
};

/** Bytes of one stored element. */
export function byteWidth(dtype: DType): number {
  return widths[dtype];
}

export type FloatDType = "f32" | "f16" | "bf16" | "e4m3fn" | "e5m2";

export function isFloat(dtype: DType): dtype is FloatDType {
  return (
    dtype === "f32" || dtype === "f16" || dtype === "bf16" || dtype === "e4m3fn" || dtype === "e5m2"
  );
}

/** True for `i32`, `u32`, `i16`, `i8`, `u8` and `i64`; a `bool` is neither integer nor float. */
export function isInteger(dtype: DType): boolean {
  return !isFloat(dtype) && dtype !== "bool";
}

export function isDType(name: string): name is DType {
  return (dtypes as readonly string[]).includes(name);
}
