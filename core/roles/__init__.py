"""The actors of the system: who trains, who coordinates, who evaluates, and what they say to each other."""

from core.roles.coordinator import Coordinator, TrainingPlan
from core.roles.evaluator import Evaluator
from core.roles.messages import MESSAGES, Requirements
from core.roles.worker import Worker

__all__ = ["MESSAGES", "Coordinator", "Evaluator", "Requirements", "TrainingPlan", "Worker"]
