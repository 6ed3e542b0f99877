"""`python -m training.train xception --data labels.csv --images folder`: fine-tunes one backbone, resumably."""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from training.augment import Augmentation
from training.backbones import ARCHITECTURES, build_classifier
from training.backbones.densenet import DenseNet
from training.backbones.heads import HEADS
from training.checkpoint import Checkpoint, averaged_classifier, load_checkpoint
from training.datasets import POLICIES, Table, check_patients, read_table
from training.downloads import IMAGENET, fetch
from training.images import Images, load_images
from training.importers.keras_weights import load_body
from training.report import brief
from training.schedule import SCHEDULES, Phase, follow, parse_plan
from training.splits import split_by_patient
from training.targets import Learner, Targets, load_teacher, side_columns
from training.transplant import transplant

_SAVE_EVERY = 100


@dataclass(frozen=True)
class Options:
    """What one run is told; see `main` for each."""

    name: str
    data: Path
    images: Path
    out: Path
    head: str = "linear"
    start: str = "nothing"
    plan: str = "128:2,160:2,224:1"
    schedule: str = "one-cycle"
    rate: float = 3e-4
    batch: int = 32
    policy: str = "original"
    patience: int = 3
    seed: int = 1
    split_seed: int = 20
    val: Path | None = None
    soft_labels: Path | None = None
    teacher: Path | None = None


class Run:
    """One training run: its data, its network, and the step it has reached."""

    def __init__(self, options: Options) -> None:
        torch.manual_seed(options.seed)
        self.options = options
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.parts = read_parts(options)
        self.phases = parse_plan(options.plan, len(self.parts["train"]), options.batch)
        self.total = sum(phase.steps for phase in self.phases)
        self._targets = self._make_targets(self.parts["train"])
        classifier = build_classifier(options.name, options.head)
        classifier.mixed = True
        learner = Learner(classifier, self._targets)
        self.learner = learner.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimiser = _optimiser(self.learner, options.rate)
        self.step, self.best_auc, self.stale = 0, 0.0, 0
        self._begin()
        self.average = {key: value.clone() for key, value in self.learner.state_dict().items()}
        if self.checkpoint.exists():
            self._resume(load_checkpoint(self.checkpoint))

    @property
    def checkpoint(self) -> Path:
        """Where this run keeps its state."""
        return self.options.out / f"{self.options.name}.ckpt"

    def train(self) -> float:
        """Run to the end of the plan, or until the validation AUC has not risen for `patience` epochs."""
        first = 0
        for epoch, phase in enumerate(self.phases):
            if self.step < first + phase.steps and self.stale < self.options.patience:
                self._epoch(epoch, phase, first)
                self._judge(epoch, phase)
            first += phase.steps
        return self.best_auc

    def _epoch(self, epoch: int, phase: Phase, first: int) -> None:
        table, pixels = self._load("train", phase.size)
        targets = self._targets if len(table) == len(self._targets.labels) else self._make_targets(table)
        rng = np.random.default_rng((self.options.seed, epoch))
        drawn = rng.choice(len(table), phase.steps * self.options.batch, p=targets.chances())
        done = self.step - first
        bar = tqdm(range(done, phase.steps), f"epoch {epoch + 1} at {phase.size} px", mininterval=5)
        self.learner.train()
        for step in bar:
            rows = drawn[step * self.options.batch : (step + 1) * self.options.batch]
            bar.set_postfix(loss=f"{self._one_step(pixels, targets, rows):.4f}")
            if self.step % _SAVE_EVERY == 0:
                self.save()

    def _one_step(self, pixels: Images, targets: Targets, rows: NDArray[np.int64]) -> float:
        rng = np.random.default_rng((self.options.seed, 1 << 20, self.step))
        augment = Augmentation()
        views, turned = zip(*(augment(pixels[row], rng) for row in rows), strict=True)
        batch = [torch.from_numpy(np.stack(stack)).to(self.device) for stack in (views, turned)]
        share = SCHEDULES[self.options.schedule](self.step / self.total)
        for group in self.optimiser.param_groups:
            group["lr"] = self.options.rate * share
        loss = self.learner.loss(*batch, targets, rows)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.learner.parameters(), 5.0)
        self.optimiser.step()
        self.step += 1
        follow(self.average, self.learner.state_dict(), self.step)
        return float(loss.detach())

    def _judge(self, epoch: int, phase: Phase) -> None:
        """Mean validation AUC of the averaged weights; the best are kept apart."""
        table, pixels = self._load("val", phase.size)
        state = self._state()
        classifier = averaged_classifier(state).to(self.device)
        classifier.mixed = True
        probabilities = predict(classifier, pixels)
        mean = brief(table.labels.astype(np.float64), probabilities)["mean_auc"] or 0.0
        print(f"epoch {epoch + 1}/{len(self.phases)}: mean validation AUC {mean:.4f} at {phase.size} px")
        self.stale = 0 if mean > self.best_auc else self.stale + 1
        if mean > self.best_auc:
            self.best_auc = mean
            self._state().save(self.options.out / f"{self.options.name}.best.ckpt")
        self.save()

    def save(self) -> None:
        """Write the checkpoint that a later call resumes from."""
        self._state().save(self.checkpoint)

    def _state(self) -> Checkpoint:
        options = self.options
        states = (self.learner.state_dict(), self.average, self.optimiser.state_dict())
        return Checkpoint(options.name, options.head, self.step, *states, self.best_auc, self.stale)

    def _resume(self, saved: Checkpoint) -> None:
        if (saved.name, saved.head) != (self.options.name, self.options.head):
            raise ValueError(
                f"{self.checkpoint}: expected a {self.options.name} with head {self.options.head}; "
                f"found a {saved.name} with head {saved.head}."
            )
        self.learner.load_state_dict(saved.learner)
        self.optimiser.load_state_dict(saved.optimiser)
        self.average, self.step = saved.average, saved.step
        self.best_auc, self.stale = saved.best_auc, saved.stale

    def _begin(self) -> None:
        """Put in the weights that `start` names: nothing, a checkpoint, or Keras weights."""
        if self.options.start == "nothing":
            return
        if self.options.start == "imagenet":
            path = fetch(IMAGENET[self.options.name], self.options.out / "imagenet")
        else:
            path = Path(self.options.start)
        classifier = self.learner.classifier
        if path.suffix != ".ckpt":
            load_body(classifier.body, self.options.name, path)
            return
        saved = load_checkpoint(path)
        donor = averaged_classifier(saved)
        if isinstance(donor.body, DenseNet) and saved.name != self.options.name:
            transplant(donor.body, cast(DenseNet, classifier.body))
        else:
            classifier.load_state_dict(donor.state_dict())

    def _make_targets(self, table: Table) -> Targets:
        side = side_columns(table, self.options.soft_labels)
        teacher = self.options.teacher
        return Targets(table.labels, side, load_teacher(teacher, table.images) if teacher else None)

    def _load(self, part: str, size: int) -> tuple[Table, Images]:
        return load_images(self.parts[part], self.options.images, size, self.options.out / "images")


def read_parts(options: Options) -> dict[str, Table]:
    """The parts `train` and `val`: cut by patient, or as two files say. DataError for a set that can't be used."""
    table = read_table(options.data, options.policy)
    table.require_both_classes()
    if options.val:
        parts = {"train": table, "val": read_table(options.val, options.policy)}
        check_patients(parts)
        return parts
    # Cut by what the file says, as every other command does, or a policy would move patients between the parts.
    where = split_by_patient(table.patients, read_table(options.data).labels, options.split_seed)
    return {part: table.take(where == part) for part in ("train", "val")}


def predict(classifier: nn.Module, pixels: Images, batch: int = 64) -> NDArray[np.float64]:
    """Probabilities [N, 5] of uint8 [N, s, s] images, on the classifier's device."""
    device = next(classifier.parameters()).device
    rows = []
    with torch.inference_mode():
        for first in range(0, len(pixels), batch):
            logits: Tensor = classifier(torch.from_numpy(pixels[first : first + batch].copy()).to(device))[0]
            rows.append(torch.sigmoid(logits.double()).cpu().numpy())
    return np.concatenate(rows)


def _optimiser(module: nn.Module, rate: float) -> torch.optim.Optimizer:
    """AdamW; weights decay, biases and batch norms do not."""
    weights = [p for p in module.parameters() if p.ndim > 1]
    others = [p for p in module.parameters() if p.ndim <= 1]
    groups = [{"params": weights, "weight_decay": 2e-2}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, rate)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Fine-tune one backbone; a second call resumes it.")
    parser.add_argument("name", choices=list(ARCHITECTURES))
    parser.add_argument("--data", type=Path, required=True, help="CheXpert, ChestX-ray14 or plain CSV")
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument(
        "--out", type=Path, default=Path("build/training"), help="checkpoints and cached pixels"
    )
    parser.add_argument("--head", choices=list(HEADS), default="linear")
    parser.add_argument(
        "--start", default="nothing", help="nothing, imagenet, FILE.ckpt, or Keras .h5/.safetensors"
    )
    parser.add_argument("--plan", default="128:2,160:2,224:1", help="SIZE:EPOCHS,SIZE:EPOCHS")
    parser.add_argument("--schedule", choices=list(SCHEDULES), default="one-cycle")
    parser.add_argument("--rate", type=float, default=3e-4, help="peak learning rate")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--policy", choices=list(POLICIES), default="original", help="for uncertain labels")
    parser.add_argument("--patience", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--split-seed", type=int, default=20)
    parser.add_argument("--val", type=Path, help="validate on this CSV instead of a part of --data")
    parser.add_argument("--soft-labels", type=Path, help="CSV of another network's probabilities")
    parser.add_argument("--teacher", type=Path, help="file that training.distil wrote")
    try:
        run = Run(Options(**vars(parser.parse_args())))
        best = run.train()
    except ValueError as error:
        raise SystemExit(str(error)) from error
    print(f"best mean validation AUC {best:.4f}; weights in {run.options.out}")


if __name__ == "__main__":
    main()
