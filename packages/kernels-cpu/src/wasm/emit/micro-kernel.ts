/**
 * The inner tiles of a matrix product, one row of them. In: a panel of A, [depth][6] floats, and panels of B, [depth][8], one after
 * the other, all padded with zeros. Out: for each panel of B 6 × 8 sums, written to or added to rows of C. Twelve accumulators, two
 * of B and one of A fill the sixteen vector registers; a wider tile spills. Where the engine joins pairs of registers, panels
 * of B are [depth][16], and the same sixteen registers hold 6 × 16 sums. Where rows do not divide by 6, the last tiles have
 * 4 rows, and eight accumulators, the fewest that keep two multipliers busy. Depth is a multiple of 4: the loop is
 * unrolled that often. The panel of A stays in the first cache, while B and the rows of C are read as streams.
 */
import type { TileColumns, TileRows } from "../configure/contract.ts";
import type { FunctionBuilder, Local } from "./function-builder.ts";
import type { LibraryFunction } from "./library.ts";

/** Depth steps in one turn of the loop; panels are padded to a multiple of it. */
export const TILE_DEPTH = 4;

/** `sum += left * right`; the operands are pushed by the given code. One step of every product, whatever its path. */
export function multiplyAdd(
  f: FunctionBuilder,
  relaxed: boolean,
  sum: Local,
  left: () => void,
  right: () => void,
): void {
  if (!relaxed) f.get(sum);
  left();
  right();
  if (relaxed) f.get(sum);
  if (relaxed) f.op("f32x4.relaxed_madd");
  else f.op("f32x4.mul", "f32x4.add");
  f.set(sum);
}

/** What one function is made for. */
interface TileSpec {
  readonly rows: TileRows;
  readonly columns: TileColumns;
  readonly relaxed: boolean;
}

function body(f: FunctionBuilder, { rows: height, columns, relaxed }: TileSpec): void {
  const vectors = columns / 4;
  const [a, aEnd, b, c, rowBytes, panels, accumulate, addend, addendBytes] = f.params as [
    Local,
    Local,
    Local,
    Local,
    Local,
    Local,
    Local,
    Local,
    Local,
  ];
  const sums = Array.from({ length: height * vectors }, () => f.local("v128"));
  const left = f.local("v128");
  const right = Array.from({ length: vectors }, () => f.local("v128"));
  const step = f.local("i32");
  /** The addresses of a tile's rows. */
  const rowsOf = (first: Local, bytes: Local): readonly Local[] =>
    Array.from({ length: height }, (_, row) => {
      if (row === 0) return first;
      f.get(first);
      f.get(bytes);
      f.i32(row);
      f.op("i32.mul", "i32.add");
      return f.save("i32");
    });
  f.get(addend);
  const adds = f.save("i32");
  f.loop({ start: 0, end: panels }, () => {
    const rows = rowsOf(c, rowBytes);
    /** The last one first: V8 joins two stores into one only where the higher address comes first. */
    const eachSum = (
      visit: (sum: Local, row: Local, offset: number) => void,
      of: readonly Local[] = rows,
    ): void => {
      for (let i = sums.length - 1; i >= 0; i--)
        visit(sums[i]!, of[Math.floor(i / vectors)]!, (i % vectors) * 16);
    };
    f.get(accumulate);
    f.ifElse(
      () =>
        eachSum((sum, row, offset) => {
          f.get(row);
          f.memory("v128.load", offset);
          f.set(sum);
        }),
      () =>
        eachSum((sum) => {
          f.f32x4(0);
          f.set(sum);
        }),
    );
    f.get(a);
    f.set(step);
    // V8 makes an instruction of each different offset of a splat, so offsets within a step are the same in every step: where
    // another thread runs on the same core, the number of instructions limits the tile.
    f.repeat((again) => {
      for (let unrolled = 0; unrolled < TILE_DEPTH; unrolled++) {
        right.forEach((register, i) => {
          f.get(b);
          f.memory("v128.load", (unrolled * columns + i * 4) * 4);
          f.set(register);
        });
        for (let row = 0; row < height; row++) {
          f.get(step);
          f.memory("v128.load32_splat", row * 4);
          f.set(left);
          right.forEach((register, i) => {
            const sum = sums[row * vectors + i]!;
            multiplyAdd(
              f,
              relaxed,
              sum,
              () => f.get(left),
              () => f.get(register),
            );
          });
        }
        f.increment(step, height * 4);
      }
      f.increment(b, TILE_DEPTH * columns * 4);
      f.get(step);
      f.get(aEnd);
      f.op("i32.ne");
      f.brIf(again);
    });
    f.get(adds);
    f.ifElse(() => {
      eachSum(
        (sum, row, offset) => {
          f.get(sum);
          f.get(row);
          f.memory("v128.load", offset);
          f.op("f32x4.add");
          f.set(sum);
        },
        rowsOf(addend, addendBytes),
      );
      f.increment(addend, columns * 4);
    });
    eachSum((sum, row, offset) => {
      f.get(row);
      f.get(sum);
      f.memory("v128.store", offset);
    });
    f.increment(c, columns * 4);
  });
}

const signature = {
  params: ["i32", "i32", "i32", "i32", "i32", "i32", "i32", "i32", "i32"],
  results: [],
} as const;

/**
 * `(a, end of the panel a, b, c, bytes of a row of C, panels of B, accumulate, addend, bytes of its rows)`, for panels of `height` rows.
 * To the finished sums those of an addend are added, unless its address is 0. With fused steps each product is rounded once less, or
 * not, as the machine likes; without, results are the same everywhere.
 */
export const tiles = (rows: TileRows, columns: TileColumns, relaxed: boolean): LibraryFunction => ({
  name: `${relaxed ? "fused" : "plain"} tiles of ${rows} × ${columns}`,
  signature,
  body: (f) => body(f, { rows, columns, relaxed }),
});
