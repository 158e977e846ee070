// Plans in files: whole or not there, the most recent kept, and another compiler's never found.
import { chmodSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterEach, beforeEach, expect, test } from "vitest";

import { cacheFolder, compilerIdentity, fileCache } from "./plan-cache.ts";

let folder = "";
beforeEach(() => (folder = mkdtempSync(join(tmpdir(), "millrace-plans-"))));
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const bytes = (...values: number[]): Uint8Array<ArrayBuffer> => new Uint8Array(values);

test("what is put is found, by the same compiler only", async () => {
  const inside = join(folder, "not", "there", "yet");
  await fileCache(inside, "a").put("plan-1", bytes(1, 2, 3));
  expect(await fileCache(inside, "a").get("plan-1")).toEqual(bytes(1, 2, 3));
  expect(await fileCache(inside, "b").get("plan-1")).toBeUndefined();
  expect(await fileCache(inside, "a").get("plan-2")).toBeUndefined();
  await fileCache(inside, "a").put("plan-1", bytes());
  expect(await fileCache(inside, "a").get("plan-1")).toEqual(bytes());
});

test("writers at the same time leave one whole file", async () => {
  const cache = fileCache(folder, "a");
  const contents = Array.from({ length: 8 }, (_, i) => new Uint8Array(100_000).fill(i));
  await Promise.all(contents.map((content) => cache.put("plan", content)));
  const found = (await cache.get("plan"))!;
  expect(found.length).toBe(100_000);
  expect(new Set(found).size).toBe(1);
  expect(readdirSync(folder)).toHaveLength(1);
});

test("the oldest go when there are too many, other files stay", async () => {
  writeFileSync(join(folder, "notes.txt"), "mine");
  const cache = fileCache(folder, "a", 3);
  for (let i = 0; i < 6; i++) {
    await cache.put(`plan-${i}`, bytes(i));
    await new Promise((resolve) => setTimeout(resolve, 15));
  }
  const found = await Promise.all([0, 1, 2, 3, 4, 5].map((i) => cache.get(`plan-${i}`)));
  expect(found.map((each) => each?.[0])).toEqual([undefined, undefined, undefined, 3, 4, 5]);
  expect(readdirSync(folder)).toContain("notes.txt");
});

test("a place that is no folder costs nothing but the plan", async () => {
  const file = join(folder, "file");
  writeFileSync(file, "");
  const cache = fileCache(join(file, "below"), "a");
  await cache.put("plan", bytes(1));
  expect(await cache.get("plan")).toBeUndefined();
  chmodSync(folder, 0o500);
  await fileCache(join(folder, "new"), "a").put("plan", bytes(1));
  chmodSync(folder, 0o700);
});

test("the environment names the folder, or switches plans off", () => {
  expect(cacheFolder({ MILLRACE_CACHE: "off" })).toBeUndefined();
  expect(cacheFolder({ MILLRACE_CACHE: "/x" })).toBe("/x");
  expect(cacheFolder({ XDG_CACHE_HOME: "/c" })).toBe(join("/c", "millrace"));
  expect(cacheFolder({})).toMatch(/millrace$/);
});

test("the compiler is known by its files", async () => {
  expect(await compilerIdentity()).toMatch(/^[0-9a-f]{16}$/);
  expect(await compilerIdentity()).not.toBe(await compilerIdentity(["@millrace/graph"]));
});
