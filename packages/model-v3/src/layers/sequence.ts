/**
 * The tokens of one call: how many, where they stand, and which earlier ones they see. In: what a caller says of positions.
 * Out: what attention layers need, and the rows of a cache. A cache is state; without one, tokens see each other only.
 */
import { ShapeError, formatType, slice, updateSlice } from "@millrace/graph";
import type { AttentionOptions, Dim, GraphBuilder, Tensor } from "@millrace/graph";
import type { ModelConfig } from "../config.ts";
import type { LayerScope } from "./layer-scope.ts";
import { rotaryTables } from "./rope.ts";
import type { RotaryTables } from "./rope.ts";

export interface CacheOptions {
  /** Rows that the cache holds. */
  readonly maxLength: number;
  /** Rows that are visible after this call: start plus its tokens. */
  readonly length: Dim;
}

/** Where the tokens of a call stand. */
export interface Position {
  /** Absolute position of token 0, i32 []; 0 where absent. */
  readonly start?: Tensor;
  /** Earlier tokens, kept between calls. Rows from `length` on are never read, so a smaller start rolls back. */
  readonly cache?: CacheOptions;
}

/** A call's tokens, as the attention layers see them. */
export interface Sequence {
  readonly batch: Dim;
  readonly tokens: Dim;
  readonly start: Tensor | undefined;
  readonly cache: CacheOptions | undefined;
  readonly tables: RotaryTables;
}

export function sequenceOf(
  b: GraphBuilder,
  config: ModelConfig,
  ids: Tensor,
  position: Position,
): Sequence {
  expectTokenIds(ids);
  const [batch, tokens] = ids.shape as [Dim, Dim]; // ids [B, T]
  // A cache is written at some start, 0 if none is given.
  const start = position.start ?? (position.cache ? b.scalar(0, "i32") : undefined); // []
  const tables = rotaryTables(b, config, tokens, start);
  return { batch, tokens, start, cache: position.cache, tables };
}

/** Throws unless `ids` are token ids i32 [B, T]. */
export function expectTokenIds(ids: Tensor): void {
  if (ids.shape.length === 2 && ids.dtype === "i32") return;
  throw new ShapeError({
    what: `the token ids are ${formatType(ids.type)}`,
    hint: "Give them as i32 [B, T].",
  });
}

/**
 * Rows that this call's tokens may see, [B, S, …]: with a cache `cache.<path>.<name>` the earlier ones and `rows`, else
 * `rows` [B, T, …] themselves.
 */
export function visibleRows(
  scope: LayerScope,
  sequence: Sequence,
  name: string,
  rows: Tensor,
): Tensor {
  const { cache, start } = sequence;
  if (!cache || !start) return rows; // [B, T, …]
  const b = scope.builder;
  const shape = rows.shape.with(1, cache.maxLength);
  const state = b.state(`cache.${scope.path}.${name}`, rows.dtype, shape); // [B, maxLength, …]
  const written = updateSlice(state, rows, start, 1); // [B, maxLength, …]
  b.update(state, written);
  return slice(written, 1, 0, cache.length); // [B, S, …]
}

/** How queries of this call meet visible rows: their factor, and their position where rows come from a cache. */
export function attentionOptions(sequence: Sequence, scale: number): AttentionOptions {
  const { cache, start } = sequence;
  return cache && start ? { scale, start } : { scale };
}
