/**
 * Which memories are arrays of vectors in a shader. In: a dispatch and what is bound to it. Out: those that its product reads in fours and
 * that nothing stores to.
 */
import type { Kernel } from "@millrace/graph";
import { visitExpr } from "@millrace/graph";
import { isMultiple, loadsQuad, Memories, quad, quadAxis } from "../configure/accesses.ts";
import type { Segment } from "../configure/configure.ts";
import type { Binding, Sharing } from "./bindings.ts";

export function vectorMemories(
  kernel: Kernel,
  sharing: Sharing,
  { form, body }: Segment,
  bindings: readonly Binding[],
): ReadonlySet<number> {
  const found = new Set<number>();
  const [contract] = body;
  if ((form.kind !== "tile" && form.kind !== "lines") || contract?.kind !== "contract")
    return found;
  const memories = new Memories(kernel, sharing);
  const stored = memories.stored(body);
  for (const side of ["lhs", "rhs"] as const) {
    const { along, unit } = quadAxis(contract, side, memories);
    if (unit === 1) continue;
    const range = side === "lhs" ? contract.rows : contract.columns;
    const { axis } = along === "range" ? range : contract.depth;
    visitExpr(contract[side], (part) => {
      const shape = part.kind === "load" ? memories.buffer(part.buffer)?.shape : undefined;
      if (part.kind === "load" && loadsQuad(part, axis, shape)) found.add(memories.of(part.buffer));
    });
  }
  return new Set(
    bindings.flatMap(({ members, dtype, parts, half }) => {
      const [memory] = members as [number];
      const whole = members.every((member) =>
        isMultiple(kernel.buffers[member]!.shape.at(-1) ?? 1, quad),
      );
      const fits =
        found.has(memory) &&
        !stored.has(memory) &&
        parts === 1 &&
        (half || dtype === "f32") &&
        whole;
      return fits ? [memory] : [];
    }),
  );
}
