"""Amounts as the Kubernetes API writes them."""

import re
from decimal import Decimal
from typing import Any

_QUANTITY = re.compile(r"(\d+(?:\.\d+)?)([eE]\d+|m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?")
_UNITS = {"": 1, "m": Decimal("0.001")}
_UNITS |= {unit: 1000 ** (i + 1) for i, unit in enumerate("kMGTP")}
_UNITS |= {f"{unit}i": 1024 ** (i + 1) for i, unit in enumerate("KMGTP")}


def amount(quantity: Any) -> Decimal | None:
    """A quantity of the Kubernetes API as a number; None for what is not one."""
    found = _QUANTITY.fullmatch(str(quantity))
    if found is None:
        return None
    number, unit = found[1], found[2] or ""
    return Decimal(number + unit) if unit[:1] in {"e", "E"} else Decimal(number) * _UNITS[unit]
