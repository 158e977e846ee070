// Arrays of a kernel's own, with products inside loops: emitted code against the kernel interpreter.
import { describe, it } from "vitest";
import { expectSame } from "../../test/kernel-text.ts";

describe("arrays", () => {
  /** Two products one after the other through an array, block by block, in rows that may not fill the last block. */
  const blocks = (columns: number): string => `kernel k {
    size T in 0..70
    read x: f32[2, T, 12]
    read w: f32[T, 12]
    write y: f32[2, T, 12]
    parallel b < 2 {
      parallel i < 9 to (size(T) + 7) / 8 {
        array sums: f32[8, 12]
        array scores: f32[8, ${columns}]
        array largest: f32[8]
        let count = min(8, size(T) - i * 8)
        parallel r < 8 to count { parallel d < 12 { store sums[r, d] = 0.0 } }
        serial j < 70 to (size(T) + ${columns - 1}) / ${columns} {
          let width = min(${columns}, size(T) - j * ${columns})
          contract rows r < 8 to count, columns c < ${columns} to width, depth d < 12
            lhs x[b, i * 8 + r, d]
            rhs w[j * ${columns} + c, d]
            result acc {
              store scores[r, c] = acc
            }
          parallel r < 8 to count {
            parallel c < ${columns} from width { store scores[r, c] = -inf }
          }
          parallel r < 8 to count {
            reduce top: f32 over c < ${columns} {
              values scores[r, c]
              combine max(l0, r0)
              identity -inf
            }
            store largest[r] = top
            parallel c < ${columns} to width { store scores[r, c] = exp(scores[r, c] - top) }
          }
          contract rows r < 8 to count, columns d < 12, depth c < ${columns} to width
            lhs scores[r, c]
            rhs w[j * ${columns} + c, d]
            result acc {
              store sums[r, d] = sums[r, d] + acc * largest[r]
            }
        }
        parallel r < 8 to count {
          parallel d < 12 { store y[b, i * 8 + r, d] = sums[r, d] }
        }
      }
    }
  }`;
  const columns = [1, 3, 4, 16];
  it.each([0, 1, 7, 8, 9, 31, 70])("hold what products inside loops make of %i rows", async (T) => {
    for (const width of columns) await expectSame(blocks(width), { sizes: { T }, tolerance: 1e-5 });
  });

  it("are one for a whole kernel where they stand outside of all loops", async () => {
    await expectSame(
      `kernel k {
        read x: f32[40]
        write y: f32[40]
        array z: f32[40]
        parallel i < 40 { store z[i] = x[i] * 2.0 }
        parallel i < 40 { store y[i] = z[39 - i] }
      }`,
      { tolerance: 0 },
    );
  });
});
