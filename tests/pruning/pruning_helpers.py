"""What the tests of pruning share: correlated inputs, a float64 SparseGPT, a ragged calibration set."""

import numpy as np
import torch

from racviz.calibration import CalibrationSet
from racviz.pruning import LinearInputs, Pattern, solver_named


def solve(method, weight, moment, sparsity, pattern="unstructured", keep_zeros=False):
    """Run a solver by name on one linear."""
    return solver_named(method)(weight, LinearInputs(moment), Pattern.parse(pattern, keep_zeros), sparsity)


def correlated(rows, columns, tokens=400, seed=0, dead=()):
    """A weight and the second moment of correlated inputs, fp32."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(tokens, columns)) @ rng.normal(size=(columns, columns)) * np.geomspace(1, 0.05, columns)
    x[:, list(dead)] = 0
    return torch.tensor(rng.normal(size=(rows, columns)), dtype=torch.float32), torch.tensor(x.T @ x, dtype=torch.float32)


def reference_sparsegpt(weight, moment, sparsity, block=128, damping=0.01):
    """SparseGPT written anew in numpy float64: Cholesky of the inverse, one threshold a block, column loop."""
    w, h = weight.numpy().astype(np.float64), moment.numpy().astype(np.float64)
    dead = np.diag(h) == 0
    h[dead, dead] = 1
    w[:, dead] = 0
    h += damping * np.mean(np.diag(h)) * np.eye(len(h))
    u = np.linalg.cholesky(np.linalg.inv(h)).T  # upper, UᵀU = H⁻¹
    mask = np.zeros(w.shape, dtype=bool)
    for start in range(0, w.shape[1], block):
        end = min(start + block, w.shape[1])
        saliency = w[:, start:end] ** 2 / np.diag(u)[start:end] ** 2
        total = round(sparsity * w.size)
        count = round(total * end / w.shape[1]) - round(total * start / w.shape[1])
        chosen = np.argsort(saliency, axis=None, kind="stable")[:count]
        mask[:, start:end].reshape(-1)[:] = False
        part = np.zeros(saliency.size, dtype=bool)
        part[chosen] = True
        mask[:, start:end] = part.reshape(saliency.shape)
        for j in range(start, end):
            error = np.where(mask[:, j], w[:, j], 0.0) / u[j, j]
            w[:, j:] -= np.outer(error, u[j, j:])  # all columns to the right at once: no lazy batches here
            w[mask[:, j], j] = 0.0
    return w, mask


def error_of(weight, pruned, moment):
    w, p, h = (t.double().numpy() for t in (weight, pruned, moment))
    return np.trace((w - p) @ h @ (w - p).T) / np.trace(w @ h @ w.T)


def ragged(tiny, count=9, seed=0):
    """Random token sequences of different lengths with prompt and decode phases."""
    rng = np.random.default_rng(seed)
    sequences = [rng.integers(10, 1000, size=rng.integers(5, 60)).astype(np.int32) for _ in range(count)]
    phases = [(np.arange(len(s)) >= len(s) // 3).astype(np.uint8) for s in sequences]
    return CalibrationSet("test", sequences, phases, [np.ones(len(s), dtype=np.float32) for s in sequences])
