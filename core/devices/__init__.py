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
    made,
    profile,
    profiles,
    provenance,
    region_delays,
    region_provenance,
    regions,
)
from core.devices.classes import DeviceProfile, ThrottleLevel
from core.devices.cores import Claim, Cores, Host, Owner
from core.devices.device import ROW_LENGTH, Device, DeviceOff
from core.devices.effects import (
    BatteryEmpty,
    BatteryFull,
    Effect,
    JobDone,
    JobLost,
    Overheated,
    PoweredOn,
    Reading,
    ThrottleChanged,
)
from core.devices.heat import Heat
from core.devices.hosted import HostedDevice
from core.devices.processor import Accelerator, Cluster, Governor, OperatingPoint, operating_points
from core.devices.radio import Radio
from core.devices.work import PURPOSES, Purpose, Work

__all__ = [
    "PURPOSES",
    "ROW_LENGTH",
    "Accelerator",
    "Battery",
    "BatteryEmpty",
    "BatteryFull",
    "Claim",
    "Cluster",
    "Cores",
    "Device",
    "DeviceOff",
    "DeviceProfile",
    "Effect",
    "Governor",
    "Heat",
    "Host",
    "HostedDevice",
    "JobDone",
    "JobLost",
    "OperatingPoint",
    "Overheated",
    "Owner",
    "Parameter",
    "PoweredOn",
    "Purpose",
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
    "made",
    "operating_points",
    "profile",
    "profiles",
    "provenance",
    "region_delays",
    "region_provenance",
    "regions",
]
