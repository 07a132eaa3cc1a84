"""The same network in PyTorch, on packed sequences: `torch.nn.GRU` under the same embeddings and heads.

PyTorch is no requirement of this project; the benchmark says so where it is missing.
"""

from typing import Any

import numpy as np
import torch
from torch.nn.functional import binary_cross_entropy_with_logits, poisson_nll_loss
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

EMBEDDING = 8


class PackedGRU(torch.nn.Module):
    """Reads a batch as `HistoryReader.read` gives it, packed, and answers at each position asked."""

    def __init__(self, numeric: int, vocabularies: list[int], context: int, units: int, head_units: int) -> None:
        super().__init__()
        self.embeddings = torch.nn.ModuleList(torch.nn.Embedding(known + 1, EMBEDDING) for known in vocabularies)
        self.gru = torch.nn.GRU(numeric + EMBEDDING * len(vocabularies), units, batch_first=True)
        self.hidden = torch.nn.Linear(units + context, head_units)
        self.heads = torch.nn.ModuleDict(
            {name: torch.nn.Linear(head_units, 1) for name in ("churn", "purchases", "spend")}
        )
        self.optimizer = torch.optim.AdamW(self.parameters(), 0.006, weight_decay=0.2)

    def answers(self, arrays: dict[str, np.ndarray], length: np.ndarray) -> dict[str, Any]:
        codes = torch.from_numpy(arrays["categorical"]).long()
        embedded = [embedding(codes[:, :, column]) for column, embedding in enumerate(self.embeddings)]
        steps = torch.cat([torch.from_numpy(arrays["numeric"]), *embedded], dim=2)
        packed = pack_padded_sequence(steps, torch.from_numpy(length), batch_first=True, enforce_sorted=False)
        states, _ = pad_packed_sequence(self.gru(packed)[0], batch_first=True)
        position = torch.from_numpy(arrays["position"]).long()[:, :, None].expand(-1, -1, states.shape[-1])
        seen = torch.cat([states.gather(1, position), torch.from_numpy(arrays["context"])], dim=2)
        hidden = torch.relu(self.hidden(seen))
        return {name: head(hidden) for name, head in self.heads.items()}

    def update(self, arrays: dict[str, np.ndarray], length: np.ndarray) -> None:
        self.optimizer.zero_grad()
        total = torch.zeros(())
        for name, given in self.answers(arrays, length).items():
            label = torch.from_numpy(arrays[name])
            known = label.isfinite()
            label, given = label[known], given[known]
            if name == "churn":
                total = total + binary_cross_entropy_with_logits(given, label)
            elif name == "purchases":
                total = total + 0.3 * poisson_nll_loss(given, label)
            else:
                total = total + 0.3 * (2 * torch.exp(given / 2) + 2 * label * torch.exp(-given / 2)).mean()
        total.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters(), 1.0)
        self.optimizer.step()
