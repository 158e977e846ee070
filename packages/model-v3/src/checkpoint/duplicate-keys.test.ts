import { expect, test } from "vitest";
import { findDuplicateKey } from "./duplicate-keys.ts";

test.each([
  ['{"a":1,"b":2,"a":3}', "a"],
  ['{"x":{"k":1,"k":2}}', "k"],
  ['{"a":[{"b":1},{"b":2}],"c":{"a":1}}', undefined],
  ['{"a":"a","b":"a","c":["a","a"]}', undefined],
  ['{"a\\"b":1,"a\\"b":2}', 'a"b'],
  ['{"\\u0061":1,"a":2}', "a"],
  ['{"a":"\\\\","b":"}","c":"{\\"a\\":1}"}', undefined],
  ["[]", undefined],
  ["{}", undefined],
])("%s", (text, key) => {
  JSON.parse(text);
  expect(findDuplicateKey(text)).toBe(key);
});
