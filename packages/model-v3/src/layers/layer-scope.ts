/**
 * Where a layer stands: what every layer is given besides its input. In: a path such as `layers.3.mlp`. Out: its parameters
 * (`model.layers.3.mlp.….weight`), the path of the nodes it declares, and taps for looking inside. Knows no layer.
 */
import type { GraphBuilder, Tensor } from "@millrace/graph";
import type { ModelConfig } from "../config.ts";
import type { Products } from "./linear.ts";
import type { Weight } from "./weight.ts";

/** Called with each named intermediate value while a model is being declared. */
export type Tap = (name: string, value: Tensor) => void;

export interface LayerScope {
  readonly builder: GraphBuilder;
  readonly config: ModelConfig;
  /** The products of this model's precision. */
  readonly products: Products;
  /** Checkpoint path without `model.`, such as `layers.3.self_attn`. */
  readonly path: string;
  /** A part of this layer. */
  at(name: string): LayerScope;
  /** The parameter `<path>.<name>`. */
  parameter(name: string): Tensor;
  /** The same as it is stored, for products. */
  weight(name: string): Weight;
  /** Runs `body`; the nodes it declares get this scope's path. */
  declare<T>(body: () => T): T;
  readonly tap: Tap;
}

/** What all scopes of one model share. */
export interface ScopeSource {
  readonly builder: GraphBuilder;
  readonly config: ModelConfig;
  readonly products: Products;
  readonly parameter: (name: string) => Tensor;
  /** How a parameter is stored; without this all are f32. */
  readonly weight?: (name: string) => Weight;
  readonly tap: Tap;
}

const nameAt = (path: string, name: string): string => `model.${path ? `${path}.` : ""}${name}`;

/** The scope of a whole model; `outer` is where its declaration began. */
export function rootScope(source: ScopeSource): LayerScope {
  const outer = source.builder.path;
  const scopeAt = (path: string): LayerScope => ({
    ...source,
    path,
    at: (name) => scopeAt(path ? `${path}.${name}` : name),
    parameter: (name) => source.parameter(nameAt(path, name)),
    weight: (name) => {
      const full = nameAt(path, name);
      return source.weight?.(full) ?? { format: "f32", codes: source.parameter(full) };
    },
    declare: (body) =>
      source.builder.withPath([outer, path].filter((part) => part !== "").join("."), body),
  });
  return scopeAt("");
}
