/**
 * Token ids from outside, checked before a program sees them. In: integers of any dtype, of a file or a caller. Out: i32 ids
 * that the vocabulary has. A program would read zeros for an id outside the vocabulary, silently.
 */
import { InputError, loadElement } from "@millrace/graph";
import type { HostTensor } from "@millrace/graph";

/** `tensor` as i32 of the same shape, or an InputError that names the first id not in 0 to `vocabSize` - 1. */
export function checkedTokenIds(tensor: HostTensor, vocabSize: number, where: string): HostTensor {
  const { dtype, shape, data } = tensor;
  if (dtype !== "i64" && dtype !== "i32" && dtype !== "u32" && dtype !== "u8")
    throw new InputError({
      what: `token ids are ${dtype}[${shape.join(", ")}]`,
      where,
      hint: "Store them as I64 or I32.",
    });
  const ids = new Int32Array(data.length);
  for (let i = 0; i < ids.length; i++) {
    const id = loadElement(dtype, data, i);
    if (!(id >= 0 && id < vocabSize))
      throw new InputError({
        what: `token id ${id} at [${indexOf(i, shape).join(", ")}] is not in the vocabulary of ${vocabSize}`,
        where,
        hint: `Give ids from 0 to ${vocabSize - 1}, made with this model's tokenizer.`,
      });
    ids[i] = id;
  }
  return { dtype: "i32", shape, data: ids };
}

/** Index along each axis of element `linear`. */
function indexOf(linear: number, shape: readonly number[]): number[] {
  const index: number[] = [];
  let rest = linear;
  for (const size of shape.toReversed()) {
    index.unshift(rest % size);
    rest = Math.floor(rest / size);
  }
  return index;
}
