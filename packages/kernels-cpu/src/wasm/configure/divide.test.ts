// Along which axis the threads of a team divide a product.
import { parseKernel } from "@millrace/graph";
import { expect, it } from "vitest";
import { configureTeam } from "./divide.ts";

function axisOf(threads: number, m: number | string, n: number, k: number): string | undefined {
  const head = typeof m === "number" ? "" : `size ${m} in 0..4096`;
  const kernel =
    parseKernel(`kernel k { ${head} read x: f32[${m}, ${k}] read w: f32[${k}, ${n}] write y: f32[${m}, ${n}]
    contract rows i < ${m}, columns j < ${n}, depth d < ${k} lhs x[i, d] rhs w[d, j]
    result acc { store y[i, j] = acc } }`);
  const [division] = configureTeam(kernel, { threads }).divisions.values();
  return division?.kind === "product" ? division.by : undefined;
}

it("divides what there is enough of", () => {
  expect(axisOf(2, 4096, 16, 256)).toBe("rows");
  expect(axisOf(2, 16, 4096, 256)).toBe("columns");
  expect(axisOf(4, 40, 32, 4096)).toBe("rows");
  expect(axisOf(4, 24, 100, 4096)).toBe("columns");
});

it("divides rows where there is enough of both", () => {
  expect(axisOf(2, 1024, 1024, 1024)).toBe("rows");
  expect(axisOf(2, 96, 4096, 256)).toBe("rows");
  expect(axisOf(2, 90, 4096, 256)).toBe("columns");
});

it("leaves it to the run where the rows are not known", () => {
  expect(axisOf(2, "M", 512, 512)).toBe("either");
  expect(axisOf(1, 512, 512, 512)).toBeUndefined();
});
