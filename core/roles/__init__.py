"""The actors of the system: who trains, who coordinates, who evaluates, and what they say to each other."""

from core.roles.asynchronous import AsyncCoordinator
from core.roles.attendance import Attendance
from core.roles.coordinator import Coordinator
from core.roles.evaluator import Evaluator
from core.roles.job import TrainingPlan
from core.roles.messages import MESSAGES, Requirements
from core.roles.worker import Worker

__all__ = [
    "MESSAGES",
    "AsyncCoordinator",
    "Attendance",
    "Coordinator",
    "Evaluator",
    "Requirements",
    "TrainingPlan",
    "Worker",
]
