"""Where models run: the devices there are, and why another one is not among them."""

from __future__ import annotations

from dataclasses import dataclass

from model.errors import DeviceError

CHOICES = ("auto", "cpu", "cuda")


@dataclass(frozen=True)
class DeviceChoice:
    """One choice. `reason`: why it cannot be taken, empty where it can. `title`: for people."""

    name: str
    title: str
    reason: str = ""

    @property
    def available(self) -> bool:
        return not self.reason


def device_choices() -> tuple[DeviceChoice, ...]:
    """auto, cpu and cuda, in this order; imports torch."""
    import torch

    threads = torch.get_num_threads()
    cpu = DeviceChoice("cpu", f"CPU ({threads} thread{'s' if threads > 1 else ''})")
    missing = _why_no_cuda()
    if missing:
        return DeviceChoice("auto", "automatic: CPU"), cpu, DeviceChoice("cuda", "CUDA", missing)
    gpu = torch.cuda.get_device_name(0)
    return DeviceChoice("auto", f"automatic: {gpu}"), cpu, DeviceChoice("cuda", f"CUDA ({gpu})")


def resolve_device(choice: object) -> str:
    """'cpu' or 'cuda' for a choice; DeviceError where it is unknown or absent."""
    if choice not in CHOICES:
        raise DeviceError(
            "Device", choice, f"must be one of {', '.join(CHOICES)}", "Choose one of them"
        )
    missing = _why_no_cuda() if choice != "cpu" else ""
    if choice == "cuda" and missing:
        raise DeviceError("Device", choice, missing, "Choose cpu or auto")
    return "cuda" if choice != "cpu" and not missing else "cpu"


def _why_no_cuda() -> str:
    import torch

    if torch.cuda.is_available():
        return ""
    if torch.version.cuda is None:
        return "this PyTorch is built for the CPU only"
    return "PyTorch finds no CUDA device on this machine"
