/**
 * Products on subgroup matrices (tensor cores). In: a product and what the device multiplies as a whole. Out: the tile, if both operands
 * are values that f16 holds exactly, but for factors that stay the same for 128 of the depth: f16, E4M3 and E5M2 codes and what
 * was rounded to them, with block scales. bf16 does not fit f16. Pure.
 */
import type { Contract, DType, Expr } from "@millrace/graph";
import { maxDim } from "@millrace/graph";
import type { WgslCapabilities } from "../capabilities.ts";
import type { Memories } from "./accesses.ts";
import { hasBounds, isSteady, mentions } from "./accesses.ts";

export interface MatrixForm {
  readonly kind: "matrices";
  /** Rows, columns and depth of one operation. */
  readonly rows: number;
  readonly columns: number;
  readonly depth: number;
  /** Rows and columns of a workgroup, and the depth that is in its memory at once. */
  readonly tileRows: number;
  readonly tileColumns: number;
  readonly tileDepth: number;
  /** Rows and columns of a subgroup. */
  readonly subgroupRows: number;
  readonly subgroupColumns: number;
  /** Invocations of a subgroup and of a workgroup. */
  readonly lanes: number;
  readonly workgroup: number;
  /** Whether the shader asks for subgroups of that many. */
  readonly sized: boolean;
  /** Whether sums are scaled and added in f32 every 128. */
  readonly scaled: boolean;
}

/** An operand as a value that f16 holds, times a factor. */
export interface ExactOperand {
  readonly exact: Expr;
  readonly factors: readonly Expr[];
}

/** Depth after which a factor may change. */
export const scaleDepth = 128;

const exactTypes: ReadonlySet<DType> = new Set<DType>(["f16", "e4m3fn", "e5m2"]);

/** Whether f16 holds all values of an expression. */
function isExact(expr: Expr, memories: Memories): boolean {
  switch (expr.kind) {
    case "load": {
      const dtype = memories.buffer(expr.buffer)?.dtype;
      return dtype !== undefined && exactTypes.has(dtype);
    }
    case "round":
      return exactTypes.has(expr.dtype);
    case "literal":
      return expr.value === 0;
    case "apply":
      return expr.op === "select" && expr.args.slice(1).every((arg) => isExact(arg, memories));
    default:
      return false;
  }
}

/** Takes a product apart; undefined where it is something else. */
export function exactOperand(
  expr: Expr,
  depth: string,
  memories: Memories,
): ExactOperand | undefined {
  if (isExact(expr, memories)) return { exact: expr, factors: [] };
  if (expr.kind !== "apply" || expr.op !== "mul") return undefined;
  const [x, y] = expr.args as [Expr, Expr];
  for (const [value, factor] of [
    [x, y],
    [y, x],
  ] as const) {
    if (!isSteady(factor, depth, scaleDepth)) continue;
    const inner = exactOperand(value, depth, memories);
    if (inner) return { exact: inner.exact, factors: [...inner.factors, factor] };
  }
  return undefined;
}

/** Rows and columns of a subgroup, columns of a workgroup, and the depth that it holds at once. */
const subgroup = 32;
const tileColumns = 64;
const tileDepth = 32;

export function chooseMatrices(
  contract: Contract,
  memories: Memories,
  { matrices, f16, workgroupBytes, maxInvocations }: WgslCapabilities,
): MatrixForm | undefined {
  if (!matrices || !f16 || hasBounds(contract.depth)) return undefined;
  const { rows, columns, depth } = contract;
  if ([rows, columns, depth].some(({ extent }) => maxDim(extent) < 32)) return undefined;
  const bounds = [rows, columns].flatMap(({ start, end }) => [start, end]);
  const axes = [rows, columns, depth].map(({ axis }) => axis);
  if (bounds.some((bound) => bound && axes.some((axis) => mentions(bound, axis)))) return undefined;
  const operands = [contract.lhs, contract.rhs].map((expr) =>
    exactOperand(expr, depth.axis, memories),
  );
  if (operands.includes(undefined)) return undefined;
  const size = matrices.sizes.find(
    (one) =>
      subgroup % one.rows === 0 && subgroup % one.columns === 0 && tileDepth % one.depth === 0,
  );
  if (!size) return undefined;
  for (const tileRows of [64, 32]) {
    const workgroup = (tileRows / subgroup) * (tileColumns / subgroup) * matrices.lanes;
    const slices = (tileRows + tileColumns) * (tileDepth + 8) * 2;
    const bytes = slices + tileRows * (tileColumns + 4) * 4;
    if (bytes > workgroupBytes || workgroup > maxInvocations) continue;
    return {
      kind: "matrices",
      ...size,
      tileRows,
      tileColumns,
      tileDepth,
      subgroupRows: subgroup,
      subgroupColumns: subgroup,
      lanes: matrices.lanes,
      workgroup,
      sized: matrices.sized ?? false,
      scaled: operands.some((operand) => operand!.factors.length > 0),
    };
  }
  return undefined;
}
