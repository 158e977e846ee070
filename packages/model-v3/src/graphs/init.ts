/**
 * First values of every parameter, made on the device. In: a configuration and a seed. Out: a graph without inputs whose one
 * run writes them. Each parameter has a key of its own, made of the seed and its name, so that adding a layer changes no
 * other's values.
 */
import { broadcastTo, declare, randomNormal, threefry2x32 } from "@millrace/graph";
import type { Graph, GraphBuilder, Tensor } from "@millrace/graph";
import type { ModelConfig } from "../config.ts";
import { parameterTable } from "../parameters.ts";
import type { ParameterSpec } from "../parameters.ts";

/** A graph that sets every parameter of the model; run it once over the store. */
export function declareInit(config: ModelConfig, seed: number): Graph {
  return declare("init", (b) => {
    for (const spec of parameterTable(config)) {
      const state = b.parameter(spec.name, "f32", spec.shape);
      b.update(
        state,
        b.withPath(spec.name, () => firstValues(b, spec, seed)),
      );
    }
    return {};
  });
}

function firstValues(b: GraphBuilder, { name, shape, init }: ParameterSpec, seed: number): Tensor {
  switch (init.kind) {
    case "ones":
      return broadcastTo(b.scalar(1), shape);
    case "zeros":
      return broadcastTo(b.scalar(0), shape);
    case "normal": {
      const data = keyOf(seed, name); // [2]
      return randomNormal(b.constant({ dtype: "u32", shape: [2], data }), shape, 0, init.std);
    }
  }
}

/** The hash of the name, eight characters at a time, under the seed. */
function keyOf(seed: number, name: string): Uint32Array {
  let key: readonly [number, number] = [seed >>> 0, Math.floor(seed / 2 ** 32) >>> 0];
  for (let i = 0; i < name.length; i += 8) {
    const words = new Uint32Array(2);
    for (let j = i; j < Math.min(i + 8, name.length); j++)
      words[(j - i) >> 2] = (words[(j - i) >> 2]! << 8) | (name.charCodeAt(j) & 0xff);
    key = threefry2x32(key[0], key[1], words[0]!, words[1]!);
  }
  return Uint32Array.from(key);
}
