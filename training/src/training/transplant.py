"""Starts a deeper DenseNet from a trained shallower one: what has a twin is copied, what is new stays as it was made.

A deeper DenseNet repeats the shallower one's layers and adds some at the end of its last two stages, so most of its
weights have a twin. Along the input channels of the last stage the twins stand apart: first what the transition
hands over, then 32 channels a layer; new channels in between start at 0 and so do not disturb what was learned.
"""

from torch import Tensor, nn

from training.backbones.densenet import DenseLayer, DenseNet

_LAST = 3


def transplant(donor: DenseNet, receiver: DenseNet) -> int:
    """Copy the donor's weights into a DenseNet with at least as many layers a stage; the number of copied tensors."""
    theirs, mine = donor.state_dict(), receiver.state_dict()
    handed = [_handed_over(net) for net in (donor, receiver)]
    copied = 0
    transitions = {
        f"stages.{i}.{len(s) - 1}.": f"stages.{i}.{len(r) - 1}." for i, s, r in _stages(donor, receiver)
    }
    for theirs_name, values in theirs.items():
        name = theirs_name
        for before, after in transitions.items():
            name = after + name.removeprefix(before) if name.startswith(before) else name
        if name in mine and values.ndim:
            last = name.startswith((f"stages.{_LAST}.", "bn."))
            _copy(values, mine[name], handed if last else None)
            copied += 1
    receiver.load_state_dict(mine)
    return copied


def _stages(donor: DenseNet, receiver: DenseNet) -> list[tuple[int, nn.Sequential, nn.Sequential]]:
    """The stages that end with a transition, side by side."""
    pairs = zip(donor.stages, receiver.stages, strict=True)
    return [(i, s, r) for i, (s, r) in enumerate(pairs) if i < _LAST]  # type: ignore[misc]


def _handed_over(net: DenseNet) -> int:
    """Channels that the last stage starts with."""
    first = net.stages[_LAST][0]  # type: ignore[index]
    assert isinstance(first, DenseLayer)
    return first.bn0.num_features


def _copy(values: Tensor, into: Tensor, handed: list[int] | None) -> None:
    """Copy [out, in, ...] or [channels] into the twin; channels past `handed` move to behind the receiver's."""
    axis = 1 if values.ndim > 1 else 0
    if values.ndim > 1:
        into.narrow(0, 0, values.shape[0]).zero_()
    if handed is None or values.shape == into.shape:
        slices = tuple(slice(0, n) for n in values.shape)
        into[slices] = values
        return
    theirs, mine = handed
    rows = slice(0, values.shape[0]) if axis else slice(None)
    before, after = values.narrow(axis, 0, theirs), values.narrow(axis, theirs, values.shape[axis] - theirs)
    if axis:
        into[rows, :theirs] = before
        into[rows, mine : mine + after.shape[1]] = after
    else:
        into[:theirs] = before
        into[mine : mine + len(after)] = after
