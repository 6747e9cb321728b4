"""What coordinators, workers and evaluators say to each other in federated training."""

from __future__ import annotations

import msgspec

from core.wire import Message, Payload


class Requirements(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """What a device must fulfil to train; None asks for nothing."""

    #: Least charge, 0 to 1; devices on mains fulfil it.
    min_battery: float | None = None
    max_temperature_c: float | None = None
    #: Only while on external power.
    charging: bool = False
    #: Only where traffic costs nothing.
    unmetered: bool = False


class Join(Message, frozen=True, kw_only=True):
    """A worker is there, and has so many training examples."""

    examples: int


class CheckIn(Message, frozen=True, kw_only=True):
    """A worker's device has come to fulfil the requirements; it has so many training examples."""

    examples: int


class CheckOut(Message, frozen=True, kw_only=True):
    """A worker's device does not fulfil the requirements any more."""


class TrainRequest(Message, frozen=True, kw_only=True):
    """Train the model on your own examples, if your device allows.

    `round` is its number; in asynchronous training, where a client may be asked twice for one version, the request's.
    `shared` is what the algorithm's server sends beside the model, such as a control variate.
    """

    round: int
    params: Payload
    shared: Payload | None
    epochs: int
    learning_rate: float
    requirements: Requirements


class TrainAccepted(Message, frozen=True, kw_only=True):
    """The worker has begun."""

    round: int


class TrainDeclined(Message, frozen=True, kw_only=True):
    """The worker does not train in this round. `reason`: battery, temperature, user, charging, network, failed.

    It begins with "interrupted: " if the worker had begun.
    """

    round: int
    reason: str


class TrainResult(Message, frozen=True, kw_only=True):
    """A client's update (mostly new minus old parameters) and what it says of its training.

    `state_bytes`: what it keeps for the algorithm until it trains again.
    """

    round: int
    examples: int
    steps: int
    seconds: float
    state_bytes: int
    update: Payload
    metrics: Payload


class RoundOver(Message, frozen=True, kw_only=True):
    """The round has ended without you: stop training for it; an update of it was not used."""

    round: int


class EvaluateRequest(Message, frozen=True, kw_only=True):
    """Evaluate the model on the held-out examples."""

    round: int
    params: Payload


class EvaluateResult(Message, frozen=True, kw_only=True):
    """Accuracy (of a regression the error) and loss on the held-out examples."""

    round: int
    examples: int
    metrics: Payload


class ClientEvaluateRequest(Message, frozen=True, kw_only=True):
    """Evaluate the model, and your own if you have one, on your own held-out examples, if your device allows."""

    round: int
    params: Payload
    requirements: Requirements


class ClientEvaluateResult(Message, frozen=True, kw_only=True):
    """A client's figures on its held-out examples: the global model's, and its own model's if it has one.

    Without `metrics` it has not evaluated; `reason` as in `TrainDeclined`, or examples (it has none).
    """

    round: int
    examples: int
    reason: str = ""
    metrics: Payload | None = None
    personal: Payload | None = None


class Rejoin(Message, frozen=True, kw_only=True):
    """A worker's own timer: look for the coordinator again."""


#: The closed set of types that these roles put on a wire.
MESSAGES: tuple[type[Message], ...] = (
    Join,
    CheckIn,
    CheckOut,
    TrainRequest,
    TrainAccepted,
    TrainDeclined,
    TrainResult,
    RoundOver,
    EvaluateRequest,
    EvaluateResult,
    ClientEvaluateRequest,
    ClientEvaluateResult,
)
