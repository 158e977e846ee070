/**
 * Text to token ids and back. In: a parsed `tokenizer.json`, or nothing. Out: a Tokenizer over
 * @huggingface/tokenizers, or over the 256 bytes. Errors of a malformed file name it; ids that no token has
 * are InputErrors. Knows nothing of files; `node.ts` reads them.
 */
import { Tokenizer as HuggingFaceTokenizer } from "@huggingface/tokenizers";
import { CheckpointError, InputError } from "@millrace/graph";
import { shownValue } from "./shown-value.ts";

export interface EncodeOptions {
  /** Also add what the tokenizer's post-processor puts around a text (a bos token, say). Default false. */
  readonly addSpecialTokens?: boolean;
}

export interface DecodeOptions {
  /** Write special tokens out instead of leaving them away. Default false. */
  readonly keepSpecialTokens?: boolean;
}

export interface Tokenizer {
  /** One more than the largest id. */
  readonly vocabSize: number;
  readonly bosTokenId: number | null;
  readonly eosTokenId: number | null;
  encode(text: string, options?: EncodeOptions): number[];
  /** Incomplete or invalid UTF-8 becomes U+FFFD. Rejects ids outside the vocabulary. */
  decode(ids: ArrayLike<number>, options?: DecodeOptions): string;
  /** The id of one token by its text, special tokens included. */
  tokenId(token: string): number | undefined;
}

function checkIds(ids: ArrayLike<number>, vocabSize: number, where: string): number[] {
  const list = Array.from(ids);
  const bad = list.findIndex((id) => !Number.isInteger(id) || id < 0 || id >= vocabSize);
  if (bad < 0) return list;
  throw new InputError({
    what: `token id ${list[bad]} at position ${bad} is outside the vocabulary of ${vocabSize}`,
    where,
    hint: `Pass ids from 0 to ${vocabSize - 1}.`,
  });
}

/** The tokens of the byte tokenizer after its 256 bytes; with the reserved ones, a multiple of 8 in all. */
const byteSpecialTokens = [
  "<|bos|>",
  "<|eos|>",
  "<|pad|>",
  "<|fim_begin|>",
  "<|fim_hole|>",
  "<|fim_end|>",
  "<|reserved_0|>",
  "<|reserved_1|>",
];

/** Every byte of UTF-8 is a token: any text, no training, 264 ids. */
export function byteTokenizer(): Tokenizer {
  const vocabSize = 256 + byteSpecialTokens.length;
  const tokenId = (token: string): number | undefined => {
    const special = byteSpecialTokens.indexOf(token);
    if (special >= 0) return 256 + special;
    const bytes = new TextEncoder().encode(token);
    return bytes.length === 1 ? bytes[0] : undefined;
  };
  const bosTokenId = tokenId("<|bos|>") as number;
  return {
    vocabSize,
    bosTokenId,
    eosTokenId: tokenId("<|eos|>") as number,
    tokenId,
    encode(text, { addSpecialTokens = false } = {}) {
      const ids = Array.from(new TextEncoder().encode(text));
      return addSpecialTokens ? [bosTokenId, ...ids] : ids;
    },
    decode(ids, { keepSpecialTokens = false } = {}) {
      const bytes: number[] = [];
      for (const id of checkIds(ids, vocabSize, "byteTokenizer.decode")) {
        if (id < 256) bytes.push(id);
        else if (keepSpecialTokens)
          for (const byte of new TextEncoder().encode(byteSpecialTokens[id - 256]))
            bytes.push(byte);
      }
      return new TextDecoder("utf-8", { ignoreBOM: true }).decode(Uint8Array.from(bytes));
    },
  };
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** A token of tokenizer_config.json: a string, or an object with its content. */
function tokenText(token: unknown): string | undefined {
  const text = isObject(token) ? token["content"] : token;
  return typeof text === "string" ? text : undefined;
}

/** What is used of the library's tokenizer, whose own declarations do not resolve under nodenext. */
interface InnerTokenizer {
  encode(text: string, options: { add_special_tokens: boolean }): { ids: number[] };
  decode(ids: number[], options: { skip_special_tokens: boolean }): string;
  token_to_id(token: string): number | undefined;
}

/**
 * The largest id of a vocabulary (token to id, or a list whose positions are the ids) and of added tokens;
 * -1 without any. The library checks none of them.
 */
function largestId(
  vocabulary: unknown,
  addedTokens: unknown,
  malformed: (what: string) => CheckpointError,
): number {
  if (!isObject(vocabulary) && !Array.isArray(vocabulary))
    throw malformed("there is no vocabulary");
  let largest = Array.isArray(vocabulary) ? vocabulary.length - 1 : -1;
  const take = (token: string, id: unknown): void => {
    if (!Number.isInteger(id) || (id as number) < 0 || (id as number) >= 2 ** 31)
      throw malformed(`the token ${shownValue(token)} has the id ${shownValue(id)}`);
    largest = Math.max(largest, id as number);
  };
  if (!Array.isArray(vocabulary))
    for (const [token, id] of Object.entries(vocabulary)) take(token, id);
  if (!Array.isArray(addedTokens ?? [])) throw malformed("added_tokens is not a list");
  for (const token of (addedTokens ?? []) as unknown[]) {
    const text = tokenText(token);
    if (!isObject(token) || text === undefined) throw malformed("an added token has no content");
    take(text, token["id"]);
  }
  return largest;
}

/** A tokenizer from parsed `tokenizer.json` and `tokenizer_config.json`; `where` names the file. */
export function parseTokenizer(json: unknown, config: unknown, where: string): Tokenizer {
  const malformed = (what: string, cause?: unknown): CheckpointError =>
    new CheckpointError({
      what: cause === undefined ? what : `${what} (${(cause as Error).message})`,
      where,
      hint: "Copy or download tokenizer.json and tokenizer_config.json again.",
      cause,
    });
  if (!isObject(json) || !isObject(json["model"])) throw malformed("there is no model object");
  if (!isObject(config)) throw malformed("tokenizer_config.json is not a JSON object");
  const guarded = <T>(what: string, action: () => T): T => {
    try {
      return action();
    } catch (cause) {
      throw malformed(what, cause);
    }
  };
  const vocabSize = largestId(json["model"]["vocab"], json["added_tokens"], malformed) + 1;
  if (vocabSize === 0) throw malformed("the vocabulary is empty");
  const inner = guarded<InnerTokenizer>("the tokenizer cannot be built", () => {
    return new HuggingFaceTokenizer(json, config);
  });
  const tokenId = (token: string): number | undefined => inner.token_to_id(token);
  const named = (key: string): number | null => {
    const text = tokenText(config[key]);
    return text === undefined ? null : (tokenId(text) ?? null);
  };
  return {
    vocabSize,
    bosTokenId: named("bos_token"),
    eosTokenId: named("eos_token"),
    tokenId,
    encode(text, { addSpecialTokens = false } = {}) {
      return guarded("a text cannot be encoded", () => {
        return inner.encode(text, { add_special_tokens: addSpecialTokens }).ids;
      });
    },
    decode(ids, { keepSpecialTokens = false } = {}) {
      const list = checkIds(ids, vocabSize, where);
      if (list.length === 0) return "";
      return guarded("ids cannot be decoded", () => {
        return inner.decode(list, { skip_special_tokens: !keepSpecialTokens });
      });
    },
  };
}
