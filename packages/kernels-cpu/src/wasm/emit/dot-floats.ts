/**
 * Dot products of one packed row with two rows of weights: f32, or narrower floats that are widened in registers. In: addresses.
 * Out: two sums in memory. Sixteen partial sums a weight row, one for each remainder of the depth by 16, whatever the format,
 * are added up in one fixed order, so weights in f16 and bf16 give the bits that the same values in f32 give.
 *
 * f16 and e4m3fn codes are moved to the places of an f32's exponent and mantissa, which makes values 2^-112 or 2^-120 of what
 * they should be; x was made larger by 2^60 when it was packed, and the sum is made larger by the rest. Where a row holds a
 * code whose exponent is all ones (NaN, infinity), which this takes for a number, both rows are computed again, exactly.
 */
import { decodeLanes } from "./float-formats.ts";
import type { FunctionBuilder, FunctionRef, Local } from "./function-builder.ts";
import type { Library, LibraryFunction } from "./library.ts";
import { multiplyAdd } from "./micro-kernel.ts";

export type DotFormat = "f32" | "f16" | "bf16" | "e4m3fn";

/** Weight rows in one call. */
export const DOT_COLUMNS = 2;
/** Partial sums of a weight row, and elements of the depth that go to them in turn. */
const SUMS = 16;
const REGISTERS = SUMS / 4;
/** Registers that hold the partial sums: with fewer, those that widening needs are still free. */
const accumulators: Readonly<Record<DotFormat, number>> = { f32: 4, f16: 4, bf16: 4, e4m3fn: 2 };
/** Elements in one turn of the loop. */
const UNROLLED = 32;

/** x is packed multiplied by this, for formats that are widened without their bias. */
const X_SCALE = 2 ** 60;
const biases: Readonly<Record<DotFormat, number>> = { f32: 0, bf16: 0, f16: 112, e4m3fn: 120 };
const widths: Readonly<Record<DotFormat, number>> = { f32: 4, bf16: 2, f16: 2, e4m3fn: 1 };

/** Which of sixteen neighbours are in lane `lane` of register `register`, as the format's widening leaves them. */
function placeOf(format: DotFormat, register: number, lane: number): number {
  switch (widths[format]) {
    case 4:
      return 4 * register + lane;
    case 2:
      return 8 * (register >> 1) + 2 * lane + (register & 1);
    default:
      return 4 * lane + register;
  }
}

const range = (length: number): number[] => Array.from({ length }, (_, i) => i);

/** Sixteen neighbours in four registers, from the format's order to the natural one. */
function inOrder(f: FunctionBuilder, format: DotFormat, registers: readonly Local[]): Local[] {
  if (widths[format] !== 2) return [...registers];
  return [0, 2].flatMap((first) =>
    [
      [0, 4, 1, 5],
      [2, 6, 3, 7],
    ].map((lanes) => {
      f.get(registers[first]!);
      f.get(registers[first + 1]!);
      f.shuffle32(...(lanes as [number, number, number, number]));
      return f.save("v128");
    }),
  );
}

/** Brings a packed row, `(address, end)`, into the order and the scale that a format's dot products want. */
export function prepareRow(format: DotFormat): LibraryFunction {
  return {
    name: `prepare row for ${format}`,
    signature: { params: ["i32", "i32"], results: [] },
    body(f) {
      const [at, end] = f.params as [Local, Local];
      f.repeat((again) => {
        const given = range(REGISTERS).map((i) => {
          f.get(at);
          f.memory("v128.load", i * 16);
          if (biases[format] > 0) {
            f.f32x4(X_SCALE);
            f.op("f32x4.mul");
          }
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
        f.increment(at, SUMS * 4);
        f.get(at);
        f.get(end);
        f.op("i32.lt_u");
        f.brIf(again);
      });
    },
  };
}

/** Where the bits that count are, in 32-bit lanes: of codes moved into an f32's place, and of the upper half. */
const masks: Readonly<Record<DotFormat, readonly number[]>> = {
  f32: [],
  bf16: [0xffff0000],
  f16: [0x8fffe000],
  e4m3fn: [0x87f00000],
};

/**
 * Loads sixteen weights and calls `use` with each of their four registers, widened. `largest` collects codes. Masks come in
 * locals: a constant inside a loop costs V8 four instructions a turn.
 */
function widenFast(
  f: FunctionBuilder,
  { format, memory }: Pick<DotSpec, "format" | "memory">,
  weights: Local,
  offset: number,
  {
    masks: held,
    largest,
  }: { readonly masks: readonly Local[]; readonly largest: Local | undefined },
  use: (register: number, widened: () => void) => void,
): void {
  const masked = (i: number): void => {
    f.get(held[i]!);
    f.op("v128.and");
  };
  const load = (at: number): Local => {
    f.get(weights);
    f.memory("v128.load", offset + at, 0, memory);
    return f.save("v128");
  };
  const collect = (raw: Local, add: "i8x16.add" | "i16x8.add", max: PlainMax): void => {
    f.get(raw);
    f.get(raw);
    f.op(add);
    f.get(largest!);
    f.op(max);
    f.set(largest!);
  };
  const shifted = (raw: Local, by: number): void => {
    f.get(raw);
    f.i32(by);
    f.op("i32x4.shl");
  };
  switch (format) {
    case "f32":
      for (const register of range(REGISTERS))
        use(register, () => {
          f.get(weights);
          f.memory("v128.load", offset + register * 16, 0, memory);
        });
      return;
    case "bf16":
      for (const half of [0, 1]) {
        const raw = load(half * 16);
        use(half * 2, () => shifted(raw, 16));
        use(half * 2 + 1, () => {
          f.get(raw);
          masked(0);
        });
      }
      return;
    case "f16":
      for (const half of [0, 1]) {
        const raw = load(half * 16);
        collect(raw, "i16x8.add", "i16x8.max_u");
        for (const high of [0, 1])
          use(half * 2 + high, () => {
            if (high === 0) shifted(raw, 16);
            else f.get(raw);
            f.i32(3);
            f.op("i32x4.shr_s");
            masked(0);
          });
      }
      return;
    case "e4m3fn": {
      const raw = load(0);
      collect(raw, "i8x16.add", "i8x16.max_u");
      // Pairs of bytes first, then the two halves of 32 bits.
      for (const odd of [0, 1]) {
        f.get(raw);
        if (odd === 0) {
          f.i32(8);
          f.op("i16x8.shl");
        }
        f.i32(4);
        f.op("i16x8.shr_s");
        const pair = f.save("v128");
        use(odd, () => {
          shifted(pair, 16);
          masked(0);
        });
        use(odd + 2, () => {
          f.get(pair);
          masked(0);
        });
      }
    }
  }
}

type PlainMax = "i8x16.max_u" | "i16x8.max_u";

/** The same for any code, slowly. */
function widenExactly(
  f: FunctionBuilder,
  library: Library,
  { format, memory }: { readonly format: "f16" | "e4m3fn"; readonly memory: number },
  weights: Local,
  offset: number,
  use: (register: number, widened: () => void) => void,
): void {
  const bits = 8 * widths[format];
  for (const register of range(REGISTERS))
    use(register, () => {
      f.get(weights);
      f.memory("v128.load", offset + (format === "f16" ? (register >> 1) * 16 : 0), 0, memory);
      f.i32((format === "f16" ? register & 1 : register) * bits);
      f.op("i32x4.shr_u");
      f.i32x4(2 ** bits - 1);
      f.op("v128.and");
      f.call(library.get(decodeLanes[format]));
      f.f32x4(2 ** -biases[format]);
      f.op("f32x4.mul");
    });
}

/** Numbers of the memories that weights and their scales lie in. Rows of x and sums are in memory 0. */
export interface DotMemories {
  readonly memory: number;
  readonly scalesMemory: number;
}

/** A part of a function's name; none where everything is in one memory. */
export function namedMemories({ memory, scalesMemory }: DotMemories): string {
  return memory + scalesMemory > 0 ? ` in memories ${memory} and ${scalesMemory}` : "";
}

/** What one function is made for. */
export interface DotSpec extends DotMemories {
  readonly format: DotFormat;
  /** Elements of the depth that share a scale; undefined without scales. */
  readonly block: number | undefined;
  readonly relaxed: boolean;
  /** Any code, not only finite ones. */
  readonly exact?: boolean;
}

/** Registers of partial sums become one. */
function total(f: FunctionBuilder, [a, b, c, d]: readonly Local[]): Local {
  f.get(a!);
  f.get(b!);
  f.op("f32x4.add");
  if (c && d) {
    f.get(c);
    f.get(d);
    f.op("f32x4.add", "f32x4.add");
  }
  return f.save("v128");
}

function across(f: FunctionBuilder, sum: Local): void {
  f.get(sum);
  f.get(sum);
  f.get(sum);
  f.shuffle32(2, 3, 0, 1);
  f.op("f32x4.add");
  const halves = f.save("v128");
  f.get(halves);
  f.get(halves);
  f.get(halves);
  f.shuffle32(1, 0, 3, 2);
  f.op("f32x4.add");
}

function body(f: FunctionBuilder, library: Library, spec: DotSpec): void {
  const { format, block, relaxed, exact = false } = spec;
  const [x, w0, w1, depth, out, outStep, s0, s1] = f.params as Local[];
  const weights = [w0!, w1!];
  const scales = [s0, s1];
  const start = [x!, w0!, w1!, depth!, ...(block === undefined ? [] : [s0!, s1!])].map((local) => {
    f.get(local);
    return f.save("i32");
  });
  const zero = (): Local => {
    f.f32x4(0);
    return f.save("v128");
  };
  const checked = !exact && biases[format] > 0;
  const largest = checked ? zero() : undefined;
  const held = exact
    ? []
    : masks[format].map((mask) => {
        f.i32x4(mask);
        return f.save("v128");
      });
  const sums = weights.map(() => range(accumulators[format]).map(zero));
  const totals = weights.map(zero);
  const left = f.local("v128");
  const xs = range(REGISTERS).map(() => f.local("v128"));
  const steps = (end: () => void): void => {
    end();
    const last = f.save("i32");
    f.repeat((again) => {
      for (let at = 0; at < UNROLLED; at += SUMS) {
        xs.forEach((register, i) => {
          f.get(x!);
          f.memory("v128.load", (at + i * 4) * 4);
          f.set(register);
        });
        weights.forEach((weight, column) => {
          const use = (register: number, widened: () => void): void => {
            widened();
            f.set(left);
            const sum = sums[column]![register % accumulators[format]]!;
            multiplyAdd(
              f,
              relaxed,
              sum,
              () => f.get(left),
              () => f.get(xs[register]!),
            );
          };
          const offset = at * widths[format];
          if (exact) {
            const narrow = { format: format as "f16" | "e4m3fn", memory: spec.memory };
            widenExactly(f, library, narrow, weight, offset, use);
          } else widenFast(f, spec, weight, offset, { masks: held, largest }, use);
        });
      }
      f.increment(x!, UNROLLED * 4);
      for (const weight of weights) f.increment(weight, UNROLLED * widths[format]);
      f.get(x!);
      f.get(last);
      f.op("i32.ne");
      f.brIf(again);
    });
  };
  const addUp = (column: number): Local =>
    total(f, block === undefined ? inOrder(f, format, sums[column]!) : sums[column]!);

  if (block === undefined) {
    steps(() => {
      f.get(x!);
      f.get(depth!);
      f.i32(4);
      f.op("i32.mul", "i32.add");
    });
    weights.forEach((_, column) => {
      f.get(addUp(column));
      f.set(totals[column]!);
    });
  } else
    f.repeat((again) => {
      // The last block may be shorter.
      steps(() => {
        f.get(x!);
        f.i32(block);
        f.get(depth!);
        f.i32(block);
        f.get(depth!);
        f.op("i32.lt_s", "select");
        f.i32(4);
        f.op("i32.mul", "i32.add");
      });
      weights.forEach((_, column) => {
        const sum = addUp(column);
        multiplyAdd(
          f,
          relaxed,
          totals[column]!,
          () => f.get(sum),
          () => {
            f.get(scales[column]!);
            f.memory("v128.load32_splat", 0, undefined, spec.scalesMemory);
          },
        );
        f.increment(scales[column]!, 4);
        for (const register of sums[column]!) {
          f.f32x4(0);
          f.set(register);
        }
      });
      f.increment(depth!, -block);
      f.get(depth!);
      f.i32(0);
      f.op("i32.gt_s");
      f.brIf(again);
    });

  const finish = (): void => {
    for (const sum of totals) {
      f.get(out!);
      across(f, sum);
      if (biases[format] > 0) {
        f.f32x4(2 ** biases[format] / X_SCALE);
        f.op("f32x4.mul");
      }
      f.memoryLane("v128.store32_lane", 0);
      f.increment(out!, outStep!);
    }
  };
  if (!checked) {
    finish();
    return;
  }
  f.get(largest!);
  if (format === "f16") {
    f.i32x4(0xf800f800);
    f.op("i16x8.ge_u");
  } else {
    f.i32x4(0xfefefefe);
    f.op("i8x16.eq");
  }
  f.op("v128.any_true");
  f.ifElse(() => {
    const [x0, first, second, length, ...scale] = start;
    for (const local of [x0!, first!, second!, length!, out!, outStep!, ...scale]) f.get(local);
    f.call(dotFunction(library, { ...spec, exact: true }));
  }, finish);
}

/**
 * `(x, two weight rows, depth, out, step[, two rows of scales])`: addresses, and the depth in elements, a multiple of 32.
 * Two floats are written, `step` bytes apart.
 */
export function dotFunction(library: Library, spec: DotSpec): FunctionRef {
  const { format, block, relaxed, exact } = spec;
  const scaled = block === undefined ? "" : ` in blocks of ${block}`;
  const how = `${relaxed ? " fused" : ""}${exact ? " exact" : ""}${namedMemories(spec)}`;
  return library.get({
    name: `dot ${format}${scaled}${how}`,
    signature: {
      params: Array.from({ length: block === undefined ? 6 : 8 }, () => "i32" as const),
      results: [],
    },
    body: (f) => body(f, library, spec),
  });
}
