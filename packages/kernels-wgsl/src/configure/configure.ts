/**
 * How a kernel becomes dispatches. In: a kernel, which of its buffers are the same memory, and what the device can do. Out: one
 * segment per dispatch with its grid and its form. Pure and printable; emits nothing. Choices are made for the largest sizes,
 * so that a value's bits do not depend on how many others are computed with it.
 */
import type { Contract, Kernel, Range, Statement } from "@millrace/graph";
import { dimsEqual, formatDim, hashKernel, visitStatements } from "@millrace/graph";
import type { WgslCapabilities } from "../capabilities.ts";
import type { PackedStore, Sharing } from "../emit/bindings.ts";
import { isPacked, perWord } from "../emit/bindings.ts";
import {
  contains,
  hasBounds,
  isAxis,
  isMultiple,
  isNeighbourly,
  largestCount,
  Memories,
  mentions,
} from "./accesses.ts";
import type { BlockForm, LinesForm, ProductForm } from "./contract.ts";
import { chooseBlock, chooseProduct, tileLanes } from "./contract.ts";
import type { Grid, GridStep } from "./grid.ts";
import { openGrid } from "./grid.ts";
import type { Ragged } from "./ragged.ts";
import { raggedOf } from "./ragged.ts";

export type Form =
  /** One invocation per point of the grid, or per `elements` neighbours of its last axis, which fill whole words. */
  | { readonly kind: "each"; readonly elements: number }
  /** One workgroup per point: its invocations share reductions and parallel loops. */
  | { readonly kind: "group" }
  | BlockForm
  | ProductForm;

/** One dispatch. */
export interface Segment extends Grid {
  readonly form: Form;
  /** Invocations of a workgroup. */
  readonly workgroup: number;
  /** How packed elements are stored, by memory. */
  readonly packed: ReadonlyMap<number, PackedStore>;
  /** Where rows are those of experts: workgroups are started for rows that there are, not for all that each may have. */
  readonly ragged?: Ragged;
}

export type Configuration = readonly Segment[];

/** Invocations of a workgroup where they have nothing to do with each other. */
const plainGroup = 64;
/** Shortest reduction that a workgroup shares. */
const sharedLength = 32;
/** As many results or more keep a device busy one by one. */
const manyResults = 4096;

/** Chooses. */
export function configureKernel(
  kernel: Kernel,
  sharing: Sharing,
  capabilities: WgslCapabilities,
): Configuration {
  const memories = new Memories(kernel, sharing);
  const given = capabilities.products && hashKernel(kernel);
  return splitBlock(kernel.body).map((block, i) => {
    const fixed = capabilities.products?.[`${given} ${i}`] ?? capabilities.products?.["*"];
    const choose = (contract: Contract, steps: readonly GridStep[]): ProductForm | undefined =>
      chooseProduct(contract, pointsOf(steps), memories, capabilities, fixed);
    const grid = openGrid(block, memories, (...of) => choose(...of) !== undefined);
    const [last] = grid.body;
    const product = last?.kind === "contract" ? choose(last, grid.steps) : undefined;
    return Object.assign(chooseForm(kernel, grid, memories, capabilities, product), grid);
  });
}

function chooseForm(
  kernel: Kernel,
  grid: Grid,
  memories: Memories,
  capabilities: WgslCapabilities,
  product: ProductForm | undefined,
): Omit<Segment, keyof Grid> {
  const [contract] = grid.body;
  if (contract?.kind === "contract" && product) {
    const { body, columns } = contract;
    const count = product.kind === "lines" ? neighbours(product) : 4;
    const packed = packedStores(kernel, body, columns, memories, capabilities, count);
    const workgroup = product.kind === "tile" ? tileLanes(product) : product.workgroup;
    const ragged = raggedOf(grid, contract);
    return { form: product, workgroup, packed, ...(ragged && { ragged }) };
  }
  const atomic = atomically(kernel, grid.body, memories, capabilities);
  if (contains(grid.body, ({ kind }) => kind === "array")) {
    const form = chooseBlock(contractsIn(grid.body), capabilities);
    return { form, workgroup: form.workgroup, packed: atomic };
  }
  const workgroup = groupSize(grid, memories, capabilities);
  if (workgroup > 0) return { form: { kind: "group" }, workgroup, packed: atomic };
  const inner = grid.steps.findLastIndex(({ kind }) => kind === "axis");
  const step = grid.steps[inner];
  // What comes after the last axis, or a condition on it, would be different for the elements of a word.
  const whole =
    step?.kind === "axis" && !grid.steps.slice(inner + 1).some((later) => later.kind === "if");
  const packed = whole
    ? packedStores(kernel, grid.body, step.range, memories, capabilities)
    : atomic;
  const widths = [...packed].map(([memory, how]) =>
    how === "owned" ? perWord(kernel.buffers[memory]!.dtype) : 1,
  );
  return {
    form: { kind: "each", elements: Math.max(1, ...widths) },
    workgroup: Math.min(plainGroup, capabilities.maxInvocations),
    packed,
  };
}

/** Loops and products one after the other are dispatches of their own; what shares locals is one. */
function splitBlock(body: readonly Statement[]): readonly (readonly Statement[])[] {
  const separate = body.every(
    ({ kind }) => kind === "loop" || kind === "contract" || kind === "if",
  );
  return separate ? body.map((statement) => [statement]) : [body];
}

/** Size of the workgroup that shares each point's reductions, or 0. */
function groupSize(
  { steps, body }: Grid,
  memories: Memories,
  { maxInvocations }: WgslCapabilities,
): number {
  const reductions = body.filter((statement) => statement.kind === "reduce");
  const length = Math.max(0, ...reductions.map(({ ranges }) => largestCount(ranges)));
  if (length < sharedLength || !isShareable(body, memories)) return 0;
  const results = pointsOf(steps);
  const neighbourly = reductions.some((reduce) => {
    const inner = reduce.ranges.at(-1)!.axis;
    const read = [...memories.accesses([reduce])];
    return read.some(({ index }) => isNeighbourly(index, inner));
  });
  if (!neighbourly && results >= manyResults) return 0;
  const wanted = length >= 2048 ? 256 : length >= 512 ? 128 : 64;
  return Math.min(wanted, maxInvocations);
}

/**
 * Whether all invocations of a workgroup may run the block together, the first of them storing: no statement may read what
 * it stores itself.
 */
function isShareable(body: readonly Statement[], memories: Memories): boolean {
  return body.every((statement) => {
    if (statement.kind !== "loop" && statement.kind !== "if") return statement.kind !== "contract";
    const stored = memories.stored([statement]);
    const reads = memories
      .accesses([statement])
      .some(({ memory, store }) => !store && stored.has(memory));
    const parallel = statement.kind === "loop" && statement.order === "parallel";
    return parallel || (!reads && !contains([statement], ({ kind }) => kind === "contract"));
  });
}

function contractsIn(body: readonly Statement[]): readonly Contract[] {
  const found: Contract[] = [];
  visitStatements(body, (statement) => {
    if (statement.kind === "contract") found.push(statement);
  });
  return found;
}

/** Points of a grid's axes, at the largest sizes. */
const pointsOf = (steps: readonly GridStep[]): number =>
  largestCount(steps.flatMap((step) => (step.kind === "axis" ? [step.range] : [])));

/** Neighbouring columns that one invocation stores. */
export const neighbours = ({ columns }: LinesForm): number =>
  columns % 4 === 0 ? 4 : columns % 2 === 0 ? 2 : 1;

function atomically(
  kernel: Kernel,
  body: readonly Statement[],
  memories: Memories,
  capabilities: WgslCapabilities,
): Map<number, PackedStore> {
  // Arrays are no memory of the kernel's buffers.
  const packed = [...memories.stored(body)].filter(
    (memory) => memory >= 0 && isPacked(kernel.buffers[memory]!.dtype, capabilities),
  );
  return new Map(packed.map((memory) => [memory, "atomic"]));
}

/** Words are owned where every invocation stores `count` neighbours along an axis, a whole number of words of them. */
function packedStores(
  kernel: Kernel,
  body: readonly Statement[],
  range: Range,
  memories: Memories,
  capabilities: WgslCapabilities,
  count = Infinity,
): Map<number, PackedStore> {
  const packed = atomically(kernel, body, memories, capabilities);
  if (hasBounds(range)) return packed;
  const { axis, extent } = range;
  for (const memory of packed.keys()) {
    const all = memories
      .accesses(body)
      .filter((access) => access.memory === memory && access.store);
    const unconditional = body.filter(
      (statement) => statement.kind === "store" && memories.of(statement.buffer) === memory,
    );
    const { dtype, shape } = kernel.buffers[memory]!;
    const fits =
      perWord(dtype) <= count &&
      all.length === 1 &&
      unconditional.length === 1 &&
      isAxis(all[0]!.index.at(-1), axis) &&
      all[0]!.index.slice(0, -1).every((part) => !mentions(part, axis)) &&
      dimsEqual(shape.at(-1)!, extent) &&
      (shape.length === 1 || isMultiple(extent, perWord(dtype)));
    if (fits) packed.set(memory, "owned");
  }
  // One invocation takes as many elements as the narrowest memory packs; a wider one gets whole words too.
  return packed;
}

/** One line per dispatch. */
export function printConfiguration(configuration: Configuration): string {
  return configuration
    .map(({ steps, form, workgroup, packed }) => {
      const axes = steps.flatMap((step) =>
        step.kind === "axis" ? [`${step.range.axis} < ${formatDim(step.range.extent)}`] : [],
      );
      const ways = [...new Set(packed.values())].map((way) => `, ${way} words`).join("");
      return `${describeForm(form)} over ${axes.join(", ") || "one point"}, workgroup ${workgroup}${ways}`;
    })
    .join("\n");
}

function describeForm(form: Form): string {
  switch (form.kind) {
    case "each":
      return form.elements === 1 ? "an invocation each" : `an invocation per ${form.elements}`;
    case "group":
      return "a workgroup each";
    case "block":
      return "a workgroup with arrays each";
    case "tile":
      return `tiles of ${form.tileRows} by ${form.tileColumns} by ${form.tileDepth}${form.split ? ` in ${form.split} parts` : ""}`;
    case "matrices":
      return `tiles of ${form.tileRows} by ${form.tileColumns} by ${form.tileDepth} in matrices of ${form.rows} by ${form.columns} by ${form.depth}${form.scaled ? ", scaled every 128" : ""}`;
    case "lines":
      return `${form.rows} rows by ${form.columns} columns in lines of ${form.lanes} lanes along ${form.along === "depth" ? "the depth" : "the columns"}, ${form.unit} at once`;
  }
}
