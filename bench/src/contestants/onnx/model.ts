/**
 * Writes ONNX models. In: nodes, constant tensors, inputs and outputs. Out: the bytes of a model file. As much of the
 * format as the bench needs. Source: onnx.proto of ONNX 1.19, and the encoding of protocol buffers.
 */

export type OnnxType = "float" | "uint8" | "int64";

const typeCodes: Readonly<Record<OnnxType, number>> = { float: 1, uint8: 2, int64: 7 };

export interface OnnxValue {
  readonly name: string;
  readonly type: OnnxType;
  readonly shape: readonly number[];
}

export interface OnnxConstant extends OnnxValue {
  readonly data: ArrayBufferView;
}

export interface OnnxNode {
  readonly op: string;
  /** "" for the standard's own. */
  readonly domain?: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  /** Whole numbers; `floats` and `lists` have the others. */
  readonly attributes?: Readonly<Record<string, number>>;
  readonly floats?: Readonly<Record<string, number>>;
  readonly lists?: Readonly<Record<string, readonly number[]>>;
}

export interface OnnxGraph {
  readonly nodes: readonly OnnxNode[];
  readonly constants: readonly OnnxConstant[];
  readonly inputs: readonly OnnxValue[];
  readonly outputs: readonly OnnxValue[];
  /** Of the standard's operators. */
  readonly opset: number;
}

/** A message under construction: pieces, so that large tensors are copied once. */
class Message {
  readonly #pieces: Uint8Array[] = [];
  #length = 0;

  #push(piece: Uint8Array): void {
    this.#pieces.push(piece);
    this.#length += piece.length;
  }

  #number(value: number): void {
    const bytes: number[] = [];
    let rest = value;
    while (rest > 127) {
      bytes.push((rest % 128) | 128);
      rest = Math.floor(rest / 128);
    }
    this.#push(Uint8Array.from([...bytes, rest]));
  }

  whole(field: number, value: number): this {
    this.#number(field * 8);
    this.#number(value);
    return this;
  }

  float(field: number, value: number): this {
    this.#number(field * 8 + 5);
    this.#push(new Uint8Array(Float32Array.of(value).buffer));
    return this;
  }

  bytes(field: number, value: Uint8Array): this {
    this.#number(field * 8 + 2);
    this.#number(value.length);
    this.#push(value);
    return this;
  }

  text(field: number, value: string): this {
    return this.bytes(field, new TextEncoder().encode(value));
  }

  message(field: number, value: Message): this {
    this.#number(field * 8 + 2);
    this.#number(value.#length);
    for (const piece of value.#pieces) this.#push(piece);
    return this;
  }

  encode(): Uint8Array<ArrayBuffer> {
    const out = new Uint8Array(this.#length);
    let at = 0;
    for (const piece of this.#pieces) {
      out.set(piece, at);
      at += piece.length;
    }
    return out;
  }
}

function nodeMessage(node: OnnxNode): Message {
  const { op, domain = "", inputs, outputs, attributes, floats, lists } = node;
  const message = new Message();
  for (const name of inputs) message.text(1, name);
  for (const name of outputs) message.text(2, name);
  message.text(3, outputs[0]!).text(4, op);
  for (const [name, value] of Object.entries(attributes ?? {}))
    message.message(5, new Message().text(1, name).whole(3, value).whole(20, 2));
  for (const [name, value] of Object.entries(floats ?? {}))
    message.message(5, new Message().text(1, name).float(2, value).whole(20, 1));
  for (const [name, values] of Object.entries(lists ?? {})) {
    const attribute = new Message().text(1, name);
    for (const value of values) attribute.whole(8, value);
    message.message(5, attribute.whole(20, 7));
  }
  if (domain !== "") message.text(7, domain);
  return message;
}

function constantMessage({ name, type, shape, data }: OnnxConstant): Message {
  const message = new Message();
  for (const size of shape) message.whole(1, size);
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  return message.whole(2, typeCodes[type]).text(8, name).bytes(9, bytes);
}

function valueMessage({ name, type, shape }: OnnxValue): Message {
  const dims = new Message();
  for (const size of shape) dims.message(1, new Message().whole(1, size));
  const tensor = new Message().whole(1, typeCodes[type]).message(2, dims);
  return new Message().text(1, name).message(2, new Message().message(1, tensor));
}

/** The bytes of a model with this graph; ONNX Runtime's own operators are in reach. */
export function onnxModel(graph: OnnxGraph): Uint8Array<ArrayBuffer> {
  const body = new Message();
  for (const node of graph.nodes) body.message(1, nodeMessage(node));
  body.text(2, "bench");
  for (const constant of graph.constants) body.message(5, constantMessage(constant));
  for (const value of graph.inputs) body.message(11, valueMessage(value));
  for (const value of graph.outputs) body.message(12, valueMessage(value));
  const opset = (domain: string, version: number): Message =>
    new Message().text(1, domain).whole(2, version);
  return new Message()
    .whole(1, 10)
    .message(7, body)
    .message(8, opset("", graph.opset))
    .message(8, opset("com.microsoft", 1))
    .encode();
}
