"""From the options of the command line to an engine."""

from __future__ import annotations

from aczerots.engine.base import Engine
from aczerots.engine.local import HereEngine, ProcessEngine
from aczerots.errors import SettingsError

ENGINES = ("local", "ray")


def locate_engine(
    name: str = "local", *, address: str | None = None, workers: int | None = None, device: str = "cpu"
) -> Engine:
    """The engine of that name; which one it is decides no numbers.

    Args:
        name: ``local`` or ``ray``.
        address: Of a Ray cluster; None starts one on this machine.
        workers: How many (``--jobs``); None takes one per GPU, one on a CPU, or what a cluster has room for.
        device: Where to compute: ``cpu``, ``auto``, ``cuda`` (all GPUs of the machine), ``cuda:1``, ``mps``.

    Raises:
        SettingsError: Unknown engine, a number of workers that makes no sense, or an address without Ray.
    """
    if workers is not None and workers < 1:
        raise SettingsError(f"{workers} workers can do nothing", where="--jobs", fix="Use 1 or more")
    if name == "ray":
        from aczerots.engine.ray_cluster import RayEngine

        return RayEngine(address, workers, device)
    if name != "local":
        raise SettingsError(f"'{name}' names no engine", where="--engine", fix=f"Use {' or '.join(ENGINES)}")
    if address is not None:
        raise SettingsError("is for --engine ray", where="--address", fix="Add --engine ray, or leave it out")
    devices = local_devices(device, workers)
    return HereEngine(devices[0]) if len(devices) == 1 else ProcessEngine(devices)


def local_devices(device: str, workers: int | None) -> tuple[str, ...]:
    """The device of each worker.

    Args:
        device: As for :func:`locate_engine`; ``cuda`` stands for all GPUs, ``auto`` for them or the CPU.
        workers: How many; None takes one per device.
    """
    found = [device]
    if device in {"auto", "cuda"}:
        import torch

        found = [f"cuda:{i}" for i in range(torch.cuda.device_count())] or [device]
    return tuple(found[i % len(found)] for i in range(workers or len(found)))
