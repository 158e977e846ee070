/**
 * Generators of sizes and shapes. In: bounds. Out: fast-check arbitraries biased to what breaks kernels: nothing, one, the lengths
 * around a vector, a tile and a power of two, and tails that fill none of them.
 */
import fc from "fast-check";

const edges = [0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 127, 128, 129];

/** A size between `min` and `max`, one of the edges more often than not. */
export function sizeArbitrary(
  options: { readonly min?: number; readonly max?: number } = {},
): fc.Arbitrary<number> {
  const { min = 0, max = 129 } = options;
  const near = edges.filter((edge) => edge >= min && edge <= max);
  const any = fc.integer({ min, max });
  return near.length === 0
    ? any
    : fc.oneof({ arbitrary: fc.constantFrom(...near), weight: 3 }, { arbitrary: any, weight: 1 });
}

export interface ShapeOptions {
  readonly minRank?: number;
  readonly maxRank?: number;
  readonly minSize?: number;
  readonly maxSize?: number;
  /** Sizes are lowered, last first, until the product is at most this. */
  readonly maxElements?: number;
}

/** A shape of few elements, so that the oracles are quick. */
export function shapeArbitrary(options: ShapeOptions = {}): fc.Arbitrary<number[]> {
  const { minRank = 0, maxRank = 4, minSize = 0, maxSize = 129, maxElements = 2048 } = options;
  return fc
    .array(sizeArbitrary({ min: minSize, max: maxSize }), {
      minLength: minRank,
      maxLength: maxRank,
    })
    .map((shape) => {
      let room = maxElements;
      return shape.map((size) => {
        const fitted = Math.max(minSize, Math.min(size, Math.max(1, room)));
        room = Math.floor(room / Math.max(1, fitted));
        return fitted;
      });
    });
}
