"""The second moment of one input of linears, prompt and decode tokens apart."""

import torch

from racviz.sources import DECODE, PROMPT


class Moment:
    """The second moment of one distinct input, prompt and decode tokens apart."""

    def __init__(
        self, columns: int, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu", diagonal: bool = False
    ) -> None:
        self.columns, self.dtype, self.device = columns, dtype, torch.device(device)
        self.diagonal = diagonal
        """Sum the diagonal alone, `[columns]`."""
        self.sums: dict[int, torch.Tensor] = {}
        """By phase `[columns, columns]`; only the upper blocks are filled until `finish`."""
        self.tokens = [0, 0]

    def add(self, phase: int, x: torch.Tensor) -> None:
        """H_phase += Σ x xᵀ, x `[tokens, columns]`."""
        self.tokens[phase] += len(x)
        if len(x):
            if phase not in self.sums:
                shape = (self.columns,) if self.diagonal else (self.columns, self.columns)
                self.sums[phase] = torch.zeros(shape, dtype=self.dtype, device=x.device)
            if self.diagonal:
                self.sums[phase] += x.to(self.dtype).square().sum(0)
            else:
                symmetric_update(self.sums[phase], x.to(self.dtype))

    def finish(self) -> "Moment":
        """Mirror the upper triangle into the lower."""
        for total in () if self.diagonal else self.sums.values():
            total.triu_().add_(total.triu(1).T)
        return self

    @property
    def prompt(self) -> torch.Tensor:
        return self._of(PROMPT)

    @property
    def decode(self) -> torch.Tensor:
        return self._of(DECODE)

    def norms(self, weights: tuple[float, float] = (1.0, 1.0)) -> torch.Tensor:
        """‖x_j‖ over the tokens, prompt and decode tokens weighted, `[columns]`."""
        total = sum(weights[phase] * self.squares(phase) for phase in self.sums)
        return torch.as_tensor(total).sqrt()

    def squares(self, phase: int) -> torch.Tensor:
        """‖x_j‖² over the tokens of one phase, `[columns]`."""
        return self.sums[phase] if self.diagonal else self.sums[phase].diagonal()

    def _of(self, phase: int) -> torch.Tensor:
        zeros = torch.zeros(self.columns, self.columns, dtype=self.dtype, device=self.device)
        return self.sums.get(phase, zeros)

    def mixed(self, prompt_weight: float = 1.0, decode_weight: float = 1.0) -> torch.Tensor:
        """H = w_P H_P + w_D H_D, `[columns, columns]`."""
        parts = [(w, self.sums[phase]) for phase, w in ((PROMPT, prompt_weight), (DECODE, decode_weight)) if phase in self.sums]
        if not parts:
            return self.prompt
        total = parts[0][0] * parts[0][1]
        for weight, part in parts[1:]:
            total.add_(part, alpha=weight)
        return total


def symmetric_update(total: torch.Tensor, x: torch.Tensor, width: int = 1024) -> None:
    """total += xᵀ x in the upper triangle only, x `[tokens, columns]`: panels of `width` columns against those to their right.

    torch has no symmetric rank-k update; panels keep every product a large matmul and do half of the work, and a bit.
    """
    columns = x.shape[1]
    width = min(width, max(128, -(-columns // 8)))
    for start in range(0, columns, width):
        end = min(start + width, columns)
        total[start:end, start:].addmm_(x[:, start:end].T, x[:, start:])
