"""The simulated network: access links with sharing, joined by an Internet with delays between regions."""
