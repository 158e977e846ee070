/**
 * How a matrix product is computed. In: a product, how often it is repeated, and what the device can do. Out: the tile of a workgroup
 * and of an invocation; lines of lanes along the operand that is read once, where there are few rows; or nothing where neither
 * pays: short sums, few columns, ranges that depend on one another. Pure. Decided for the largest sizes, so that the order of a
 * row's sum does not depend on how many rows are computed in a run.
 */
import type { Contract, Range } from "@millrace/graph";
import { maxDim } from "@millrace/graph";
import type { WgslCapabilities } from "../capabilities.ts";
import type { Memories } from "./accesses.ts";
import { hasBounds, mentions, quadAxis } from "./accesses.ts";
import type { MatrixForm } from "./matrices.ts";
import { chooseMatrices } from "./matrices.ts";

export interface TileForm {
  readonly kind: "tile";
  /** Invocations along columns and rows; each has four neighbours, or twice four. */
  readonly across: number;
  readonly down: number;
  /** Rows and columns of a workgroup, and the depth that is in workgroup memory at once. */
  readonly tileRows: number;
  readonly tileColumns: number;
  readonly tileDepth: number;
  /** Into how many parts that depth is divided, each for as many invocations as a tile has; 1 if it is not there. */
  readonly split?: number;
}

/** Invocations of a workgroup. */
export const tileLanes = ({ across, down, split = 1 }: TileForm): number => across * down * split;

/** Few rows: the operand of the columns is read once, from end to end, and all rows are multiplied with it on the way. */
export interface LinesForm {
  readonly kind: "lines";
  /** Along which axis neighbouring lanes read: that along which the columns' operand lies in memory. */
  readonly along: "depth" | "columns";
  /** Lanes of one line, of which a workgroup has several. */
  readonly lanes: number;
  /** Elements that a lane takes at once. */
  readonly unit: number;
  /** Rows of a workgroup. */
  readonly rows: number;
  /** Columns of a workgroup. */
  readonly columns: number;
  /** Invocations of a workgroup. */
  readonly workgroup: number;
}

export type ProductForm = TileForm | LinesForm | MatrixForm;

/** Most rows that are computed in lines. */
const fewRows = 16;
/** Most rows of one workgroup: each keeps a sum in registers. */
const rowsAtOnce = 8;
/** Fewest columns and shortest depth for which operands are read often enough to be worth sharing. */
const fewColumns = 8;
/** Shortest sum whose terms are divided among lanes. */
const shortSum = 32;
/** Workgroups that run side by side on a device of middling size. */
const sideBySide = 128;

export function chooseProduct(
  contract: Contract,
  outer: number,
  memories: Memories,
  capabilities: WgslCapabilities,
  given?: ProductForm,
): ProductForm | undefined {
  const { rows, columns, depth } = contract;
  const axes = [rows, columns, depth].map(({ axis }) => axis);
  if ([rows, columns, depth].some((range) => dependsOn(range, axes))) return undefined;
  const matrices = chooseMatrices(contract, memories, capabilities);
  if (given?.kind === "tile") return given;
  if (given?.kind === "lines" && !hasBounds(depth) && !hasBounds(columns)) return given;
  // The ranges of a ragged product share the rows among them.
  const m = hasBounds(rows)
    ? Math.ceil(maxDim(rows.extent) / outer)
    : Math.max(maxDim(rows.extent), 0);
  const [n, k] = [columns, depth].map(({ extent }) => maxDim(extent)) as [number, number];
  if (n < fewColumns) return undefined;
  // A reduction for each result, as lines are on a software device, would look at every row for every expert.
  const isShared = capabilities.software && hasBounds(rows);
  if (m <= fewRows && !isShared && !hasBounds(depth) && !hasBounds(columns))
    return chooseLines(contract, { m, n, k, outer }, memories, capabilities);
  if (matrices) return matrices;
  return k < 2 ? undefined : chooseTile(m, n, k, outer, capabilities);
}

const dependsOn = ({ start, end }: Range, axes: readonly string[]): boolean =>
  [start, end].some((bound) => bound && axes.some((axis) => mentions(bound, axis)));

/** Invocations along columns and rows, and sums of one of them along both: from the largest tile down. */
const tiles: readonly (readonly [number, number, number, number])[] = [
  [16, 16, 8, 8],
  [16, 16, 8, 4],
  [16, 16, 4, 4],
  [16, 8, 8, 4],
  [16, 8, 4, 4],
  [8, 8, 8, 4],
  [8, 8, 4, 4],
  [16, 4, 4, 4],
];

/** The tile with which all workgroups together are done first: larger ones read less, smaller ones keep more of a device busy. */
function chooseTile(
  m: number,
  n: number,
  k: number,
  outer: number,
  { maxInvocations, workgroupBytes, software }: WgslCapabilities,
): TileForm | undefined {
  let best: TileForm | undefined;
  let least = Infinity;
  for (const tile of fittingTiles(k, { maxInvocations, workgroupBytes, software })) {
    const time = tileTime(tile, m, n, outer, sideBySide);
    if (time >= least) continue;
    least = time;
    best = tile;
  }
  return best && divided(best, m, n, k, outer, { maxInvocations, workgroupBytes, software });
}

/** With few workgroups and a long sum, each has four times the invocations, which divide the depth. */
function divided(
  tile: TileForm,
  m: number,
  n: number,
  k: number,
  outer: number,
  { maxInvocations, workgroupBytes, software }: Room,
): TileForm {
  const { tileRows, tileColumns } = tile;
  const groups = Math.ceil(m / tileRows) * Math.ceil(n / tileColumns) * outer;
  const made: TileForm = { ...tile, tileDepth: 64, split: 4 };
  const bytes = (tileRows + tileColumns + 8) * made.tileDepth * 4 + tileRows * tileColumns * 4;
  const pays = !software && k >= 512 && 2 * groups <= sideBySide;
  return pays && tileLanes(made) <= Math.min(maxInvocations, 256) && bytes <= workgroupBytes
    ? made
    : tile;
}

type Room = Pick<WgslCapabilities, "maxInvocations" | "workgroupBytes" | "software">;

/** Tiles that a device has room for. */
export function fittingTiles(
  k: number,
  { maxInvocations, workgroupBytes, software }: Room,
): readonly TileForm[] {
  return tiles.flatMap(([across, down, perColumn, perRow]): readonly TileForm[] => {
    // One form for all where each form costs a compilation that takes longer than the product.
    if (software && (across !== 8 || perColumn !== 4 || perRow !== 4)) return [];
    if (across * down > maxInvocations) return [];
    const [tileRows, tileColumns] = [down * perRow, across * perColumn];
    const bytes = (depth: number): number => (tileRows + tileColumns + 8) * depth * 4;
    // Small tiles wait for memory more than they compute: they fetch more at once, while there is room for several beside each other.
    const deep = !software && k >= 128 && 4 * bytes(32) <= workgroupBytes;
    const tileDepth = deep
      ? 32
      : [16, 8].find((depth) => bytes(depth) <= workgroupBytes && (depth === 8 || k > 8));
    if (tileDepth === undefined) return [];
    return [{ kind: "tile", across, down, tileRows, tileColumns, tileDepth }];
  });
}

/** How long a product takes in tiles of which so many run side by side, in multiplications of one of them. */
function tileTime(tile: TileForm, m: number, n: number, outer: number, beside: number): number {
  const { across, down, tileRows, tileColumns } = tile;
  const groups = Math.ceil(m / tileRows) * Math.ceil(n / tileColumns) * outer;
  // Numbers read from workgroup memory for each multiplication.
  const reads = down / tileRows + across / tileColumns;
  return Math.ceil(groups / beside) * tileRows * tileColumns * (1 + reads);
}

/** One workgroup computes each point of the grid, with arrays in its memory: statement by statement, all invocations together. */
export interface BlockForm {
  readonly kind: "block";
  readonly workgroup: number;
}

/** The tile in which a workgroup of so many invocations computes a product within a block. */
export function blockTile(
  { rows, columns, depth }: Contract,
  workgroup: number,
  capabilities: WgslCapabilities,
): TileForm | undefined {
  const [m, n, k] = [rows, columns, depth].map(({ extent }) => maxDim(extent)) as [
    number,
    number,
    number,
  ];
  const room = { ...capabilities, workgroupBytes: stagingBytes(capabilities) };
  const fitting = fittingTiles(k, room).filter(({ across, down }) => across * down === workgroup);
  const timed = fitting.map((tile) => ({ tile, time: tileTime(tile, m, n, 1, 1) / workgroup }));
  return timed.toSorted((a, b) => a.time - b.time)[0]?.tile;
}

/** The workgroup in which the products of a block are done first. */
export function chooseBlock(
  contracts: readonly Contract[],
  capabilities: WgslCapabilities,
): BlockForm {
  let [workgroup, least] = [Math.min(64, capabilities.maxInvocations), Infinity];
  for (const size of capabilities.software ? [64] : [256, 128, 64]) {
    const time = contracts.reduce((sum, contract) => {
      const tile = blockTile(contract, size, capabilities);
      if (!tile) return Infinity;
      const [m, n] = [maxDim(contract.rows.extent), maxDim(contract.columns.extent)];
      return sum + (tileTime(tile, m, n, 1, 1) * maxDim(contract.depth.extent)) / size;
    }, 0);
    if (time < least) [workgroup, least] = [size, time];
  }
  return { kind: "block", workgroup };
}

/** Workgroup memory for slices of operands in a block. */
const stagingBytes = ({ workgroupBytes }: WgslCapabilities): number =>
  workgroupBytes >= 32768 ? 8704 : 2304;

/** Workgroup memory that is left for arrays: what is not for slices, nor for what invocations exchange. */
export const arrayBytes = (capabilities: WgslCapabilities): number =>
  Math.max(0, capabilities.workgroupBytes - stagingBytes(capabilities) - 2048);

/** Sizes of a product. */
interface Extents {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly outer: number;
}

function chooseLines(
  contract: Contract,
  { m, n, k, outer }: Extents,
  memories: Memories,
  { maxInvocations, subgroupSize, software }: WgslCapabilities,
): LinesForm | undefined {
  // Where compiling takes longer than running, each result is a reduction of its own.
  if (k < shortSum || software) return undefined;
  const rows = Math.min(rowsAtOnce, 2 ** Math.ceil(Math.log2(Math.max(m, 1))));
  const { along, unit } = quadAxis(contract, "rhs", memories);
  const most = Math.min(maxInvocations, 256);
  const shape = { kind: "lines", unit, rows } as const;
  const enough = (groups: number): boolean => groups * outer >= 2 * sideBySide;
  if (along === "range") {
    // As many lanes side by side as make a long read; the rest divide the depth.
    const lanes = [32, 16].find((wide) => enough(Math.ceil(n / (wide * unit)))) ?? 8;
    return { ...shape, along: "columns", lanes, columns: lanes * unit, workgroup: most };
  }
  // Lines no longer than what lanes exchange without workgroup memory, unless there are few columns.
  const exchange = Math.min(Math.max(subgroupSize, 8), 32);
  const workgroup = subgroupSize > 0 ? most : Math.min(most, 64);
  const lanes =
    [exchange, 32, 64, 128].find(
      (long) => long >= exchange && long < workgroup && enough(Math.ceil((n * long) / workgroup)),
    ) ?? Math.min(workgroup, Math.max(exchange, 2 ** Math.floor(Math.log2(k / unit))));
  const lines = workgroup / lanes;
  const perLine =
    [4, 2].find((many) => many * rows <= 16 && enough(Math.ceil(n / (lines * many)))) ?? 1;
  return { ...shape, along: "depth", lanes, columns: lines * perLine, workgroup };
}
