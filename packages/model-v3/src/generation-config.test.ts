import { CheckpointError } from "@millrace/graph";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseGenerationConfig } from "./generation-config.ts";

const parse = (json: unknown) => parseGenerationConfig(json, "run/generation_config.json");
const open = {
  doSample: false,
  temperature: null,
  topK: null,
  topP: null,
  minP: null,
  eosTokenId: null,
};

describe("a generation_config.json", () => {
  it("is greedy and leaves all else open where it says nothing", () => {
    expect(parse({})).toEqual(open);
    expect(parse({ temperature: null, top_p: null, eos_token_id: null })).toEqual(open);
    expect(parse({ eos_token_id: [] })).toEqual(open);
    expect(parse({ _from_model_config: true, max_length: 20, num_beams: 4 })).toEqual(open);
  });

  it("says how to sample, in DeepSeek's form and with lists", () => {
    const json = { bos_token_id: 0, eos_token_id: 1, do_sample: true, temperature: 0.6 };
    expect(parse({ ...json, top_p: 0.95, transformers_version: "4.39.3" })).toEqual({
      ...open,
      doSample: true,
      temperature: 0.6,
      topP: 0.95,
      eosTokenId: [1],
    });
    expect(parse({ top_k: 50, min_p: 0.1, eos_token_id: [7, 9] })).toEqual({
      ...open,
      topK: 50,
      minP: 0.1,
      eosTokenId: [7, 9],
    });
    expect(parse({ top_k: 0 }).topK).toBe(null);
  });

  it.each([
    [[], /not a JSON object at run\/generation_config\.json/],
    ["hot", /not a JSON object/],
    [{ do_sample: "yes" }, /do_sample is "yes".*Set it to true or false/],
    [{ temperature: -1 }, /temperature is -1.*not below 0/],
    [{ temperature: "0.6" }, /temperature is "0\.6"/],
    [{ top_k: 1.5 }, /top_k is 1\.5.*an integer/],
    [{ top_p: 0 }, /top_p is 0 .*above 0 and at most 1, or remove it/],
    [{ top_p: 95 }, /top_p is 95 /],
    [{ min_p: [] }, /min_p is \[\] .*from 0 to 1/],
    [{ eos_token_id: "</s>" }, /eos_token_id is "<\/s>".*a token id, or a list/],
    [{ eos_token_id: [1, -1] }, /eos_token_id is \[1,-1\]/],
  ])("%j is refused with the key and the remedy", (json, message) => {
    expect(() => parse(json)).toThrow(CheckpointError);
    expect(() => parse(json)).toThrow(message);
  });

  it("of anything is read within its domain, or refused", () => {
    const keys = ["do_sample", "temperature", "top_k", "top_p", "min_p", "eos_token_id"];
    const json = fc.dictionary(fc.constantFrom(...keys), fc.jsonValue({ maxDepth: 1 }));
    fc.assert(
      fc.property(json, (value) => {
        try {
          const { temperature, topK, topP, minP } = parse(value);
          expect(temperature ?? 1).toBeGreaterThanOrEqual(0);
          expect(topK ?? 1).toBeGreaterThanOrEqual(1);
          expect((topP ?? 1) > 0 && (topP ?? 1) <= 1).toBe(true);
          expect((minP ?? 1) >= 0 && (minP ?? 1) <= 1).toBe(true);
        } catch (error) {
          expect(error).toBeInstanceOf(CheckpointError);
        }
      }),
    );
  });
});
