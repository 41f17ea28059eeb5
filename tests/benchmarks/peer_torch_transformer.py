"""The peer of `bench_transformer.py`: the same transformer in PyTorch, run by the Python of its own environment.

    python peer_torch_transformer.py INPUTS.npz OUTPUTS.npz

Reads a case from each line of standard input, trains for one call's steps and answers with the seconds it took. At the
end of its input it writes each case's first logits and losses.
"""

import os
import sys
import time

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

torch.set_num_threads(len(os.sched_getaffinity(0)))


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.attend, self.merge = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width, bias=False)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, h):
        batch, time, width = h.shape
        parts = self.attend(self.norms[0](h)).view(batch, time, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        read = F.scaled_dot_product_attention(*parts, is_causal=True)
        h = h + self.merge(read.transpose(1, 2).reshape(batch, time, width))
        return h + self.down(F.gelu(self.up(self.norms[1](h)), approximate="tanh"))


class Transformer(nn.Module):
    def __init__(self, weights, heads):
        super().__init__()
        inputs, width = weights["embedding.weight"].shape
        depth, length = len(weights["blocks.merge"]), len(weights["positions"])
        self.embedding, self.positions = nn.Linear(inputs, width), nn.Parameter(torch.empty(length, width))
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(depth)))
        self.norm, self.readout = nn.LayerNorm(width), nn.Linear(width, weights["readout.weight"].shape[1])
        with torch.no_grad():
            self.positions.copy_(torch.tensor(weights["positions"]))
            self.norm.weight.copy_(torch.tensor(weights["gain"]))
            self.norm.bias.copy_(torch.tensor(weights["shift"]))
            for name, layer in (("embedding", self.embedding), ("readout", self.readout)):
                layer.weight.copy_(torch.tensor(weights[f"{name}.weight"].T))
                layer.bias.copy_(torch.tensor(weights[f"{name}.bias"]))
            for i, block in enumerate(self.blocks):
                part = {name[7:]: torch.tensor(value[i]) for name, value in weights.items() if name[:7] == "blocks."}
                for name in ("attend", "merge", "up", "down"):
                    getattr(block, name).weight.copy_(part[name].T)
                block.up.bias.copy_(part["up_bias"])
                block.down.bias.copy_(part["down_bias"])
                for norm, gain, shift in zip(block.norms, part["gain"], part["shift"], strict=True):
                    norm.weight.copy_(gain)
                    norm.bias.copy_(shift)

    def forward(self, x):
        return self.readout(self.norm(self.blocks(self.embedding(x) + self.positions[: x.shape[1]])))


def trainer(data):
    """A call that trains for all steps of the data, from where the last one stopped, and returns the losses."""
    weights = {name[8:]: value for name, value in data.items() if name.startswith("weights/")}
    model = Transformer(weights, int(data["heads"]))
    x, labels = torch.tensor(data["x"]), torch.tensor(data["labels"]).long()
    optimizer = torch.optim.Adam(model.parameters(), lr=float(data["rate"]), fused=True)

    def loss_of(x, labels):
        return F.cross_entropy(model(x).flatten(0, 1), labels.flatten())

    def train():
        losses = []
        for now, answer in zip(x, labels, strict=True):
            optimizer.zero_grad()
            loss = loss_of(now, answer)
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
        return torch.stack(losses)

    with torch.no_grad():
        logits = model(x[0])
    return train, logits.numpy()


def main() -> None:
    inputs, trainers, kept = np.load(sys.argv[1]), {}, {}
    for line in sys.stdin:
        case = line.strip()
        if case not in trainers:
            data = {name.partition("/")[2]: inputs[name] for name in inputs if name.startswith(f"{case}/")}
            trainers[case], kept[f"{case}/logits"] = trainer(data)
        start = time.perf_counter()
        losses = trainers[case]().numpy()
        print(time.perf_counter() - start, flush=True)
        kept.setdefault(f"{case}/losses", losses)
    np.savez(sys.argv[2], **kept)


if __name__ == "__main__":
    main()
