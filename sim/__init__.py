"""The simulated world: actors on devices with batteries and heat, behind links, in SimPy's time."""
