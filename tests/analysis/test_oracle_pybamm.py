"""PyBaMM itself beside the catalogue's cell; needs the extra `oracle`."""

from __future__ import annotations

import os

import pytest

from analysis.oracles.physics_battery import MODEL_AH, catalogue_cell

os.environ.setdefault("PYBAMM_DISABLE_TELEMETRY", "true")


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(("power_w", "celsius"), [(3.0, 15.0), (1.5, 30.0)])
def test_powers_and_temperatures_that_no_golden_run_has(power_w: float, celsius: float) -> None:
    """Time to 3.0 V at constant power, SPMe with lumped heat, within 3 %."""
    pybamm = pytest.importorskip("pybamm", reason="the extra `oracle` is not installed")
    model = pybamm.lithium_ion.SPMe({"thermal": "lumped"})
    values = pybamm.ParameterValues("Ai2020")
    values.update({"Ambient temperature [K]": 273.15 + celsius, "Initial temperature [K]": 273.15 + celsius})
    experiment = pybamm.Experiment([f"Discharge at {power_w} W until 3.0 V"])
    solution = pybamm.Simulation(model, parameter_values=values, experiment=experiment).solve(initial_soc=1.0)
    cell = catalogue_cell(MODEL_AH)
    ours_s = cell.empty_s(cell.energy_j, power_w, cell.resistance_factor(celsius + 0.5))
    assert ours_s == pytest.approx(float(solution.t[-1]), rel=0.03)
