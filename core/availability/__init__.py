"""When devices are there: states of use, charger and network over the days, from published habits or from traces."""

from core.availability.process import ROW, Course, Process, Table, Transitions
from core.availability.replay import Replay
from core.availability.sessions import Habits, Sessions
from core.availability.states import CHARGING, IN_USE, METERED, STATES, changes
from core.availability.traces import Trace, TraceError, read_traces
from core.availability.traits import TRAITS, Traits, factor

__all__ = [
    "CHARGING",
    "IN_USE",
    "METERED",
    "ROW",
    "STATES",
    "TRAITS",
    "Course",
    "Habits",
    "Process",
    "Replay",
    "Sessions",
    "Table",
    "Trace",
    "TraceError",
    "Traits",
    "Transitions",
    "changes",
    "factor",
    "read_traces",
]
