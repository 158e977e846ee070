// The rule that files do not import each other in a circle.
// In: the source files of one package. Out: one message per circle, naming its files in order.
// Files in a circle cannot be loaded, moved or tested alone, and the order of loading decides what works.
// Imports of types are exempt: nothing of them runs, and an op, its graph and its tensors are one
// recursive definition of types in any order.
import { posix } from "node:path";

import type { SourceFile } from "./source-file.ts";

/** Finds the import circles among the given files (Tarjan's strongly connected components). */
export function findCycles(files: readonly SourceFile[]): string[][] {
  const targets = new Map<string, string[]>();
  for (const file of files) targets.set(file.path, []);
  for (const file of files) {
    for (const { specifier, typeOnly } of file.imports) {
      if (typeOnly || !specifier.startsWith(".")) continue;
      const target = posix.join(posix.dirname(file.path), specifier);
      if (targets.has(target)) targets.get(file.path)!.push(target);
    }
  }

  const order = new Map<string, number>();
  const lowest = new Map<string, number>();
  const stack: string[] = [];
  const cycles: string[][] = [];
  const visit = (path: string): void => {
    order.set(path, order.size);
    lowest.set(path, order.get(path)!);
    stack.push(path);
    for (const target of targets.get(path)!) {
      if (!order.has(target)) {
        visit(target);
        lowest.set(path, Math.min(lowest.get(path)!, lowest.get(target)!));
      } else if (stack.includes(target)) {
        lowest.set(path, Math.min(lowest.get(path)!, order.get(target)!));
      }
    }
    if (lowest.get(path) !== order.get(path)) return;
    const component = stack.splice(stack.indexOf(path));
    if (component.length > 1 || targets.get(path)!.includes(path)) {
      cycles.push(shortestCircle(component, targets));
    }
  };
  for (const path of targets.keys()) if (!order.has(path)) visit(path);
  return cycles;
}

/** One shortest circle through the first file of a component, for a message a person can follow. */
function shortestCircle(component: readonly string[], targets: Map<string, string[]>): string[] {
  const start = component[0]!;
  const inside = new Set(component);
  const paths: string[][] = [[start]];
  const seen = new Set<string>();
  for (const path of paths) {
    for (const target of targets.get(path.at(-1)!)!) {
      if (target === start) return [...path, start];
      if (!inside.has(target) || seen.has(target)) continue;
      seen.add(target);
      paths.push([...path, target]);
    }
  }
  return [start];
}

/** The circles as messages. */
export function checkCycles(files: readonly SourceFile[]): string[] {
  return findCycles(files).map(
    (cycle) => `import cycle: ${cycle.join(" → ")}. Move what both need into a file below them.`,
  );
}
