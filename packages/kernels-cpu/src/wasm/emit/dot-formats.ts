/**
 * How dot products widen weights of each format in registers. In: an address. Out: the weights of a turn, 32 of them, in eight
 * registers, in an order of the format's own, in which rows of x are packed too.
 *
 * f16 and e4m3fn codes are moved to the places of an f32's exponent and mantissa, which makes values 2^-112 or 2^-120 of what
 * they should be; x is made larger by 2^60 when it is packed, and the sum is made larger by the rest. Codes whose exponent is
 * all ones (NaN, infinity) are taken for numbers by that, so the largest code is kept.
 */
import { DOT_DEPTH } from "../configure/dots.ts";
import { decodeLanes } from "./float-formats.ts";
import type { FunctionBuilder, Local } from "./function-builder.ts";
import type { Library, LibraryFunction } from "./library.ts";

export type DotFormat = "f32" | "f16" | "bf16" | "e4m3fn";

/** Registers of widened weights, and of x, in a turn. */
const REGISTERS = DOT_DEPTH / 4;

/** x is packed multiplied by this, for formats that are widened without their bias. */
const X_SCALE = 2 ** 60;
const biases: Readonly<Record<DotFormat, number>> = { f32: 0, bf16: 0, f16: 112, e4m3fn: 120 };
/** Bytes of a weight. */
export const widths: Readonly<Record<DotFormat, number>> = { f32: 4, bf16: 2, f16: 2, e4m3fn: 1 };

/** What a sum has to be multiplied by. */
export const sumScale = (format: DotFormat): number =>
  biases[format] > 0 ? 2 ** biases[format] / X_SCALE : 1;

/** Whether there are codes that are not widened rightly. */
export const needsCheck = (format: DotFormat): boolean => biases[format] > 0;

/** Registers of a turn in groups. */
export type Units = readonly (readonly number[])[];

/**
 * The registers of a turn in the order in which they are widened, together where they have work in common. Each even one and the odd
 * one after it are twins: made in the same way from neighbours in memory.
 */
export const unitsOf = (format: DotFormat, wide: boolean): Units =>
  format === "e4m3fn"
    ? [
        [0, 4],
        [2, 6],
        [1, 5],
        [3, 7],
      ]
    : format === "f32" || wide
      ? range(REGISTERS).map((register) => [register])
      : range(REGISTERS / 2).map((load) => [2 * load, 2 * load + 1]);

/** Which element of a turn is in lane `lane` of register `register`. Bytes are taken from 32-bit lanes: of the first sixteen, then of the others. */
const placeOf = (format: DotFormat, register: number, lane: number): number =>
  format === "e4m3fn" ? (register % 2) * 16 + 4 * lane + (register >> 1) : 4 * register + lane;

const range = (length: number): number[] => Array.from({ length }, (_, i) => i);

/** Brings packed rows, `(address, end)`, into the order and the scale that a format's dot products want. */
export function prepareRow(format: DotFormat): LibraryFunction | undefined {
  if (!needsCheck(format)) return undefined;
  return {
    name: `prepare row for ${format}`,
    signature: { params: ["i32", "i32"], results: [] },
    body(f) {
      const [at, end] = f.params as [Local, Local];
      f.repeat((again) => {
        const given = range(REGISTERS).map((i) => {
          f.get(at);
          f.memory("v128.load", i * 16);
          f.f32x4(X_SCALE);
          f.op("f32x4.mul");
          return f.save("v128");
        });
        for (const register of range(REGISTERS)) {
          f.get(at);
          // Lane by lane from where it is; two shuffles of two registers make any order of this kind.
          const places = range(4).map((lane) => placeOf(format, register, lane));
          const from = (x: number): number => Math.floor(places[x]! / 4);
          const pair = (x: number, y: number): void => {
            f.get(given[from(x)]!);
            f.get(given[from(y)]!);
            f.shuffle32(places[x]! % 4, 4 + (places[y]! % 4), 0, 0);
          };
          pair(0, 1);
          pair(2, 3);
          f.shuffle32(0, 1, 4, 5);
          f.memory("v128.store", register * 16);
        }
        f.increment(at, DOT_DEPTH * 4);
        f.get(at);
        f.get(end);
        f.op("i32.lt_u");
        f.brIf(again);
      });
    },
  };
}

/** What widening needs, made before the loop: a constant inside a loop costs V8 four instructions a turn. */
export interface Widening {
  /** Which bits count, for formats whose codes are moved with their sign. */
  readonly mask: Local | undefined;
  readonly zero: Local | undefined;
  /** The largest codes, without their signs: of even registers and of odd ones, or of all. */
  readonly largest: readonly [Local, Local] | undefined;
  /** 16 and 0 in turns: brings bytes at even places to where the shift by four brings the others, in one step instead of two. */
  readonly sixteens: Local | undefined;
}

/** Where the bits that count are, once a code is in an f32's place. */
const masks: Readonly<Partial<Record<DotFormat, number>>> = { f16: 0x8fffe000, e4m3fn: 0x87f00000 };

/** `wide` is for an engine that joins pairs of registers. */
export function startWidening(
  f: FunctionBuilder,
  format: DotFormat,
  relaxed: boolean,
  wide: boolean,
): Widening {
  const held = (value: number | undefined): Local | undefined => {
    if (value === undefined) return undefined;
    f.i32x4(value);
    return f.save("v128");
  };
  const most = held(needsCheck(format) ? 0 : undefined);
  return {
    mask: held(masks[format]),
    // A shuffle that takes a register's halves apart is no pair for any engine, two loads are; by itself it is one instruction less.
    zero: held(widths[format] === 2 && !wide ? 0 : undefined),
    largest: most && [most, wide ? held(0)! : most],
    sixteens: held(format === "e4m3fn" && relaxed ? 0x00100010 : undefined),
  };
}

/** Where the weights of a turn begin. */
export interface Place {
  readonly address: Local;
  readonly memory: number;
}

/** Pushes one register of widened weights. */
export type Push = () => void;

/** Pushes 16-bit lanes `first` and the three after it, each in the upper half of a 32-bit lane. */
function pushUpperHalves(f: FunctionBuilder, zero: Local, raw: Local, first: 0 | 4): void {
  f.get(zero);
  f.get(raw);
  f.shuffleBytes(
    range(4).flatMap((i) => {
      const at = 2 * (first + i);
      return [at, at + 1, 16 + at, 16 + at + 1];
    }),
  );
}

/** Loads what the registers of `unit`, or some of one, are made from; the registers are pushed later, in any order. */
export function widen(
  f: FunctionBuilder,
  format: DotFormat,
  { mask, zero, largest, sixteens }: Widening,
  { address, memory }: Place,
  unit: readonly number[],
): readonly Push[] {
  const first = unit[0]!;
  const load = (at: number): void => {
    f.get(address);
    f.memory("v128.load", at, 0, memory);
  };
  const masked = (): void => {
    f.get(mask!);
    f.op("v128.and");
  };
  if (format === "f32") return [() => load(first * 16)];
  const shift = (
    op: "i16x8.shl" | "i16x8.shr_s" | "i32x4.shl" | "i32x4.shr_s",
    by: number,
  ): void => {
    f.i32(by);
    f.op(op);
  };
  const collect = (
    raw: Local,
    most: Local,
    add: "i8x16.add" | "i16x8.add",
    max: "i8x16.max_u" | "i16x8.max_u",
  ): void => {
    f.get(raw);
    f.get(raw);
    f.op(add);
    f.get(most);
    f.op(max);
    f.set(most);
  };
  if (format === "e4m3fn") {
    const half = first % 2;
    load(half * 16);
    const raw = f.save("v128");
    const even = first < 2;
    if (even) collect(raw, largest![half]!, "i8x16.add", "i8x16.max_u");
    // In pairs of bytes first, then the two halves of 32 bits.
    f.get(raw);
    if (even && sixteens) {
      f.get(sixteens);
      f.op("i16x8.relaxed_dot_i8x16_i7x16_s");
    } else {
      if (even) shift("i16x8.shl", 8);
      shift("i16x8.shr_s", 4);
    }
    f.set(raw);
    return [
      () => {
        f.get(raw);
        shift("i32x4.shl", 16);
        masked();
      },
      () => {
        f.get(raw);
        masked();
      },
    ];
  }
  const checked = format === "f16" && first % 2 === 0;
  const loadPair = (): Local => {
    load((first >> 1) * 16);
    const raw = f.save("v128");
    if (checked) collect(raw, largest![(first >> 1) % 2]!, "i16x8.add", "i16x8.max_u");
    return raw;
  };
  if (zero) {
    const raw = loadPair();
    return unit.map((register) => () => {
      pushUpperHalves(f, zero, raw, register % 2 === 0 ? 0 : 4);
      if (format === "bf16") return;
      shift("i32x4.shr_s", 3);
      masked();
    });
  }
  if (checked) loadPair();
  return [
    () => {
      f.get(address);
      f.memory(format === "f16" ? "v128.load16x4_s" : "v128.load16x4_u", first * 8, 0, memory);
      shift("i32x4.shl", format === "f16" ? 13 : 16);
      if (format === "f16") masked();
    },
  ];
}

/** Pushes whether a code was among the largest that was not a number, or not a finite one. */
export function pushFound(
  f: FunctionBuilder,
  format: DotFormat,
  largest: readonly [Local, Local],
): void {
  const [even, odd] = largest;
  for (const most of even === odd ? [even] : largest) {
    f.get(most);
    if (format === "f16") {
      f.i32x4(0xf800f800);
      f.op("i16x8.ge_u");
    } else {
      f.i32x4(0xfefefefe);
      f.op("i8x16.eq");
    }
  }
  // All ones or none; that it is an addition of bytes tells an engine that the two may be joined.
  if (even !== odd) f.op("i8x16.add");
  f.op("v128.any_true");
}

/** The same as `widen` for any code, slowly. */
export function widenExactly(
  f: FunctionBuilder,
  library: Library,
  format: "f16" | "e4m3fn",
  { address, memory }: Place,
  unit: readonly number[],
): readonly Push[] {
  return unit.map((register) => () => {
    f.get(address);
    if (format === "f16") f.memory("v128.load16x4_u", register * 8, 0, memory);
    else {
      f.memory("v128.load", (register % 2) * 16, 0, memory);
      f.i32((register >> 1) * 8);
      f.op("i32x4.shr_u");
      f.i32x4(0xff);
      f.op("v128.and");
    }
    f.call(library.get(decodeLanes[format]));
    f.f32x4(2 ** -biases[format]);
    f.op("f32x4.mul");
  });
}
