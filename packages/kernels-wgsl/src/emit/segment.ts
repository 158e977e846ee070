/**
 * One dispatch as a WGSL module. In: a kernel, one segment of its configuration and what the device can do. Out: the module's text, what
 * is bound to it, and how many workgroups a run starts. The invocation finds its point of the grid from its number; workgroups
 * are numbered in rows of 32,768, since a device limits each dimension of a dispatch.
 */
import type { Dim, Kernel } from "@millrace/graph";
import { addDims, evaluateDim, multiplyDims } from "@millrace/graph";
import type { WgslCapabilities } from "../capabilities.ts";
import { hasBounds } from "../configure/accesses.ts";
import type { Segment } from "../configure/configure.ts";
import type { GridStep } from "../configure/grid.ts";
import type { Binding, Sharing } from "./bindings.ts";
import { emitBlock } from "./block.ts";
import { bindingsOf, Storage } from "./bindings.ts";
import type { Extension } from "./expressions.ts";
import { Expressions } from "./expressions.ts";
import { Library } from "./library.ts";
import { emitLines } from "./lines.ts";
import { emitMatrices, matrixTypes } from "./matrices.ts";
import { Names } from "./names.ts";
import { openRagged } from "./ragged.ts";
import { SizeTable } from "./sizes.ts";
import { StatementEmitter } from "./statements.ts";
import { emitTile } from "./tile.ts";
import { vectorMemories } from "./vectors.ts";
import type { Value } from "./values.ts";
import { integerValue, named } from "./values.ts";
import { Writer } from "./writer.ts";

/** A shader, ready to be compiled. */
export interface Shader {
  readonly code: string;
  /** In the order of their binding numbers, a part each. */
  readonly bindings: readonly Binding[];
  /** What the uniform array holds, after the storage bindings; none if the shader has no such array. */
  readonly sizes: readonly Dim[] | undefined;
  readonly grid: LaunchGrid;
}

/** How many workgroups: the product of `ceil(extent / per)`, in groups of `perGroup`. */
export interface LaunchGrid {
  readonly factors: readonly { readonly extent: Dim; readonly per: number }[];
  readonly perGroup: number;
}

/** Workgroups in one row of a dispatch. */
export const rowLength = 32768;

export function countGroups(
  { factors, perGroup }: LaunchGrid,
  sizes: ReadonlyMap<string, number>,
): number {
  const points = factors.reduce(
    (product, { extent, per }) =>
      product * Math.ceil(Math.max(evaluateDim(extent, sizes), 0) / per),
    1,
  );
  return Math.ceil(points / perGroup);
}

export function emitSegment(
  kernel: Kernel,
  sharing: Sharing,
  segment: Segment,
  capabilities: WgslCapabilities,
): Shader {
  const names = new Names();
  const library = new Library();
  const sizes = new SizeTable();
  const stored = bindingsOf(kernel, sharing, capabilities, names);
  // Long texts cost a software device more than they save.
  const vectors = capabilities.software
    ? new Set<number>()
    : vectorMemories(kernel, sharing, segment, stored);
  const bound = stored.map((binding) => {
    const [memory] = binding.members as [number];
    const store = segment.packed.get(memory) ?? "none";
    return new Storage(binding, store, library, vectors.has(memory));
  });
  const storages = kernel.buffers.map((_, i) =>
    bound.find(({ binding }) => binding.members.includes(i))!,
  );
  const writer = new Writer();
  const extensions = new Set<Extension>(stored.some(({ half }) => half) ? ["f16"] : []);
  const x = new Expressions(
    { kernel, capabilities, storages, names, library, sizes, extensions },
    writer,
  );
  const { form, workgroup } = segment;
  const emitter = new StatementEmitter(x, segment);
  const factors = factorsOf(segment);
  const inTile = (points: readonly Value[], body: (points: readonly Value[]) => void): void => {
    const tile = tileOf(form);
    if (!segment.ragged || !tile) return openSteps(x, emitter, segment, points, () => body(points));
    const [slot, column] = points as [Value, Value];
    openRagged(x, emitter, segment.ragged, tile.rows, slot, (row) => body([row, column]));
  };
  emitGrid(x, segment, factors, (all) =>
    inTile(all, (points) => {
      if (form.kind === "tile") emitTile(x, emitter, form, segment.body, points);
      else if (form.kind === "matrices") emitMatrices(x, emitter, form, segment.body, points);
      else if (form.kind === "block") emitBlock(x, emitter, segment.body, capabilities);
      else if (form.kind === "lines") emitLines(x, emitter, form, segment.body, points);
      else emitter.block(segment.body);
    }),
  );

  const usesSizes = library.uses("exact") || sizes.dims.length > 1;
  const declarations: string[] = [];
  let next = 0;
  for (const storage of bound) {
    declarations.push(...storage.declarations(next));
    next += storage.binding.parts;
  }
  if (usesSizes) declarations.push(sizes.declaration(next));
  const subgroups = extensions.has("subgroups");
  const code = [
    ...Array.from(extensions, (name) => `enable ${name};`),
    ...(form.kind === "matrices" ? matrixTypes(form) : []),
    ...declarations,
    ...emitter.shared,
    ...library.texts(),
    `@compute @workgroup_size(${workgroup})${form.kind === "matrices" && form.sized ? ` @subgroup_size(${form.lanes})` : ""}`,
    `fn main(@builtin(workgroup_id) group: vec3<u32>, ${subgroups ? subgroupInputs : "@builtin(local_invocation_index) lane: u32"}) {`,
    ...(subgroups ? [numberOfLane] : []),
    writer.text,
    "}",
    "",
  ].join("\n");
  return {
    code,
    bindings: stored,
    sizes: usesSizes ? sizes.dims : undefined,
    grid: { factors, perGroup: form.kind === "each" ? workgroup : 1 },
  };
}

/** Where invocations exchange values, their numbers follow the subgroups. */
const subgroupInputs =
  "@builtin(subgroup_id) subgroup: u32, @builtin(subgroup_size) subgroup_size: u32, @builtin(subgroup_invocation_id) own: u32";
const numberOfLane = "  let lane = subgroup * subgroup_size + own;";

/** The grid from the outside in; the last axis counts in elements of one invocation, products add their tiles. */
function factorsOf({ steps, form, body, ragged }: Segment): LaunchGrid["factors"] {
  const factors = steps.flatMap((step) =>
    step.kind === "axis" ? [{ extent: step.range.extent, per: 1 }] : [],
  );
  if (form.kind === "each" && form.elements > 1)
    factors.push({ ...factors.pop()!, per: form.elements });
  const contract = body[0];
  const tile = tileOf(form);
  if (contract?.kind !== "contract" || !tile) return factors;
  const columns = { extent: contract.columns.extent, per: tile.columns };
  if (!ragged) return [...factors, { extent: contract.rows.extent, per: tile.rows }, columns];
  // One more for each range than all rows fill.
  const more = multiplyDims(ragged.range.extent, tile.rows);
  return [{ extent: addDims(contract.rows.extent, more), per: tile.rows }, columns];
}

/** Rows and columns of a workgroup. */
function tileOf(
  form: Segment["form"],
): { readonly rows: number; readonly columns: number } | undefined {
  switch (form.kind) {
    case "tile":
    case "matrices":
      return { rows: form.tileRows, columns: form.tileColumns };
    case "lines":
      return { rows: form.rows, columns: form.columns };
    default:
      return undefined;
  }
}

/** Finds the point: one number per factor. */
function emitGrid(
  x: Expressions,
  { form, workgroup }: Segment,
  factors: LaunchGrid["factors"],
  body: (points: readonly Value[]) => void,
): void {
  const { writer } = x;
  const groups = `(group.y * ${rowLength}u + group.x)`;
  const number = form.kind === "each" ? `${groups} * ${workgroup}u + lane` : groups;
  const counts = factors.map(({ extent, per }, i): Value => {
    const whole = x.extent(extent, `grid ${i}`);
    if (whole.constant !== undefined) return integerValue(Math.ceil(whole.constant / per));
    return per === 1
      ? whole
      : x.hold({ ...whole, text: `(${whole.text} + ${per - 1}) / ${per}`, atom: false });
  });
  const total = counts.reduce(
    (product, count) => x.combine("mul", [product, count], "i32"),
    integerValue(1),
  );
  const needed = form.kind === "each" || factors.length > 0;
  if (!needed) return body([]);
  const flat = x.parts.names.fresh("point");
  writer.line(`let ${flat} = i32(${number});`);
  writer.line(`if (${flat} >= ${total.text}) { return; }`);
  const points: Value[] = [];
  let rest: Value = named(flat, "i32");
  counts.forEach((_, i) => {
    const at = counts.length - 1 - i;
    const count = counts[at]!;
    if (at === 0) {
      points.unshift(rest);
      return;
    }
    points.unshift(x.combine("rem", [rest, count], "i32"));
    rest = x.combine("div", [rest, count], "i32");
  });
  body(points);
}

/** Opens axes, values and conditions from the outside in, then runs `body`. */
function openSteps(
  x: Expressions,
  emitter: StatementEmitter,
  segment: Segment,
  points: readonly Value[],
  body: () => void,
): void {
  const { steps, form } = segment;
  const { writer } = x;
  const lastAxis = steps.findLastIndex(({ kind }) => kind === "axis");
  let next = 0;
  const open = (at: number): void => {
    const step: GridStep | undefined = steps[at];
    const inside = (): void => open(at + 1);
    if (!step) return body();
    switch (step.kind) {
      case "let": {
        const value = x.hold(x.value(step.value), step.name);
        if (form.kind === "block") emitter.bindAgreed(step.name, value, step.value);
        else x.bind(step.name, value);
        return inside();
      }
      case "if":
        return writer.block(
          `if (${emitter.uniform(x.value(step.condition), step.condition)})`,
          inside,
        );
      case "axis": {
        const { axis } = step.range;
        const point = points[next++]!;
        const perInvocation = form.kind === "each" && at === lastAxis ? form.elements : 1;
        if (perInvocation > 1) return emitter.elements(step.range, point, perInvocation, inside);
        x.bind(axis, x.hold(point, axis));
        if (!hasBounds(step.range)) return inside();
        return writer.block(`if (${emitter.withinRange(step.range)})`, inside);
      }
    }
  };
  open(0);
}
