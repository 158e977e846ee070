import { decodeFloat, encodeFloat, type NarrowFloatDType, roundFloat } from "@millrace/graph";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ModuleBuilder } from "./assembler.ts";
import { decodeLanes, encodeLanes, roundLanes } from "./float-formats.ts";
import type { LibraryFunction } from "./library.ts";
import { Library } from "./library.ts";
import * as math from "./math.ts";

const CAPACITY = 1 << 16;
const PAGES = (CAPACITY * 4) / 65536 + 1;

/** A module that applies `source` to `count` lanes at 0 and writes them back. */
function mapper(source: LibraryFunction): (words: Uint32Array) => Uint32Array {
  const module = new ModuleBuilder();
  module.importMemory({ module: "env", name: "memory", minimum: PAGES });
  const library = new Library(module, CAPACITY * 4);
  const target = library.get(source);
  const run = module.define({ params: ["i32"], results: [] }, (f) => {
    f.loop({ start: 0, end: f.param(0), step: 16 }, (at) => {
      f.get(at);
      f.get(at);
      f.memory("v128.load");
      f.call(target);
      f.memory("v128.store");
    });
  });
  module.export("run", run);
  library.finish();
  const memory = new WebAssembly.Memory({ initial: PAGES });
  const compiled = new WebAssembly.Module(module.encode());
  const instance = new WebAssembly.Instance(compiled, { env: { memory } });
  const call = instance.exports["run"] as (bytes: number) => void;
  return (words) => {
    const view = new Uint32Array(memory.buffer);
    view.set(words);
    call(Math.ceil(words.length / 4) * 16);
    return view.slice(0, words.length);
  };
}

const words = (values: ArrayLike<number>): Uint32Array =>
  new Uint32Array(Float32Array.from(values).buffer);
const floats = (bits: Uint32Array): Float32Array => new Float32Array(bits.buffer);

/** Distance between neighbours of an f32 at `value`. */
function ulp(value: number): number {
  const magnitude = Math.max(Math.abs(value), 2 ** -126);
  return 2 ** (Math.floor(Math.log2(magnitude)) - 23);
}

const special = [
  0,
  -0,
  1,
  -1,
  Infinity,
  -Infinity,
  NaN,
  1e-45,
  -1e-45,
  2 ** -126,
  -(2 ** -126),
  3.4e38,
  -3.4e38,
  88.72,
  88.73,
  -87.3,
  -87.4,
  -103.9,
  -104.1,
  0.5,
  2,
  1e-5,
  1e-20,
];

function spread(from: number, to: number, count = 20_000): number[] {
  return Array.from({ length: count }, (_, i) => from + ((to - from) * (i + 0.37)) / count);
}

function logSpread(from: number, to: number, count = 20_000): number[] {
  return spread(Math.log(from), Math.log(to), count).map(Math.exp);
}

describe("elementary functions", () => {
  const cases: Record<
    "exp" | "log" | "tanh" | "sin" | "cos",
    { inputs: number[]; absolute: number }
  > = {
    exp: { inputs: [...special, ...spread(-104, 89), ...spread(-1, 1)], absolute: 1.68e-38 },
    log: { inputs: [...special, ...logSpread(1e-44, 3e38), ...spread(0.5, 2)], absolute: 0 },
    tanh: { inputs: [...special, ...spread(-11, 11), ...logSpread(1e-30, 1)], absolute: 0 },
    sin: {
      inputs: [
        ...special.filter((x) => Math.abs(x) < 1e9 || x !== x),
        ...spread(-1e6, 1e6),
        ...spread(-7, 7),
      ],
      absolute: 1e-7,
    },
    cos: {
      inputs: [
        ...special.filter((x) => Math.abs(x) < 1e9 || x !== x),
        ...spread(-1e6, 1e6),
        ...spread(-7, 7),
      ],
      absolute: 1e-7,
    },
  };
  for (const name of ["exp", "log", "tanh", "sin", "cos"] as const)
    it(`${name} is within its bound of the double result`, () => {
      const { inputs, absolute } = cases[name];
      const x = Float32Array.from(inputs);
      const got = floats(mapper(math[name])(words(x)));
      let worst = { error: 0, x: 0, got: 0, want: 0 };
      x.forEach((value, i) => {
        const want = Math[name](value);
        const actual = got[i]!;
        const rounded = Math.fround(want);
        if (Object.is(rounded, actual) || (want !== want && actual !== actual)) return;
        const error = Math.abs(actual - want) <= absolute ? 0 : Math.abs(actual - want) / ulp(want);
        if (!(error <= worst.error)) worst = { error, x: value, got: actual, want };
      });
      expect(worst.error, JSON.stringify(worst)).toBeLessThanOrEqual(name === "tanh" ? 2.5 : 2);
    });

  it("has the limits of the real functions", () => {
    const at = (source: LibraryFunction, value: number): number =>
      floats(mapper(source)(words([value])))[0]!;
    expect(at(math.exp, -Infinity)).toBe(0);
    expect(at(math.exp, Infinity)).toBe(Infinity);
    expect(at(math.exp, 1000)).toBe(Infinity);
    expect(at(math.log, 0)).toBe(-Infinity);
    expect(at(math.log, -1)).toBeNaN();
    expect(at(math.log, Infinity)).toBe(Infinity);
    expect(at(math.tanh, -Infinity)).toBe(-1);
    expect(at(math.sin, Infinity)).toBeNaN();
    for (const source of [math.exp, math.log, math.tanh, math.sin, math.cos])
      expect(at(source, NaN)).toBeNaN();
  });
});

const formats: readonly NarrowFloatDType[] = ["f16", "bf16", "e4m3fn", "e5m2"];

describe.each(formats)("%s on lanes", (dtype) => {
  const width = dtype === "f16" || dtype === "bf16" ? 16 : 8;
  const decode = mapper(decodeLanes[dtype]);
  const encode = mapper(encodeLanes[dtype]);
  const round = mapper(roundLanes[dtype]);
  const codes = Uint32Array.from({ length: 2 ** width }, (_, i) => i);

  /** Every value of the format, every midpoint, and the neighbours of both. */
  function critical(): Float32Array {
    const out: number[] = [...special];
    const finite = [...codes]
      .map((code) => decodeFloat(dtype, code))
      .filter((value) => Number.isFinite(value) && value >= 0)
      .toSorted((a, b) => a - b);
    const stride = width === 16 ? 37 : 1;
    for (let i = 0; i + 1 < finite.length; i += stride) {
      const middle = Math.fround((finite[i]! + finite[i + 1]!) / 2);
      const bits = words([middle])[0]!;
      const near = floats(Uint32Array.of(bits, bits + 1, Math.max(0, bits - 1)));
      out.push(finite[i]!, ...near, -finite[i]!, ...[...near].map((value) => -value));
    }
    const top = finite.at(-1)!;
    for (const factor of [1, 1.01, 1.03, 1.0357, 1.05, 1.1, 1.5, 2])
      out.push(top * factor, -top * factor);
    return Float32Array.from(out);
  }

  it("decodes every code", () => {
    const got = floats(decode(codes));
    const wrong = [...codes].filter((code) => !Object.is(got[code], decodeFloat(dtype, code)));
    expect(wrong).toEqual([]);
  });

  it("encodes and rounds values, midpoints and their neighbours", () => {
    const values = critical();
    const got = encode(words(values));
    const rounded = floats(round(words(values)));
    const wrong = [...values].filter(
      (value, i) =>
        got[i] !== encodeFloat(dtype, value) || !Object.is(rounded[i], roundFloat(dtype, value)),
    );
    expect(wrong).toEqual([]);
  });

  it("encodes and rounds any float", () => {
    fc.assert(
      fc.property(fc.array(fc.nat(0xffffffff), { minLength: 1, maxLength: 64 }), (bits) => {
        const values = floats(Uint32Array.from(bits));
        const got = encode(words(values));
        const rounded = floats(round(words(values)));
        values.forEach((value, i) => {
          expect(got[i]).toBe(encodeFloat(dtype, value));
          expect(rounded[i]).toBe(roundFloat(dtype, value));
        });
      }),
    );
  });
});
