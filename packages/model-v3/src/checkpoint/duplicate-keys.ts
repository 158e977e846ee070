/**
 * Finds a key that stands twice in one JSON object, which `JSON.parse` would pass over, keeping the last.
 * In: text that `JSON.parse` has accepted. Out: the first such key, or undefined. One pass, no recursion.
 */
export function findDuplicateKey(text: string): string | undefined {
  // One set of keys per open object; undefined for an open array.
  const open: (Set<string> | undefined)[] = [];
  let expectsKey = false;
  for (let i = 0; i < text.length; i++) {
    switch (text[i]) {
      case "{":
        open.push(new Set());
        expectsKey = true;
        break;
      case "[":
        open.push(undefined);
        expectsKey = false;
        break;
      case "}":
      case "]":
        open.pop();
        expectsKey = false;
        break;
      case ",":
        expectsKey = open.at(-1) !== undefined;
        break;
      case '"': {
        const start = i;
        for (i++; text[i] !== '"'; i++) {
          if (i >= text.length) return undefined;
          if (text[i] === "\\") i++;
        }
        if (!expectsKey) break;
        expectsKey = false;
        const key = JSON.parse(text.slice(start, i + 1)) as string;
        const keys = open.at(-1);
        if (keys?.has(key)) return key;
        keys?.add(key);
        break;
      }
      default:
    }
  }
  return undefined;
}
