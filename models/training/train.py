"""Trains a YOLOv8 classifier on class folders."""

from __future__ import annotations

import argparse
import copy
import math
import random
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader
from tqdm import tqdm

from data import Pictures, Sample, find_samples
from model import SCALES, Classifier


@dataclass
class Progress:
    """What a run remembers between epochs."""

    epoch: int = 0
    best_accuracy: float = 0.0
    best_loss: float = math.inf
    best_epoch: int = 0


class Average:
    """Exponential moving average of a model's weights."""

    def __init__(self, model: nn.Module, decay: float, warmup: float) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay, self.warmup, self.updates = decay, warmup, 0

    def update(self, model: nn.Module) -> None:
        self.updates += 1
        # a young average follows the model closely
        decay = self.decay * (1 - math.exp(-self.updates / self.warmup))
        current = model.state_dict()
        for key, value in self.model.state_dict().items():
            if value.dtype.is_floating_point:
                value.lerp_(current[key], 1 - decay)
            else:
                value.copy_(current[key])


def make_optimiser(model: nn.Module, rate: float, decay: float) -> torch.optim.Optimizer:
    """AdamW; biases and normalisation weights do not decay."""
    matrices = [value for value in model.parameters() if value.ndim > 1]
    vectors = [value for value in model.parameters() if value.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": decay}, {"params": vectors, "weight_decay": 0}]
    return torch.optim.AdamW(groups, lr=rate)


def learning_rate(step: float, total: float, warmup: float, peak: float) -> float:
    """Linear warm-up, then a cosine down to a hundredth."""
    if step < warmup:
        return peak * (step + 1) / (warmup + 1)
    share = (step - warmup) / max(total - warmup, 1)
    return peak * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(share, 1.0))))


def image_size(epoch: int, options: argparse.Namespace) -> int:
    """Early epochs see smaller pictures, which is faster."""
    return options.small_size if epoch < options.small_epochs else options.size


def loader(dataset: Pictures, options: argparse.Namespace, shuffle: int | None) -> DataLoader:
    """Batches, shuffled by the given seed or in order."""
    generator = None if shuffle is None else torch.Generator().manual_seed(shuffle)
    return DataLoader(
        dataset,
        options.batch,
        shuffle=shuffle is not None,
        generator=generator,
        num_workers=options.workers,
        drop_last=shuffle is not None and len(dataset) > options.batch,
    )


def train_epoch(
    model: Classifier,
    average: Average,
    optimiser: torch.optim.Optimizer,
    batches: DataLoader,
    epoch: int,
    options: argparse.Namespace,
    device: torch.device,
) -> float:
    """One pass over the training pictures; gives the mean loss."""
    model.train()
    steps, total = len(batches), 0.0
    bar = tqdm(batches, desc=f"epoch {epoch + 1}/{options.epochs}", leave=False, mininterval=5)
    for index, (pictures, labels) in enumerate(bar):
        rate = learning_rate(
            epoch * steps + index, options.epochs * steps, options.warmup * steps, options.rate
        )
        for group in optimiser.param_groups:
            group["lr"] = rate
        pictures = pictures.to(device).contiguous(memory_format=torch.channels_last)
        with torch.autocast(device.type, torch.bfloat16, enabled=options.bf16):
            logits = model(pictures)
        loss = functional.cross_entropy(
            logits.float(), labels.to(device), label_smoothing=options.smoothing
        )
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        optimiser.step()
        average.update(model)
        total += loss.item()
        bar.set_postfix(loss=f"{total / (index + 1):.4f}", rate=f"{rate:.2e}")
    return total / steps


@torch.inference_mode()
def evaluate(
    model: nn.Module, batches: DataLoader, classes: int, device: torch.device
) -> tuple[float, float, Tensor]:
    """Loss, accuracy and confusion matrix (rows are the truth)."""
    model.eval()
    confusion = torch.zeros(classes, classes, dtype=torch.long)
    loss, count = 0.0, 0
    for pictures, labels in batches:
        logits = model(pictures.to(device).contiguous(memory_format=torch.channels_last)).cpu()
        loss += functional.cross_entropy(logits, labels, reduction="sum").item()
        count += len(labels)
        confusion.index_put_((labels, logits.argmax(1)), torch.tensor(1), accumulate=True)
    return loss / count, confusion.diag().sum().item() / count, confusion


def print_table(names: list[str], confusion: Tensor) -> None:
    """Precision and recall per class, then the accuracy."""
    wide = max(len(name) for name in [*names, "accuracy"])
    print(f"{'class':<{wide}}  pictures  precision  recall")
    for index, name in enumerate(names):
        hits = confusion[index, index].item()
        answers, truth = confusion[:, index].sum().item(), confusion[index].sum().item()
        precision, recall = hits / max(answers, 1), hits / max(truth, 1)
        print(f"{name:<{wide}}  {truth:>8}  {precision:>9.4f}  {recall:.4f}")
    print(f"{'accuracy':<{wide}}  {confusion.sum().item():>8}  "
          f"{confusion.diag().sum().item() / confusion.sum().item():>9.4f}")


def run(options: argparse.Namespace) -> None:
    random.seed(options.seed)
    np.random.seed(options.seed)
    torch.manual_seed(options.seed)
    torch.use_deterministic_algorithms(True, warn_only=True)
    device = torch.device(options.device)
    found = find_samples(options.data)
    names = found.names
    print(f"classes {names}: {len(found.train)} train, {len(found.val)} val, {len(found.test)} test")

    model = Classifier(options.scale, len(names), options.dropout).to(device)
    model = model.to(memory_format=torch.channels_last)
    print(f"YOLOv8{options.scale}-cls: {sum(p.numel() for p in model.parameters()):,} parameters")
    optimiser = make_optimiser(model, options.rate, options.decay)
    steps = max(1, len(found.train) // options.batch)
    average = Average(model, decay=0.998, warmup=2 * steps)
    progress = Progress()
    options.out.mkdir(parents=True, exist_ok=True)
    last, best = options.out / "last.pt", options.out / "best.pt"
    if options.resume and last.exists():
        state = torch.load(last, map_location=device, weights_only=True)
        model.load_state_dict(state["model"])
        average.model.load_state_dict(state["average"])
        average.updates = state["updates"]
        optimiser.load_state_dict(state["optimiser"])
        progress = Progress(**state["progress"])
        print(f"resuming after epoch {progress.epoch}")

    val = loader(Pictures(found.val, options.size), options, None)
    while progress.epoch < options.epochs:
        started, epoch = time.monotonic(), progress.epoch
        dataset = Pictures(found.train, image_size(epoch, options), options.seed)
        dataset.epoch = epoch
        batches = loader(dataset, options, options.seed + epoch)
        train_loss = train_epoch(model, average, optimiser, batches, epoch, options, device)
        loss, accuracy, _ = evaluate(average.model, val, len(names), device)
        progress.epoch += 1
        better = (accuracy, -loss) > (progress.best_accuracy, -progress.best_loss)
        if better:
            progress.best_accuracy, progress.best_loss = accuracy, loss
            progress.best_epoch = progress.epoch
            save_best(best, average.model, names, options)
        print(
            f"{progress.epoch:>4}  {dataset.size} px  train {train_loss:.4f}  val {loss:.4f}  "
            f"accuracy {accuracy:.4f}{' *' if better else ''}  {time.monotonic() - started:.0f} s",
            flush=True,
        )
        torch.save(
            {
                "model": model.state_dict(),
                "average": average.model.state_dict(),
                "updates": average.updates,
                "optimiser": optimiser.state_dict(),
                "progress": vars(progress),
            },
            last,
        )
        # small pictures are a different task: patience starts with the real size
        if progress.epoch - max(progress.best_epoch, options.small_epochs) >= options.patience:
            print(f"no better for {options.patience} epochs: stopping")
            break

    model.load_state_dict(torch.load(best, weights_only=True, map_location=device)["model"])
    for split, samples in (("val", found.val), ("test", found.test)):
        if samples:
            print(f"\n{split}, best epoch {progress.best_epoch}")
            report(model, samples, names, options, device)


def save_best(
    path: Path, model: Classifier, names: list[str], options: argparse.Namespace
) -> None:
    """A checkpoint that `export.py` reads."""
    torch.save(
        {"model": model.state_dict(), "names": names, "scale": model.scale, "size": options.size},
        path,
    )


def report(
    model: Classifier,
    samples: list[Sample],
    names: list[str],
    options: argparse.Namespace,
    device: torch.device,
) -> None:
    """Prints the results table of one split."""
    batches = loader(Pictures(samples, options.size), options, None)
    print_table(names, evaluate(model, batches, len(names), device)[2])


def parse_options() -> argparse.Namespace:
    here = Path(__file__).parent
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=here / "pictures")
    parser.add_argument("--out", type=Path, default=here / "runs" / "bottle")
    parser.add_argument("--scale", choices=SCALES, default="n")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--small-size", type=int, default=128)
    parser.add_argument("--small-epochs", type=int, default=0, help="first epochs at --small-size")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--warmup", type=float, default=1.0, help="in epochs")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--decay", type=float, default=0.02)
    parser.add_argument("--smoothing", type=float, default=0.02)
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--patience", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--bf16", action="store_true", help="mixed precision, for newer CPUs and GPUs")
    parser.add_argument("--resume", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    run(parse_options())
