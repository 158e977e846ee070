/**
 * How a checkpoint wants its tokens chosen. In: the JSON of a `generation_config.json`. Out: what it says of sampling and of end
 * tokens, or a CheckpointError with file, key and remedy. Its other keys are about lengths and beams, and stay unread. What it leaves
 * open is null: whoever generates has defaults.
 */
import type { CheckpointError } from "@millrace/graph";
import type { ConfigReader } from "./config-reader.ts";
import { configReader } from "./config-reader.ts";
import { shownValue } from "./shown-value.ts";

export interface GenerationConfig {
  /** Whether tokens are drawn; where not, the likeliest is taken. */
  readonly doSample: boolean;
  readonly temperature: number | null;
  readonly topK: number | null;
  readonly topP: number | null;
  readonly minP: number | null;
  /** Tokens that end a sequence. */
  readonly eosTokenId: readonly number[] | null;
}

const tokenIds = { min: 0, max: 2 ** 31 - 1 };

/** Reads the parsed JSON of the file that `where` names. */
export function parseGenerationConfig(json: unknown, where: string): GenerationConfig {
  const read = configReader(json, where);
  return {
    doSample: read.boolean("do_sample", false),
    temperature: read.has("temperature") ? read.number("temperature", 0) : null,
    // 0 is another way to say that all tokens may be drawn.
    topK: read.has("top_k") ? read.integer("top_k", tokenIds) || null : null,
    topP: readShare(read, "top_p", (value) => value > 0, "a number above 0 and at most 1"),
    minP: readShare(read, "min_p", (value) => value >= 0, "a number from 0 to 1"),
    eosTokenId: readTokenIds(read, "eos_token_id"),
  };
}

function readShare(
  read: ConfigReader,
  key: string,
  isAllowed: (value: number) => boolean,
  expected: string,
): number | null {
  if (!read.has(key)) return null;
  const value = read.raw(key);
  if (typeof value !== "number" || !isAllowed(value) || !(value <= 1))
    throw wrong(read, key, expected);
  return value;
}

/** An id, or a list of them. */
function readTokenIds(read: ConfigReader, key: string): readonly number[] | null {
  if (!read.has(key)) return null;
  const value = read.raw(key);
  const ids: readonly unknown[] = Array.isArray(value) ? value : [value];
  const { min, max } = tokenIds;
  const isId = (id: unknown): id is number =>
    Number.isInteger(id) && (id as number) >= min && (id as number) <= max;
  if (!ids.every(isId)) throw wrong(read, key, "a token id, or a list of them");
  return ids.length > 0 ? ids : null;
}

const wrong = (read: ConfigReader, key: string, expected: string): CheckpointError =>
  read.error(key, `is ${shownValue(read.raw(key))}`, `Set it to ${expected}, or remove it.`);
