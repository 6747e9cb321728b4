"""Time of computations against training times measured on three phones (FLASH, WWW 2021)."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from analysis.oracles import Check, Drawing, Findings, Section
from core.devices import Work, profile

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Phones, the classes made from them, and R, GFLOP/s, and c0, s, of fits made before: dense, LSTM.
PHONES: Final = {
    "nexus6": ("Nexus 6", "phone_low", (3.27, 0.196), (2.70, 0.479)),
    "redmi_note8": ("Redmi Note 8", "phone_mid", (9.79, 0.147), (5.66, 0.386)),
    "samsung_note10": ("Samsung Note 10", "phone_high", (25.8, 0.057), (15.6, 0.295)),
}
FLASH: Final = "FLASH, measured; our fit"
#: FLOPs of a training step of LEAF's FEMNIST CNN, per sample (XLA), and the batch that is assumed.
FEMNIST_FLOPS: Final = 93.7e6
FEMNIST_BATCH: Final = 10


def training_flops(layer: str, shape: Any) -> Any:
    """FLOPs of a batch: three times the forward pass. `shape` has the columns in, out, batch, sequence."""
    inputs, outputs, batch, sequence = shape.T
    forward = 2.0 * inputs * outputs if layer == "output" else 8.0 * outputs * (inputs + outputs) + 4.0 * outputs
    return 3.0 * batch * sequence * forward


def _flash(data: Path) -> Findings:
    checks: list[Check] = []
    rows: list[tuple[str, ...]] = []
    drawn: list[tuple[str, Any, Any]] = []
    with np.load(data / "flash_ondevice_training" / "flash_layer_times.npz", allow_pickle=False) as table:
        for key, (phone, _, dense, lstm) in PHONES.items():
            for layer, called, (rate, overhead) in (("output", "dense", dense), ("lstm", "LSTM", lstm)):
                flops = training_flops(layer, table[f"{key}__{layer}__X"].astype(float))
                seconds = table[f"{key}__{layer}__t"].astype(float)
                columns = np.column_stack([np.ones(len(flops)), flops])
                c0, slope = np.linalg.lstsq(columns, seconds, rcond=None)[0]
                predicted = c0 + slope * flops
                ratio = predicted / seconds
                name = f"{phone}, {called}"
                source = "FLASH; an earlier fit"
                checks.append(Check(name, "R of c0 + F/R", source, rate, 1e-9 / slope, 0.05, "GFLOP/s", relative=True))
                checks.append(Check(name, "c0 of c0 + F/R", source, overhead, float(c0), 0.05, "s", relative=True))
                explained = 1.0 - np.sum((predicted - seconds) ** 2) / np.sum((seconds - seconds.mean()) ** 2)
                cells = (np.median(np.abs(ratio - 1.0)), np.mean((ratio > 0.5) & (ratio < 2.0)), explained)
                quantiles = np.quantile(ratio, (0.05, 0.5, 0.95))
                rows.append(
                    (
                        phone,
                        called,
                        *(f"{q:.2f}" for q in quantiles),
                        f"{cells[0]:.1%}",
                        f"{cells[1]:.1%}",
                        f"{cells[2]:.3f}",
                    )
                )
                drawn.append((name, flops, (seconds, predicted)))
    with (data / "flash_ondevice_training" / "model_batch_times.csv").open(newline="", encoding="utf-8") as stream:
        batches = {
            (row["model"], row["device"]): float(row["mean_ms_per_batch"]) / 1e3 for row in csv.DictReader(stream)
        }
    for phone, name, _, _ in PHONES.values():
        measured = batches["femnist_cnn", phone]
        ours = profile(name).seconds(Work(FEMNIST_FLOPS * FEMNIST_BATCH, 0.0, 1))
        # Within a factor of two, on the scale of doublings.
        said = f"log2 of predicted over measured, one FEMNIST batch ({ours:.3f} against {measured:.3f} s)"
        checks.append(Check(f"{name}, {phone}", said, "FLASH, measured", 0.0, float(np.log2(ours / measured)), 1.0))

    def draw() -> Figure:
        from analysis.plots.style import BLUE, figure

        made = figure(4.6)
        for place, (name, flops, (seconds, predicted)) in enumerate(drawn):
            axes = made.add_subplot(2, 3, place // 2 + 1 + 3 * (place % 2))
            shown = np.argsort(flops)[:: len(flops) // 800]
            axes.loglog(flops[shown] / 1e9, seconds[shown], ".", markersize=2, color=BLUE)
            axes.loglog(flops[shown] / 1e9, predicted[shown], color="black", linewidth=1.2)
            axes.set_title(name)
            axes.set_xlabel("GFLOP a batch")
            axes.set_ylabel("s")
        return made

    caption = "Measured times of a batch by layer and phone, and the fits c0 + F/R (black)."
    heads = ("phone", "layer", "ratio p5", "p50", "p95", "median error", "within 2x", "R²")
    return Findings(checks, (Drawing("time_flash", caption, draw),), heads, rows)


SECTIONS: Final = (
    Section(
        "Time: three phones",
        "The affine form c0 + F/R, fitted to 20,000 measured batches a layer and phone, against earlier fits of the "
        "same data; the catalogue's classes against a whole model. The table has predicted over measured.",
        _flash,
        ("flash_ondevice_training",),
    ),
)
