/**
 * The tokens of a safetensors file. In: an open file with `input_ids` and a configuration. Out: i32 [B, T], within vocabulary
 * and context.
 */
import { type HostTensor, InputError } from "@millrace/graph";
import { checkedTokenIds, type ModelConfig, type TensorSource } from "@millrace/model-v3";

/** `input_ids` [B, T], or an error that names the file and what to change. */
export async function tokenIdsOf(file: TensorSource, config: ModelConfig): Promise<HostTensor> {
  const where = `${file.name}, tensor input_ids`;
  // The shape first: what does not fit is not read. Without the tensor, reading says so.
  const shape = file.entries.get("input_ids")?.shape ?? (await file.read("input_ids")).shape;
  const [batch = 0, tokens = 0] = shape;
  if (shape.length !== 2 || batch < 1 || tokens < 1)
    throw new InputError({
      what: `input_ids have shape [${shape.join(", ")}]`,
      where,
      hint: "Give at least one sequence of one token, [B, T].",
    });
  if (tokens > config.maxPositionEmbeddings)
    throw new InputError({
      what: `the sequences have ${tokens} tokens, the model's context ${config.maxPositionEmbeddings}`,
      where,
      hint: "Give shorter sequences.",
    });
  return checkedTokenIds(await file.read("input_ids"), config.vocabSize, where);
}
