"""Trains a YOLOv8 classifier on class folders."""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader
from tqdm import tqdm

import augment
import checkpoint
from batches import Views, plain_batches, training_batches
from cells import CellHeads, cell_loss, make_cell_heads
from data import Folders, find_samples, pair_by_name
from ema import Average, between
from lite import published_weights
from memory import keep_freed_memory
from metrics import accuracy, class_table, fit_temperature, fit_weights, group_table
from networks import Network, looks, make_network, served_looks
from options import parse_options
from sheet import save_mistakes
from store import Store
from teacher import Teacher
from unfold import start_from_export
from zoom import LOCATOR, TRAINING_SIDE, place_loss, window_warp

# a run may be resumed with other values of these
MAY_CHANGE = {"resume", "out", "cache", "workers", "device", "patience", "start"}
SEED_STEP = 1_000_003
# training pictures are kept larger than the network sees them, for crops to have detail
DETAIL = 8 / 7
CLOSE_AT_FIRST = 0.8
# weight of where a network that looks twice looks
LOCATING = 0.2


@dataclass
class Progress:
    """What a run remembers between epochs."""

    epoch: int = 0
    best_loss: float = math.inf
    best_epoch: int = 0


@dataclass
class Source:
    """One data folder: its weight in training and its decoded pictures."""

    path: Path
    weight: float
    train: Store
    val: Store
    test: Store


@dataclass
class Run:
    """Everything that an epoch changes."""

    model: Network
    cells: CellHeads
    average: Average
    optimiser: torch.optim.Optimizer
    teacher: Teacher | None = None
    progress: Progress = field(default_factory=Progress)

    def state(self, options: dict[str, str]) -> dict[str, Any]:
        """What `restore` needs, and the options, to compare."""
        return {
            "model": self.model.state_dict(),
            "cells": self.cells.state_dict(),
            "average": self.average.model.state_dict(),
            "updates": self.average.updates,
            "optimiser": self.optimiser.state_dict(),
            "adapters": self.teacher.adapters.state_dict() if self.teacher else {},
            "progress": vars(self.progress),
            "options": options,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Goes on from a state."""
        self.model.load_state_dict(state["model"])
        self.cells.load_state_dict(state["cells"])
        self.average.model.load_state_dict(state["average"])
        self.average.updates = state["updates"]
        self.optimiser.load_state_dict(state["optimiser"])
        if self.teacher:
            self.teacher.adapters.load_state_dict(state["adapters"])
        self.progress = Progress(**state["progress"])


def make_optimiser(model: nn.Module, rate: float, decay: float) -> torch.optim.Optimizer:
    """AdamW; biases and normalisation weights do not decay."""
    learning = [value for value in model.parameters() if value.requires_grad]
    matrices = [value for value in learning if value.ndim > 1]
    vectors = [value for value in learning if value.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": decay}, {"params": vectors, "weight_decay": 0}]
    return torch.optim.AdamW(groups, lr=rate, fused=True)


def learning_rate(epoch: float, epochs: float, warmup: float, peak: float) -> float:
    """Linear warm-up, then a cosine down to a hundredth."""
    if epoch < warmup:
        return peak * max(epoch / warmup, 0.01)
    share = (epoch - warmup) / max(epochs - warmup, 1e-9)
    return peak * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(share, 1.0))))


def image_size(epoch: int, options: argparse.Namespace) -> int:
    """Early epochs see smaller pictures, which is faster, and a second look only windows."""
    if options.look == "second":
        return TRAINING_SIDE
    return options.small_size if epoch < options.small_epochs else options.size


def framing(epoch: int, options: argparse.Namespace) -> augment.Framing:
    """What of a picture is seen: at first mostly what is close by, as small pictures show little else."""
    if options.look == "second":
        return window_warp
    close = CLOSE_AT_FIRST if epoch < options.small_epochs else options.close_ups
    return partial(augment.random_warp, close=close)


def learning_layers(model: Network, options: argparse.Namespace) -> list[nn.Module]:
    """The layers up to the head, in order, of what learns."""
    return (getattr(model, options.look) if options.look else model).body


def train_epoch(
    run: Run, batches: DataLoader, classes: int, options: argparse.Namespace, device: torch.device
) -> float:
    """One pass over the training pictures; gives the mean loss."""
    run.model.train()
    for layer in learning_layers(run.model, options)[: options.freeze]:
        layer.eval()  # normalisations keep what they have measured
    run.cells.train()
    if run.teacher:
        run.teacher.train()
    epoch, total = run.progress.epoch, 0.0
    bar = tqdm(batches, f"epoch {epoch + 1}/{options.epochs}", leave=False, disable=None)
    for index, (plain, labels, necks) in enumerate(bar):
        done = epoch + index / len(batches)
        for group in run.optimiser.param_groups:
            group["lr"] = learning_rate(done, options.epochs, options.warmup, options.rate)
        targets = functional.one_hot(labels, classes).float()
        seed = (options.seed, epoch, index)
        pictures, targets = augment.mix(plain, targets, options.mixup, options.cutmix, seed)
        is_mixed = pictures is not plain
        pictures = pictures.to(device).contiguous(memory_format=torch.channels_last)
        with torch.autocast(device.type, torch.bfloat16, enabled=options.bf16):
            maps, logits, located = looks(run.model, pictures, necks, options.look)
            cells = run.cells(maps)
            lessons = run.teacher.losses(pictures, maps, sum(logits) / len(logits)) if run.teacher else None
        # each look learns by itself, lest one leave it to the other
        loss = torch.stack([
            functional.cross_entropy(each.float(), targets.to(device), label_smoothing=options.smoothing)
            for each in logits
        ]).mean()
        total += loss.item()
        if not is_mixed:
            loss = loss + options.cells * cell_loss([each.float() for each in cells], necks, labels)
            if located is not None:
                loss = loss + LOCATING * place_loss(located.float(), necks)
        if lessons:
            answers, apart = lessons
            loss = (1 - options.teacher_share) * loss + options.teacher_share * answers
            loss = loss + options.teacher_maps * apart
        run.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(run.model.parameters(), 10.0)
        run.optimiser.step()
        run.average.update(run.model)
        bar.set_postfix(loss=f"{total / (index + 1):.4f}")
    return total / len(batches)


@torch.inference_mode()
def look_answers(model: Network, store: Store, batch: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Logits of each look [looks, pictures, classes], and the labels, of a store's pictures in order."""
    model.eval()
    logits, labels = [], []
    for pictures, truth in plain_batches(store, batch):
        pictures = pictures.to(device).contiguous(memory_format=torch.channels_last)
        logits.append(torch.stack(served_looks(model, pictures)).float().cpu())
        labels.append(truth)
    return torch.cat(logits, 1), torch.cat(labels)


def answers(model: Network, store: Store, batch: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Logits and labels of a store's pictures, in order."""
    logits, labels = look_answers(model, store, batch, device)
    return logits.mean(0), labels


def open_sources(options: argparse.Namespace) -> tuple[list[str], list[Source]]:
    """The class names and the decoded pictures of every data folder."""
    names: list[str] = []
    sources = []
    for path, weight in options.data:
        found: Folders = find_samples(path)
        names = names or found.names
        if found.names != names:
            raise SystemExit(f"{path}: has the classes {found.names}, not {names}")
        if not found.train or not found.val:
            raise SystemExit(f"{path}: too few pictures to learn from and to choose by")
        windows = options.look == "second"
        if windows and not all(sample.neck for sample in found.train):
            raise SystemExit(f"--look second: {path}: needs a manifest that says where each neck is")
        side = options.size if windows else round(options.size * DETAIL / 32) * 32
        known = pair_by_name(found.train) if options.pairs else found.train
        stores = [Store(known, side, options.cache)]
        stores += [Store(split, options.test_size, options.cache) for split in (found.val, found.test)]
        sources.append(Source(path, weight, *stores))
        print(f"{path}: {len(found.train)} train, {len(found.val)} val, {len(found.test)} test")
    return names, sources


def check_resumable(state: dict[str, Any], options: dict[str, str]) -> None:
    """Refuses to go on with options that would make it another run."""
    for key, old in state["options"].items():
        if key not in MAY_CHANGE and options[key] != old:
            flag = key.replace("_", "-")
            raise SystemExit(f"--resume: the run had --{flag} {old}, not {options[key]}")


def train(options: argparse.Namespace) -> None:
    """Trains until the last epoch, or until it has long been getting no better."""
    keep_freed_memory()
    torch.manual_seed(options.seed)
    torch.use_deterministic_algorithms(True, warn_only=True)
    device = torch.device(options.device)
    names, sources = open_sources(options)
    print(f"classes: {', '.join(names)}")

    model = make_network(options.scale, len(names), options.dropout)
    knows_all = True
    if options.start and options.start.suffix == ".onnx":
        knows_all = start_from_export(options.start, model, names, sources[0].train, options.size)
    elif options.start:
        knows_all = checkpoint.start_from(options.start, model, names)
    elif options.pretrained:
        model.load_pretrained(published_weights(options.scale))
    if options.blend < 1 and not knows_all:
        raise SystemExit(f"--blend: {options.start} has other classes than {names}")
    layers = learning_layers(model, options)
    if options.freeze > len(layers):
        raise SystemExit(f"--freeze: {options.scale} has {len(layers)} layers before its head, not {options.freeze}")
    for layer in layers[: options.freeze]:
        layer.requires_grad_(False)
    model = model.to(device, memory_format=torch.channels_last)
    print(f"{options.scale}: {sum(p.numel() for p in model.parameters()):,} parameters")
    # from one look, what finds the place of the second begins with nothing and has no way back
    start = {key: value.clone() for key, value in model.state_dict().items() if not key.startswith(f"{LOCATOR}.")}
    steps = sum(source.weight * len(source.train) for source in sources) / options.batch
    # over two epochs where those are short, so that the average keeps up with small sets
    span = min(500.0, max(2 * steps, 2.0))
    average = Average(model, decay=1 - 1 / span, warmup=2 * span)
    cells = make_cell_heads(model, len(names)).to(device)
    learning = nn.ModuleList([model, cells])
    teacher = None
    if options.teacher:
        teacher = Teacher(options.teacher, model, names)
        teacher = teacher.to(device, memory_format=torch.channels_last)
        learning.append(teacher.adapters)
    optimiser = make_optimiser(learning, options.rate, options.decay)
    run = Run(model, cells, average, optimiser, teacher)
    options.out.mkdir(parents=True, exist_ok=True)
    last, best = options.out / "last.pt", options.out / "best.pt"
    described = {key: str(value) for key, value in vars(options).items()}
    if options.resume and last.exists():
        state = checkpoint.load(last)
        check_resumable(state, described)
        run.restore(state)
        print(f"resuming after epoch {run.progress.epoch}")

    progress = run.progress
    while progress.epoch < options.epochs and not is_over(progress, options):
        started = time.monotonic()
        # an epoch's chances depend on its number alone, so that a resumed run is the same run
        torch.manual_seed(options.seed + SEED_STEP * (progress.epoch + 1))
        size = image_size(progress.epoch, options)
        views = Views(
            [source.train for source in sources],
            [source.weight for source in sources],
            size, options.batch, options.seed, progress.epoch, framing(progress.epoch, options),
        )
        batches = training_batches(views, options.workers)
        train_loss = train_epoch(run, batches, len(names), options, device)
        result = between(start, average.model, options.blend)
        scores = []
        for source in sources:
            logits, labels = answers(result, source.val, options.batch, device)
            # with its best temperature, so that being too sure, which `finish` mends, does not count here
            loss = functional.cross_entropy(logits / fit_temperature(logits, labels), labels).item()
            scores.append((accuracy(logits, labels), loss))
        progress.epoch += 1
        # the loss, since the accuracy on a few hundred pictures goes up and down by chance
        better = scores[0][1] < progress.best_loss
        if better:
            progress.best_loss = scores[0][1]
            progress.best_epoch = progress.epoch
            checkpoint.save_model(best, result, names, options.test_size)
        checkpoint.save(last, run.state(described))
        figures = "  ".join(f"val {right:.4f} ({loss:.4f})" for right, loss in scores)
        print(
            f"{progress.epoch:>4}  {size} px  train {train_loss:.4f}  {figures}"
            f"{' *' if better else ''}  {time.monotonic() - started:.0f} s",
            flush=True,
        )
    if is_over(progress, options):
        print(f"no better for {options.patience} epochs: stopped")
    print(f"best epoch: {progress.best_epoch}")
    finish(best, sources, options, device)


def is_over(progress: Progress, options: argparse.Namespace) -> bool:
    """Whether it is time to stop early; patience starts with the real picture size."""
    return progress.epoch - max(progress.best_epoch, options.small_epochs) >= options.patience


def finish(
    best: Path, sources: list[Source], options: argparse.Namespace, device: torch.device
) -> None:
    """Makes the confidences of the best epoch honest, then prints its figures."""
    model, names, size = checkpoint.load_model(best)
    model = model.to(device, memory_format=torch.channels_last)
    weights = fit_weights(*look_answers(model, sources[0].val, options.batch, device))
    with torch.no_grad():
        for linear, weight in zip(model.last_layers, weights):
            # for the mean, which the network gives
            linear.weight.mul_(len(weights) * weight)
            linear.bias.mul_(len(weights) * weight)
    checkpoint.save_model(best, model, names, size)
    told = ", ".join(f"{weight:.3f}" for weight in weights)
    print(f"the logits of each look count {told} times, fitted on val and folded into the last layers")
    for number, source in enumerate(sources):
        for split, store in (("val", source.val), ("test", source.test)):
            if not len(store):
                continue
            logits, labels = answers(model, store, options.batch, device)
            print(f"\n{source.path} {split}\n{class_table(names, logits, labels)}")
            groups = group_table(store.samples, logits, labels)
            if groups:
                print(groups)
            sheet = options.out / f"mistakes-{number}-{split}.png"
            if save_mistakes(sheet, store, logits, names):
                print(f"mistakes: {sheet}")


if __name__ == "__main__":
    train(parse_options(description=__doc__))
