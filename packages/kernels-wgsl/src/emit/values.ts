/**
 * A value in a shader: its text and what is known of it. Knows nothing of kernels.
 */
import type { ScalarType } from "@millrace/graph";

export interface Value {
  readonly text: string;
  readonly type: ScalarType;
  /** A name or a number: may be written twice, and needs no parentheses. */
  readonly atom: boolean;
  /** Known when the shader is written. */
  readonly constant?: number;
  /** The result of float arithmetic, which a compiler may merge with what uses it. */
  readonly loose?: boolean;
  /** Depends on a variable, so the same text may be another value later. */
  readonly changing?: boolean;
  /** An integer above 0 wherever it is used. */
  readonly positive?: boolean;
  /** `[x, d]` for x / d, to see that (x / d) * d + x % d is x. */
  readonly quotient?: readonly [string, string];
  readonly remainder?: readonly [string, string];
}

/** Text of a finite f32, exactly. */
function finiteText(value: number): string {
  const text = String(value);
  return `${/[.e]/.test(text) ? text : `${text}.0`}f`;
}

const bits = /* @__PURE__ */ new Uint32Array(1);
const asFloat = /* @__PURE__ */ new Float32Array(bits.buffer);

function bitsOf(value: number): string {
  asFloat[0] = value;
  return `0x${bits[0]!.toString(16)}u`;
}

/** A literal. What WGSL has no literal for goes through `fromBits`, a function that is no constant expression. */
export function literalValue(
  value: number,
  type: ScalarType,
  fromBits: (bits: string) => string,
): Value {
  const made = (text: string): Value => ({ text, type, atom: true, constant: value });
  switch (type) {
    case "bool":
      return made(value === 0 ? "false" : "true");
    case "u32":
      return made(`${value}u`);
    case "i32":
      return made(value === -2147483648 ? "i32(-2147483648)" : String(value));
    case "f32": {
      const narrow = Math.fround(value);
      const plain = Number.isFinite(narrow) && (narrow === 0 || Math.abs(narrow) >= 2 ** -126);
      const text = plain && !Object.is(narrow, -0) ? finiteText(narrow) : fromBits(bitsOf(narrow));
      return { text, type, atom: true, constant: narrow };
    }
  }
}

export const integerValue = (value: number): Value => ({
  text: String(value),
  type: "i32",
  atom: true,
  constant: value,
});

export const named = (text: string, type: ScalarType): Value => ({ text, type, atom: true });
