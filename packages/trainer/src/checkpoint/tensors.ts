/**
 * Tensors of a training checkpoint as safetensors files; Node only. In: named host tensors and a directory. Out: one file,
 * and the same tensors, bit for bit, when it is read back.
 */
import { CheckpointError, type HostTensor } from "@millrace/graph";
import { writeSafetensors } from "@millrace/model-v3";
import { nodeDirectory, openSafetensorsFile } from "@millrace/model-v3/node";

/** Writes `tensors` to `directory/file`. */
export async function writeTensors(
  directory: string,
  file: string,
  tensors: ReadonlyMap<string, HostTensor>,
): Promise<void> {
  const target = await nodeDirectory(directory).create(file);
  try {
    await writeSafetensors(
      target,
      [...tensors].map(([name, { dtype, shape, data }]) => ({
        name,
        dtype,
        shape,
        data: () => data,
      })),
    );
    await target.finish();
    await target.commit();
  } catch (cause) {
    await target.discard();
    throw cause;
  }
}

/** All tensors of the file at `path`. */
export async function readTensors(path: string): Promise<Map<string, HostTensor>> {
  const source = await openSafetensorsFile(path);
  try {
    const tensors = new Map<string, HostTensor>();
    for (const name of source.entries.keys()) tensors.set(name, await source.read(name));
    return tensors;
  } finally {
    await source.close();
  }
}

/** The tensor `name`, which must be there with the dtype and shape given: a moment has those of its parameter. */
export function expectTensor(
  tensors: ReadonlyMap<string, HostTensor>,
  name: string,
  expected: Pick<HostTensor, "dtype" | "shape">,
  path: string,
): HostTensor {
  const tensor = tensors.get(name);
  const wanted = `${expected.dtype} [${expected.shape.join(", ")}]`;
  if (
    tensor?.dtype === expected.dtype &&
    tensor.shape.length === expected.shape.length &&
    tensor.shape.every((size, axis) => size === expected.shape[axis])
  )
    return tensor;
  throw new CheckpointError({
    what: tensor
      ? `tensor ${name} is ${tensor.dtype} [${tensor.shape.join(", ")}], this run needs ${wanted}`
      : `tensor ${name} is missing, this run needs it as ${wanted}`,
    where: path,
    hint: "Resume with the model and the options that the run was begun with.",
  });
}
