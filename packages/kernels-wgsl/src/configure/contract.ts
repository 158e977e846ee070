/**
 * How a matrix product is computed. In: a product and what the device can do. Out: the tile of a workgroup and of an invocation, or
 * nothing where tiles do not pay: few rows or columns (then each result is a reduction of its own), or ranges that depend on
 * one another. Pure.
 */
import type { Contract, Range } from "@millrace/graph";
import { maxDim } from "@millrace/graph";
import type { WgslCapabilities } from "../capabilities.ts";
import { mentions } from "./accesses.ts";

export interface TileForm {
  readonly kind: "tile";
  /** Invocations along columns and rows. */
  readonly across: number;
  readonly down: number;
  /** Rows and columns of a workgroup, and the depth that is in workgroup memory at once. */
  readonly tileRows: number;
  readonly tileColumns: number;
  readonly tileDepth: number;
}

/** Fewest rows and columns for which operands are read often enough to be worth sharing. */
const fewest = 8;

export function chooseTile(
  contract: Contract,
  { maxInvocations, workgroupBytes, software }: WgslCapabilities,
): TileForm | undefined {
  const { rows, columns, depth } = contract;
  const [m, n, k] = [rows, columns, depth].map(({ extent }) => maxDim(extent)) as [
    number,
    number,
    number,
  ];
  if (m < fewest || n < fewest || k < 2) return undefined;
  const axes = [rows, columns, depth].map(({ axis }) => axis);
  if ([rows, columns, depth].some((range) => dependsOn(range, axes))) return undefined;
  const side = maxInvocations >= 256 ? 16 : 8;
  // One form for all where each form costs a compilation that takes longer than the product.
  const perInvocation = (size: number): number =>
    software ? 2 : size > 2 * side ? 4 : size > side ? 2 : 1;
  const [tileRows, tileColumns] = [side * perInvocation(m), side * perInvocation(n)];
  const tileDepth = 16;
  if ((tileRows + tileColumns + 2) * tileDepth * 4 > workgroupBytes) return undefined;
  return { kind: "tile", across: side, down: side, tileRows, tileColumns, tileDepth };
}

const dependsOn = ({ start, end }: Range, axes: readonly string[]): boolean =>
  [start, end].some((bound) => bound && axes.some((axis) => mentions(bound, axis)));
