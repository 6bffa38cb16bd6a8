"""SparseGPT (arXiv 2301.00774): prune column by column and let the columns to the right make up for it.

Faithful to the reference: damping 0.01 · mean(diag H) after dead columns are mended, one threshold over all rows of a
block of 128 columns, saliency w² / U_jj², U the upper factor of H⁻¹ = UᵀU.
"""

from typing import Any

import torch

from racviz.errors import NumericalError

BLOCK = 128
DAMPING, MOST_DAMPING = 0.01, 0.5


def sparsegpt(
    weight: torch.Tensor, moment: torch.Tensor, sparsity: float, name: str = ""
) -> tuple[torch.Tensor, torch.Tensor, dict[str, Any]]:
    """Prune one linear.

    weight `[rows, columns]`, moment H `[columns, columns]`; both fp32 (or fp64). Exactly round(sparsity · size) weights of
    each block of columns are zeroed. Returns the new weights, the mask (True where pruned) and details: `damping` used,
    `retries`, `dead` columns.

    Raises NumericalError, with the linear's name, where H has no Cholesky factor up to a damping of 0.5.
    """
    w = weight.clone()  # [rows, columns]
    h = moment.clone()
    dead = h.diagonal() == 0
    h.diagonal()[dead] = 1
    w[:, dead] = 0
    u, damping, retries = inverse_factor(h, name)
    mask = torch.zeros_like(w, dtype=torch.bool)
    for start in range(0, w.shape[1], BLOCK):
        end = min(start + BLOCK, w.shape[1])
        block = w[:, start:end].T.contiguous()  # [b, rows]: a column of W is a row here, contiguous in memory
        factor = u[start:end, start:end]  # [b, b]
        saliency = (block / factor.diagonal()[:, None]).square()
        pruned = torch.zeros(block.numel(), dtype=torch.bool, device=w.device)
        pruned[saliency.flatten().topk(round(sparsity * block.numel()), largest=False, sorted=False).indices] = True
        pruned = pruned.view_as(block)
        dropped = pruned / factor.diagonal()[:, None]  # 1 / U_jj where pruned, 0 where kept
        errors = torch.empty_like(block)
        for j in range(end - start):
            torch.mul(block[j], dropped[j], out=errors[j])
            block[j + 1 :].addr_(factor[j, j + 1 :], errors[j], alpha=-1)
        w[:, start:end] = block.masked_fill(pruned, 0.0).T
        mask[:, start:end] = pruned.T
        w[:, end:] -= errors.T @ u[start:end, end:]
    return w, mask, {"damping": damping, "retries": retries, "dead": int(dead.sum())}


def inverse_factor(h: torch.Tensor, name: str = "") -> tuple[torch.Tensor, float, int]:
    """U, upper, with UᵀU = (H + λI)⁻¹: one Cholesky of the index-reversed H and one triangular inverse.

    With J the reversal, chol(J H J) = L gives H = R Rᵀ with R = J L J upper, so U = R⁻¹. λ = damping · mean(diag H);
    where the Cholesky fails the damping is doubled, up to 0.5.
    """
    if not torch.isfinite(h).all():
        raise NumericalError(f"the second moment of {name or 'a linear'} is not finite; check the activations before it")
    mean, damping, retries = h.diagonal().mean(), DAMPING, 0
    eye = torch.eye(len(h), dtype=h.dtype, device=h.device)
    while True:
        factor, info = torch.linalg.cholesky_ex((h + damping * mean * eye).flip(0, 1))
        if info == 0:
            return torch.linalg.solve_triangular(factor.flip(0, 1), eye, upper=True), damping, retries
        if 2 * damping > MOST_DAMPING:
            raise NumericalError(
                f"the second moment of {name or 'a linear'} has no Cholesky factor, even with damping {damping}; "
                "calibrate with more tokens, or leave the layer out by scope=…"
            )
        damping, retries = 2 * damping, retries + 1
