"""The peer of `bench_neural_ode.py`: the same neural ODE in torchdiffeq, run by the Python of its own environment.

    python peer_torchdiffeq.py INPUTS.npz OUTPUTS.npz

Reads ``case | task`` from each line of standard input, with the task "solve", "backpropagation" or "continuous
adjoint", does it once and answers with the seconds it took. At the end of its input it writes each case's results.
"""

import os
import sys
import time

import numpy as np
import torch
from torch import nn
from torchdiffeq import odeint, odeint_adjoint

torch.set_num_threads(len(os.sched_getaffinity(0)))
ORDER = ("w1", "b1", "w2", "b2")


class Field(nn.Module):
    def __init__(self, w1, b1, w2, b2):
        super().__init__()
        self.one, self.two, self.calls = nn.Linear(*w1.shape), nn.Linear(*w2.shape), 0
        with torch.no_grad():
            for layer, weight, bias in ((self.one, w1, b1), (self.two, w2, b2)):
                layer.weight.copy_(torch.tensor(weight.T))
                layer.bias.copy_(torch.tensor(bias))

    def forward(self, t, z):
        self.calls += 1
        return self.two(torch.tanh(self.one(torch.cat([z, t.expand(len(z), 1)], dim=1))))


def runner(field, z0, task, tolerance):
    """A call that solves, or takes the gradient of the mean squared final state with respect to the weights."""
    times, options = torch.tensor([0.0, 1.0]), {"method": "dopri5", "rtol": tolerance, "atol": tolerance}

    def solve():
        with torch.no_grad():
            return [odeint(field, z0, times, **options)[1]]

    def gradient():
        integrate = odeint if task == "backpropagation" else odeint_adjoint
        loss = integrate(field, z0, times, **options)[1].square().mean()
        one, bias, two, last = torch.autograd.grad(loss, list(field.parameters()))
        return [one.T, bias, two.T, last]

    return solve if task == "solve" else gradient


def main() -> None:
    inputs, runners, fields, kept = np.load(sys.argv[1]), {}, {}, {}
    for line in sys.stdin:
        case, task = (part.strip() for part in line.split("|"))
        if (case, task) not in runners:
            fields[case, task] = Field(*(inputs[f"{case}/{name}"] for name in ORDER))
            z0, tolerance = torch.tensor(inputs[f"{case}/z0"]), float(inputs["tolerance"])
            runners[case, task] = runner(fields[case, task], z0, task, tolerance)
        start = time.perf_counter()
        result = runners[case, task]()
        print(time.perf_counter() - start, flush=True)
        if f"{case}/{task}" not in kept:
            kept[f"{case}/{task}"] = np.concatenate([part.numpy().ravel() for part in result])
            if task == "solve":  # six evaluations a step, and two to begin with
                kept[f"{case}/steps"] = (fields[case, task].calls - 2) / 6
    np.savez(sys.argv[2], **kept)


if __name__ == "__main__":
    main()
