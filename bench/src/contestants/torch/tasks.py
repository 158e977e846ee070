"""Tasks in PyTorch. In: a task as case.ts describes it. Out: a function that runs it, and one that gives the flat result."""
import math

import torch
import torch.nn.functional as F

from model import prepare_train
from values import ragged_offsets, uniform


def tensor(seed, shape, scale=1.0):
    return torch.from_numpy(uniform(seed, math.prod(shape), scale)).reshape(shape)


def weight_scale(depth):
    return math.sqrt(3 / depth)


def prepare_product(task, absent):
    if task["weights"] != "f32":
        raise absent("no product with weights of this format")
    m, k, n = task["m"], task["k"], task["n"]
    by_rows = task["layout"] == "nk"
    x = tensor(1, [m, k])
    shape = [n, k] if by_rows else [k, n]
    first = tensor(2, shape, weight_scale(k))
    # Rows moved up, as in operands.ts: no two weights are alike.
    weights = [torch.roll(first, -copy, 0) for copy in range(task["copies"])]
    held = {}

    def run():
        y = x
        for w in weights:
            y = F.linear(y, w) if by_rows else torch.mm(y, w)
        held["y"] = y

    return run, lambda: held["y"].flatten()


def prepare_ragged(task):
    rows, k, n, experts = task["rows"], task["k"], task["n"], task["experts"]
    x = tensor(1, [rows, k])
    w = tensor(2, [experts, n, k], weight_scale(k))
    offsets = ragged_offsets(rows, experts)
    y = torch.empty(rows, n)

    def run():
        for e in range(experts):
            start, end = offsets[e], offsets[e + 1]
            if end > start:
                torch.mm(x[start:end], w[e].T, out=y[start:end])

    return run, y.flatten


def prepare_attention(task):
    batch, tokens, keys = task["batch"], task["tokens"], task["keys"]
    heads, kv_heads = task["heads"], task["kvHeads"]
    dq, dv = task["queryWidth"], task["valueWidth"]
    scale = 1 / math.sqrt(dq)
    backward = task["backward"]
    leaves = [tensor(1, [batch, tokens, heads, dq], 2.0), tensor(2, [batch, keys, kv_heads, dq], 2.0)]
    if not task["latent"]:
        leaves.append(tensor(3, [batch, keys, kv_heads, dv]))
    for leaf in leaves:
        leaf.requires_grad_(backward)
    cotangent = tensor(4, [batch, tokens, heads, dv])
    causal = tokens > 1
    mask = torch.ones(tokens, keys, dtype=torch.bool).tril(keys - tokens).logical_not()
    held = {}

    def attend():
        q, k = leaves[0].transpose(1, 2), leaves[1].transpose(1, 2)
        v = k[..., :dv] if task["latent"] else leaves[2].transpose(1, 2)
        if kv_heads < heads:
            # All queries of a key are one matrix.
            q = q.reshape(batch, kv_heads, -1, dq)
        scores = torch.matmul(q * scale, k.transpose(-1, -2))
        if causal:
            shaped = scores.view(batch, heads, tokens, keys)
            scores = shaped.masked_fill(mask, -math.inf).view(scores.shape)
        out = torch.matmul(torch.softmax(scores, -1), v)
        return out.reshape(batch, heads, tokens, dv).transpose(1, 2)

    def forward():
        with torch.no_grad():
            held["results"] = [attend()]

    def forward_and_backward():
        out = attend()
        held["results"] = [out.detach(), *torch.autograd.grad(out, leaves, cotangent)]

    def result():
        return torch.cat([part.flatten() for part in held["results"]])

    return (forward_and_backward if backward else forward), result


def prepare(task, absent):
    kind = task["kind"]
    if kind == "product":
        with torch.no_grad():
            return prepare_product(task, absent)
    if kind == "ragged":
        return prepare_ragged(task)
    if kind == "attention":
        return prepare_attention(task)
    if kind == "train":
        return prepare_train(task)
    if kind == "scaled":
        raise absent("no FP8 on a processor")
    if kind == "generate":
        raise absent("no cache was written for it")
    raise absent("our own measure only")
