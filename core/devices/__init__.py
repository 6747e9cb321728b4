"""Devices: speed, power, battery, heat and radios in closed form between events; links and regions to go with them."""

from core.devices.battery import Battery
from core.devices.catalogue import (
    Parameter,
    UnknownName,
    backbone,
    backbone_delays,
    backbone_provenance,
    link,
    link_provenance,
    links,
    profile,
    profiles,
    provenance,
    region_delays,
    region_provenance,
    regions,
)
from core.devices.classes import DeviceProfile, Radio, ThrottleLevel
from core.devices.device import ROW_LENGTH, Device, DeviceOff
from core.devices.effects import (
    BatteryEmpty,
    BatteryFull,
    Effect,
    JobDone,
    JobLost,
    PoweredOn,
    Reading,
    ThrottleChanged,
)
from core.devices.heat import Heat
from core.devices.work import Work

__all__ = [
    "ROW_LENGTH",
    "Battery",
    "BatteryEmpty",
    "BatteryFull",
    "Device",
    "DeviceOff",
    "DeviceProfile",
    "Effect",
    "Heat",
    "JobDone",
    "JobLost",
    "Parameter",
    "PoweredOn",
    "Radio",
    "Reading",
    "ThrottleChanged",
    "ThrottleLevel",
    "UnknownName",
    "Work",
    "backbone",
    "backbone_delays",
    "backbone_provenance",
    "link",
    "link_provenance",
    "links",
    "profile",
    "profiles",
    "provenance",
    "region_delays",
    "region_provenance",
    "regions",
]
