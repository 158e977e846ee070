/**
 * Which forward values the backward pass keeps, and which it computes once more. In: scope paths, such as `layers.3`. Out: for each
 * forward node of such a scope a copy of it, declared where the backward pass reaches the scope, so that its value need not
 * outlive the forward pass. What enters the scope is kept, and read through `checkpoint`, which tells the copies from the
 * originals. Costs one more forward pass of the scope. Source: arXiv 1604.06174 (gradient checkpointing).
 */
import type { GraphBuilder } from "../declare/builder.ts";
import { applyOne, defineOp, expectInputs } from "../declare/define-op.ts";
import type { ValueRef } from "../graph.ts";
import type { OpDefinition } from "../op.ts";
import type { Tensor } from "../tensor.ts";

/** Its input, as something that is computed anew: nodes that read it are never merged with those that read the input itself. */
export const checkpointOp: OpDefinition<{ scope: string }> = defineOp<{ scope: string }>({
  name: "checkpoint",
  infer: (inputs) => {
    expectInputs(inputs, 1);
    return [inputs[0]!];
  },
  vjp: ({ cotangents: [ct] }) => [ct],
  body: { class: "movement", alias: true, at: (index, read) => read(0, index) },
});

/** Copies of forward nodes, made as the backward pass comes to their scopes. */
export class Recomputed {
  readonly #builder: GraphBuilder;
  readonly #scopes: readonly string[];
  /** The recomputed scope of each forward node that is in one. */
  readonly #pathOf = new Map<number, string>();
  readonly #copies = new Map<number, readonly Tensor[]>();

  /** The nodes that are there now are the forward pass. */
  constructor(builder: GraphBuilder, scopes: readonly string[]) {
    this.#builder = builder;
    this.#scopes = scopes;
    for (const { id, scope, op } of scopes.length > 0 ? builder.nodes : []) {
      const path = this.#enclosing(scope);
      if (path !== undefined && op.body.class !== "leaf") this.#pathOf.set(id, path);
    }
  }

  /** The value as the backward pass of a node in `scope` reads it: its copy where that scope is recomputed. */
  read(ref: ValueRef, scope: string): Tensor {
    const path = this.#pathOf.get(ref.node);
    if (path === undefined || path !== this.#enclosing(scope)) return this.#builder.tensor(ref);
    if (!this.#copies.has(ref.node)) this.#copyScope(path);
    return this.#copies.get(ref.node)![ref.output]!;
  }

  #enclosing(scope: string): string | undefined {
    return this.#scopes.find((path) => scope === path || scope.startsWith(`${path}.`));
  }

  #copyScope(path: string): void {
    const b = this.#builder;
    const entered = new Map<string, Tensor>();
    const enter = (ref: ValueRef): Tensor => {
      const original = b.tensor(ref);
      // Leaves are in memory for the whole run, so that nothing is won by telling their readers apart.
      if (b.nodeOf(original).op.body.class === "leaf") return original;
      const key = `${ref.node}.${ref.output}`;
      const known = entered.get(key);
      if (known) return known;
      const made = b.withPath(path, () => applyOne(checkpointOp, [original], { scope: path }));
      entered.set(key, made);
      return made;
    };
    for (const [id, inside] of this.#pathOf) {
      if (inside !== path) continue;
      const { op, attrs, inputs, outputs, scope } = b.nodes[id]!;
      const read = inputs.map((ref) =>
        this.#pathOf.get(ref.node) === path ? this.#copies.get(ref.node)![ref.output]! : enter(ref),
      );
      const copy = b.withPath(scope, () => b.push(op, read, attrs, outputs));
      this.#copies.set(id, copy);
    }
  }
}
