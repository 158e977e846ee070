import { describe, expect, it } from "vitest";

import { chooseHeldOut, tailStart } from "./held-out.ts";

const encode = (text: string): Uint8Array => new TextEncoder().encode(text);

describe("chooseHeldOut", () => {
  const documents = Array.from({ length: 100 }, (_, i) => ({
    bytes: 1000,
    hash: ((i * 7919) % 1000).toString(16).padStart(8, "0"),
  }));

  it("takes whole documents when there are enough", () => {
    const bytes = chooseHeldOut(documents, { fraction: 0.05, maxBytes: 1e9 });
    expect(bytes.filter((n) => n > 0)).toEqual([1000, 1000, 1000, 1000, 1000]);
  });

  it("does not depend on the order", () => {
    const forward = chooseHeldOut(documents, { fraction: 0.1, maxBytes: 1e9 });
    const backward = chooseHeldOut(documents.toReversed(), { fraction: 0.1, maxBytes: 1e9 });
    expect(backward.toReversed()).toEqual(forward);
  });

  it("keeps copies of one document together", () => {
    const twice = [...documents, ...documents];
    const bytes = chooseHeldOut(twice, { fraction: 0.06, maxBytes: 1e9 });
    expect(bytes.slice(0, 100)).toEqual(bytes.slice(100));
    expect(bytes.some((n) => n > 0)).toBe(true);
  });

  it("falls back to tails for one or a few documents", () => {
    expect(chooseHeldOut([{ bytes: 1000, hash: "a" }], { fraction: 0.1, maxBytes: 1e9 })).toEqual([
      100,
    ]);
    expect(
      chooseHeldOut(
        [
          { bytes: 1000, hash: "a" },
          { bytes: 3000, hash: "b" },
        ],
        { fraction: 0.1, maxBytes: 200 },
      ),
    ).toEqual([50, 150]);
  });

  it("holds nothing out when told so", () => {
    expect(chooseHeldOut(documents, { fraction: 0, maxBytes: 1e9 }).every((n) => n === 0)).toBe(
      true,
    );
  });
});

describe("tailStart", () => {
  it("cuts after a line end nearby", () => {
    expect(tailStart(encode("one\ntwo\nthree\n"), 7)).toBe(4);
  });

  it("never cuts a character", () => {
    const bytes = encode("ä".repeat(500));
    for (const tail of [1, 2, 3, 4, 5]) expect(tailStart(bytes, tail) % 2).toBe(0);
  });

  it("takes all or nothing when asked", () => {
    expect(tailStart(encode("abc"), 0)).toBe(3);
    expect(tailStart(encode("abc"), 3)).toBe(0);
  });
});
