import { elementCount, hostTensor } from "@millrace/graph";
import type { HostTensor, Shape, StateSpec, Store } from "@millrace/graph";
import { expect, test } from "vitest";
import { memoryDirectory } from "./checkpoint/byte-source.ts";
import { saveParameters } from "./checkpoint/save.ts";
import { openShards } from "./checkpoint/shards.ts";
import type { ModelConfig } from "./config.ts";
import { loadIntoStore } from "./load-store.ts";
import { parameterTable } from "./parameters.ts";
import type { ParameterSpec } from "./parameters.ts";
import { preset } from "./presets.ts";

const config: ModelConfig = { ...preset("tiny"), nRoutedExperts: 4, hiddenSize: 8 };

function valuesOf(spec: ParameterSpec): HostTensor {
  const data = Float32Array.from(
    { length: elementCount(spec.shape) },
    (_, i) => i + spec.name.length,
  );
  return { dtype: "f32", shape: spec.shape, data };
}

const zeros = (shape: Shape): Float32Array => new Float32Array(elementCount(shape as number[]));

/** A store that only remembers. */
function memoryStore(): Store & { readonly states: Map<string, HostTensor> } {
  const types = new Map<string, StateSpec>();
  const states = new Map<string, HostTensor>();
  return {
    states,
    ensure: (specs) => specs.forEach((spec) => types.set(spec.name, spec)),
    get specs() {
      return [...types.values()];
    },
    write: async (name, tensor, at = 0) => {
      const { dtype, shape } = types.get(name)!.type;
      expect(dtype).toBe(tensor.dtype);
      const whole = states.get(name) ?? hostTensor(dtype, shape as number[], zeros(shape));
      (whole.data as Float32Array).set(tensor.data as Float32Array, at);
      states.set(name, whole);
    },
    read: async (name) => states.get(name)!,
    bytes: 0,
    dispose: () => undefined,
  };
}

test("every parameter of a checkpoint becomes a state; without MTP, those of the main model", async () => {
  const directory = memoryDirectory("ckpt");
  await saveParameters(directory, config, valuesOf);
  const weights = await openShards(directory);
  const table = parameterTable(config);
  const all = memoryStore();
  await loadIntoStore(weights, config, all);
  expect([...all.states.keys()]).toEqual(table.map(({ name }) => name));
  for (const spec of table) expect(all.states.get(spec.name)).toEqual(valuesOf(spec));
  const main = memoryStore();
  await loadIntoStore(weights, config, main, { mtp: false });
  const expected = table.filter(({ layer }) => layer !== config.numHiddenLayers);
  expect([...main.states.keys()]).toEqual(expected.map(({ name }) => name));
  expect(main.states.size).toBeLessThan(all.states.size);
});
