import { CheckpointError, InputError } from "@millrace/graph";
import { describe, expect, test } from "vitest";
import { byteTokenizer, parseTokenizer } from "./tokenizer.ts";

describe("bytes", () => {
  const tokenizer = byteTokenizer();

  test("any text survives, also a byte order mark and text beyond the first plane", () => {
    for (const text of ["", "a", "naïve\r\n\0", "漢字 🤖", "\ufeffx", "<|eos|>"])
      expect(tokenizer.decode(tokenizer.encode(text))).toBe(text);
    expect(tokenizer.encode("é")).toEqual([0xc3, 0xa9]);
  });

  test("special tokens are beyond the bytes and never come out of text", () => {
    expect(tokenizer.vocabSize).toBe(264);
    expect([tokenizer.bosTokenId, tokenizer.eosTokenId]).toEqual([256, 257]);
    expect(tokenizer.tokenId("<|fim_hole|>")).toBe(260);
    expect(tokenizer.tokenId("a")).toBe(97);
    expect(tokenizer.tokenId("ab")).toBeUndefined();
    expect(tokenizer.encode("a", { addSpecialTokens: true })).toEqual([256, 97]);
    expect(tokenizer.decode([256, 97, 257])).toBe("a");
    expect(tokenizer.decode([97, 257], { keepSpecialTokens: true })).toBe("a<|eos|>");
  });

  test("half a character decodes to the replacement character", () => {
    expect(tokenizer.decode([97, 0xc3])).toBe("a\ufffd");
  });

  test.each([[-1], [264], [1.5], [NaN]])("id %s is refused", (id) => {
    expect(() => tokenizer.decode([97, id])).toThrow(InputError);
    expect(() => tokenizer.decode([97, id])).toThrow(/at position 1 .*Pass ids from 0 to 263/);
  });
});

/** A byte-level BPE with three merges and two special tokens. */
const json = {
  version: "1.0",
  truncation: null,
  padding: null,
  added_tokens: [
    {
      id: 8,
      content: "<s>",
      special: true,
      lstrip: false,
      rstrip: false,
      normalized: false,
      single_word: false,
    },
    {
      id: 9,
      content: "</s>",
      special: true,
      lstrip: false,
      rstrip: false,
      normalized: false,
      single_word: false,
    },
  ],
  normalizer: null,
  pre_tokenizer: {
    type: "ByteLevel",
    add_prefix_space: false,
    trim_offsets: true,
    use_regex: true,
  },
  post_processor: null,
  decoder: { type: "ByteLevel", add_prefix_space: true, trim_offsets: true, use_regex: true },
  model: {
    type: "BPE",
    dropout: null,
    unk_token: null,
    continuing_subword_prefix: null,
    end_of_word_suffix: null,
    fuse_unk: false,
    byte_fallback: false,
    vocab: { h: 0, e: 1, l: 2, o: 3, Ġ: 4, he: 5, ll: 6, hell: 7 },
    merges: ["h e", "l l", "he ll"],
  },
};
const config = { bos_token: "<s>", eos_token: { content: "</s>" } };

describe("tokenizer.json", () => {
  const tokenizer = parseTokenizer(json, config, "m/tokenizer.json");

  test("encodes, decodes, and knows its special tokens", () => {
    expect(tokenizer.encode("hello hell")).toEqual([7, 3, 4, 7]);
    expect(tokenizer.decode([7, 3, 4, 7])).toBe("hello hell");
    expect(tokenizer.decode([8, 7, 9])).toBe("hell");
    expect(tokenizer.decode([7, 9], { keepSpecialTokens: true })).toBe("hell</s>");
    expect(tokenizer.decode([])).toBe("");
    expect(tokenizer).toMatchObject({ vocabSize: 10, bosTokenId: 8, eosTokenId: 9 });
    expect(tokenizer.tokenId("ll")).toBe(6);
  });

  test("ids out of range are refused", () => {
    expect(() => tokenizer.decode([10])).toThrow(/token id 10 .* vocabulary of 10 at m\/tokenizer/);
  });

  test.each([
    ["null", null],
    ["a list", []],
    ["no model", { ...json, model: undefined }],
    ["an unknown model", { ...json, model: { type: "Nothing" } }],
    ["no vocabulary", { ...json, model: { type: "BPE", merges: [] } }],
    [
      "an empty vocabulary",
      { ...json, added_tokens: [], model: { ...json.model, vocab: {}, merges: [] } },
    ],
    ["an id that is no number", { ...json, model: { ...json.model, vocab: { h: "0" } } }],
    ["a negative id", { ...json, model: { ...json.model, vocab: { h: -3, e: 1 } } }],
    ["an enormous id", { ...json, model: { ...json.model, vocab: { h: 1e15, e: 1 } } }],
    ["added tokens that are no list", { ...json, added_tokens: {} }],
    ["an added token without id", { ...json, added_tokens: [{ content: "<s>" }] }],
    ["an unknown pre-tokenizer", { ...json, pre_tokenizer: { type: "Nothing" } }],
  ])("%s is refused", (_name, malformed) => {
    let error: unknown;
    try {
      parseTokenizer(malformed, config, "m/tokenizer.json").encode("hell");
    } catch (caught) {
      error = caught;
    }
    expect(error).toBeInstanceOf(CheckpointError);
    expect((error as Error).message).toMatch(/m\/tokenizer\.json.*again\.$/);
  });
});
