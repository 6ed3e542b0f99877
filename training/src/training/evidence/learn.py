"""Teaches a head of local evidence on kept maps: labels of whole images, and nothing that tells the ward."""

from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from training import report
from training.evidence.early import Early
from training.evidence.head import EvidenceHead
from training.fleet.corpus import Corpus
from training.schedule import follow, one_cycle

_FEW = 20
"""How many images of the whole part are added to each group's share, so that a small group's is not 0 or 1."""


@dataclass(frozen=True)
class Kept:
    """The maps of the corpus' train rows in several views, of them and all others as they are, in the corpus' order."""

    views: Sequence[Early]
    plain: Early


@dataclass(frozen=True)
class Plan:
    """How long and how fast."""

    epochs: float = 6
    rate: float = 2e-3
    batch: int = 128
    present: float = 2.5
    """How much likelier than another one an image with any finding is drawn."""
    seed: int = 0


def learn(corpus: Corpus, kept: Kept, plan: Plan, say: Callable[[str], None] = print) -> EvidenceHead:
    """A head with averaged weights. Within each group of view and source its logit starts from that group's share
    (logit adjustment, Menon et al. 2021, arXiv 2007.07314): what gives the ward away then says nothing more."""
    rng, rows = np.random.default_rng(plan.seed), corpus.rows("train")
    torch.manual_seed(plan.seed)
    head = EvidenceHead(kept.plain.maps[0].shape[1], kept.plain.maps[1].shape[1])
    average = {key: value.clone() for key, value in head.state_dict().items()}
    optimiser = torch.optim.AdamW(head.parameters(), plan.rate, weight_decay=2e-2)
    priors, labels = group_priors(corpus, rows), torch.from_numpy(corpus.labels[rows])
    chances = 1 + (plan.present - 1) * (np.nan_to_num(corpus.labels[rows]).max(1) > 0)
    chances, steps = chances / chances.sum(), int(plan.epochs * len(rows)) // plan.batch
    for step in range(steps):
        drawn = np.sort(rng.choice(len(rows), plan.batch, p=chances))
        view = int(rng.integers(len(kept.views) + 1))
        fine, coarse = (
            opened(kept.views[view], drawn) if view < len(kept.views) else opened(kept.plain, rows[drawn])
        )
        if rng.random() < 0.5:
            fine, coarse = fine.flip(3), coarse.flip(3)
        logits = head.image(head.places(fine, coarse)) + priors[drawn]
        known = ~torch.isnan(labels[drawn])
        loss = functional.binary_cross_entropy_with_logits(logits[known], labels[drawn][known])
        for group in optimiser.param_groups:
            group["lr"] = plan.rate * one_cycle((step + 1) / steps, 0.1)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        follow(average, head.state_dict(), step)
        if (step + 1) % max(1, steps // 6) == 0 or step + 1 == steps:
            said = judge(averaged(head, average), corpus, kept.plain)
            say(f"step {step + 1} of {steps}, loss {loss.item():.3f}, {said}")
    learned = averaged(head, average)
    learned.prior.copy_(fitted_prior(learned, corpus, kept.plain))
    return learned


@torch.inference_mode()
def fitted_prior(head: EvidenceHead, corpus: Corpus, plain: Early) -> Tensor:
    """What is added to the logits [5], so that the mean probability of the validation part's images is the share with the
    finding: images with findings were drawn more often, and an image counts by its strongest places."""
    rows = corpus.rows("val")
    logits = torch.cat([logits.double() for logits, _ in seen(head, plain, rows)])
    share = torch.from_numpy(shares(corpus.labels[rows]))
    low, high = torch.full_like(share, -20), torch.full_like(share, 20)
    for _ in range(50):
        middle = (low + high) / 2
        short = torch.sigmoid(logits + middle).mean(0) < share
        low, high = torch.where(short, middle, low), torch.where(short, high, middle)
    return low.float()


def averaged(head: EvidenceHead, average: dict[str, Tensor]) -> EvidenceHead:
    """A copy with these weights, in evaluation mode."""
    copy = deepcopy(head)
    copy.load_state_dict(average)
    return copy.eval()


def opened(early: Early, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
    """These rows as float32."""
    fine, coarse = (
        torch.from_numpy(maps[rows]).float() * torch.from_numpy(steps)
        for maps, steps in zip(early.maps, early.steps, strict=True)
    )
    return fine, coarse


@torch.inference_mode()
def judge(head: EvidenceHead, corpus: Corpus, plain: Early) -> str:
    """Of the validation part: the mean AUC of the image's logit, and the share of present findings whose map has its
    maximum in the outermost row or column."""
    rows = corpus.rows("val")
    answers = list(seen(head, plain, rows))
    outer = np.concatenate([_at_edge(places) for _, places in answers])[corpus.labels[rows] == 1]
    probabilities = torch.sigmoid(torch.cat([logits.double() for logits, _ in answers])).numpy()
    auc = report.mean_auc(corpus.labels[rows].astype(np.float64), probabilities)
    return f"validation AUC {auc or 0:.3f}, {outer.mean():.0%} of maxima at the edge"


def seen(head: EvidenceHead, early: Early, rows: NDArray[np.int64]) -> Iterator[tuple[Tensor, Tensor]]:
    """Logits [n, 5] and places' logits [n, 5, h, w] of some rows after the other."""
    for some in np.array_split(rows, max(1, len(rows) // 128)):
        places = head.places(*opened(early, some))
        yield head.image(places), places


def _at_edge(places: Tensor) -> NDArray[np.bool_]:
    height, width = places.shape[2:]
    row, column = np.divmod(places.flatten(2).argmax(2).numpy(), width)
    return np.asarray((row % (height - 1) == 0) | (column % (width - 1) == 0))


def shares(labels: NDArray[np.float32]) -> NDArray[np.float64]:
    """[5] of labels [N, 5], NaN left out, never 0 or 1."""
    known = (~np.isnan(labels)).sum(0)
    return np.asarray((np.nansum(labels, 0) + 0.5) / (known + 1), np.float64)


def group_priors(corpus: Corpus, rows: NDArray[np.int64]) -> Tensor:
    """The log odds [N, 5] of each finding among the images of the same view and source."""
    groups = np.unique(np.stack([corpus.view[rows].astype(str), corpus.source[rows]], 1), axis=0, return_inverse=True)[1].ravel()  # fmt: skip
    labels, odds = corpus.labels[rows], torch.empty(len(rows), corpus.labels.shape[1])
    whole = shares(labels)
    for group in np.unique(groups):
        own = labels[groups == group]
        known = (~np.isnan(own)).sum(0)
        share = torch.from_numpy((np.nansum(own, 0) + _FEW * whole) / (known + _FEW))
        odds[torch.from_numpy(groups == group)] = torch.logit(share).float()
    return odds
