"""Batches of pictures: augmented and shuffled for training, plain for measuring."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from augment import Framing, random_warp, views
from data import Sample, to_pixels
from store import Store

Batch = tuple[Tensor, Tensor]
# pictures, labels, necks
TrainingBatch = tuple[Tensor, Tensor, Tensor]


class Views(Dataset[TrainingBatch]):
    """Augmented batches of one epoch over several stores, each with its weight.

    Pictures of one scene come in the same batch and get the same view, so that
    what differs between them is what tells the classes apart.
    """

    def __init__(
        self,
        stores: list[Store],
        weights: list[float],
        size: int,
        batch: int,
        seed: int,
        epoch: int,
        framing: Framing = random_warp,
    ) -> None:
        self.stores, self.size, self.seed, self.epoch, self.framing = stores, size, seed, epoch, framing
        # (store, scene, pictures of the scene)
        self.batches: list[list[tuple[int, int, list[int]]]] = []
        rng = np.random.default_rng((seed, epoch))
        drawn = []
        for number, (store, weight) in enumerate(zip(stores, weights)):
            groups = scenes(store.samples)
            count = round(weight * len(groups))
            rounds = -(-count // max(len(groups), 1))
            order = np.concatenate([rng.permutation(len(groups)) for _ in range(rounds)] or [[]])
            drawn += [(number, int(scene), groups[int(scene)]) for scene in order[:count]]
        current: list[tuple[int, int, list[int]]] = []
        for index in rng.permutation(len(drawn)):
            current.append(drawn[index])
            if sum(len(members) for _, _, members in current) >= batch:
                self.batches.append(current)
                current = []
        # batch normalisation needs company
        if current and not self.batches:
            self.batches.append(current)

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> TrainingBatch:
        pictures, labels, necks = [], [], []
        for number, scene, members in self.batches[index]:
            store = self.stores[number]
            squares = store.read(members)
            seed = (self.seed, self.epoch, number, scene, index)
            rngs = [np.random.default_rng(seed) for _ in members]
            pixels, seen = views(squares, store.necks[members], self.size, rngs, self.framing)
            pictures.append(pixels)
            necks.append(torch.from_numpy(seen))
            labels += [store.samples[member].label for member in members]
        return torch.cat(pictures), torch.tensor(labels), torch.cat(necks)


def scenes(samples: list[Sample]) -> list[list[int]]:
    """The indices of the pictures of each scene; a picture without one is its own."""
    groups: dict[str | int, list[int]] = {}
    for index, sample in enumerate(samples):
        groups.setdefault(index if sample.pair is None else sample.pair, []).append(index)
    return list(groups.values())


def training_batches(dataset: Views, workers: int) -> DataLoader:
    """The batches of a data set, made ahead by `workers` processes."""
    return DataLoader(dataset, batch_size=None, num_workers=workers)


def plain_batches(store: Store, batch: int) -> Iterator[Batch]:
    """A store's pictures in order, as serving sees them."""
    for start in range(0, len(store), batch):
        indices = list(range(start, min(start + batch, len(store))))
        squares = torch.from_numpy(np.ascontiguousarray(store.read(indices)))
        labels = torch.tensor([store.samples[index].label for index in indices])
        yield to_pixels(squares), labels
