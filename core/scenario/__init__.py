"""Scenarios: what a study's file may say, how it is read and checked; `core.scenario.build` makes a deployment of one.

Importing this takes no JAX; `core.scenario.build` does.
"""

from core.scenario.load import dumps, find, load, parse
from core.scenario.problems import Problem, ScenarioError
from core.scenario.schema import Scenario

__all__ = ["Problem", "Scenario", "ScenarioError", "dumps", "find", "load", "parse"]
