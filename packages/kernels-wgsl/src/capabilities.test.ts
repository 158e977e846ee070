import { expect, it } from "vitest";
import { readCapabilities } from "./capabilities.ts";

const limits = {
  maxBufferSize: 2 ** 28 + 4,
  maxStorageBufferBindingSize: 2 ** 27 + 4,
  maxStorageBuffersPerShaderStage: 8,
  maxComputeWorkgroupStorageSize: 32768,
  maxComputeInvocationsPerWorkgroup: 1024,
  maxComputeWorkgroupSizeX: 256,
  maxComputeWorkgroupsPerDimension: 65535,
  minStorageBufferOffsetAlignment: 32,
  minUniformBufferOffsetAlignment: 64,
};
const features = new Set(["subgroups", "shader-f16"]);

it("whole alignments, and what both of two limits allow", () => {
  const read = readCapabilities(limits, features, { architecture: "ada" }, { subgroupSize: 32 });
  expect(read).toMatchObject({
    maxBindingBytes: 2 ** 27,
    maxBufferBytes: 2 ** 28,
    maxInvocations: 256,
    workgroupBytes: 32768,
    subgroupSize: 32,
    f16: true,
    timestamps: false,
    software: false,
  });
  expect(readCapabilities(limits, new Set(), { architecture: "" }).subgroupSize).toBe(0);
});

it("SwiftShader gets small workgroups without memory, other software adapters what they say", () => {
  const read = (architecture: string, isFallbackAdapter: boolean): unknown =>
    readCapabilities(limits, features, { architecture, isFallbackAdapter });
  const small = { maxInvocations: 4, workgroupBytes: 0 };
  const large = { maxInvocations: 256, workgroupBytes: 32768 };
  expect(read("swiftshader", true)).toMatchObject({ software: true, rolled: true, ...small });
  expect(read("llvmpipe", true)).toMatchObject({ software: true, rolled: true, ...large });
  expect(read("ada", false)).toMatchObject({ software: false, rolled: false, ...large });
});
