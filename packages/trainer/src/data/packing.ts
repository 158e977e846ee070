/**
 * Packing: documents one after the other in one flat array of token ids, a separator after each, nothing masked
 * (section 6 of the specification). In: documents as token ids. Out: one typed array as narrow as the vocabulary
 * allows. Knows no files and no text.
 */
import { CheckpointError } from "@millrace/graph";

/** What this package asks of a tokenizer. */
export interface Tokenizer {
  readonly vocabSize: number;
  readonly bosTokenId?: number | null | undefined;
  readonly eosTokenId?: number | null | undefined;
  encode(text: string): readonly number[];
}

/** Packed token ids. */
export type TokenArray = Uint16Array | Uint32Array;

/** Collects documents into one array that grows by doubling. */
export class TokenPacker {
  readonly #tokenizer: Tokenizer;
  #tokens: TokenArray;
  #length = 0;

  constructor(tokenizer: Tokenizer) {
    this.#tokenizer = tokenizer;
    this.#tokens = tokenizer.vocabSize <= 0x1_0000 ? new Uint16Array(1024) : new Uint32Array(1024);
  }

  get length(): number {
    return this.#length;
  }

  /** Appends one document and the separator; `name` is for errors. */
  append(text: string, name: string): void {
    const { vocabSize } = this.#tokenizer;
    const bosTokenId = this.#tokenizer.bosTokenId ?? undefined;
    const eosTokenId = this.#tokenizer.eosTokenId ?? undefined;
    const ids = this.#tokenizer.encode(text);
    this.#reserve(ids.length + 1);
    // A tokenizer without an end token may still have a begin token; one separator is enough either way.
    if (eosTokenId === undefined && bosTokenId !== undefined) this.#push(bosTokenId);
    for (const id of ids) {
      if (!Number.isInteger(id) || id < 0 || id >= vocabSize)
        throw new CheckpointError({
          what: `the tokenizer gave token id ${id}, but its vocabulary has ${vocabSize} entries`,
          where: name,
          hint: "Use the tokenizer.json that belongs to this vocabulary.",
        });
      this.#push(id);
    }
    if (eosTokenId !== undefined) this.#push(eosTokenId);
  }

  /** The packed tokens; the packer keeps nothing of them afterwards. */
  finish(): TokenArray {
    const packed = this.#tokens.slice(0, this.#length);
    this.#tokens = this.#tokens.slice(0, 0);
    this.#length = 0;
    return packed;
  }

  #push(id: number): void {
    this.#tokens[this.#length++] = id;
  }

  #reserve(extra: number): void {
    const needed = this.#length + extra;
    if (needed <= this.#tokens.length) return;
    const size = Math.max(needed, 2 * this.#tokens.length);
    const grown =
      this.#tokens instanceof Uint16Array ? new Uint16Array(size) : new Uint32Array(size);
    grown.set(this.#tokens.subarray(0, this.#length));
    this.#tokens = grown;
  }
}
